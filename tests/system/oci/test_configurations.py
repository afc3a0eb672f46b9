"""What a configuration asks of the runtime around the walk: hooks at their moments, filters, user namespaces, features."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.system.oci.conftest import Oci

MOMENTS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")


def recorder(oci: Oci, moment: str) -> dict[str, Any]:
    """A hook that writes down its moment and the state that it is told."""
    return {
        "path": "/bin/sh",
        "args": [
            "sh",
            "-c",
            f"printf '%s ' {moment} >> {oci.base}/moments; cat >> {oci.base}/moments; echo >> {oci.base}/moments",
        ],
    }


def test_hooks_of_the_runtime_at_their_moments(oci: Oci) -> None:
    outside = [moment for moment in MOMENTS if moment not in ("createContainer", "startContainer")]
    name, bundle = oci.bundle(
        "sleep", "1000", hooks={moment: [recorder(oci, moment)] for moment in outside}, annotations={"k": "v"}
    )
    moments = oci.base / "moments"
    oci("create", "-b", bundle, name)
    told = [line.split(" ", 1) for line in moments.read_text().splitlines()]
    assert [moment for moment, _ in told] == ["prestart", "createRuntime"]
    state = json.loads(told[1][1])
    assert (state["id"], state["status"], state["bundle"]) == (name, "creating", bundle)
    assert state["pid"] == oci.state(name)["pid"]
    assert state["annotations"] == {"k": "v"}
    oci("start", name)
    assert moments.read_text().splitlines()[2].startswith("poststart ")
    oci("delete", "--force", name)
    moment, text = moments.read_text().splitlines()[3].split(" ", 1)
    assert moment == "poststop"
    assert json.loads(text)["status"] == "stopped"


@pytest.mark.parametrize("moment", MOMENTS[:5])
def test_a_hook_that_fails_ends_the_container(oci: Oci, moment: str) -> None:
    name, bundle = oci.bundle(
        "sleep", "1000", hooks={moment: [{"path": "/bin/true"}, {"path": "/bin/false"}]}
    )
    assert f"error running {moment} hook #1:" in oci.fails("run", "-d", "-b", bundle, name)
    assert not oci.left()


def test_a_hook_that_fails_at_start(oci: Oci) -> None:
    name, bundle = oci.bundle("sleep", "1000", hooks={"startContainer": [{"path": "/bin/false"}]})
    oci("create", "-b", bundle, name)
    assert "error running startContainer hook #0:" in oci.fails("start", name)
    oci("delete", "--force", name)


def test_a_filter_holds_for_execs_too(oci: Oci) -> None:
    rule = {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}
    name = oci.running(linux={"seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}})
    done = oci("exec", name, "mkdir", "/tmp/x", check=False)
    assert "No space left on device" in done.stderr
    oci.stop(name)


def mapped(oci: Oci, bundle: str, **changes: Any) -> None:
    """The bundle's container has a user namespace, whose root may come to where it is."""
    path = Path(bundle, "config.json")
    config = json.loads(path.read_text())
    maps = [{"containerID": 0, "hostID": 100000, "size": 65536}]
    config["linux"] |= {"uidMappings": maps, "gidMappings": maps}
    config["linux"]["namespaces"].append({"type": "user"})
    path.write_text(json.dumps({**config, **changes}))
    oci.base.chmod(0o755)
    for parent in oci.base.parents:
        if parent.stat().st_mode & 0o777 == 0o700 and str(parent) != "/root":
            parent.chmod(0o711)


def test_a_user_namespace(oci: Oci) -> None:
    name, bundle = oci.bundle("sleep", "1000")
    mapped(oci, bundle)
    oci("run", "-d", "-b", bundle, name)
    assert os.stat(f"/proc/{oci.state(name)['pid']}").st_uid == 100000
    assert oci("exec", name, "id", "-u").stdout == "0\n"
    assert oci("exec", "-t", name, "tty").stdout == "/dev/pts/0\n"
    oci.stop(name)


@pytest.mark.parametrize("words", [{}, {"uidMappings": 7, "gidMappings": 7}])
def test_a_part_of_the_new_root_is_mapped_in_a_user_namespace(oci: Oci, words: dict[str, int]) -> None:
    """Only the host may map a file system of its own: whoever started the container does it for the walk."""
    (oci.base / "given").mkdir()
    (oci.base / "given/file").touch()
    name, bundle = oci.bundle("stat", "-c", "%n %u:%g", "/tmp/file", "/etc/file")
    mounts = json.loads(Path(bundle, "config.json").read_text())["mounts"]
    wishes = {key: [{"containerID": 0, "hostID": 100000 + by, "size": 1000}] for key, by in words.items()}
    mounts += [
        {"destination": "/tmp", "type": "bind", "source": f"{oci.base}/given", "options": ["rbind"]},
        {
            "destination": "/etc",
            "type": "bind",
            "source": f"{oci.rootfs}/tmp",
            "options": ["rbind", *([] if words else ["idmap"])],
            **wishes,
        },
    ]
    mapped(oci, bundle, mounts=mounts)
    user = words.get("uidMappings", 0)
    assert oci("run", "-b", bundle, name).stdout == f"/tmp/file 65534:65534\n/etc/file {user}:{user}\n"


def test_features(oci: Oci) -> None:
    known = json.loads(oci("features").stdout)
    assert known["hooks"] == list(MOMENTS)
    assert {"rbind", "rro", "tmpcopyup", "nosuid", "rshared"} <= set(known["mountOptions"])
    linux = known["linux"]
    assert set(linux["namespaces"]) == {"cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"}
    assert "CAP_SYS_ADMIN" in linux["capabilities"]
    assert {"SCMP_ACT_NOTIFY", "SCMP_ACT_ERRNO"} <= set(linux["seccomp"]["actions"])
    assert "SCMP_CMP_MASKED_EQ" in linux["seccomp"]["operators"]
    assert linux["cgroup"]["v1"]
    assert not linux["cgroup"]["systemd"]
