"""POST /build with version=2: BuildKit's build by the classic API, as the docker CLI without buildx asks for it."""

import secrets
from typing import TYPE_CHECKING

import msgspec

from knarr.api.server.buildqueries import attributes, cache_from, credentials, json_field
from knarr.api.server.call import Call
from knarr.model.errors import Invalid
from knarr.model.reference import Reference

if TYPE_CHECKING:
    from knarr.engine.building.direct import DirectWish


class _Output(msgspec.Struct):
    """One of `outputs`."""

    Type: str = ""
    Attrs: dict[str, str] = {}


def wish(call: Call) -> "DirectWish":
    """What is asked for. Raises Invalid."""
    from knarr.build.entitlements import NETWORK
    from knarr.build.port import Exporter, Wish
    from knarr.engine.building.direct import DirectWish

    network = call.text("networkmode")
    if network not in ("", "default", "host", "none"):
        raise Invalid(f'network mode "{network}" not supported by buildkit')
    outputs = json_field(call, "outputs", "outputs", list[_Output])
    if len(outputs) > 1:
        raise Invalid("multiple outputs not supported")
    output = outputs[0] if outputs else _Output("moby")
    names = [str(Reference.parse(name).tagged()) for name in call.texts("t") if name]
    if output.Type in ("moby", "image") and names:
        output.Attrs = {**output.Attrs, "name": ",".join(names)}
    attrs = attributes(call)
    remote = call.text("remote")
    if remote in ("client-session", "upload-request"):
        del attrs["context"]
    attrs["cache-from"] = ",".join(cache_from(call) or ())
    inline = attrs.get("build-arg:BUILDKIT_INLINE_CACHE", "").lower() in ("1", "t", "true")
    return DirectWish(
        wish=Wish(
            ref=secrets.token_hex(12),
            session=call.text("session"),
            attrs=attrs,
            granted=frozenset({NETWORK} if network == "host" else ()),
        ),
        exporter=None if output.Type == "cacheonly" else Exporter(type=output.Type, attrs=output.Attrs),
        remote=remote,
        known=call.text("buildid"),
        inline=inline,
        quiet=call.flag("q"),
        hosts=call.texts("extrahosts"),
        credentials=credentials(call.request.headers.get("x-registry-config", "")),
    )
