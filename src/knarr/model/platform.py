"""Platforms: `os/architecture[/variant]`, in the words of the OCI image spec (Go's GOOS and GOARCH)."""

from typing import NamedTuple

from knarr.model.errors import Invalid

_ARCHITECTURES = {
    "x86_64": "amd64", "x86-64": "amd64", "aarch64": "arm64", "armhf": "arm", "armel": "arm",
    "i386": "386", "i486": "386", "i586": "386", "i686": "386",
}  # fmt: skip
_DEFAULT_VARIANTS = {"arm64": "v8", "arm": "v7"}


class Platform(NamedTuple):
    """One platform; an empty variant means the architecture's default."""

    os: str
    architecture: str
    variant: str = ""

    @classmethod
    def parse(cls, text: str) -> "Platform":
        """Reads `linux/amd64`, `linux/arm/v7` or a bare `arm64`. Raises Invalid."""
        parts = text.lower().split("/")
        if (
            not 1 <= len(parts) <= 3
            or not all(parts)
            or not all(p.replace("-", "").replace("_", "").isalnum() for p in parts)
        ):
            raise Invalid(f"{text!r} is an invalid OS or platform specifier")
        if len(parts) == 1:
            parts = ["linux", parts[0]] if parts[0] != "linux" else ["linux", "amd64"]
        os, architecture, variant = (*parts, "", "")[:3]
        return cls(os, _ARCHITECTURES.get(architecture, architecture), variant).normalised()

    @classmethod
    def of_machine(cls, machine: str) -> "Platform":
        """The Linux platform of a `uname -m` string."""
        variant = {"armv7l": "v7", "armv6l": "v6"}.get(machine, "")
        architecture = "arm" if variant else _ARCHITECTURES.get(machine, machine)
        return cls("linux", architecture, variant).normalised()

    def normalised(self) -> "Platform":
        """Without a variant that is the architecture's default."""
        if self.architecture == "arm64" and self.variant in ("v8", "8"):
            return self._replace(variant="")
        return self

    def matches(self, wanted: "Platform") -> bool:
        """Whether an image of this platform serves where `wanted` is asked for."""
        mine, asked = self.normalised(), wanted.normalised()
        if (mine.os, mine.architecture) != (asked.os, asked.architecture):
            return False
        default = _DEFAULT_VARIANTS.get(mine.architecture, "")
        return (mine.variant or default) == (asked.variant or default)

    def __str__(self) -> str:
        return "/".join(part for part in self if part)
