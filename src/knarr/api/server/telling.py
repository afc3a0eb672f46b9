"""From values to Docker's JSON: containers and execs as inspect shows them. Pure."""

from typing import Any

from knarr.api.server.attachments import main_mac, network_settings, of_the_bridge
from knarr.api.server.hostconfig import host_config
from knarr.api.server.omission import listed, optional
from knarr.api.spec.history import shaped
from knarr.api.spec.versions import Version
from knarr.model.container import (
    ContainerSpec,
    ContainerState,
    ContainerView,
    ExecView,
    Health,
    Healthcheck,
    MountPoint,
    Status,
)
from knarr.model.moments import rfc3339


def inspect(view: ContainerView, version: Version) -> dict[str, Any]:
    """GET /containers/{id}/json."""
    value: dict[str, Any] = {
        "Id": view.id,
        "Created": rfc3339(view.created),
        "Path": view.path,
        "Args": list(view.args),
        "State": state(view.state),
        "Image": view.image_id,
        "ResolvConfPath": view.files.get("resolv.conf", ""),
        "HostnamePath": view.files.get("hostname", ""),
        "HostsPath": view.files.get("hosts", ""),
        "LogPath": view.files.get("log", ""),
        "Name": f"/{view.name}",
        "RestartCount": view.state.restart_count,
        "Driver": view.driver,
        "Platform": view.platform,
        "MountLabel": "",
        "ProcessLabel": "",
        "AppArmorProfile": "",
        "ExecIDs": list(view.exec_ids) or None,
        "HostConfig": host_config(view.spec),
        "GraphDriver": {"Data": dict(view.graph_data), "Name": view.driver},
    }
    if view.size_rw is not None:
        value["SizeRw"] = view.size_rw
        value["SizeRootFs"] = view.size_root_fs
    value["Mounts"] = [mount_point(each) for each in view.mounts]
    value["Config"] = config(view.spec, view)
    value["NetworkSettings"] = network_settings(view, version)
    if version < (1, 52):
        value["NetworkSettings"] |= of_the_bridge(view)
        optional(value["Config"], "MacAddress", main_mac(view.spec))
    return shaped("container", value, version)


def state(value: ContainerState) -> dict[str, Any]:
    """Its `State`; intents are shown as what still holds."""
    status = shown(value)
    told = {
        "Status": status,
        "Running": status in ("running", "paused", "restarting"),
        "Paused": status == "paused",
        "Restarting": status == "restarting",
        "OOMKilled": value.oom_killed,
        "Dead": status == "dead",
        "Pid": value.pid,
        "ExitCode": value.exit_code,
        "Error": value.error,
        "StartedAt": rfc3339(value.started_at),
        "FinishedAt": rfc3339(value.finished_at),
    }
    if value.health is not None:
        told["Health"] = _health(value.health)
    return told


def _health(value: Health) -> dict[str, Any]:
    return {
        "Status": value.status,
        "FailingStreak": value.failing_streak,
        "Log": [
            {
                "Start": rfc3339(probe.start),
                "End": rfc3339(probe.end),
                "ExitCode": probe.exit_code,
                "Output": probe.output,
            }
            for probe in value.log
        ],
    }


def shown(value: ContainerState) -> str:
    """The status in Docker's words."""
    if value.status is Status.CREATING:
        return "created"
    if value.status is Status.STARTING:
        return "exited" if value.finished_at else "created"
    return str(value.status)


def config(spec: ContainerSpec, view: ContainerView) -> dict[str, Any]:
    """Its `Config`."""
    value: dict[str, Any] = {
        "Hostname": spec.hostname,
        "Domainname": spec.domainname,
        "User": spec.user,
        "AttachStdin": spec.attach_stdin,
        "AttachStdout": spec.attach_stdout,
        "AttachStderr": spec.attach_stderr,
    }
    if spec.exposed_ports:
        value["ExposedPorts"] = {str(port): {} for port in spec.exposed_ports}
    value |= {
        "Tty": spec.tty,
        "OpenStdin": spec.open_stdin,
        "StdinOnce": spec.stdin_once,
        "Env": list(spec.environment),
        "Cmd": listed(spec.command),
    }
    if spec.healthcheck:
        value["Healthcheck"] = healthcheck(spec.healthcheck)
    value |= {
        "Image": spec.image,
        "Volumes": {path: {} for path in spec.volumes} or None,
        "WorkingDir": spec.working_dir,
        "Entrypoint": listed(spec.entrypoint),
        "Labels": dict(spec.labels),
    }
    optional(value, "OnBuild", list(spec.on_build))
    optional(value, "NetworkDisabled", spec.network_disabled)
    optional(value, "StopSignal", spec.stop_signal)
    if spec.stop_timeout is not None:
        value["StopTimeout"] = spec.stop_timeout
    optional(value, "Shell", list(spec.shell))
    return value


def healthcheck(check: Healthcheck) -> dict[str, Any]:
    """A health check without what it does not say."""
    value = {
        "Test": list(check.test),
        "Interval": check.interval,
        "Timeout": check.timeout,
        "StartPeriod": check.start_period,
        "StartInterval": check.start_interval,
        "Retries": check.retries,
    }
    return {key: each for key, each in value.items() if each}


def mount_point(mount: MountPoint) -> dict[str, Any]:
    """One entry of `Mounts`."""
    value: dict[str, Any] = {"Type": mount.type}
    optional(value, "Name", mount.name)
    value |= {"Source": mount.source, "Destination": mount.target}
    optional(value, "Driver", mount.driver)
    value |= {"Mode": mount.mode, "RW": mount.writable, "Propagation": mount.propagation}
    return value


def exec_inspect(view: ExecView) -> dict[str, Any]:
    """GET /exec/{id}/json."""
    return {
        "ID": view.id,
        "Running": view.running,
        "ExitCode": view.exit_code,
        "ProcessConfig": {
            "tty": view.spec.tty,
            "entrypoint": view.spec.command[0],
            "arguments": list(view.spec.command[1:]),
            "privileged": view.spec.privileged,
            **({"user": view.spec.user} if view.spec.user else {}),
        },
        "OpenStdin": view.spec.attach_stdin,
        "OpenStderr": view.spec.attach_stderr,
        "OpenStdout": view.spec.attach_stdout,
        "CanRemove": view.can_remove,
        "ContainerID": view.container_id,
        "DetachKeys": view.spec.detach_keys,
        "Pid": view.pid,
    }
