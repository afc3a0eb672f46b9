"""The checks that need more than one instruction: names, casing, variables, platforms, secrets."""

import re
from collections.abc import Iterable, Mapping

from knarr.build.dockerfile import checks, platforms
from knarr.build.dockerfile.checks import Linter
from knarr.build.dockerfile.errors import DockerfileError, Lines, nearest
from knarr.build.dockerfile.golike import quote
from knarr.build.dockerfile.instructions import Said, Stage, Variable
from knarr.build.dockerfile.shell import Expansion
from knarr.model.errors import Invalid
from knarr.model.platform import Platform
from knarr.model.reference import Reference

_RESERVED = ("context", "scratch")
_SECRET = re.compile(
    r"(?:_|^)(?:apikey|auth|credential|credentials|key|password|pword|passwd|secret|token)(?:_|\Z)",
    re.IGNORECASE,
)
_HARMLESS = re.compile(r"(?:_|^)(?:public|file|version)(?:_|\Z)", re.IGNORECASE)
NOT_IN_ENVIRONMENT = frozenset(("BUILDKIT_SBOM_SCAN_CONTEXT", "BUILDKIT_SBOM_SCAN_STAGE"))


def check_stages(stages: list[Stage], lint: Linter) -> None:
    """Reserved and repeated names, and casing of instructions."""
    seen: set[str] = set()
    for stage in stages:
        if stage.name in _RESERVED:
            message = f'Stage name should not use the same name as reserved stage "{stage.name}"'
            lint.run(checks.RESERVED_STAGE_NAME, stage.said.lines, message)
        if stage.name in seen:
            message = f'Duplicate stage name "{stage.name}", stage names should be unique'
            lint.run(checks.DUPLICATE_STAGE_NAME, stage.said.lines, message)
        if stage.name:
            seen.add(stage.name)
    _check_casing(stages, lint)


def _check_casing(stages: list[Stage], lint: Linter) -> None:
    said = [one for stage in stages for one in (stage.said, *(command.said for command in stage.commands))]
    lower = sum(one.name == one.name.lower() for one in said)
    upper = sum(one.name == one.name.upper() for one in said)
    casing = "lowercase" if lower > upper else "uppercase"
    for one in said:
        if one.name != (one.name.lower() if lower > upper else one.name.upper()):
            message = f"Command '{one.name}' should match the case of the command majority ({casing})"
            lint.run(checks.CONSISTENT_INSTRUCTION_CASING, one.lines, message)


def is_reference(text: str) -> bool:
    """Whether a text could name an image."""
    try:
        Reference.parse(text)
    except Invalid:
        return False
    return True


def check_default_base(stage: Stage, base: str, lint: Linter) -> None:
    """A base image's name, expanded with nothing but defaults."""
    if not is_reference(base):
        message = f"Default value for ARG {stage.base} results in empty or invalid base image name"
        lint.run(checks.INVALID_DEFAULT_ARG_IN_FROM, stage.said.lines, message)


def check_from_arguments(missing: set[str], known: Iterable[str], lines: Lines, lint: Linter) -> None:
    """Variables of FROM that nobody declares."""
    names = list(dict.fromkeys(known))
    for name in sorted(missing - set(names)):
        guess = nearest(name, names)
        message = f"FROM argument '{name}' is not declared" + (f" (did you mean {guess}?)" if guess else "")
        lint.run(checks.UNDEFINED_ARG_IN_FROM, lines, message)


def check_platform(
    stage: Stage, found: Expansion, arguments: Mapping[str, str], here: Platform, lint: Linter
) -> None:
    """`FROM --platform`: the default is redundant, a constant is rarely meant."""
    lines = stage.said.lines
    if (
        found.found == {"TARGETPLATFORM"}
        and not found.missing
        and found.text == arguments.get("TARGETPLATFORM")
    ):
        message = f"Setting platform to predefined {stage.platform} in FROM is redundant as this is the default behavior"
        lint.run(checks.REDUNDANT_TARGET_PLATFORM, lines, message)
    if found.found or found.missing:
        return
    try:
        platform = platforms.parse(found.text, here)
    except DockerfileError:
        return
    if platform.os not in stage.name and platform.architecture not in stage.name:
        message = f"FROM --platform flag should not use constant value {quote(found.text)}"
        lint.run(checks.FROM_PLATFORM_FLAG_CONST_DISALLOWED, lines, message)


def check_variables(
    said: Said, missing: set[str], variables: list[Variable], env: Mapping[str, str], lint: Linter
) -> None:
    """Variables that are used and nowhere set."""
    if not missing:
        return
    for name in sorted(missing - {variable.name for variable in variables} - NOT_IN_ENVIRONMENT):
        guess = nearest(name, env)
        message = f"Usage of undefined variable '${name}'" + (f" (did you mean ${guess}?)" if guess else "")
        lint.run(checks.UNDEFINED_VAR, said.lines, message)


def check_base_platform(name: str, expected: Platform, actual: Platform, lines: Lines, lint: Linter) -> None:
    """An image that came for another platform than was asked."""
    if (expected.os, expected.architecture) != (actual.os, actual.architecture):
        texts = [quote(str(platforms.normalise(platform))) for platform in (actual, expected)]
        message = (
            f"Base image {name} was pulled with platform {texts[0]}, expected {texts[1]} for current build"
        )
        lint.run(checks.INVALID_BASE_IMAGE_PLATFORM, lines, message)


def check_secret(instruction: str, name: str, lines: Lines, lint: Linter) -> None:
    """Names that look like a password's or a token's."""
    if _SECRET.search(name) and not _HARMLESS.search(name):
        message = f"Do not use ARG or ENV instructions for sensitive data ({instruction} {quote(name)})"
        lint.run(checks.SECRETS_USED_IN_ARG_OR_ENV, lines, message)


def check_once(said: Said, kind: str, once: dict[str, Lines], lint: Linter) -> None:
    """Of some instructions only the last counts; what is told is where the one before stands."""
    if kind in once:
        message = (
            f"Multiple {said.name} instructions should not be used in the same stage"
            " because only the last one will be used"
        )
        lint.run(checks.MULTIPLE_INSTRUCTIONS_DISALLOWED, once[kind], message)
    once[kind] = said.lines


def check_legacy(said: Said, lint: Linter) -> None:
    """`ENV name value`."""
    message = f'"{said.name} key=value" should be used instead of legacy "{said.name} key value" format'
    lint.run(checks.LEGACY_KEY_VALUE_FORMAT, said.lines, message)


def check_shell_form(said: Said, lint: Linter) -> None:
    """CMD or ENTRYPOINT for a shell that nobody chose."""
    message = (
        f"JSON arguments recommended for {said.name} to prevent unintended behavior related to OS signals"
    )
    lint.run(checks.JSON_ARGS_RECOMMENDED, said.lines, message)
