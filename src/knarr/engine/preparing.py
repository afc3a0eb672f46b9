"""What a life needs on disk, made and found out in one blocking call: /etc files, devices, filter, root."""

import contextlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from knarr.engine import bundle, checks, devicedrivers, devices, hostfiles
from knarr.engine.cdi import Edits
from knarr.engine.errors import BindSourceMissing
from knarr.engine.live import Live
from knarr.engine.ocilimits import Node
from knarr.engine.record import STEP, Placed
from knarr.engine.seccomp import filter_path, loading
from knarr.engine.world import World
from knarr.kernel.files import read_text
from knarr.model.container import ContainerSpec
from knarr.model.errors import KnarrError, Unsupported
from knarr.model.mount import Mount

_INITS = ("/usr/libexec/docker/docker-init", "/usr/bin/docker-init", "/usr/bin/tini-static")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """One life: `borrowed` is the container whose network it shares, `served` whether it has a name server, `neighbours` further lines of /etc/hosts."""

    live: Live
    spec: ContainerSpec
    borrowed: str = ""
    addresses: tuple[str, ...] = ()
    neighbours: tuple[str, ...] = ()
    served: bool = False


@dataclass(slots=True)
class Prepared:
    """What was found and made on disk for this life."""

    rootfs: tuple[Mount, ...]
    nodes: tuple[Node, ...]
    numbers: Mapping[str, tuple[int, int]]
    files: tuple[tuple[str, str], ...]
    edits: Sequence[Edits]
    seccomp: str | None
    seccomp_loading: Mapping[str, Any]
    init: str


def prepare(world: World, wish: Wish) -> Prepared:
    """Everything on disk in one go."""
    live, spec = wish.live, wish.spec
    _fresh(world.paths.run(live.id))
    for mount in live.extra.mounts:
        if mount.type == "bind" and not os.path.exists(mount.source):
            if mount.asked_by in ("mounts", STEP):
                raise BindSourceMissing(mount.source)
            os.makedirs(mount.source, 0o755, exist_ok=True)
        check_propagation(mount, world.settings.data_root)
    live.rootfs = live.rootfs or world.snapshots.mounts(live.id)
    profile = bundle.seccomp_profile(spec)
    if profile == "":
        profile = world.seccomp
    seccomp = None
    if profile is not None:
        names = bundle.capabilities(spec, world.capabilities)
        seccomp = filter_path(world.paths.filters, profile, names)
    return Prepared(
        rootfs=live.rootfs,
        nodes=devices.nodes(spec.resources.devices, privileged=spec.privileged),
        numbers=devices.numbers(spec.resources),
        files=_write_files(world, wish),
        edits=devicedrivers.edits(spec.resources.device_requests, world.settings.cdi_spec_dirs),
        seccomp=seccomp,
        seccomp_loading=loading(profile or ""),
        init=_init_path(world.settings.init_path) if _wants_init(world, spec) else "",
    )


def check_propagation(mount: Placed, data_root: str) -> None:
    """What is below a shared or slave bind can only be told by peers. Raises KnarrError in Docker's words. Blocking."""
    if mount.shallow and mount.deep:
        raise KnarrError("mount options conflict: ReadOnlyNonRecursive && ReadOnlyForceRecursive")
    word = mount.propagation.removeprefix("r")
    if mount.type != "bind" or word not in ("shared", "slave"):
        return
    if word == "slave" and checks.overlap(mount.source, data_root):
        return  # nobody asked for it: where it has no effect it does no harm
    point, tags = mount_of(read_text("/proc/self/mountinfo", 16 << 20), os.path.realpath(mount.source))
    shared = any(tag.startswith("shared:") for tag in tags)
    if word == "shared" and not shared:
        raise KnarrError(f"path {mount.source} is mounted on {point} but it is not a shared mount")
    if not shared and not any(tag.startswith("master:") for tag in tags):
        raise KnarrError(f"path {mount.source} is mounted on {point} but it is not a shared or slave mount")


def mount_of(mountinfo: str, path: str) -> tuple[str, list[str]]:
    """Where the mount that holds `path` is, and its optional fields (proc_pid_mountinfo(5)). Pure."""
    found: tuple[str, list[str]] = ("/", [])
    for line in mountinfo.splitlines():
        fields = line.split(" ")
        point = fields[4].encode().decode("unicode_escape")
        if len(point) >= len(found[0]) and f"{path}/".startswith(f"{point.rstrip('/')}/"):
            found = point, fields[6 : fields.index("-")]
    return found


def _write_files(world: World, wish: Wish) -> tuple[tuple[str, str], ...]:
    """/etc/hosts, /etc/hostname, /etc/resolv.conf; a container in another's network has that one's."""
    spec = wish.spec
    directory = world.paths.container(wish.borrowed or wish.live.id)
    names = ("hosts", "hostname", "resolv.conf")
    if not wish.borrowed:
        private = spec.network_mode != "host"
        gateways = host_gateways(world)
        hosts = hostfiles.hosts(spec, wish.addresses, gateways, wish.neighbours)
        if not private:
            extra = hostfiles.extra_hosts(spec.extra_hosts, gateways)
            hosts = _read("/etc/hosts") + "".join(f"{line}\n" for line in extra)
        texts = (
            hosts,
            f"{spec.hostname}\n",
            resolv_conf(world, spec, served=wish.served),
        )
        for name, text in zip(names, texts, strict=True):
            with open(f"{directory}/{name}", "w", encoding="utf-8") as file:
                os.fchmod(file.fileno(), 0o644)
                file.write(text)
    return tuple((f"{directory}/{name}", f"/etc/{name}") for name in names)


def host_gateways(world: World) -> tuple[str, ...]:
    """What host-gateway stands for."""
    default = world.nets.bridge
    return world.settings.host_gateways or (
        default.config.gateway if default and default.config else "127.0.0.1",
    )


def resolv_conf(world: World, spec: ContainerSpec, *, served: bool) -> str:
    """The text of /etc/resolv.conf; `served`: by a name server of the container's own. Blocking."""
    settings = world.settings
    defaults = hostfiles.Resolver(settings.dns, settings.dns_search, settings.dns_options)
    private = spec.network_mode != "host"
    return hostfiles.resolv_conf(_read("/etc/resolv.conf"), spec, defaults, private=private, served=served)


def _fresh(run_dir: str) -> None:
    """The last life's socket and exit are not this one's."""
    os.makedirs(run_dir, 0o710, exist_ok=True)
    for name in ("exit.json", "shim.sock"):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{run_dir}/{name}")


def _wants_init(world: World, spec: ContainerSpec) -> bool:
    return world.settings.init if spec.init is None else spec.init


def _init_path(chosen: str) -> str:
    for path in (chosen,) if chosen else _INITS:
        if os.path.exists(path):
            return path
    raise Unsupported(f"--init needs {chosen or 'tini: install the package tini (tini-static)'}")


def _read(path: str) -> str:
    try:
        return read_text(path)
    except FileNotFoundError:
        return ""
