"""knarrd is killed while a server serves: it goes on serving, and the next knarrd can do everything with it."""

import http.client
import json
import os
import re
import signal

from tests.support import host
from tests.support.daemons import Knarrd
from tests.support.remains import remains

SERVE = "echo first; echo page > /var/www/index.html; exec httpd -f -p 80 -h /var/www"


def page(port: int) -> str:
    """What the server gives; empty while it does not."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", "/index.html")
        return connection.getresponse().read().decode()
    except (ConnectionError, http.client.HTTPException):
        return ""
    finally:
        connection.close()


def serve(daemon: Knarrd, name: str) -> int:
    """A container with a server; its port on the host."""
    daemon.docker("run", "-d", "--name", name, "-p", "127.0.0.1::80", "busybox", "sh", "-c", SERVE)
    port = published(daemon, name)
    host.wait_for(lambda: page(port) == "page\n", "the server answers")
    return port


def published(daemon: Knarrd, name: str) -> int:
    """The host's port of the container's port 80."""
    text = daemon.docker("port", name, "80").stdout
    found = re.fullmatch(r"127\.0\.0\.1:(\d+)", text.strip())
    assert found, text
    return int(found[1])


def test_a_server_outlives_the_daemon_and_is_taken_up_again(daemon: Knarrd) -> None:
    port = serve(daemon, "web")
    pid = json.loads(daemon.docker("inspect", "-f", "{{json .State.Pid}}", "web").stdout)
    daemon.kill()
    assert [page(port) for _ in range(5)] == ["page\n"] * 5

    daemon.start()
    assert page(port) == "page\n"
    assert published(daemon, "web") == port
    assert daemon.docker("ps", "--format", "{{.Names}} {{.State}}").stdout == "web running\n"
    assert json.loads(daemon.docker("inspect", "-f", "{{json .State.Pid}}", "web").stdout) == pid
    assert daemon.docker("exec", "web", "cat", "/var/www/index.html").stdout == "page\n"
    daemon.docker("exec", "web", "sh", "-c", "echo second > /proc/1/fd/1")
    host.wait_for(lambda: daemon.docker("logs", "web").stdout == "first\nsecond\n", "the log goes on")
    other = serve(daemon, "other")
    assert other != port
    assert page(port) == "page\n"

    daemon.docker("stop", "-t", "0", "web")
    assert page(port) == ""
    assert daemon.docker("ps", "-a", "--format", "{{.Names}} {{.State}}").stdout.splitlines() == [
        "other running",
        "web exited",
    ]
    daemon.docker("rm", "web")
    daemon.docker("rm", "-f", "other")
    host.settle(lambda: remains(daemon))


def test_what_ends_while_no_daemon_runs_has_its_exit_code(daemon: Knarrd) -> None:
    script = "trap 'exit 7' TERM; echo ready; while :; do sleep 0.05; done"
    daemon.docker("run", "-d", "--name", "brief", "busybox", "sh", "-c", script)
    host.wait_for(lambda: daemon.docker("logs", "brief").stdout == "ready\n", "the trap is set")
    pid = int(daemon.docker("inspect", "-f", "{{.State.Pid}}", "brief").stdout)
    daemon.kill()
    os.kill(pid, signal.SIGTERM)
    host.wait_for(lambda: pid not in host.processes(), "the container ends")
    daemon.start()
    assert daemon.docker("wait", "brief").stdout == "7\n"
    assert daemon.docker("inspect", "-f", "{{.State.Status}}", "brief").stdout == "exited\n"
    daemon.docker("rm", "brief")
    host.settle(lambda: remains(daemon))


def test_a_stopped_daemon_leaves_containers_running(daemon: Knarrd) -> None:
    port = serve(daemon, "web")
    daemon.stop()
    assert page(port) == "page\n"
    daemon.start()
    assert daemon.docker("ps", "--format", "{{.Names}}").stdout == "web\n"
    daemon.docker("rm", "-f", "web")
    host.settle(lambda: remains(daemon))


def test_an_exec_is_taken_up_again_with_its_command(daemon: Knarrd) -> None:
    daemon.docker("run", "-d", "--name", "box", "busybox", "sleep", "999")
    daemon.docker("exec", "-d", "box", "sleep", "998")
    daemon.kill()
    daemon.start()
    (made,) = daemon.inspect("box")["ExecIDs"]
    found = daemon.api("GET", f"/exec/{made}/json")[1]
    assert found["Running"]
    process = found["ProcessConfig"]
    assert [process["entrypoint"], *process["arguments"]] == ["sleep", "998"]
