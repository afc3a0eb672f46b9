"""/images: what is here. (`transfers` moves them.)"""

from collections import Counter
from typing import Any

import msgspec

from knarr.api.server.call import Call, Route
from knarr.api.server.omission import optional
from knarr.api.server.replies import reply
from knarr.api.server.telling import healthcheck
from knarr.api.spec.history import shaped
from knarr.api.spec.versions import Version
from knarr.loop.http.messages import Response
from knarr.model.descriptor import Descriptor
from knarr.model.errors import Invalid, Unsupported
from knarr.model.image import History, ImageConfig, ImageView, ManifestView, Removed
from knarr.model.moments import rfc3339
from knarr.model.platform import Platform
from knarr.model.reference import Reference

_SECOND = 1_000_000_000


def reference(repository: str, tag: str) -> Reference | None:
    """What `repo=` and `tag=` name; None for nothing. Raises Invalid."""
    if not repository:
        return None
    found = Reference.parse(repository)
    if found.digest:
        raise Invalid("cannot import digest reference")
    try:
        return Reference.parse(found.familiar_name, tag=tag) if tag else found.tagged()
    except Invalid:
        raise Invalid("invalid tag format") from None


def summary(view: ImageView, version: Version) -> dict[str, Any]:
    """One entry of GET /images/json."""
    tags, digests = list(view.tags), list(view.digests)
    if version < (1, 43) and not tags and not digests:
        tags, digests = ["<none>:<none>"], ["<none>@<none>"]
    value: dict[str, Any] = {
        "Containers": view.containers if version >= (1, 51) else -1,
        "Created": view.image.created // _SECOND,
        "Id": str(view.image.id),
        "Labels": dict(view.image.config.labels) if view.image.config.labels else None,
        "ParentId": str(view.image.parent or ""),
        "RepoDigests": digests,
        "RepoTags": tags,
        "SharedSize": view.shared_size,
        "Size": view.size,
    }
    _add_manifests(value, view)
    if version < (1, 44):
        value["VirtualSize"] = view.size
    return value


def _manifests(view: ImageView) -> list[dict[str, Any]]:
    """ManifestSummary of each manifest: the image's own, or those of its index."""
    if view.manifest is None:
        return []
    own = view.manifest._replace(size=view.size)
    return [_manifest(each, view.image.platform) for each in view.members or (own,)]


def _manifest(told: ManifestView, default: Platform) -> dict[str, Any]:
    value: dict[str, Any] = {
        "ID": str(told.descriptor.digest),
        "Descriptor": descriptor(told.descriptor),
        "Available": True,
        "Size": {"Content": told.content, "Total": told.content + told.size},
    }
    if told.about is not None:
        return {**value, "Kind": "attestation", "AttestationData": {"For": str(told.about)}}
    return {
        **value,
        "Kind": "image",
        "ImageData": {
            "Platform": platform(told.descriptor.platform or default),
            "Containers": list(told.users),
            "Size": {"Unpacked": told.size},
        },
    }


def descriptor(value: Descriptor) -> dict[str, Any]:
    """OCIDescriptor."""
    found: dict[str, Any] = {
        "mediaType": value.media_type,
        "digest": str(value.digest),
        "size": value.size,
    }
    if value.annotations:
        found["annotations"] = dict(value.annotations)
    if value.platform is not None:
        found["platform"] = platform(value.platform)
    return found


def platform(value: Platform) -> dict[str, str]:
    """OCIPlatform."""
    found = {"architecture": value.architecture, "os": value.os}
    return {**found, "variant": value.variant} if value.variant else found


def _add_manifests(value: dict[str, Any], view: ImageView) -> None:
    if view.manifest is not None:
        value["Descriptor"] = descriptor(view.manifest.descriptor)
        value["Manifests"] = _manifests(view)


def _identity(view: ImageView) -> dict[str, Any]:
    """Where the image is from: the repositories that have it by digest."""
    repositories = sorted({Reference.parse(name).name for name in view.digests})
    return {"Pull": [{"Repository": name} for name in repositories]} if repositories else {}


def image_config(config: ImageConfig) -> dict[str, Any]:
    """The `Config` of an image."""
    value: dict[str, Any] = {}
    optional(value, "User", config.user)
    optional(value, "ExposedPorts", {str(port): {} for port in config.exposed_ports})
    optional(value, "Env", list(config.environment))
    optional(value, "Entrypoint", list(config.entrypoint or ()))
    optional(value, "Cmd", list(config.command or ()))
    optional(value, "Volumes", {path: {} for path in config.volumes})
    optional(value, "WorkingDir", config.working_dir)
    optional(value, "Labels", dict(config.labels or {}))
    optional(value, "StopSignal", config.stop_signal)
    optional(value, "ArgsEscaped", config.args_escaped)
    optional(value, "OnBuild", list(config.on_build))
    optional(value, "Shell", list(config.shell))
    if config.healthcheck:
        value["Healthcheck"] = healthcheck(config.healthcheck)
    return value


def inspected(view: ImageView, version: Version) -> dict[str, Any]:
    """GET /images/{name}/json"""
    image = view.image
    value: dict[str, Any] = {
        "Id": str(image.id),
        "RepoTags": list(view.tags),
        "RepoDigests": list(view.digests),
    }
    optional(value, "Parent", str(image.parent or ""))
    optional(value, "Comment", image.comment)
    if image.created:
        value["Created"] = rfc3339(image.created)
    optional(value, "DockerVersion", image.docker_version)
    optional(value, "Author", image.author)
    value |= {"Config": image_config(image.config), "Architecture": image.platform.architecture}
    optional(value, "Variant", image.platform.variant)
    value["Os"] = image.platform.os
    optional(value, "OsVersion", image.os_version)
    value["Size"] = view.size
    if version < (1, 44):
        value["VirtualSize"] = view.size
    value |= {
        **({"Identity": _identity(view)} if _identity(view) else {}),
        "GraphDriver": {"Data": dict(view.graph_data), "Name": "overlay2"},
        "RootFS": {"Type": "layers", "Layers": [str(layer) for layer in image.layers]},
        "Metadata": {"LastTagTime": rfc3339(view.last_tagged)},
    }
    _add_manifests(value, view)
    return shaped("image", value, version)


async def list_(call: Call) -> Response:
    """GET /images/json"""
    filters = call.filters()
    if call.flag("identity") and not call.flag("manifests"):
        raise Invalid("conflicting options: identity requires manifests=1")
    if call.version < (1, 41) and call.text("filter"):
        filters["reference"] = (*filters.get("reference", ()), call.text("filter"))
    views = await call.engine.images.list(
        filters,
        all=call.flag("all"),
        shared_size=call.flag("shared-size"),
        manifests=call.flag("manifests"),
    )
    told = [summary(view, call.version) for view in views]
    if call.flag("identity"):
        for value, view in zip(told, views, strict=True):
            for each in value.get("Manifests", ()):
                each["ImageData"]["Identity"] = _identity(view)
    if call.version >= (1, 51):
        users = Counter(view.image_id for view in await call.engine.containers.list(all=True))
        for value in told:
            value["Containers"] = users[value["Id"]]
    return reply(told)


async def inspect(call: Call) -> Response:
    """GET /images/{name}/json"""
    if call.flag("manifests") and call.text("platform"):
        raise Invalid("conflicting options: manifests and platform options cannot both be set")
    view = await call.engine.images.get(
        call.name,
        platform=one_platform(call, (1, 49)),
        manifests=call.version >= (1, 48) and call.flag("manifests"),
    )
    return reply(inspected(view, call.version))


def platforms(call: Call, name: str, since: Version | tuple[int, int]) -> list[Platform]:
    """The query's platforms, each as JSON. Raises Invalid."""
    texts = call.texts(name) if call.version >= since else []
    return [_platform(text) for text in texts]


def one_platform(call: Call, since: Version | tuple[int, int]) -> Platform | None:
    """The query's platform, as JSON. Raises Invalid."""
    found = platforms(call, "platform", since) if call.text("platform") else []
    return found[0] if found else None


def _platform(text: str) -> Platform:
    try:
        value = msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.MsgspecError as error:
        said = str(error)
        if text[:1] not in ("{", "[", '"', "-", *"0123456789tfn"):
            said = f"invalid character '{text[:1]}' looking for beginning of value"
        raise Invalid(f"failed to parse platform: {said}") from None
    names = [str(value.get(key) or "") for key in ("os", "architecture", "variant")]
    if not names[0] or not names[1]:
        raise Invalid("both OS and Architecture must be provided")
    return Platform(*names).normalised()


async def history(call: Call) -> Response:
    """GET /images/{name}/history"""
    steps = await call.engine.images.history(call.name, platform=one_platform(call, (1, 48)))
    return reply([_step(step) for step in steps])


def _step(step: History) -> dict[str, Any]:
    return {
        "Id": step.id,
        "Created": step.created // _SECOND,
        "CreatedBy": step.created_by,
        "Tags": list(step.tags) or None,
        "Size": step.size,
        "Comment": step.comment,
    }


async def tag(call: Call) -> Response:
    """POST /images/{name}/tag"""
    ref = reference(call.text("repo"), call.text("tag"))
    if ref is None:
        raise Invalid("invalid reference format")
    if ref.familiar_name == "sha256":
        raise Invalid("refusing to create an ambiguous tag using digest algorithm as name")
    await call.engine.images.tag(call.name, ref)
    return Response(201)


async def remove(call: Call) -> Response:
    """DELETE /images/{name}"""
    if not call.name.strip():
        raise Invalid("image name cannot be blank")
    removed = await call.engine.images.remove(
        call.name,
        force=call.flag("force"),
        prune=not call.flag("noprune"),
        platforms=platforms(call, "platforms", (1, 50)),
    )
    return reply([removal(each) for each in removed])


def removal(each: Removed) -> dict[str, str]:
    """One line of what a removal did."""
    return {"Untagged": each.untagged} if each.untagged else {"Deleted": each.deleted}


async def prune(call: Call) -> Response:
    """POST /images/prune"""
    pruned = await call.engine.images.prune(call.filters())
    deleted = [removal(each) for each in pruned.removed]
    return reply({"ImagesDeleted": deleted or None, "SpaceReclaimed": pruned.space})


async def attestations(call: Call) -> Response:
    """GET /images/{name}/attestations"""
    await call.engine.images.get(call.name)
    raise Unsupported("this image store does not support attestations")


async def search(call: Call) -> Response:
    """GET /images/search"""
    found = await call.engine.images.search(
        call.text("term"),
        limit=call.integer("limit") or 0,
        filters=call.filters(),
        auth=call.credentials(),
    )
    return reply(
        [
            {
                "star_count": each.stars,
                "is_official": each.official,
                "name": each.name,
                "is_automated": each.automated,
                "description": each.description,
            }
            for each in found
        ]
    )


ROUTES = (
    Route("GET", "/images/json", list_),
    Route("GET", "/images/search", search),
    Route("POST", "/images/prune", prune, lasting=True),
    Route("GET", "/images/{name:path}/json", inspect),
    Route("GET", "/images/{name:path}/history", history),
    Route("GET", "/images/{name:path}/attestations", attestations),
    Route("POST", "/images/{name:path}/tag", tag, lasting=True),
    Route("DELETE", "/images/{name:path}", remove, lasting=True),
)
