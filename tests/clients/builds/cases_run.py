"""RUN: how a command is started, what it sees, what it leaves."""

from tests.clients.builds.case import Case


def _run(
    name: str,
    *lines: str,
    files: dict[str, str] | None = None,
    args: tuple[str, ...] = (),
    output: bool = True,
) -> Case:
    return Case(f"run/{name}", "\n".join(("FROM busybox", *lines)) + "\n", files or {}, args, output)


CASES = (
    _run("shell", "RUN echo $0 > /x"),
    _run("exec", 'RUN ["/bin/sh", "-c", "echo $0 a > /x"]'),
    _run("heredoc", "RUN <<EOF", "echo one > /x", "echo two >> /x", "EOF"),
    _run("heredoc-shebang", "RUN <<EOF", "#!/bin/sh -e", "echo one > /x", "EOF"),
    _run("heredoc-to-command", "RUN cat > /x <<EOF", "text $HOME", "EOF"),
    _run("continuation", "RUN echo one && \\", "  # a comment", "  echo two > /x"),
    _run("removes", "RUN mkdir /d && echo 1 > /d/f", "RUN rm -rf /d", "RUN test ! -e /d"),
    _run("replaces-directory", "RUN mkdir -p /d/e && echo 1 > /d/e/f", "RUN rm -rf /d && mkdir /d && echo 2 > /d/g"),
    _run("modes-and-owners", "RUN echo 1 > /x && chmod 4711 /x && mkdir -m 1777 /d && chown 8:9 /d /x"),
    _run("links", "RUN ln -s nowhere /x && echo 1 > /y && ln /y /z"),
    _run("fifo-and-device", "RUN mkfifo /x"),
    _run("environment", "ENV A=1 B='two words' C=$A", "ARG D=4", "RUN env | grep -E '^[A-D]=' | sort"),
    _run("args-win-not", "ENV A=env", "ARG A=arg", "RUN echo $A"),
    _run("build-arg", "ARG A=default", "RUN echo $A", args=("--build-arg", "A=given")),
    _run("build-arg-undeclared", "RUN echo x$A", args=("--build-arg", "A=given")),
    _run("proxy-arg", "RUN echo $HTTP_PROXY $http_proxy", args=("--build-arg", "HTTP_PROXY=http://p:1")),
    _run("user", "USER 1000:1001", "RUN id -u; id -g; pwd"),
    _run("user-by-name", "RUN echo app:x:77:88::/h:/bin/sh >> /etc/passwd", "USER app", "RUN id -u; id -g; echo $HOME"),
    _run("workdir", "WORKDIR /a/b", "RUN pwd"),
    _run("hostname", "RUN hostname", args=("--build-arg", "BUILDKIT_SANDBOX_HOSTNAME=me")),
    _run("shell-instruction", 'SHELL ["/bin/sh", "-xc"]', "RUN echo $((1+1)) 2>/dev/null"),
    _run("network-none", "RUN --network=none ls /sys/class/net"),
    _run("add-host", "RUN grep somewhere /etc/hosts", args=("--add-host", "somewhere:10.1.2.3")),
    _run("mount-bind", "RUN --mount=type=bind,target=/ctx cat /ctx/f", files={"f": "content\n"}),
    _run("mount-bind-source", "RUN --mount=type=bind,source=d,target=/ctx cat /ctx/f", files={"d/f": "content\n"}),
    _run("mount-bind-read-only", "RUN --mount=type=bind,target=/ctx touch /ctx/x 2>/dev/null || echo refused", files={"f": "1"}),
    _run("mount-bind-rw", "RUN --mount=type=bind,target=/ctx,rw touch /ctx/x && ls /ctx | grep x", files={"f": "1"}),
    _run("mount-cache", "RUN --mount=type=cache,target=/c,id=one echo 1 >> /c/f && wc -l < /c/f",
         "RUN --mount=type=cache,target=/c,id=one echo 2 >> /c/f && wc -l < /c/f"),
    _run("mount-cache-mode", "RUN --mount=type=cache,target=/c,mode=0700,uid=5,gid=6 stat -c '%a %u %g' /c"),
    _run("mount-tmpfs", "RUN --mount=type=tmpfs,target=/t echo 1 > /t/f && stat -f -c %T /t"),
    _run("mount-secret-missing", "RUN --mount=type=secret,id=none ls /run/secrets 2>&1 || echo none"),
    _run("mount-leaves-nothing", "RUN --mount=type=tmpfs,target=/new/place true", "RUN test ! -e /new/place/x; ls -d /new"),
    _run("shm", "RUN df -k /dev/shm | tail -1 | awk '{print $2}'", args=("--shm-size", "32m")),
    _run("ulimit", "RUN ulimit -n", args=("--ulimit", "nofile=123:123")),
    _run("stdout-and-stderr", "RUN echo out; echo err >&2", output=False),
    _run("big-output", "RUN seq 1 200 | tail -1"),
    _run("resolv-conf-is-not-kept", "RUN echo '# mine' > /dev/null", output=False),
    _run("security-default", "RUN grep -c . /proc/self/status > /dev/null; mount -t tmpfs x /tmp 2>/dev/null || echo no"),
)  # fmt: skip
