"""What knarr's command line reads and writes with docker: settings, contexts, credentials; plugins, ssh, and whom it asks."""

import base64
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemons import BIN, CLIENTS, Daemon, Knarrd
from tests.support.registries import knarr_registry
from tests.support.terminal import Terminal


class Shell:
    """knarr and docker with settings of one's own; their daemon is found as `env` says."""

    def __init__(self, daemon: Knarrd, directory: Path):
        self.daemon, self.directory = daemon, directory
        self.env = {**daemon.environment(), "DOCKER_CONFIG": str(directory)}

    def settings(self, **values: object) -> None:
        """Writes config.json."""
        (self.directory / "config.json").write_text(json.dumps(values))

    def run(self, *words: str, data: str | None = None) -> subprocess.CompletedProcess[str]:
        """Either program."""
        program = {"knarr": str(BIN / "knarr")}.get(words[0], words[0])
        argv = [program, *words[1:]]
        return subprocess.run(
            argv, env=self.env, input=data, capture_output=True, text=True, timeout=100, check=False
        )


@pytest.fixture
def shell(daemon: Daemon, tmp_path: Path) -> Shell:
    """With an empty directory of settings."""
    if not isinstance(daemon, Knarrd):
        pytest.skip("knarr's own command line talks to knarrd")
    (tmp_path / "config").mkdir()
    return Shell(daemon, tmp_path / "config")


def test_formats_of_the_settings(shell: Shell) -> None:
    shell.settings(
        psFormat="{{.Names}}!",
        imagesFormat="{{.Repository}}!",
        networksFormat="{{.Name}}!",
        volumesFormat="{{.Name}}!",
    )
    shell.daemon.docker("create", "--name", "box", "busybox")
    shell.daemon.docker("volume", "create", "kept")
    for words in (("ps", "-a"), ("images",), ("network", "ls"), ("volume", "ls"), ("ps", "-aq")):
        theirs, ours = shell.run("docker", *words), shell.run("knarr", *words)
        assert (ours.stdout, ours.returncode) == (theirs.stdout, 0)
    assert shell.run("knarr", "--config", "/nowhere", "ps", "-a").stdout.startswith("CONTAINER ID")
    shell.daemon.docker("volume", "rm", "kept")


def test_proxies_of_the_settings(shell: Shell) -> None:
    shell.settings(proxies={"default": {"httpProxy": "http://p:1", "noProxy": "a"}})
    words = ("run", "--rm", "-e", "no_proxy=mine", "busybox", "env")
    theirs, ours = (sorted(shell.run(each, *words).stdout.splitlines()) for each in ("docker", "knarr"))
    wanted = {"HTTP_PROXY=http://p:1", "http_proxy=http://p:1", "NO_PROXY=a", "no_proxy=mine"}
    assert wanted <= set(ours)
    assert [line for line in ours if "HOSTNAME" not in line] == [
        line for line in theirs if "HOSTNAME" not in line
    ]


def test_detach_keys_of_the_settings(shell: Shell) -> None:
    shell.settings(detachKeys="ctrl-a,x")
    argv = [str(BIN / "knarr"), "run", "-it", "--name", "kept", "busybox", "sh"]
    with Terminal(argv, shell.env) as terminal:
        terminal.expect("/ # ")
        terminal.type("\x01x")
        assert terminal.wait() == 0
    assert shell.daemon.inspect("kept")["State"]["Running"] is True


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a knarr-registry of its own."""
    with knarr_registry(tmp_path_factory.mktemp("registry")) as port:
        yield f"127.0.0.1:{port}"


def test_credentials_in_the_settings(shell: Shell, registry: str) -> None:
    shell.settings(psFormat="kept")
    done = shell.run("knarr", "login", "-u", "me", "--password-stdin", registry, data="secret\n")
    assert done.stdout == "Login Succeeded\n"
    assert "unencrypted" in done.stderr
    value = json.loads((shell.directory / "config.json").read_text())
    assert value["psFormat"] == "kept"
    assert base64.b64decode(value["auths"][registry]["auth"]) == b"me:secret"
    done = shell.run("knarr", "logout", registry)
    assert done.stdout == f"Removing login credentials for {registry}\n"
    assert json.loads((shell.directory / "config.json").read_text())["auths"] == {}


def test_credentials_in_a_helper(shell: Shell, registry: str, tmp_path: Path) -> None:
    helper = tmp_path / "bin" / "docker-credential-file"
    helper.parent.mkdir()
    kept = tmp_path / "kept"
    helper.write_text(
        f"#!/bin/sh\ncase $1 in store) cat > {kept} ;; get) cat {kept} 2>/dev/null ;; erase) rm -f {kept} ;; esac\n"
    )
    helper.chmod(0o755)
    shell.env["PATH"] = f"{helper.parent}:{shell.env['PATH']}"
    shell.settings(credHelpers={registry: "file"})
    assert shell.run("knarr", "login", "-u", "me", "-p", "secret", registry).stdout == "Login Succeeded\n"
    assert json.loads(kept.read_text()) == {"ServerURL": registry, "Username": "me", "Secret": "secret"}
    again = shell.run("knarr", "login", registry)
    assert (again.stdout, again.returncode) == ("Login Succeeded\n", 0)
    assert "existing credentials" in again.stderr
    shell.run("knarr", "logout", registry)
    assert not kept.exists()


def test_contexts_are_shared_with_docker(shell: Shell, tmp_path: Path) -> None:
    host = shell.env.pop("DOCKER_HOST")
    made = shell.run(
        "knarr", "context", "create", "here", "--description", "Ours", "--docker", f"host={host}"
    )
    assert (made.stdout, made.stderr) == ("here\n", 'Successfully created context "here"\n')
    assert shell.run("docker", "-c", "here", "ps", "-q").returncode == 0
    shell.run("docker", "context", "create", "theirs", "--docker", f"host={host}")
    shell.run("docker", "context", "use", "theirs")
    assert shell.run("knarr", "context", "show").stdout == "theirs\n"
    assert shell.run("knarr", "ps", "-q").returncode == 0
    assert shell.run("knarr", "context", "use", "here").stdout == "here\n"
    for words in (
        ("context", "ls"),
        ("context", "ls", "-q"),
        ("context", "inspect"),
        ("context", "ls", "--format", "json"),
    ):
        theirs, ours = (shell.run(each, *words).stdout for each in ("docker", "knarr"))
        theirs = theirs.replace("unix:///var/run/docker.sock", "unix:///run/knarr/knarr.sock")
        assert ours.split() == theirs.split(), words
    archive = str(tmp_path / "moved.tar")
    assert shell.run("knarr", "context", "export", "here", archive).returncode == 0
    assert shell.run("docker", "context", "import", "moved", archive).returncode == 0
    assert shell.run("knarr", "context", "update", "moved", "--description", "Moved").returncode == 0
    assert "Moved" in shell.run("docker", "context", "inspect", "moved").stdout
    assert "is in use" in shell.run("knarr", "context", "rm", "here").stderr
    assert shell.run("knarr", "context", "rm", "-f", "here", "moved", "theirs").returncode == 0
    assert shell.run("docker", "context", "ls", "-q").stdout == "default\n"


def test_a_context_with_certificates(shell: Shell, tmp_path: Path) -> None:
    for name in ("ca", "cert", "key"):
        (tmp_path / name).write_text(name)
    words = ",".join(f"{name}={tmp_path / name}" for name in ("ca", "cert", "key"))
    shell.run("knarr", "context", "create", "safe", "--docker", f"host=tcp://127.0.0.1:1,{words}")
    shell.run("knarr", "context", "create", "copy", "--from", "safe")
    for name in ("safe", "copy"):
        value = json.loads(shell.run("docker", "context", "inspect", name).stdout)[0]
        assert sorted(value["TLSMaterial"]["docker"]) == ["ca.pem", "cert.pem", "key.pem"]


def test_plugins_find_the_daemon(shell: Shell) -> None:
    (shell.directory / "cli-plugins").symlink_to(CLIENTS / "usr/libexec/docker/cli-plugins")
    own = shell.env.pop("DOCKER_HOST")
    assert shell.run("knarr", "compose", "version").stdout.startswith("Docker Compose version")
    shell.run("knarr", "context", "create", "here", "--docker", f"host={own}")
    shell.run("knarr", "context", "use", "here")
    listed = shell.run("knarr", "compose", "ls", "-q")
    assert (listed.stdout, listed.stderr, listed.returncode) == ("", "", 0)
    assert "docker-buildx" not in shell.run("knarr", "buildx", "version").stderr
    probe = shell.directory / "probe"
    probe.mkdir()
    (probe / "docker-probe").write_text('#!/bin/sh\necho "$@" "$DOCKER_CLI_PLUGIN_ORIGINAL_CLI_COMMAND"\n')
    (probe / "docker-probe").chmod(0o755)
    shell.settings(cliPluginsExtraDirs=[str(probe)])
    assert shell.run("knarr", "-D", "probe", "one", "--two").stdout == f"-D probe one --two {BIN / 'knarr'}\n"


def test_ssh(shell: Shell, tmp_path: Path) -> None:
    """The program called ssh is ours here: it takes its options, and runs what it was to run over there."""
    program = tmp_path / "bin" / "ssh"
    program.parent.mkdir()
    said = tmp_path / "said"
    program.write_text(
        f'#!/bin/sh\necho "$@" >> {said}\nwhile [ "$1" != -- ]; do shift; done; shift 2\nunset DOCKER_HOST\neval "exec $*"\n'
    )
    program.chmod(0o755)
    socket = shell.env["DOCKER_HOST"].removeprefix("unix://")
    shell.env["PATH"] = f"{program.parent}:{BIN}:{shell.env['PATH']}"
    shell.env["DOCKER_HOST"] = f"ssh://me@there:2222{socket}"
    assert shell.run("knarr", "run", "-i", "--rm", "busybox", "cat", data="through\n").stdout == "through\n"
    assert "-l me -p 2222 -- there" in said.read_text()


def test_a_headers_of_the_settings_and_a_socket_for_inside(shell: Shell) -> None:
    shell.settings(HttpHeaders={"X-Meta": "mine"})
    done = shell.run("knarr", "create", "--use-api-socket", "--name", "box", "busybox")
    assert done.returncode == 0, done.stderr
    mount = shell.daemon.inspect("box")["HostConfig"]["Mounts"][0]
    assert (mount["Source"], mount["Target"]) == (str(shell.daemon.socket), "/var/run/docker.sock")


def test_update_and_prune(shell: Shell) -> None:
    shell.run("knarr", "run", "-d", "--name", "box", "busybox", "sleep", "1000")
    assert (
        shell.run("knarr", "update", "--cpu-shares", "512", "--restart", "on-failure:2", "box").stdout
        == "box\n"
    )
    value = shell.daemon.inspect("box")["HostConfig"]
    assert (value["CpuShares"], value["RestartPolicy"]["MaximumRetryCount"]) == (512, 2)
    shell.run("knarr", "create", "--name", "idle", "busybox")
    asked = shell.run("knarr", "container", "prune", data="n\n")
    assert (asked.returncode, "Deleted" in asked.stdout) == (0, False)
    done = shell.run("knarr", "system", "prune", "-f")
    assert done.stdout.startswith("Deleted Containers:\n")
    assert "Total reclaimed space: " in done.stdout
    assert shell.run("knarr", "ps", "-aq").stdout.count("\n") == 1


def test_completion_knows_every_verb(shell: Shell) -> None:
    for name in ("bash", "zsh", "fish"):
        text = shell.run("knarr", "completion", name).stdout
        assert all(word in text for word in ("context", "publish-add", "prune", "login", "compose"))
    script = 'source <(knarr completion bash); COMP_WORDS=(knarr network cr); COMP_CWORD=2; _knarr; echo "${COMPREPLY[@]}"'
    env = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", script], env=env, capture_output=True, text=True, check=True)
    assert done.stdout == "create\n"
