"""The build checks: their rules, which of them are asked for, and what they found.

`# check=skip=A,B;error=true` (or the argument BUILDKIT_DOCKERFILE_CHECK) chooses for the file, a comment right above an
instruction for that instruction. A rule that is skipped isn't counted when warnings are errors.
"""

from dataclasses import dataclass, field, replace
from typing import NamedTuple

from knarr.build.dockerfile.directives import Directives
from knarr.build.dockerfile.errors import DockerfileError, Lines
from knarr.build.dockerfile.golike import SPACES, parse_bool, quote

_URL = "https://docs.docker.com/go/dockerfile/rule/"


class Rule(NamedTuple):
    """A check: its name, what it is about, and its page."""

    name: str
    description: str
    page: str
    experimental: bool = False

    @property
    def url(self) -> str:
        """Where it is explained; one rule has no page."""
        return f"{_URL}{self.page}/" if self.page else ""


STAGE_NAME_CASING = Rule("StageNameCasing", "Stage names should be lowercase", "stage-name-casing")
FROM_AS_CASING = Rule(
    "FromAsCasing", "The 'as' keyword should match the case of the 'from' keyword", "from-as-casing"
)
NO_EMPTY_CONTINUATION = Rule(
    "NoEmptyContinuation",
    "Empty continuation lines will become errors in a future release",
    "no-empty-continuation",
)
CONSISTENT_INSTRUCTION_CASING = Rule(
    "ConsistentInstructionCasing",
    "All commands within the Dockerfile should use the same casing (either upper or lower)",
    "consistent-instruction-casing",
)
DUPLICATE_STAGE_NAME = Rule("DuplicateStageName", "Stage names should be unique", "duplicate-stage-name")
RESERVED_STAGE_NAME = Rule(
    "ReservedStageName", "Reserved words should not be used as stage names", "reserved-stage-name"
)
JSON_ARGS_RECOMMENDED = Rule(
    "JSONArgsRecommended",
    "JSON arguments recommended for ENTRYPOINT/CMD to prevent unintended behavior related to OS signals",
    "json-args-recommended",
)
MAINTAINER_DEPRECATED = Rule(
    "MaintainerDeprecated",
    "The MAINTAINER instruction is deprecated, use a label instead to define an image author",
    "maintainer-deprecated",
)
UNDEFINED_ARG_IN_FROM = Rule(
    "UndefinedArgInFrom", "FROM command must use declared ARGs", "undefined-arg-in-from"
)
WORKDIR_RELATIVE_PATH = Rule(
    "WorkdirRelativePath",
    "Relative workdir without an absolute workdir declared within the build can have unexpected results if the base image changes",
    "workdir-relative-path",
)
UNDEFINED_VAR = Rule("UndefinedVar", "Variables should be defined before their use", "undefined-var")
MULTIPLE_INSTRUCTIONS_DISALLOWED = Rule(
    "MultipleInstructionsDisallowed",
    "Multiple instructions of the same type should not be used in the same stage",
    "multiple-instructions-disallowed",
)
LEGACY_KEY_VALUE_FORMAT = Rule(
    "LegacyKeyValueFormat",
    "Legacy key/value format with whitespace separator should not be used",
    "legacy-key-value-format",
)
INVALID_BASE_IMAGE_PLATFORM = Rule(
    "InvalidBaseImagePlatform", "Base image platform does not match expected target platform", ""
)
REDUNDANT_TARGET_PLATFORM = Rule(
    "RedundantTargetPlatform",
    "Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this is the default behavior",
    "redundant-target-platform",
)
SECRETS_USED_IN_ARG_OR_ENV = Rule(
    "SecretsUsedInArgOrEnv",
    "Sensitive data should not be used in the ARG or ENV commands",
    "secrets-used-in-arg-or-env",
)
INVALID_DEFAULT_ARG_IN_FROM = Rule(
    "InvalidDefaultArgInFrom",
    "Default value for global ARG results in an empty or invalid base image name",
    "invalid-default-arg-in-from",
)
FROM_PLATFORM_FLAG_CONST_DISALLOWED = Rule(
    "FromPlatformFlagConstDisallowed",
    "FROM --platform flag should not use a constant value",
    "from-platform-flag-const-disallowed",
)
COPY_IGNORED_FILE = Rule(
    "CopyIgnoredFile", "Attempting to Copy file that is excluded by .dockerignore", "copy-ignored-file"
)
INVALID_DEFINITION_DESCRIPTION = Rule(
    "InvalidDefinitionDescription",
    "Comment for build stage or argument should follow the format: `# <arg/stage name> <description>`. If this is not intended to be a description comment, add an empty line or comment between the instruction and the comment.",
    "invalid-definition-description",
    experimental=True,
)
EXPOSE_PROTO_CASING = Rule(
    "ExposeProtoCasing", "Protocol in EXPOSE instruction should be lowercase", "expose-proto-casing"
)
EXPOSE_INVALID_FORMAT = Rule(
    "ExposeInvalidFormat",
    "IP address and host-port mapping should not be used in EXPOSE instruction. This will become an error in a future release",
    "expose-invalid-format",
)
RULES = tuple(value for value in tuple(globals().values()) if isinstance(value, Rule))


class Remark(NamedTuple):
    """What a check found."""

    rule: str
    description: str
    url: str
    message: str
    lines: Lines

    @property
    def short(self) -> str:
        """The line that a progress display shows."""
        where = f" (line {self.lines[0]})" if self.lines and self.lines[0] > 0 else ""
        return f"{self.rule}: {self.message}{where}"


@dataclass(frozen=True, slots=True)
class Linter:
    """Which rules run, and where findings go; `silent` reports nothing."""

    skip_all: bool = False
    skipped: frozenset[str] = frozenset()
    experimental_all: bool = False
    experimental: frozenset[str] = frozenset()
    as_error: bool = False
    silent: bool = False
    warnings: list[Remark] = field(default_factory=list)

    def run(self, rule: Rule, lines: Lines, message: str) -> None:
        """Notes a finding, unless its rule is off."""
        if self.silent:
            return
        if rule.experimental:
            if not self.experimental_all and rule.name not in self.experimental:
                return
        elif self.skip_all or rule.name in self.skipped:
            return
        self.warnings.append(Remark(rule.name, rule.description, rule.url, message, lines))

    def for_comments(self, comments: tuple[str, ...] | list[str]) -> "Linter":
        """With what the first `check=` in the comments adds."""
        for comment in comments:
            if "=" not in comment:
                continue
            found = Directives(mark="").read(comment)
            if found is not None and found.name == "check":
                try:
                    other = parse_options(found.value.partition(" ")[0])
                except DockerfileError:
                    return self
                return replace(
                    self,
                    skip_all=self.skip_all or other.skip_all,
                    skipped=self.skipped | other.skipped,
                    experimental_all=self.experimental_all or other.experimental_all,
                    experimental=self.experimental | other.experimental,
                )
        return self

    def check(self) -> None:
        """Raises DockerfileError when there are findings and they are errors."""
        if self.as_error and self.warnings:
            rules = ", ".join(dict.fromkeys(warning.rule for warning in self.warnings))
            raise DockerfileError(f"lint violation found for rules: {rules}")


def parse_options(text: str) -> Linter:
    """`skip=…;experimental=…;error=…`."""
    text = text.strip(SPACES)
    chosen = Linter()
    for part in text.split(";", 2) if text else ():
        key, equals, value = part.partition("=")
        if not equals:
            raise DockerfileError(f"invalid check option {quote(part)}")
        key, value = key.strip(SPACES), value.strip(SPACES)
        names = frozenset(name.strip(SPACES) for name in value.split(","))
        if key == "skip":
            chosen = replace(chosen, skip_all=True) if value == "all" else replace(chosen, skipped=names)
        elif key == "experimental":
            everything = value == "all"
            chosen = replace(
                chosen,
                experimental_all=everything or chosen.experimental_all,
                experimental=chosen.experimental if everything else names,
            )
        elif key == "error":
            flag = parse_bool(value)
            if flag is None:
                raise DockerfileError(
                    f"failed to parse check option {quote(part)}: strconv.ParseBool: parsing {quote(value)}: invalid syntax"
                )
            chosen = replace(chosen, as_error=flag)
        else:
            raise DockerfileError(f"invalid check option {quote(key)}")
    return chosen
