"""`docker commit`: what a container changed, as an image of its own."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.daemons import Daemon


@pytest.fixture
def made(daemon: Daemon) -> Iterator[str]:
    """A name for the new image, which is removed afterwards."""
    yield "committed:1"
    daemon.remove_containers()
    daemon.docker("rmi", "-f", "committed:1", check=False)


def _image(daemon: Daemon, name: str) -> dict[str, Any]:
    (value,) = json.loads(daemon.docker("image", "inspect", name).stdout)
    assert isinstance(value, dict)
    return value


def _run(daemon: Daemon, image: str, script: str) -> str:
    return daemon.docker("run", "--rm", image, "sh", "-c", script).stdout


def test_what_changed_is_in_the_image(daemon: Daemon, made: str) -> None:
    script = (
        "echo new > /new; rm /etc/passwd; echo more >> /etc/group; mkdir -p /deep/er; ln -s /new /link; "
        "chmod 700 /root; chown 5:6 /new; rm -r /var/www; mkdir /var/www; echo fresh > /var/www/page"
    )
    daemon.docker("run", "--name", "box", "busybox", "sh", "-c", script)
    identity = daemon.docker("commit", "box", made).stdout.strip()
    assert _image(daemon, made)["Id"] == identity
    seen = _run(
        daemon,
        made,
        "cat /new; stat -c '%u:%g' /new; ls /etc/passwd 2>&1; tail -1 /etc/group; readlink /link; stat -c %a /root; "
        "ls /var/www; ls -d /deep/er",
    )
    assert seen.splitlines() == [
        "new",
        "5:6",
        "ls: /etc/passwd: No such file or directory",
        "more",
        "/new",
        "700",
        "page",
        "/deep/er",
    ]


def test_layers_are_shared_and_one_is_added(daemon: Daemon, made: str) -> None:
    daemon.docker("run", "--name", "box", "busybox", "touch", "/x")
    daemon.docker("commit", "-a", "A. Uthor", "-m", "a message", "box", made)
    base, new = _image(daemon, "busybox"), _image(daemon, made)
    assert new["RootFS"]["Layers"][:-1] == base["RootFS"]["Layers"]
    assert (new["Author"], new["Comment"]) == ("A. Uthor", "a message")
    assert (new["Os"], new["Architecture"]) == (base["Os"], base["Architecture"])
    history = daemon.docker("history", "--format", "{{.CreatedBy}}|{{.Comment}}", made).stdout
    assert history.splitlines()[0] == "touch /x|a message"
    assert len(history.splitlines()) == 2


def test_the_files_of_the_engine_stay_outside(daemon: Daemon, made: str) -> None:
    daemon.docker("run", "--name", "box", "--hostname", "inner", "busybox", "touch", "/x")
    daemon.docker("commit", "box", made)
    assert _run(daemon, made, "cat /etc/hostname") != "inner\n"
    daemon.docker("create", "--name", "other", made)
    tar = daemon.docker("export", "other").stdout
    assert "inner" not in tar


def test_configuration_of_the_container(daemon: Daemon, made: str) -> None:
    flags = ("-e", "A=1", "-w", "/tmp", "-u", "daemon", "--label", "l=v", "--entrypoint", "echo")
    daemon.docker("create", "--name", "box", *flags, "--expose", "99", "-v", "/data", "busybox", "hi")
    daemon.docker("commit", "box", made)
    config = _image(daemon, made)["Config"]
    assert config["Entrypoint"] == ["echo"]
    assert config["Cmd"] == ["hi"]
    assert "A=1" in config["Env"]
    assert (config["WorkingDir"], config["User"]) == ("/tmp", "daemon")
    assert config["Labels"]["l"] == "v"
    assert config["ExposedPorts"] == {"99/tcp": {}}
    assert config["Volumes"] == {"/data": {}}
    assert daemon.docker("run", "--rm", made).stdout == "hi\n"


def test_changes(daemon: Daemon, made: str) -> None:
    daemon.docker("create", "--name", "box", "-e", "A=1", "busybox", "true")
    changes = (
        'CMD ["echo", "changed"]',
        "ENV B=$A-2",
        "LABEL x=y",
        "USER 7:8",
        "EXPOSE 80/udp",
        "WORKDIR /srv",
    )
    daemon.docker("commit", *(word for change in changes for word in ("-c", change)), "box", made)
    config = _image(daemon, made)["Config"]
    assert config["Cmd"] == ["echo", "changed"]
    assert "B=1-2" in config["Env"]
    assert config["Labels"] == {"x": "y"}
    assert (config["User"], config["WorkingDir"]) == ("7:8", "/srv")
    assert config["ExposedPorts"] == {"80/udp": {}}
    assert daemon.docker("run", "--rm", made).stdout == "changed\n"


def test_a_running_container_goes_on(daemon: Daemon, made: str) -> None:
    daemon.docker("run", "-d", "--name", "box", "busybox", "sh", "-c", "echo 1 > /x; exec sleep 1000")
    daemon.docker("exec", "box", "sh", "-c", "until [ -s /x ]; do :; done")
    daemon.docker("commit", "box", made)
    assert daemon.docker("inspect", "-f", "{{.State.Status}}", "box").stdout == "running\n"
    assert _run(daemon, made, "cat /x") == "1\n"


def test_without_a_name(daemon: Daemon) -> None:
    daemon.docker("create", "--name", "box", "busybox", "true")
    identity = daemon.docker("commit", "box").stdout.strip()
    assert identity.startswith("sha256:")
    assert _image(daemon, identity)["RepoTags"] == []
    daemon.docker("rmi", identity)


def test_on_what_was_committed(daemon: Daemon, made: str) -> None:
    daemon.docker("run", "--name", "one", "busybox", "touch", "/one")
    daemon.docker("commit", "one", made)
    daemon.docker("run", "--name", "two", made, "touch", "/two")
    daemon.docker("commit", "two", made)
    assert _run(daemon, made, "ls /one /two") == "/one\n/two\n"
    assert len(_image(daemon, made)["RootFS"]["Layers"]) == 3


def test_saved_and_loaded(daemon: Daemon, made: str, tmp_path: Any) -> None:
    daemon.docker("run", "--name", "box", "busybox", "sh", "-c", "echo kept > /kept; rm /etc/group")
    daemon.docker("commit", "box", made)
    file = tmp_path / "image.tar"
    daemon.docker("save", "-o", str(file), made)
    daemon.remove_containers()
    daemon.docker("rmi", made)
    daemon.docker("load", "-i", str(file))
    assert _run(daemon, made, "cat /kept; test -e /etc/group || echo gone") == "kept\ngone\n"


def test_events(daemon: Daemon, made: str) -> None:
    before = daemon.docker("info", "--format", "{{.SystemTime}}").stdout.strip()
    box = daemon.docker("run", "-d", "--name", "box", "busybox", "sleep", "1000").stdout.strip()
    identity = daemon.docker("commit", "-m", "why", "box", made).stdout.strip()
    until = daemon.docker("info", "--format", "{{.SystemTime}}").stdout.strip()
    lines = daemon.docker("events", "--since", before, "--until", until, "--format", "{{json .}}").stdout
    found = [json.loads(line) for line in lines.splitlines()]
    told = ("pause", "unpause", "commit", "tag")
    actions = [(each["Type"], each["Action"]) for each in found if each["Action"] in told]
    assert actions == [
        ("container", "pause"),
        ("image", "tag"),
        ("container", "commit"),
        ("container", "unpause"),
    ]
    (commit,) = [each for each in found if each["Action"] == "commit"]
    attributes = commit["Actor"]["Attributes"]
    assert commit["Actor"]["ID"] == box
    assert (attributes["comment"], attributes["imageID"], attributes["imageRef"]) == (
        "why",
        identity,
        made,
    )


def test_an_unknown_container(daemon: Daemon) -> None:
    done = daemon.docker("commit", "nothing-like-that", check=False)
    assert done.returncode == 1
    assert "No such container: nothing-like-that" in done.stderr


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("FROM x", "FROM is not a valid change command"),
        ("NONSENSE x", "NONSENSE is not a valid change command"),
    ],
)
def test_a_bad_change(daemon: Daemon, change: str, words: str) -> None:
    daemon.docker("create", "--name", "box", "busybox", "true")
    done = daemon.docker("commit", "-c", change, "box", check=False)
    assert done.returncode == 1
    assert words in done.stderr
