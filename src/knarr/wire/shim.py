"""The shim's protocol: SOCK_SEQPACKET, one JSON object a packet, descriptors beside it.

    knarrd                         shim                         init, born ahead
      │ order ──────────────────────┼───────────────────────────▶│ cgroup, namespaces, walks the plan
      │                             │◀──────────── the order ────┤
      │ attach + [client]  ────────▶│ keeps the client's socket  │
      │                             │◀──────── ready, or error ──┤ waits at the gate
      │◀── hello, or error ─────────┤                            │
      │ start  ────────────────────▶│ one byte ─────────────────▶│ execve
      │◀── ok, or error ────────────┤◀── end of file, or error ──┤
      │                             │◀──────────────── pidfd ────┤
      │                             │ exit.json (rename)
      │◀── event exited ────────────┤ lets go of mounts and cgroup
      │ release ───────────────────▶│ ends when its clients have drained

Requests are `{"id": n, "do": NAME, …}`, answers `{"id": n, "ok": {…}}` or `{"id": n, "error": {…}}` (wire.zygote's
`describe`), events `{"event": NAME, …}`. A new connection to `shim.sock` is greeted by `hello`, like the first one.

A request with id 0 gets no answer. `attach` and `start` may come before `hello`: a start that came early opens the gate as
soon as the init is ready, and the one `hello` that follows says `started`.
"""

import json
from collections.abc import Mapping
from typing import Any

REQUESTS = {
    "start": "{} → {}: opens the gate",
    "attach": "{stdin, stdout, stderr, framed, keys, tail} + [client]: `tail` is base64 of bytes already read",
    "signal": "{signal, all} → {}: to the init, or to every process of the cgroup",
    "resize": "{width, height} → {}",
    "exec": "{process, stdin, stdout, stderr, framed, keys, tail, exec} + [client]? → {pid}: `exec` is its id",
    "exec-resize": "{exec, width, height} → {}",
    "exec-signal": "{exec, signal} → {}",
    "pause": "{} → {}",
    "resume": "{} → {}",
    "update": "{resources} → {}: OCI linux.resources",
    "pids": "{} → {pids}",
    "stats": "{} → the cgroup's numbers, in the shape of `runc events`",
    "release": "{} → {}: the exit is on record; the shim ends",
}

EVENTS = {
    "hello": "{container, pid, started, paused, exit, execs, steps, warnings}: `exit` is null or the `exited` fields",
    "exited": "{code, oom, at}: 128+n after signal n; `at` nanoseconds",
    "exec-exited": "{exec, code, at}",
    "detached": "{exec}: a client typed the detach keys; `exec` null for an attach",
    "oom": "{}: the kernel killed a process of the container for memory",
}

ORDER = {
    "id": "the container's id",
    "bundle": "OCI runtime configuration, with the additions below",
    "rootfs": "{mounts: [[type, source, [option…]]…]}: made in the container's own mount namespace, first at /",
    "run_dir": "directory of shim.sock and exit.json; it exists",
    "log": "{driver: 'none'}, {driver: 'json-file' or 'local', path, max_size: bytes or -1, max_file, compress?, attrs?}, or {driver: "
    "'syslog', 'journald' or 'fluentd', path, tag, attrs, container, hostname, room, cache?: as local's, …} with the driver's own (engine.logdrivers)",
    "stdin": "whether standard input is kept open for clients; otherwise /dev/null",
    "stdin_once": "whether the end of the first client's input is the end of the container's",
    "cgroup": "path below each hierarchy's root, made by the shim and removed at the end",
    "seccomp": "path of a compiled filter (runtime.seccomp), or null",
}
"""Whether there is a terminal is `bundle.process.terminal`, its size `process.consoleSize`. A network namespace is a
`linux.namespaces` entry with a path; without an entry of a type the host's is kept.

Additions to OCI: `process.user` may be {"name": "user[:group]", "groups": ["audio", "29"]}, Docker's -u and --group-add,
which the init looks up in the container's own files; HOME is set from there if it is not in `process.env`. A bind
mount's missing target is made. `mounts[].source` "pid:N/path" is a path in the mount namespace of process N (a shared
/dev/shm); `mounts[].subpath` is what is bound of the source."""


def folded(order: Mapping[str, Any]) -> dict[str, Any]:
    """An order as it travels: what only the init needs, bundle and root, stays text until the init reads it."""
    kept = {name: value for name, value in order.items() if name not in ("bundle", "rootfs")}
    plan = json.dumps({"bundle": order["bundle"], "rootfs": order["rootfs"]})
    terminal = bool((order["bundle"].get("process") or {}).get("terminal"))
    chores = _chores(order["bundle"])
    return {**kept, "plan": plan, "terminal": terminal, **({"chores": chores} if chores else {})}


def _chores(bundle: Mapping[str, Any]) -> dict[str, Any]:
    """What the shim itself has to do for a container, if anything: hooks, and whom execs must ask about system calls."""
    seccomp = (bundle.get("linux") or {}).get("seccomp") or {}
    agent = {name: seccomp[name] for name in ("flags", "listenerPath", "listenerMetadata") if name in seccomp}
    if agent.get("listenerPath"):
        asked = [rule for rule in seccomp.get("syscalls") or () if rule.get("action") == "SCMP_ACT_NOTIFY"]
        agent["syscalls"] = asked
    hooks = {name: found for name, found in (bundle.get("hooks") or {}).items() if found}
    if not agent and not hooks:
        return {}
    return {"hooks": hooks, "agent": agent, "annotations": bundle.get("annotations") or {}}
