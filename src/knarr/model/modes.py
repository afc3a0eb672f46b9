"""Symbolic modes, as chmod(1) has them and a Dockerfile's --chmod takes: `u+x,go-w`, `a=rX`. No imports."""

_WHO = {"u": 0o4700, "g": 0o2070, "o": 0o1007, "a": 0o7777}
_BITS = {"r": 0o444, "w": 0o222, "x": 0o111}


def changed(text: str, mode: int, *, directory: bool) -> int:
    """The mode after all clauses, without a umask. Raises ValueError."""
    for clause in text.split(","):
        mode = _clause(clause, mode, directory=directory)
    return mode


def _clause(clause: str, mode: int, *, directory: bool) -> int:
    position = 0
    while position < len(clause) and clause[position] in _WHO:
        position += 1
    who = 0
    for character in clause[:position] or "a":
        who |= _WHO[character]
    if position == len(clause):
        raise ValueError(f"invalid mode: {clause!r}")
    while position < len(clause):
        operator = clause[position]
        if operator not in "+-=":
            raise ValueError(f"invalid mode: {clause!r}")
        end = position + 1
        while end < len(clause) and clause[end] not in "+-=":
            end += 1
        bits = _permissions(clause[position + 1 : end], mode, directory=directory) & who
        if operator == "+":
            mode |= bits
        elif operator == "-":
            mode &= ~bits
        else:
            mode = mode & ~(who & (0o777 if directory else 0o7777)) | bits
        position = end
    return mode


def _permissions(letters: str, mode: int, *, directory: bool) -> int:
    if letters in ("u", "g", "o"):
        copied = mode >> {"u": 6, "g": 3, "o": 0}[letters] & 0o7
        return copied << 6 | copied << 3 | copied
    bits = 0
    for letter in letters:
        if letter in _BITS:
            bits |= _BITS[letter]
        elif letter == "X":
            bits |= 0o111 if directory or mode & 0o111 else 0
        elif letter == "s":
            bits |= 0o6000
        elif letter == "t":
            bits |= 0o1000
        else:
            raise ValueError(f"invalid mode: {letters!r}")
    return bits
