"""Values of instructions that are checked but not changed: signals and modes."""

import re

from knarr.build.dockerfile.errors import DockerfileError
from knarr.build.dockerfile.golike import parse_int, parse_uint
from knarr.build.operations import KEEP_MODE

_NAMES = (
    "ABRT ALRM BUS CHLD CLD CONT FPE HUP ILL INT IO IOT KILL PIPE POLL PROF PWR QUIT SEGV STKFLT STOP SYS TERM TRAP"
    " TSTP TTIN TTOU URG USR1 USR2 VTALRM WINCH XCPU XFSZ RTMIN RTMAX"
)
_REAL_TIME = [
    *(f"RTMIN+{number}" for number in range(1, 16)),
    *(f"RTMAX-{number}" for number in range(1, 15)),
]
_SIGNALS = frozenset((*_NAMES.split(), *_REAL_TIME))
_CLAUSE = re.compile(r"[augo]*(?:[-+=][rstwXxugo]*)+\Z")
_HIGHEST_MODE = 0o7777


def check_signal(text: str) -> None:
    """A number other than zero or a name, with or without SIG."""
    number = parse_int(text)
    if number == 0 or (number is None and text.upper().removeprefix("SIG") not in _SIGNALS):
        raise DockerfileError(f"invalid signal: {text}")


def parse_mode(text: str) -> tuple[int, str]:
    """`--chmod` as a number, or KEEP_MODE and the symbolic text."""
    if not text:
        return KEEP_MODE, ""
    number = parse_uint(text, 8)
    if number is None and not text[0].isdigit():
        if all(_CLAUSE.match(clause) for clause in text.split(",")):
            return 0, text
        raise DockerfileError("invalid syntax")
    if number is None or number > _HIGHEST_MODE:
        raise DockerfileError(
            f"invalid chmod parameter: '{text}'. it should be octal string and between 0 and 07777"
        )
    return number, ""
