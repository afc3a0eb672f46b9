"""Archives in and out: layers, docker cp, volumes filled from images. What an old engine did is done by tarfile here."""

import asyncio
import gzip
import io
import json
import os
import socket
import stat
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from knarr.engine.zygote import Zygote
from knarr.engine.zygote_jobs import RootView
from knarr.kernel.sockets import recv_packet, socketpair
from knarr.model.errors import Conflict, KnarrError
from knarr.model.mount import Mount
from knarr.snapshots.errors import BadArchive
from knarr.snapshots.maketar import TarOptions
from knarr.snapshots.untar import UntarOptions, untar
from tests.security.conftest import Cell
from tests.support import host
from tests.support.daemons import Knarrd
from tests.system.runtime.conftest import PATIENCE

Member = tuple[str, dict[str, Any]]


def tar_of(*members: Member) -> bytes:
    """A tar of members, each with fields of a TarInfo; `data` is its content."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, fields in members:
            entry = tarfile.TarInfo(name)
            data = fields.pop("data", b"")
            for field, value in {"mode": 0o644, "size": len(data), **fields}.items():
                setattr(entry, field, value)
            tar.addfile(entry, io.BytesIO(data))
    return out.getvalue()


def link(target: str) -> dict[str, Any]:
    return {"type": tarfile.SYMTYPE, "linkname": target}


def hard(target: str) -> dict[str, Any]:
    return {"type": tarfile.LNKTYPE, "linkname": target}


def directory(mode: int = 0o755) -> dict[str, Any]:
    return {"type": tarfile.DIRTYPE, "mode": mode}


# What is made below `root`; {host} is a directory of the host beside it, with a file `secret` and mode 0700.
HOSTILE: dict[str, Callable[[str], list[Member]]] = {
    "cve_2014_6407_a_link_in_the_way": lambda host: [
        ("way", link(host)),
        ("way/planted", {"data": b"x"}),
    ],
    "cve_2014_6407_a_hard_link_to_the_hosts_file": lambda host: [
        ("way", link(host)),
        ("got", hard("way/secret")),
        ("got", {"data": b"x"}),
    ],
    "cve_2014_9356_an_absolute_or_upward_link": lambda host: [
        ("up", link("../../../../../../../../../../../../" + host)),
        ("up/planted", {"data": b"x"}),
    ],
    "cve_2018_15664_a_name_with_dots": lambda host: [("../host/planted", {"data": b"x"})],
    "cve_2021_32760_a_mode_through_a_link": lambda host: [("way", link(host)), ("way/secret", {"mode": 0o666})],
    "cve_2021_41089_a_directory_changes_the_mode": lambda host: [("way", link(host)), ("way", directory(0o777))],
    "cve_2019_10152_a_file_over_a_link": lambda host: [
        ("file", link(f"{host}/secret")),
        ("file", {"data": b"x"}),
    ],
}  # fmt: skip


def facts(host: Path) -> dict[str, tuple[int, str]]:
    """What must not change."""
    found = {".": (stat.S_IMODE(host.stat().st_mode), "")}
    for path in host.iterdir():
        found[path.name] = (stat.S_IMODE(path.stat().st_mode), path.read_text())
    return found


def naive(data: bytes, root: Path) -> None:
    """By path, one member after the other, as if nobody meant harm; what is there is opened, not replaced."""
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        for member in tar:
            path = root / member.name
            if member.issym():
                path.symlink_to(member.linkname)
            elif member.islnk():
                os.link(root / member.linkname, path)
            elif member.isdir():
                path.mkdir(exist_ok=True)
                path.chmod(member.mode)
            else:
                file = tar.extractfile(member)
                path.write_bytes(file.read() if file else b"")
                path.chmod(member.mode)


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("layer", [False, True])
def test_hostile_archives(name: str, layer: bool, tmp_path: Path) -> None:
    """And 2014-6408, 2014-9357, 2019-18466: no archive touches what is outside, chroot or not."""
    changed = []
    for safe in (False, True):
        place = tmp_path / f"{safe}"
        root, host = place / "root", place / "host"
        root.mkdir(parents=True)
        host.mkdir(mode=0o700)
        (host / "secret").write_text("the host's")
        (host / "secret").chmod(0o600)
        before = facts(host)
        data = tar_of(*HOSTILE[name](str(host)))
        if safe:
            feed(data, root, UntarOptions(whiteouts=layer))
        else:
            naive(data, root)
        changed.append(facts(host) != before)
    assert changed == [True, False]


def feed(data: bytes, root: Path, options: UntarOptions) -> None:
    with open(root.parent / "stream", "w+b") as stream:
        stream.write(data)
        stream.seek(0)
        try:
            untar(stream.fileno(), str(root), options)
        except BadArchive:
            return


async def ask(zygote: Zygote, message: dict[str, Any]) -> tuple[bytes, dict[str, Any]]:
    """A job of the tests: (what it wrote, its answer)."""
    drain, sink = os.pipe()
    try:
        reply = await zygote._ask(message, [sink])
    finally:
        os.close(sink)
    with open(drain, "rb") as pipe:
        data = await asyncio.wait_for(asyncio.to_thread(pipe.read), PATIENCE)
    answer, _ = await asyncio.wait_for(reply.facts(), PATIENCE)
    return data, answer


async def test_cve_2018_15664_a_link_swapped_during_docker_cp(
    cell: Cell, zygote: Zygote, tmp_path: Path
) -> None:
    """The path was checked, then a directory on the way becomes a link to the host's: it ends in the container."""
    (tmp_path / "host").mkdir()
    (tmp_path / "host/secret").write_text("the host's")
    message = {"path": "/way/secret", "replaced": "/way", "target": str(tmp_path / "host")}
    _, answer = await ask(zygote, {"job": "naive-get", "view": await sleeper(cell, zygote), **message})
    assert answer["read"] == "the host's"
    options = TarOptions(name="secret")._asdict()
    view = await sleeper(cell, zygote)
    with pytest.raises(KnarrError, match="no such file"):
        await ask(zygote, {"job": "swapped-get", "view": view, **message, "options": options})


async def sleeper(cell: Cell, zygote: Zygote) -> dict[str, Any]:
    """How a job sees a running container, which has some files."""
    order = cell.order("sleep", "1000")
    for name in ("way", "etc"):
        (cell.upper / name).mkdir()
    (cell.upper / "way/secret").write_text("the container's")
    os.mkfifo(cell.upper / "etc/fifo")
    os.mknod(cell.upper / "etc/device", 0o20666, os.makedev(1, 3))
    (cell.upper / "etc/endless").symlink_to("/dev/zero")
    (cell.upper / "etc/outside").symlink_to("/proc/1/root/etc/passwd")
    shim = await cell.launch(order)
    await shim.start()
    return zygote._view(RootView(pid=shim.pid))


async def test_a_number_that_is_the_hosts_is_no_container(zygote: Zygote) -> None:
    """A container ended, and a process of the host got its number: docker cp must not write to the host."""
    with pytest.raises(Conflict, match="not running"):
        await zygote.archive_stat(RootView(pid=os.getpid()), "/etc/passwd")


@pytest.mark.parametrize("path", ["/" + "../" * 30 + "{host}", "/way"])
async def test_cve_2022_23648_a_volume_is_filled_from_the_image_alone(
    cell: Cell, zygote: Zygote, tmp_path: Path, path: str
) -> None:
    """An image names a volume by a path that leads out, or through a link of its own."""
    own, volume = tmp_path / "host", tmp_path / "volume"
    own.mkdir()
    volume.mkdir()
    (own / "secret").write_text("the host's")
    order = cell.order("true")
    (cell.upper / "way").symlink_to(own)
    wanted = path.format(host=str(own).lstrip("/"))
    assert os.path.realpath(f"{cell.upper}{wanted}") == str(own), "by path it is the host's"
    kind, source, options = cell.root(order)
    await zygote.copy_up(RootView(mounts=(Mount(kind, source, tuple(options)),)), wanted, str(volume))
    assert os.listdir(volume) == []


async def test_special_files_of_a_container_do_not_stop_a_job(cell: Cell, zygote: Zygote) -> None:
    """CVE-2024-9676 (podman): /etc/passwd is a FIFO, a device, or a link to one; the reader must neither wait nor read on."""
    view = RootView(pid=(await sleeper(cell, zygote))["pid"])
    for name in ("fifo", "endless", "outside"):
        with pytest.raises(OSError, match=r"regular|symbolic|denied"):
            await asyncio.wait_for(zygote.read(view, f"/etc/{name}"), PATIENCE)


async def test_a_device_of_a_container_is_not_opened_by_a_job(
    cell: Cell, zygote: Zygote, tmp_path: Path
) -> None:
    """CAP_MKNOD is a default, and the jobs' control group is the host's: opening a watchdog's node would start it."""
    view = RootView(pid=(await sleeper(cell, zygote))["pid"])
    with pytest.raises(OSError, match="regular"):
        await ask(zygote, {"job": "naive-read", "view": zygote._view(view), "path": "/etc/device"})
    with pytest.raises(PermissionError):
        await zygote.read(view, "/etc/device")
    kind, source, options = cell.root(cell.order("true"))
    os.mkdir(cell.upper / "etc")
    os.mknod(cell.upper / "etc/device", 0o20666, os.makedev(1, 3))
    with pytest.raises(PermissionError):
        await zygote.read(RootView(mounts=(Mount(kind, source, tuple(options)),)), "/etc/device")


def test_cve_2014_9358_an_archive_of_images_names_files_of_the_host(knarrd: Knarrd, tmp_path: Path) -> None:
    """docker load: names in manifest.json, and links in the archive, are names inside the archive only."""
    secret = tmp_path / "secret.tar"
    secret.write_bytes(tar_of(("secret", {"data": b"the host's"})))
    outside = f"../../../../../../../../../../{secret}"
    assert os.path.exists(os.path.join(knarrd.data_root, outside)), "by path it is the host's"
    for layer, extra in ((outside, []), (str(secret), []), ("layer.tar", [("layer.tar", link(str(secret)))])):
        config = json.dumps(
            {
                "os": "linux",
                "architecture": "amd64",
                "rootfs": {"type": "layers", "diff_ids": ["sha256:" + "0" * 64]},
            }
        ).encode()
        manifest = json.dumps([{"Config": "c.json", "RepoTags": ["evil:1"], "Layers": [layer]}]).encode()
        data = tar_of(("c.json", {"data": config}), ("manifest.json", {"data": manifest}), *extra)
        done = knarrd.docker("load", data=data, check=False)
        assert done.returncode != 0 or "rror" in done.stdout + done.stderr
    assert "evil" not in knarrd.docker("images", "-a").stdout


def extended(size: int) -> bytes:
    """A compressed archive whose first member's attributes are `size` bytes of nothing."""
    header = tarfile.TarInfo("long")
    header.type, header.size = tarfile.XHDTYPE, size
    return gzip.compress(header.tobuf() + bytes(size) + tar_of(("file", {"data": b"x"})), 1)


def test_cve_2017_14992_an_archive_that_unfolds_in_memory(knarrd: Knarrd) -> None:
    """And 2023-25153 (containerd): a hundred kilobytes of gzip are a hundred megabytes of attributes."""
    with tarfile.open(fileobj=io.BytesIO(extended(2 << 20)), mode="r|gz") as naive:
        naive.next()
        assert naive.offset > 2 << 20, "it was read, whole"
    peak = Path(f"/proc/{knarrd.process.pid}/status")
    before = memory(peak)
    done = knarrd.docker("load", data=extended(100 << 20), check=False)
    assert "too long names or attributes" in done.stdout + done.stderr
    assert memory(peak) - before < 70 << 10, "in KiB: it was not"


def memory(status: Path) -> int:
    """The most that a process had."""
    (line,) = [line for line in status.read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1])


def test_cve_2014_5282_an_image_is_named_by_its_content(knarrd: Knarrd) -> None:
    """And 2014-8179: an archive cannot give its own content under another image's id."""
    config = json.dumps(
        {"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": []}}
    ).encode()
    false = "0" * 64
    manifest = json.dumps([{"Config": f"{false}.json", "RepoTags": ["forged:1"], "Layers": []}]).encode()
    knarrd.docker(
        "load",
        data=tar_of((f"{false}.json", {"data": config}), ("manifest.json", {"data": manifest})),
        check=False,
    )
    assert f"sha256:{false}" not in knarrd.docker("images", "-aq", "--no-trunc").stdout
    knarrd.docker("rmi", "forged:1", check=False)


def test_cve_2019_14271_docker_cp_runs_nothing_of_the_container(knarrd: Knarrd, tmp_path: Path) -> None:
    """Libraries, helpers and modules that an engine might load after it stepped in; and a link in each direction."""
    prefix = os.path.dirname(os.__file__)
    script = f"""
      mkdir -p {prefix}/encodings /lib/x86_64-linux-gnu /usr/bin /etc
      echo 'open("/executed", "w")' | tee {prefix}/sitecustomize.py {prefix}/encodings/idna.py {prefix}/tarfile.py >/dev/null
      for name in libnss_files.so.2 libgcc_s.so.1; do echo junk >/lib/x86_64-linux-gnu/$name; done
      for name in tar unpigz xz gzip; do printf '#!/bin/sh\\ntouch /executed' >/usr/bin/$name; chmod 755 /usr/bin/$name; done
      ln -s {tmp_path} /out; sleep 1000
    """
    knarrd.docker("run", "-d", "--name", "trap", "busybox", "sh", "-c", script)
    seen = ("exec", "trap", "test", "-L", "/out")
    host.wait_for(lambda: knarrd.docker(*seen, check=False).returncode == 0, "the trap is laid")
    (tmp_path / "in").write_text("in")
    knarrd.docker("cp", str(tmp_path / "in"), "trap:/tmp/in")
    knarrd.docker("cp", "trap:/tmp/in", str(tmp_path / "back"))
    done = knarrd.docker("cp", str(tmp_path / "in"), "trap:/out/planted", check=False)
    assert done.returncode != 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["back", "in"]
    assert knarrd.docker("exec", "trap", "ls", "/").stdout.split().count("executed") == 0


def test_a_socket_pair_does_not_keep_what_it_refuses() -> None:
    """A packet with too many descriptors is refused, and none of them stays open (exhaustion by a client)."""
    mine, theirs = socketpair()
    with mine, theirs, open(os.devnull) as null:
        before = len(os.listdir("/proc/self/fd"))
        socket.send_fds(theirs, [b"x"], [null.fileno()] * 40)
        with pytest.raises(OSError, match="too many"):
            recv_packet(mine)
        assert len(os.listdir("/proc/self/fd")) == before
