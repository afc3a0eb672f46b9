"""Signals by name or number, as docker reads them: "KILL", "SIGKILL", "9", "RTMIN+3"."""

from knarr.model.errors import Invalid

NAMES = {
    "HUP": 1, "INT": 2, "QUIT": 3, "ILL": 4, "TRAP": 5, "ABRT": 6, "IOT": 6, "BUS": 7, "FPE": 8, "KILL": 9, "USR1": 10,
    "SEGV": 11, "USR2": 12, "PIPE": 13, "ALRM": 14, "TERM": 15, "STKFLT": 16, "CHLD": 17, "CLD": 17, "CONT": 18,
    "STOP": 19, "TSTP": 20, "TTIN": 21, "TTOU": 22, "URG": 23, "XCPU": 24, "XFSZ": 25, "VTALRM": 26, "PROF": 27,
    "WINCH": 28, "IO": 29, "POLL": 29, "PWR": 30, "SYS": 31, "RTMIN": 34, "RTMAX": 64,
    **{f"RTMIN+{n}": 34 + n for n in range(1, 16)},
    **{f"RTMAX-{n}": 64 - n for n in range(1, 15)},
}  # fmt: skip


def number(text: str) -> int:
    """Raises Invalid with docker's words."""
    if text.isascii() and text.isdigit():
        value = int(text)
        if 0 < value <= 64:
            return value
        raise Invalid(f"the linux daemon does not support signal {value}" if value else "invalid signal: 0")
    found = NAMES.get(text.upper().removeprefix("SIG"))
    if found is None:
        raise Invalid(f"invalid signal: {text}")
    return found
