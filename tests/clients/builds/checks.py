"""Build checks: for each rule a Dockerfile that breaks it and its twin that does not; and what else is asked of Dockerfiles.

The name before a slash is the rule's. All twins are asked by one `bake --call=check`; the rest are single calls.
"""

from collections.abc import Mapping
from typing import NamedTuple

_BASE = "FROM busybox\n"
# A context of them all.
FILES: Mapping[str, str] = {
    "kept": "",
    "ignored": "",
    "d/ignored": "",
    ".dockerignore": "ignored\nd/ignored\n",
}


class Pair(NamedTuple):
    """Two Dockerfiles: the checks find something in the first alone."""

    bad: str
    good: str


PAIRS: Mapping[str, Pair] = {
    "StageNameCasing": Pair("FROM busybox AS Base\n", "FROM busybox AS base\n"),
    "FromAsCasing": Pair("FROM busybox as base\n", "from busybox as base\n"),
    "NoEmptyContinuation": Pair(
        _BASE + "RUN true \\\n\n  && true\n", _BASE + "RUN true \\\n# a comment\n  && true\n"
    ),
    "ConsistentInstructionCasing": Pair(_BASE + "run true\nRUN true\n", "from busybox\nrun true\nrun true\n"),
    "ConsistentInstructionCasing/mixed": Pair(_BASE + "Env A=1\n", _BASE + "ENV A=1\n"),
    "DuplicateStageName": Pair(
        "FROM busybox AS a\nFROM busybox AS a\n", "FROM busybox AS a\nFROM busybox AS b\n"
    ),
    "ReservedStageName": Pair(
        "FROM busybox AS scratch\nFROM busybox AS context\n", "FROM busybox AS scratched\n"
    ),
    "JSONArgsRecommended": Pair(
        _BASE + "ENTRYPOINT a b\nCMD c\n", _BASE + 'ENTRYPOINT ["a", "b"]\nCMD ["c"]\n'
    ),
    "JSONArgsRecommended/shell": Pair(
        'FROM busybox AS a\nSHELL ["/bin/sh", "-c"]\nFROM busybox\nCMD c\n',
        _BASE + 'SHELL ["/bin/sh", "-c"]\nCMD c\n',
    ),
    "MaintainerDeprecated": Pair(
        _BASE + "MAINTAINER me\n", _BASE + 'LABEL org.opencontainers.image.authors="me"\n'
    ),
    "UndefinedArgInFrom": Pair(
        "ARG TAG=latest\nFROM busybox:${TAGS:-latest}\n", "ARG TAG=latest\nFROM busybox:${TAG}\n"
    ),
    "WorkdirRelativePath": Pair(_BASE + "WORKDIR a\n", _BASE + "WORKDIR /a\nWORKDIR b\n"),
    "UndefinedVar": Pair(_BASE + "ARG NAME\nCOPY $NAMES /x\n", _BASE + "ARG NAME=kept\nCOPY $NAME $PATH/x\n"),
    "UndefinedVar/label": Pair(_BASE + "LABEL a=$nope\n", _BASE + "ARG nope\nLABEL a=$nope\n"),
    "MultipleInstructionsDisallowed": Pair(
        _BASE
        + 'CMD ["a"]\nCMD ["b"]\nENTRYPOINT ["a"]\nENTRYPOINT ["b"]\nHEALTHCHECK NONE\nHEALTHCHECK NONE\n',
        'FROM busybox AS a\nCMD ["a"]\nFROM a\nCMD ["b"]\n',
    ),
    "LegacyKeyValueFormat": Pair(_BASE + "ENV A b\nLABEL c d\n", _BASE + "ENV A=b\nLABEL c=d\n"),
    "InvalidBaseImagePlatform": Pair(
        "FROM --platform=linux/arm64 {web}/good AS arm64\n", "FROM {web}/good\n"
    ),
    "RedundantTargetPlatform": Pair(
        "FROM --platform=$TARGETPLATFORM busybox\n", "FROM --platform=$BUILDPLATFORM busybox\n"
    ),
    "SecretsUsedInArgOrEnv": Pair(
        _BASE + "ARG API_TOKEN\nENV AWS_SECRET_ACCESS_KEY=x password=y\n",
        _BASE + "ARG TOKENS\nENV PUBLIC_KEY=x MONKEY=y\n",
    ),
    "InvalidDefaultArgInFrom": Pair(
        "ARG TAG\nFROM busybox:${TAG}\n", "ARG TAG=latest OTHER\nFROM busybox:${OTHER:-$TAG}\n"
    ),
    "FromPlatformFlagConstDisallowed": Pair(
        "FROM --platform=linux/amd64 busybox AS b\n", "FROM --platform=linux/amd64 busybox AS build_amd64\n"
    ),
    "CopyIgnoredFile": Pair(
        "# check=experimental=CopyIgnoredFile\n" + _BASE + "COPY ignored kept /x/\nADD d/ignored /y\n",
        "# check=experimental=all\n" + _BASE + "COPY kept /x/\nCOPY --from=busybox ignored /y\nCOPY d /z\n",
    ),
    "InvalidDefinitionDescription": Pair(
        "# check=experimental=InvalidDefinitionDescription\n# it is a base\nFROM busybox AS base\n# which version\nARG VERSION=1\n",
        "# check=experimental=all\n# base is the base\nFROM busybox AS base\n# VERSION which version\nARG VERSION=1\n",
    ),
    "ExposeProtoCasing": Pair(_BASE + "EXPOSE 80/TCP 81/Udp\n", _BASE + "EXPOSE 80/tcp 81/udp\n"),
    "ExposeInvalidFormat": Pair(_BASE + "EXPOSE 127.0.0.1:80:80 90:91\n", _BASE + "EXPOSE 80 90-91\n"),
}


class Call(NamedTuple):
    """A command of buildx, or of the docker CLI that calls it; the Dockerfile is its context's only file."""

    name: str
    argv: tuple[str, ...]
    dockerfile: str


_CHECK = ("build", "--check")
_WRONG = "FROM busybox as x\nMAINTAINER me\n"
_PARTS = (
    "# base is where all begins\nFROM busybox AS base\n# VERSION is told to all\nARG VERSION=1\nARG OTHER\n"
    "RUN --mount=type=secret,id=s,required --mount=type=ssh echo $VERSION\nRUN --mount=type=secret,id=t true\n"
    "\nFROM --platform=linux/amd64 base AS last_amd64\nARG HERE=2\nRUN echo $HERE\nMAINTAINER me\n"
)
_OUTLINE = ("--call", "outline")

CALLS = (
    Call("check/nothing-found", ("docker", *_CHECK), "FROM busybox\n"),
    Call("check/found", ("docker", *_CHECK), _WRONG),
    Call("check/many-at-one-line", _CHECK, "FROM busybox AS a\nEXPOSE 80/TCP 1.2.3.4:80:80/Udp\nRUN false\n"),
    Call("check/and-an-error", _CHECK, _WRONG + "RUNN x\n"),
    Call("check/an-error-alone", _CHECK, "FROM busybox\nCOPY --from=what:is:it /x /x\n"),
    Call("check/no-such-image", _CHECK, "FROM 127.0.0.1:1/nothing\n"),
    Call("check/empty", _CHECK, ""),
    Call("check/looks-at-all-stages", _CHECK, "FROM busybox AS a\nWORKDIR x\nFROM busybox\n"),
    Call("check/of-a-target", (*_CHECK, "--target", "b"), "FROM busybox AS a\nWORKDIR x\nFROM busybox AS b\nEXPOSE 8/TCP\n"),
    Call("check/skip-one", _CHECK, "# check=skip=MaintainerDeprecated\n" + _WRONG),
    Call("check/skip-two", _CHECK, "# check=skip=MaintainerDeprecated,FromAsCasing\n" + _WRONG),
    Call("check/skip-all", _CHECK, "# check=skip=all\n" + _WRONG),
    Call("check/skip-one-of-errors", _CHECK, "# check=skip=MaintainerDeprecated;error=true\n" + _WRONG),
    Call("check/skip-unknown", _CHECK, "# check=skip=NoSuchThing\n" + _WRONG),
    Call("check/error", _CHECK, "# check=error=true\n" + _WRONG),
    Call("check/error-of-nothing", _CHECK, "# check=error=true\nFROM busybox\n"),
    Call("check/bad-option", _CHECK, "# check=what=is\n" + _WRONG),
    Call("check/bad-flag", _CHECK, "# check=error=maybe\n" + _WRONG),
    Call("check/argument-skips", (*_CHECK, "--build-arg", "BUILDKIT_DOCKERFILE_CHECK=skip=all"), _WRONG),
    Call("check/argument-is-stronger", (*_CHECK, "--build-arg", "BUILDKIT_DOCKERFILE_CHECK=skip=FromAsCasing"), "# check=skip=all\n" + _WRONG),
    Call("check/argument-is-bad", (*_CHECK, "--build-arg", "BUILDKIT_DOCKERFILE_CHECK=skip"), _WRONG),
    Call("check/json", ("build", "--call", "check,format=json"), _WRONG),
    Call("call/lint", ("docker", "buildx", "build", "--call", "lint"), _WRONG),
    Call("call/outline", ("build", *_OUTLINE), _PARTS),
    Call("call/outline-json", ("build", "--call", "outline,format=json"), _PARTS),
    Call("call/outline-given", ("build", *_OUTLINE, "--build-arg", "VERSION=3", "--target", "base"), _PARTS),
    Call("call/outline-of-nothing", ("build", *_OUTLINE), "FROM scratch\n"),
    Call("call/outline-error", ("build", *_OUTLINE), _WRONG + "RUNN x\n"),
    Call("call/outline-no-target", ("build", *_OUTLINE, "--target", "bas"), _PARTS),
    Call("call/targets", ("build", "--call", "targets"), _PARTS),
    Call("call/targets-json", ("build", "--call", "targets,format=json"), _PARTS),
    Call("call/targets-error", ("build", "--call", "targets"), "FROM busybox\nRUNN x\n"),
    Call("call/describe", ("build", "--call", "subrequests.describe"), "FROM busybox\n"),
    Call("build/warns", ("docker", "build"), _WRONG),
    Call("build/warns-and-fails", ("build",), _WRONG + "RUN exit 3\n"),
    Call("build/warns-of-what-is-no-dockerfile", ("build",), _WRONG + "RUNN x\n"),
    Call("build/warns-of-what-has-no-graph", ("build",), _WRONG + "COPY --from=what:is:it /x /x\n"),
    Call("build/warns-of-no-unneeded-stage", ("build", "--target", "b"), "FROM busybox AS a\nWORKDIR x\nFROM busybox AS b\nEXPOSE 8/TCP\n"),
    Call("build/error", ("build",), "# check=error=true\n" + _WRONG),
    Call("build/skips", ("build",), "# check=skip=all\n" + _WRONG),
    Call("build/argument", ("build", "--build-arg", "BUILDKIT_DOCKERFILE_CHECK=error=true"), _WRONG),
)  # fmt: skip
