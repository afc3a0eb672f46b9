"""What cannot be built, and what is said of it."""

from tests.clients.builds.case import Case


def _error(name: str, *lines: str, files: dict[str, str] | None = None, args: tuple[str, ...] = ()) -> Case:
    return Case(f"error/{name}", "\n".join(lines) + "\n", files or {}, args)


CASES = (
    _error("unknown-instruction", "FROM busybox", "RUNN x"),
    _error("no-from", "RUN x"),
    _error("empty", ""),
    _error("from-nothing", "FROM"),
    _error("run-fails", "FROM busybox", "RUN exit 3"),
    _error("run-not-found", "FROM busybox", 'RUN ["nothere"]'),
    _error("run-signal", "FROM busybox", "RUN kill -9 $$"),
    _error("copy-missing", "FROM busybox", "COPY nothere /"),
    _error("copy-missing-in-stage", "FROM busybox AS a", "FROM busybox", "COPY --from=a /nothere /"),
    _error("copy-outside", "FROM busybox", "COPY ../../etc/shadow /"),
    _error("copy-ignored", "FROM busybox", "COPY a /", files={"a": "1", ".dockerignore": "a\n"}),
    _error("copy-one-word", "FROM busybox", "COPY a"),
    _error("copy-many-to-file", "FROM busybox", "COPY a b /x", files={"a": "1", "b": "2"}),
    _error("copy-unknown-flag", "FROM busybox", "COPY --chwon=1 a /", files={"a": "1"}),
    _error("copy-bad-chmod", "FROM busybox", "COPY --chmod=999 a /", files={"a": "1"}),
    _error("copy-unknown-user", "FROM busybox", "COPY --chown=nobody2:nogroup2 a /", files={"a": "1"}),
    _error("copy-file-over-directory", "FROM busybox", "RUN mkdir -p /x/a", "COPY a /x/", files={"a": "1"}),
    _error("unknown-target", "FROM busybox", args=("--target", "none")),
    _error("target-nearly", "FROM busybox AS build", args=("--target", "biuld")),
    _error("stage-later", "FROM busybox AS a", "COPY --from=b /x /", "FROM busybox AS b"),
    _error("env-no-value", "FROM busybox", "ENV A"),
    _error("label-nothing", "FROM busybox", "LABEL"),
    _error("expose-bad", "FROM busybox", "EXPOSE 80/foo"),
    _error("stopsignal-bad", "FROM busybox", "STOPSIGNAL FOO"),
    _error("healthcheck-bad", "FROM busybox", "HEALTHCHECK --interval=x CMD a"),
    _error("healthcheck-unknown", "FROM busybox", "HEALTHCHECK WHAT"),
    _error("shell-not-json", "FROM busybox", "SHELL /bin/sh"),
    _error("onbuild-from", "FROM busybox", "ONBUILD FROM x"),
    _error("onbuild-onbuild", "FROM busybox", "ONBUILD ONBUILD RUN x"),
    _error("heredoc-open", "FROM busybox", "RUN <<EOF", "echo"),
    _error("bad-json-flag", "FROM busybox", "RUN --mount=type=what true"),
    _error("mount-no-target", "FROM busybox", "RUN --mount=type=cache true"),
    _error("secret-required", "FROM busybox", "RUN --mount=type=secret,id=s,required=true true"),
    _error("bad-variable", "FROM busybox", "ENV A=${B"),
    _error("variable-required", "FROM busybox", "ENV A=${B:?must be set}"),
    _error("bad-stage-name", "FROM busybox AS 1abc"),
    _error("bad-reference", "FROM Bad:Name:Twice"),
    _error("network-unknown", "FROM busybox", "RUN --network=what true"),
    _error("workdir-nothing", "FROM busybox", "WORKDIR"),
    _error("no-dockerfile", "FROM busybox", args=("-f", "{context}/none")),
    _error("unknown-arg-in-from", "FROM $NOTHING"),
)  # fmt: skip
