"""Real daemons for tests and benchmarks: knarrd, and dockerd with its own containerd, each on its own everything.

Each gets its own data root, exec root, bridge, subnet and socket below one directory, and is ended by its pid.
"""

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from knarr.engine.paths import Paths
from tests.support import host

REPOSITORY = Path(__file__).resolve().parents[2]
CLIENTS = REPOSITORY / ".cache" / "clients"
PEERS = REPOSITORY / ".cache" / "peers"
BIN = Path(sys.executable).parent


class Daemon:
    """What knarrd and dockerd have in common: a directory, a socket, a log, and the docker CLI pointed at it."""

    name = ""

    def __init__(
        self,
        bridge: str,
        subnet: str,
        *,
        root: Path | None = None,
        state: Path | None = None,
        options: Sequence[str] = (),
    ):
        self.root = root or Path(tempfile.mkdtemp(prefix=f"{self.name}-test-"))
        self.state = state or self.root
        self.bridge, self.subnet, self.options = bridge, subnet, tuple(options)
        self.data_root = self.root / "data"
        self.exec_root = self.state / "exec"
        self.socket = self.root / "daemon.sock"
        self.log = self.root / "daemon.log"
        self._processes: list[subprocess.Popen[bytes]] = []

    @property
    def gateway(self) -> str:
        """The bridge's address: the subnet's first."""
        return self.subnet.rpartition("/")[0].rpartition(".")[0] + ".1"

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The daemon's process: the one started last."""
        return self._processes[-1]

    @property
    def pids(self) -> set[int]:
        """The daemon's processes and everything that descends from them."""
        own = {process.pid for process in self._processes if process.poll() is None}
        return own.union(*(host.descendants(pid) for pid in own))

    def commands(self) -> list[tuple[list[str], dict[str, str]]]:
        """The programs to start, in order, each with its environment."""
        raise NotImplementedError

    def start(self) -> None:
        """Starts it and waits until it answers a ping."""
        self.begin()
        self._wait_until_it_answers()

    def begin(self) -> None:
        """Starts it, and waits for nothing."""
        for argv, env in self.commands():
            self._processes.append(self._spawn(argv, env))

    def _spawn(self, argv: list[str], env: Mapping[str, str]) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            return subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env, start_new_session=True
            )

    def _wait_until_it_answers(self, seconds: float = 90) -> None:
        deadline = time.monotonic() + seconds
        while self.docker("version", "--format", "{{.Server.Version}}", check=False).returncode != 0:
            died = [p for p in self._processes if p.poll() is not None]
            if died or time.monotonic() > deadline:
                tail = self.log.read_text(errors="replace")[-3000:]
                raise AssertionError(
                    f"{self.name} does not answer (exited: {[p.returncode for p in died]}):\n{tail}"
                )
            time.sleep(0.05)

    def stop(self, seconds: float = 60) -> None:
        """SIGTERM, and SIGKILL for what does not end; newest process first."""
        for process in reversed(self._processes):
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(seconds)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
        self._processes.clear()

    def environment(self) -> dict[str, str]:
        """The environment in which `docker` is the unmodified client and talks to this daemon."""
        config = self.root / "docker-config"
        if not config.exists():
            config.mkdir(parents=True)
            plugins = CLIENTS / "usr/libexec/docker/cli-plugins"
            if plugins.exists():
                (config / "cli-plugins").symlink_to(plugins)
        return {
            **os.environ,
            "PATH": f"{CLIENTS / 'usr/bin'}:{os.environ['PATH']}",
            "DOCKER_HOST": f"unix://{self.socket}",
            "DOCKER_CONFIG": str(config),
        }

    def docker(
        self,
        *arguments: str,
        check: bool = True,
        data: bytes | None = None,
        timeout: float = 100,
    ) -> subprocess.CompletedProcess[str]:
        """Runs the docker CLI; with `check` a failure shows what it printed."""
        done = subprocess.run(
            ["docker", *arguments],
            env=self.environment(),
            input=data,
            capture_output=True,
            timeout=timeout,
            check=False,
        )
        text = subprocess.CompletedProcess(
            done.args,
            done.returncode,
            done.stdout.decode(errors="replace"),
            done.stderr.decode(errors="replace"),
        )
        if check and text.returncode != 0:
            raise AssertionError(
                f"docker {' '.join(arguments)} exited {text.returncode}\n{text.stdout}\n{text.stderr}"
            )
        return text

    def open(
        self, *arguments: str, stdin: int | IO[bytes] | None = subprocess.PIPE
    ) -> subprocess.Popen[bytes]:
        """Starts the docker CLI with pipes; the caller ends it."""
        return subprocess.Popen(
            ["docker", *arguments],
            env=self.environment(),
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def give_busybox(self, tar: Path) -> None:
        """Imports a tar of `busybox_tar` as `busybox:latest`."""
        changes = ("--change", 'CMD ["sh"]', "--change", "ENV PATH=/bin:/usr/bin")
        self.docker("import", *changes, str(tar), "busybox:latest")

    def inspect(self, name: str) -> dict[str, Any]:
        """`docker inspect NAME`, parsed."""
        value: dict[str, Any] = json.loads(self.docker("inspect", name).stdout)[0]
        return value

    def api(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """One request to the Engine API; the status and the body's JSON (None without a body)."""
        connection = http.client.HTTPConnection("localhost", timeout=60)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(str(self.socket))
        with contextlib.closing(connection):
            headers = {"Content-Type": "application/json"} if body is not None else {}
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            data = answer.read()
            return answer.status, json.loads(data) if data else None

    def remove_containers(self) -> None:
        """Removes every container, so that a test begins with none."""
        ids = self.docker("ps", "-aq").stdout.split()
        if ids:
            self.docker("rm", "-f", "-v", *ids)

    def close(self) -> None:
        """Removes every container, stops the daemon, takes its bridge and its directory away."""
        with contextlib.suppress(AssertionError, subprocess.TimeoutExpired):
            if self._processes and self.process.poll() is None:
                self.remove_containers()
        self.stop()
        subprocess.run(["ip", "link", "delete", self.bridge], check=False, capture_output=True)
        for point in sorted(host.mounts([str(self.root), str(self.state)]), reverse=True):
            subprocess.run(["umount", "-l", point], check=False, capture_output=True)
        shutil.rmtree(self.state, ignore_errors=True)
        shutil.rmtree(self.root, ignore_errors=True)


class Knarrd(Daemon):
    """knarrd of this tree."""

    name = "knarrd"

    def commands(self) -> list[tuple[list[str], dict[str, str]]]:
        argv = [str(BIN / "knarrd"), "-H", f"unix://{self.socket}", "--data-root", str(self.data_root)]
        argv += ["--exec-root", str(self.exec_root), "--bridge", self.bridge]
        argv += ["--bip", f"{self.gateway}/{self.subnet.rpartition('/')[2]}", *self.options]
        return [(argv, dict(os.environ))]

    def knarr(
        self,
        *arguments: str,
        check: bool = True,
        data: bytes | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Runs this tree's own command line against the daemon."""
        done = subprocess.run(
            [str(BIN / "knarr"), *arguments],
            env=self.environment(),
            input=data,
            capture_output=True,
            timeout=100,
            check=False,
        )
        text = subprocess.CompletedProcess(
            done.args,
            done.returncode,
            done.stdout.decode(errors="replace"),
            done.stderr.decode(errors="replace"),
        )
        if check and text.returncode != 0:
            raise AssertionError(
                f"knarr {' '.join(arguments)} exited {text.returncode}\n{text.stdout}\n{text.stderr}"
            )
        return text

    def close(self) -> None:
        """As every daemon, and without its tables in the firewall and the parent of its cgroups."""
        super().close()
        for family in ("ip", "ip6"):
            host.nft("delete", "table", family, f"knarr-{self.bridge}")
        parent = Paths.of(str(self.data_root), str(self.exec_root)).cgroup
        for directory in Path("/sys/fs/cgroup").glob(f"*{parent}"):
            directory.rmdir()

    def kill(self) -> None:
        """SIGKILL: as a crash does it. Containers go on."""
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self._processes.clear()


class Dockerd(Daemon):
    """dockerd with its own containerd, from Debian's packages: the peer."""

    name = "dockerd"

    def start(self) -> None:
        """As every daemon; the firewall's tables are remembered, because dockerd leaves its own behind."""
        self._tables = host.nft("list", "tables").splitlines()
        super().start()

    def close(self) -> None:
        """As every daemon, and without the tables that appeared meanwhile."""
        super().close()
        for table in host.nft("list", "tables").splitlines():
            if table not in self._tables and "knarr" not in table:
                host.nft("delete", *table.split())

    def commands(self) -> list[tuple[list[str], dict[str, str]]]:
        self.data_root.mkdir(parents=True, exist_ok=True)
        env = {**os.environ, "PATH": f"{PEERS / 'usr/bin'}:{PEERS / 'usr/sbin'}:{os.environ['PATH']}"}
        containerd_socket = self.root / "containerd.sock"
        containerd = [
            "containerd",
            "--root",
            str(self.root / "containerd"),
            "--state",
            str(self.state / "containerd-state"),
        ]
        containerd += ["--address", str(containerd_socket), "--config", os.devnull, "--log-level", "warn"]
        self._make_bridge()
        dockerd = [
            "dockerd",
            "-H",
            f"unix://{self.socket}",
            "--data-root",
            str(self.data_root),
            "--exec-root",
            str(self.exec_root),
        ]
        dockerd += [
            "--pidfile",
            str(self.root / "dockerd.pid"),
            "--bridge",
            self.bridge,
            "--containerd",
            str(containerd_socket),
        ]
        dockerd += ["--log-level", "warn", "--config-file", str(self._config()), *self.options]
        return [(containerd, env), (dockerd, env)]

    def _config(self) -> Path:
        path = self.root / "daemon.json"
        path.write_text(json.dumps({"init-path": "/usr/bin/tini-static"}))
        return path

    def _make_bridge(self) -> None:
        """dockerd takes a bridge by name only if it is there."""
        if self.bridge in host.links():
            return
        prefix = self.subnet.rpartition("/")[2]
        for words in (
            ["link", "add", self.bridge, "type", "bridge"],
            ["addr", "add", f"{self.gateway}/{prefix}", "dev", self.bridge],
        ):
            subprocess.run(["ip", *words], check=True)
        subprocess.run(["ip", "link", "set", self.bridge, "up"], check=True)


def busybox_tar(directory: Path) -> Path:
    """A root file system of Debian's static busybox as a tar file: what `docker import` takes."""
    tree = directory / "busybox"
    for name in ("bin", "dev", "etc", "proc", "root", "sys", "tmp", "usr/bin", "var/www"):
        (tree / name).mkdir(parents=True, exist_ok=True)
    (tree / "tmp").chmod(0o1777)
    shutil.copy("/bin/busybox", tree / "bin/busybox")
    applets = subprocess.run(
        ["/bin/busybox", "--list"], check=True, capture_output=True, text=True
    ).stdout.split()
    for applet in applets:
        if applet != "busybox":
            (tree / "bin" / applet).symlink_to("busybox")
    (tree / "etc/passwd").write_text(
        "root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1::/:/bin/false\nnobody:x:65534:65534::/:/bin/false\n"
    )
    (tree / "etc/group").write_text("root:x:0:\ndaemon:x:1:\naudio:x:29:daemon\nnogroup:x:65534:\n")
    path = directory / "busybox.tar"
    subprocess.run(
        ["tar", "-C", str(tree), "--numeric-owner", "--owner=0", "--group=0", "-cf", str(path), "."],
        check=True,
    )
    shutil.rmtree(tree)
    return path
