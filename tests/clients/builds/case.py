"""One Dockerfile with its context and flags, and how it is laid out on disk."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

CAPABILITY = bytes.fromhex("0100000200040000000000000000000000000000")


class File(NamedTuple):
    """What a path of a context may be besides a text. `same`: the file of which it is another name. `mode` keeps the kind's own bits."""

    content: bytes = b""
    mode: int = 0o644
    time: int | None = None
    same: str = ""
    fifo: bool = False
    capable: bool = False


class Case(NamedTuple):
    """`files`: path → content; a trailing slash makes a directory, a content "-> x" a link, "+x " before it a program.
    `output`: what a RUN prints is judged, too. "{web}" is the address of `web.py`, "{context}" the context's path."""

    name: str
    dockerfile: str
    files: Mapping[str, "str | File"] = {}
    args: tuple[str, ...] = ()
    output: bool = False

    @property
    def target(self) -> str:
        """Its name for a bake and for an image."""
        return "case-" + self.name.replace("/", "-").lower()


def lay_out(case: Case, root: Path, web: str) -> Path:
    """The context on disk."""
    context = root / case.target
    context.mkdir()
    text = case.dockerfile.replace("{web}", web)
    if text:
        (context / "Dockerfile").write_bytes(text.encode("utf-8", "surrogateescape"))
    for name, content in case.files.items():
        path = context / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("/"):
            path.mkdir(exist_ok=True)
            path.chmod(0o755)
        elif isinstance(content, File):
            _make(path, content, context)
        elif content.startswith("-> "):
            path.symlink_to(content[3:])
        else:
            path.write_text(content.removeprefix("+x "))
            path.chmod(0o755 if content.startswith("+x ") else 0o644)
    for name, content in reversed(list(case.files.items())):
        if isinstance(content, File):
            _dress(context / name, content)
    return context


def _make(path: Path, file: File, context: Path) -> None:
    if file.same:
        path.hardlink_to(context / file.same)
    elif file.fifo:
        os.mkfifo(path)
    else:
        path.write_bytes(file.content)


def _dress(path: Path, file: File) -> None:
    if not file.same:
        path.chmod(file.mode)
    if file.capable:
        os.setxattr(path, "security.capability", CAPABILITY)
    if file.time is not None:
        os.utime(path, (file.time, file.time))
