"""exec: another process in a running container. Its exit code is ours; 255 where it could not be started."""

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from knarr.kernel.sockets import socketpair
from knarr.model.errors import Conflict, Invalid, KnarrError
from knarr.runtime.birth import bear_beside, root_ids
from knarr.runtime.oci import bundle as bundles
from knarr.runtime.oci import foreground, launch
from knarr.runtime.oci.container import PAUSED, STOPPED, Container
from knarr.runtime.oci.errors import saying, words
from knarr.runtime.oci.launch import Child, Plug, hand_listener, hand_pidfd, passed_on, write_pid
from knarr.runtime.oci.records import FILTER
from knarr.runtime.oci.session import Session
from knarr.runtime.oci.subcgroups import Place, born_in, locate, parse_places
from knarr.runtime.plan import Step, plan_exec
from knarr.runtime.plan_checks import numbers
from knarr.runtime.plan_namespaces import namespaces
from knarr.runtime.plan_userns import beside
from knarr.runtime.state import Walk
from knarr.runtime.walk import walk_to_execve


def run(session: Session) -> int:
    """Returns the program's code, or with --detach when it runs."""
    try:
        return _run(session)
    except Exception as error:
        raise saying("exec failed: ", error) from error


def _run(session: Session) -> int:
    call = session.call
    pid_file = os.path.abspath(call.text("pid-file")) if call.text("pid-file") else ""
    container = Container.load(session.root, call.id)
    status = container.status()
    if status == STOPPED:
        raise Conflict("cannot exec in a stopped container")
    if status == PAUSED and not call.on("ignore-paused"):
        raise Conflict("cannot exec in a paused container (use --ignore-paused to override)")
    process = _asked(session, container)
    detach = call.on("detach")
    preserved, process["env"] = passed_on(session, list(process.get("env") or ()))
    place = locate(container, parse_places(call.many("cgroup")))
    plug = Plug(session, terminal=bool(process.get("terminal")), detach=detach)
    if not detach and session.orders < 0:
        foreground.hold()
    session.log.debug(launch.BIRTH)
    child = _bear(container, process, plug, preserved, place)
    try:
        child.on_master = plug.master
        child.on_listener = lambda number: hand_listener(container, child, number)
        session.log.debug(launch.WALK)
        session.log.debug(launch.affinity(child.pid, _first_cpus(process)))
        try:
            child.reach_gate(session.log)
        except KnarrError as error:
            raise saying("unable to start container process: ", error) from None
        session.log.debug(launch.EXEC_READY)
        hand_pidfd(session, child.pidfd)
        if pid_file:
            write_pid(pid_file, child.pid)
        signals = None if detach else foreground.Signals(session.orders)
        child.open_gate()
        if signals is None:
            return 0
        return foreground.follow(child.pid, child.pidfd, plug.streams, signals)
    except BaseException:
        child.kill()
        plug.streams.close()
        raise


def _first_cpus(process: Mapping[str, Any]) -> int:
    """execCPUAffinity.initial as a mask; 0 for all."""
    wish = (process.get("execCPUAffinity") or {}).get("initial") or ""
    return sum(1 << cpu for cpu in numbers(str(wish), "bad CPUAffinity.Initial"))


def _bear(container: Container, process: dict[str, Any], plug: Plug, preserved: int, place: Place) -> Child:
    init = container.open_init()
    mine, theirs = socketpair()
    walk = Walk(theirs, plug.stdio)
    walk.load(process)
    walk.preserved, walk.cgroup, walk.init_pidfd = preserved, place, init
    walk.filter = container.record.read(FILTER)
    walk.space = namespaces(container.config.get("linux") or {})
    if walk.space.own_user:
        plug.own(*root_ids(container.pid))

    def prepare(_: Walk) -> Sequence[Step]:
        steps = plan_exec(
            process,
            seccomp=bool(walk.filter),
            linux=container.config.get("linux"),
            no_keyring=bool(container.state.get("no_new_keyring")),
        )
        return beside(steps, walk.space)

    def life() -> NoReturn:
        walk_to_execve(walk, prepare, "")

    try:
        pid, pidfd = born_in(place.candidates(), lambda fd: bear_beside(init, life, cgroup_fd=fd))
    except OSError as error:
        raise KnarrError(f"unable to start container process: {words(error)}") from None
    finally:
        theirs.close()
        os.close(init)
    plug.born()
    return Child(mine, pid, pidfd)


def _asked(session: Session, container: Container) -> dict[str, Any]:
    """The process: a file's, or the container's own with what the command line changes. Raises Invalid."""
    call = session.call
    if path := call.text("process"):
        with open(path, "rb") as file:
            return dict(bundles.check_process(json.load(file)))
    process = dict(bundles.load_config(container.state["bundle"])["process"])
    command = call.arguments[1:]
    if not command:
        raise Invalid("exec args cannot be empty")
    process["args"] = command
    process["terminal"] = call.on("tty")
    process["env"] = [*(process.get("env") or ()), *call.many("env")]
    for flag, key in (("cwd", "cwd"), ("apparmor", "apparmorProfile"), ("process-label", "selinuxLabel")):
        if call.text(flag):
            process[key] = call.text(flag)
    if "no-new-privs" in call.flags:
        process["noNewPrivileges"] = call.on("no-new-privs")
    if call.many("cap"):
        process["capabilities"] = with_capabilities(process.get("capabilities") or {}, call.many("cap"))
    process["user"] = as_user(process.get("user") or {}, call.text("user"), call.many("additional-gids"))
    return dict(bundles.check_process(process))


def with_capabilities(sets: Mapping[str, Any], more: Sequence[str]) -> dict[str, Any]:
    """--cap: ambient ones only where some are inheritable already. Pure."""
    names = ["bounding", "effective", "permitted"]
    if sets.get("inheritable") is not None:
        names.append("ambient")
    return {**sets, **{name: [*(sets.get(name) or ()), *more] for name in names}}


def as_user(user: Mapping[str, Any], wish: str, groups: Sequence[str]) -> dict[str, Any]:
    """--user and --additional-gids. Pure. Raises Invalid."""
    made = dict(user)
    if wish:
        uid, colon, gid = wish.partition(":")
        if colon:
            made["gid"] = _number(gid, "bad gid")
        made["uid"] = _number(uid, "bad uid")
    for group in groups:
        if _number(group, "bad gid") < 0:
            raise Invalid(f"additional-gids must be a positive number {group}")
    if groups:
        made["additionalGids"] = [*(made.get("additionalGids") or ()), *map(int, groups)]
    return made


def _number(text: str, complaint: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise Invalid(f'{complaint}: strconv.Atoi: parsing "{text}": invalid syntax') from None
