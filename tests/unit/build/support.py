"""The cases of tests/data/dockerfiles, and a world that answers a frontend's questions without any."""

import hashlib
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from knarr.build.dockerfile import frontend, options
from knarr.build.dockerfile.questions import Answer, IgnoreQuestion, ImageAnswer, ImageQuestion, Question
from knarr.model.errors import NotFound

CASES = Path(__file__).resolve().parents[2] / "data" / "dockerfiles" / "cases.jsonl"
PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
LAYER = f"sha256:{'0' * 64}"


@dataclass(frozen=True)
class Case:
    """One line of the file."""

    document: dict[str, Any]

    @property
    def name(self) -> str:
        """For test ids."""
        return str(self.document["name"])

    @property
    def buildkit(self) -> dict[str, Any]:
        """What BuildKit answered."""
        found: dict[str, Any] = self.document["buildkit"]
        return found

    @property
    def text(self) -> str:
        """The Dockerfile."""
        return str(self.document["dockerfile"])

    @property
    def definition(self) -> frontend.Definition:
        """The Dockerfile with its ignore file."""
        return frontend.Definition(self.text.encode(), ignore=self._ignore())

    def _ignore(self) -> bytes | None:
        text = self.document.get("ignore")
        return text.encode() if text else None

    def options(self, **more: str) -> frontend.Options:
        """The build's options."""
        return options.parse({**self.document.get("options", {}), **more}, session="session")

    def answer(self, question: Question) -> Answer:
        """What the world says."""
        if isinstance(question, ImageQuestion):
            return image(question, self.document.get("images", {}))
        return self._ignore() if isinstance(question, IgnoreQuestion) else None


@cache
def cases() -> list[Case]:
    """All."""
    return [Case(json.loads(line)) for line in CASES.read_text().splitlines()]


def image(question: ImageQuestion, images: dict[str, Any] | None = None) -> ImageAnswer:
    """A base image that nobody has to pull; one that is described as None does not exist."""
    name = question.reference
    config = {
        "architecture": question.platform.architecture,
        "os": question.platform.os,
        "rootfs": {"type": "layers", "diff_ids": [LAYER]},
        "config": {"Env": [PATH]},
    }
    if name in (images or {}):
        config = (images or {})[name]
    if config is None:
        raise NotFound(f"{name}: not found")
    return ImageAnswer(
        name, f"sha256:{hashlib.sha256(name.encode()).hexdigest()}", json.dumps(config).encode()
    )


def build(text: str, **attributes: str) -> frontend.Built:
    """Builds a Dockerfile; options with `_` for `-`."""
    given = {name.replace("_", "-"): value for name, value in attributes.items()}
    case = Case({"name": "", "dockerfile": text, "options": given})
    return frontend.drive(frontend.build(case.definition, case.options()), case.answer)
