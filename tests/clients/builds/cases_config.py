"""What an image says of itself."""

from tests.clients.builds.case import Case


def _config(name: str, *lines: str, args: tuple[str, ...] = ()) -> Case:
    return Case(f"config/{name}", "\n".join(("FROM busybox", *lines)) + "\n", {}, args)


CASES = (
    _config("env", "ENV A=1", "ENV B=2 C=three", "ENV A=again"),
    _config("env-old-form", "ENV A one two"),
    _config("env-quotes", 'ENV A="one two" B=\'$A\' C=a\\ b D=""'),
    _config("env-operators", "ENV A=x", "ENV B=${A:-d} C=${Z:-d} D=${A:+s} E=${Z:+s}."),
    _config("env-patterns", "ENV A=foo.tar.gz", "ENV B=${A%.*} C=${A%%.*} D=${A#*.} E=${A##*.} F=${A/foo/bar}"),
    _config("label", "LABEL a=1 b=two", 'LABEL "c d"="e f"', "LABEL a=again"),
    _config("label-flag", "LABEL a=1", args=("--label", "a=2", "--label", "x=y")),
    _config("maintainer", "MAINTAINER somebody"),
    _config("cmd-exec", 'CMD ["a", "b c"]'),
    _config("cmd-shell", "CMD echo $HOME"),
    _config("cmd-twice", 'CMD ["a"]', 'CMD ["b"]'),
    _config("entrypoint-exec", 'ENTRYPOINT ["e"]'),
    _config("entrypoint-shell", "ENTRYPOINT e f"),
    _config("entrypoint-resets-cmd", 'CMD ["kept"]', 'ENTRYPOINT ["e"]'),
    _config("entrypoint-and-cmd", 'ENTRYPOINT ["e"]', 'CMD ["c"]'),
    _config("shell", 'SHELL ["/bin/ash", "-c"]', "CMD echo hi"),
    _config("expose", "EXPOSE 80", "EXPOSE 53/udp 443/tcp 8000-8002"),
    _config("expose-variable", "ARG P=81", "EXPOSE $P"),
    _config("volume", "VOLUME /v", 'VOLUME ["/a", "/b c"]'),
    _config("user", "USER app:grp"),
    _config("user-variable", "ENV U=me", "USER $U"),
    _config("workdir", "WORKDIR /a", "WORKDIR b/../c"),
    _config("stopsignal", "STOPSIGNAL SIGQUIT"),
    _config("healthcheck", "HEALTHCHECK --interval=5s --timeout=3s --start-period=1m --retries=4 CMD true || false"),
    _config("healthcheck-exec", 'HEALTHCHECK --start-interval=2s CMD ["a", "b"]'),
    _config("healthcheck-none", "HEALTHCHECK NONE"),
    _config("onbuild", "ONBUILD RUN echo 1", "ONBUILD COPY . /x"),
    _config("arg-only", "ARG A=1", "ARG B"),
    _config("platform-args", "ARG TARGETPLATFORM", "ARG BUILDOS", "ENV P=$TARGETPLATFORM O=$BUILDOS"),
    _config("escape", "ENV A=1 \\", "  B=2"),
    Case("config/escape-directive", "# escape=`\nFROM busybox\nENV A=1 `\n  B=2\nENV C=c:\\dir\n"),

    Case("config/comment-first", "# a comment\n\nFROM busybox\nENV A=1\n"),
    Case("config/lower-case", "from busybox\nenv A=1\nrun true\n"),
    Case("config/scratch", "FROM scratch\nENV A=1\nCOPY Dockerfile /\n"),
    Case("config/global-arg", "ARG TAG=latest\nFROM busybox:$TAG\nARG TAG\nENV T=x$TAG\n"),
    Case("config/global-arg-not-inherited", "ARG TAG=latest\nFROM busybox:$TAG\nENV T=x$TAG\n"),
    Case("config/bom-and-crlf", "\ufeffFROM busybox\r\nENV A=1\r\nRUN echo a > /x\r\n"),
)  # fmt: skip
