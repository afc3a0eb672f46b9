"""Package URLs (purl-spec): `pkg:docker/busybox@1?platform=linux%2Famd64`, `pkg:deb/debian/zlib1g@1:1.2?arch=amd64`."""

from collections.abc import Mapping
from urllib.parse import quote

from knarr.model.platform import Platform
from knarr.model.reference import Reference


def package(kind: str, namespace: str, name: str, version: str, qualifiers: Mapping[str, str]) -> str:
    """Qualifiers are sorted; empty ones are left out."""
    parts = [*(part for part in namespace.split("/") if part), name]
    text = f"pkg:{kind}/{'/'.join(quote(part, safe='') for part in parts)}"
    if version:
        text += f"@{quote(version, safe=':')}"
    pairs = [f"{key}={quote(value, safe=':')}" for key, value in sorted(qualifiers.items()) if value]
    return f"{text}?{'&'.join(pairs)}" if pairs else text


def image(ref: Reference, platform: Platform | None) -> str:
    """An image, as BuildKit names materials and subjects."""
    named = ref if ref.digest else ref.tagged()
    namespace, _, name = ref.familiar_name.rpartition("/")
    qualifiers = {"digest": str(named.digest or ""), "platform": str(platform or "")}
    return package("docker", namespace, name, named.tag or "", qualifiers)
