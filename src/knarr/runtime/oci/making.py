"""create and run: a bundle becomes a container. Half-way failures leave nothing."""

import os
import socket
import time
from typing import Any

from knarr.kernel import process
from knarr.kernel.cgroups.v1 import CgroupV1
from knarr.kernel.cgroups.v2 import CgroupV2
from knarr.kernel.files import write_text
from knarr.model.errors import Conflict, KnarrError
from knarr.runtime.acts_network import host_route, move_devices
from knarr.runtime.birth import bear
from knarr.runtime.oci import bundle as bundles
from knarr.runtime.oci import cgroups, foreground, launch
from knarr.runtime.oci.container import Container, process_facts
from knarr.runtime.oci.errors import saying, words
from knarr.runtime.oci.forerunner import Forerunner
from knarr.runtime.oci.initial import Birth, Recipe
from knarr.runtime.oci.launch import Child, Plug, hand_listener, hand_pidfd, map_tree_of, passed_on, write_pid
from knarr.runtime.oci.records import FILTER, Record
from knarr.runtime.oci.session import Session
from knarr.runtime.plan_namespaces import namespaces

_KINDS = {
    "mount": "mnt",
    "network": "net",
    "pid": "pid",
    "ipc": "ipc",
    "uts": "uts",
    "cgroup": "cgroup",
    "user": "user",
    "time": "time",
}


class Making:
    """One container in the making. `waits`: it stays at its gate for `start`."""

    def __init__(self, session: Session, *, detach: bool, waits: bool):
        call = session.call
        self.session, self.waits = session, waits
        self.bundle = os.path.abspath(call.text("bundle") or ".")
        self.pid_file = os.path.abspath(call.text("pid-file")) if call.text("pid-file") else ""
        self.config = bundles.load_config(self.bundle)
        for warning in bundles.relax(self.config):
            session.log.warning(warning)
        self.process: dict[str, Any] = self.config["process"]
        self.linux: dict[str, Any] = self.config.get("linux") or {}
        self.id = call.id
        self.root = bundles.root_of(self.config, self.bundle)
        self.space = namespaces(self.linux)
        bundles.check(self.config, cgroups.host_hierarchy().version)
        self.preserved, environment = passed_on(session, list(self.process.get("env") or ()))
        self.process["env"] = environment
        self.filter = _compiled(self.config)
        self.plug = Plug(session, terminal=bool(self.process.get("terminal")), detach=detach)
        self.group = cgroups.locate(self.linux, self.id, beside=session.forerunner is None)
        self.container: Container | None = None
        self.child: Child | None = None

    def make(self) -> tuple[Container, Child]:
        """The container with its init at the gate. Raises what went wrong, and then nothing is left."""
        _check_free(self.group)
        record = Record.make(self.session.root, self.id)
        self.container = Container(record, self._state())
        recipe = self._recipe(self.container)
        try:
            self.child = self._early(recipe)
            self._limit()
            if self.child is not None:
                self.child.go()
            else:
                self.child = self._bear(record, recipe)
            self.plug.born()
            self._reach_gate(self.child)
        except BaseException:
            self.undo()
            raise
        return self.container, self.child

    def undo(self) -> None:
        """What was made goes again."""
        if self.child is not None:
            self.child.kill()
        self.plug.streams.close()
        if self.container is not None:
            try:
                self.container.destroy(self.session.log)
            except (KnarrError, OSError) as error:
                self.session.log.warning(words(error))

    def _state(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "bundle": self.bundle,
            "rootfs": self.root,
            "created": "",
            "init_process_pid": -1,
            "init_process_start": 0,
            "cgroup_paths": self.group.paths(),
            "cgroup_beside": self.group.beside,
            "namespace_paths": {},
            "no_new_keyring": self.session.call.on("no-new-keyring"),
            "config": self.config,
        }

    def _limit(self) -> None:
        try:
            self.group.create()
            self.group.apply(cgroups.with_devices(self.linux.get("resources") or {}))
        except OSError as error:
            raise KnarrError(
                f"unable to start container process: unable to apply cgroup configuration: {words(error)}"
            ) from None

    def _recipe(self, container: Container) -> Recipe:
        call = self.session.call
        return Recipe(
            self.config,
            self.root,
            self.group.paths(),
            self.filter,
            self.preserved,
            self.plug.stdio,
            container.base_state(),
            call.on("no-pivot"),
            call.on("no-new-keyring"),
        )

    def _bear(self, record: Record, recipe: Recipe) -> Child:
        doorway = _doorway(record) if self.waits else None
        fd = self.group.open_for_clone()
        self.session.log.debug(launch.BIRTH)
        try:
            return self._now(recipe, fd, doorway)
        except OSError as error:
            raise KnarrError(f"unable to start container process: {words(error)}") from None
        finally:
            if fd >= 0:
                os.close(fd)
            if doorway is not None:
                doorway.close()

    def _now(self, recipe: Recipe, fd: int, doorway: socket.socket | None) -> Child:
        def admit(pid: int, uid: int, gid: int) -> None:
            self.plug.own(uid, gid)
            if birth.walk.host_route is not None and self.space.own_user:
                move_devices(birth.walk.host_route, pid, self.linux["netDevices"])
            if self.group.beside:
                write_text(f"{self.group.beside}/cgroup.procs", str(pid))

        birth = Birth(recipe, doorway)
        birth.walk.host_route = host_route(self.linux)
        return birth.child(
            lambda: bear(self.space, birth.life, cgroup_fd=fd, prelude=birth.prelude, admit=admit)
        )

    def _early(self, recipe: Recipe) -> Child | None:
        """The forerunner as the init, where there is one and it fits; it plans while its cgroup is made.

        On version 2 an init is born in its cgroup.
        """
        forerunner = self.session.forerunner
        if not isinstance(forerunner, Forerunner) or self.waits or self.group.version == 2:
            return None
        if self.linux.get("netDevices") or not forerunner.fits(self.space) or not forerunner.take(recipe):
            return None
        self.session.forerunner = None
        return Child(forerunner.line, forerunner.pid, forerunner.pidfd)

    def _reach_gate(self, child: Child) -> None:
        assert self.container is not None
        state = self.container.state
        state["init_process_pid"] = child.pid
        state["init_process_start"] = process_facts(child.pid)[1]
        state["namespace_paths"] = {kind: f"/proc/{child.pid}/ns/{name}" for kind, name in _KINDS.items()}
        state["created"] = _now()
        if self.filter:
            self.container.record.write(FILTER, self.filter)
        self.container.record.save(state)
        self.container.record.unlock()
        if self._silent():
            child.promise_gate()
        child.on_master = self.plug.master
        child.on_hooks = self._run_hooks
        child.on_listener = lambda number: hand_listener(self.container, child, number)
        child.on_map = lambda wish, tree: map_tree_of(child, wish, tree)
        self.session.log.debug(launch.WALK)
        try:
            child.reach_gate(self.session.log)
        except KnarrError as error:
            raise saying("unable to start container process: error during container init: ", error) from None
        self.session.log.debug(launch.READY)
        hand_pidfd(self.session, child.pidfd)
        if self.pid_file:
            write_pid(self.pid_file, child.pid)

    def _silent(self) -> bool:
        """Whether nothing is to be done between the init's walk and its program: no byte of ours answers anything else then."""
        call = self.session.call
        agent = (self.linux.get("seccomp") or {}).get("listenerPath")
        told = self.pid_file or call.text("pidfd-socket") or self.config.get("hooks")
        return not (self.waits or agent or told or self._maps() or self.process.get("terminal"))

    def _maps(self) -> bool:
        """Whether the walk may ask for a mount to be mapped."""
        return any(
            mount.get("uidMappings") or {"idmap", "ridmap"} & {*(mount.get("options") or ())}
            for mount in self.config.get("mounts") or ()
        )

    def _run_hooks(self, moments: list[str]) -> None:
        assert self.container is not None
        for moment in moments:
            self.container.run_hooks(moment, "creating")


def run_in_front(making: Making, container: Container, child: Child, *, keep: bool) -> int:
    """Opens the gate and follows the init to its end, which is the container's."""
    signals = foreground.Signals(making.session.orders)
    try:
        child.open_gate()
        container.run_hooks("poststart", "running")
        code = foreground.follow(child.pid, child.pidfd, making.plug.streams, signals)
    except BaseException:
        making.undo()
        raise
    if not keep:
        container.destroy(making.session.log)
    return code


def run_behind(making: Making, container: Container, child: Child) -> None:
    """Opens the gate and leaves it."""
    try:
        child.open_gate()
        container.run_hooks("poststart", "running")
    except BaseException:
        making.undo()
        raise


def adopt_orphans() -> None:
    """Whoever loses its parent becomes ours while we are here."""
    process.set_child_subreaper()


def _check_free(group: CgroupV1 | CgroupV2) -> None:
    """A cgroup that somebody lives in is not ours to take. Raises Conflict."""
    pids = group.pids()
    if pids:
        raise Conflict(f"container's cgroup is not empty: {len(pids)} process(es) found")
    if group.frozen():
        raise Conflict("container's cgroup unexpectedly frozen")


def _doorway(record: Record) -> socket.socket:
    door = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    door.bind(record.door())
    door.listen(1)
    return door


def _compiled(config: dict[str, Any]) -> bytes:
    """The seccomp filter; b"" without one."""
    profile = (config.get("linux") or {}).get("seccomp")
    if not profile:
        return b""
    from knarr.runtime.seccomp.compiler import compile_profile

    allowed = ((config["process"].get("capabilities") or {}).get("bounding")) or ()
    release = os.uname().release.split(".")
    return compile_profile(profile, tuple(allowed), os.uname().machine, (int(release[0]), int(release[1])))


def _now() -> str:
    nanoseconds = time.time_ns()
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(nanoseconds // 10**9))
    return f"{whole}.{nanoseconds % 10**9:09d}Z"
