"""The three forms in which a mount is asked for (Binds, Mounts, Tmpfs), both ways. Pure; reading raises Invalid."""

from typing import Any

from knarr.api.spec import containers as spec
from knarr.api.spec.versions import Version
from knarr.engine.checks import clean
from knarr.model.container import MountSpec
from knarr.model.errors import Invalid

_PROPAGATIONS = ("private", "rprivate", "slave", "rslave", "shared", "rshared")
_CONSISTENCIES = ("consistent", "cached", "delegated", "default")
_KINDS = {
    "ro": "access",
    "rw": "access",
    **dict.fromkeys(_PROPAGATIONS, "propagation"),
    "nocopy": "copy",
    "idmap": "idmap",
    "ridmap": "idmap",
    "z": "label",
    "Z": "label",
    **dict.fromkeys(_CONSISTENCIES, "consistency"),
}
"""The words after a target, each with its kind."""


def read_mounts(host: spec.HostConfig, version: Version) -> tuple[MountSpec, ...]:
    """Every mount that a HostConfig asks for."""
    shallow = version < (1, 44)
    return (
        *(bind(text, host.VolumeDriver, shallow=shallow) for text in host.Binds or ()),
        *(_mount(each, version) for each in host.Mounts or ()),
        *(
            MountSpec(type="tmpfs", target=target, options=_split(options), asked_by="tmpfs")
            for target, options in (host.Tmpfs or {}).items()
        ),
    )


def bind(text: str, volume_driver: str = "", *, shallow: bool = False) -> MountSpec:
    """`[source:]target[:words]`. `options` keeps the words as they were written."""
    parts = text.split(":")
    if len(parts) > 3 or not all(parts[:2]) or (len(parts) == 2 and _is_mode(parts[1])):
        raise _bad_bind(text)
    if len(parts) == 1:
        if clean(text) == "/":
            raise _bad_bind(text, "volume", "invalid specification: destination can't be '/'")
        if not text.startswith("/"):
            raise _bad_bind(text, "volume", f"invalid mount path: '{text}' mount path must be absolute")
        return MountSpec(type="volume", target=parts[0], driver=volume_driver, asked_by="binds")
    source, target = parts[:2]
    words = _split(parts[2]) if len(parts) == 3 else ()
    if len(parts) == 3 and not _is_mode(parts[2]):
        raise Invalid(f"invalid mode: {parts[2]}")
    local = source.startswith("/")
    kind = "bind" if local else "volume"
    propagation = next((word for word in words if word in _PROPAGATIONS), "")
    foreign = "VolumeOptions" if local and "nocopy" in words else "BindOptions" if propagation else ""
    if foreign and (foreign == "VolumeOptions") == local:
        raise _bad_bind(text, kind, f"field {foreign} must not be specified")
    if clean(target) == "/":
        raise _bad_bind(text, kind, "invalid specification: destination can't be '/'")
    if not target.startswith("/"):
        raise _bad_bind(text, kind, f"invalid mount path: '{target}' mount path must be absolute")
    return MountSpec(
        type=kind,
        source=clean(source) if local else source,
        target=target,
        read_only="ro" in words,
        options=words,
        propagation=propagation,
        no_copy="nocopy" in words,
        create_source=local,
        driver="" if local else volume_driver,
        shallow=shallow and local,
        asked_by="binds",
    )


def _bad_bind(text: str, kind: str = "", detail: str = "") -> Invalid:
    more = f': invalid mount config for type "{kind}": {detail}' if kind else ""
    return Invalid(f"invalid volume specification: '{text}'{more}")


def _is_mode(text: str) -> bool:
    """Words that may follow a target: one of each kind at most."""
    seen = [_KINDS.get(word) for word in text.split(",")]
    return None not in seen and len(set(seen)) == len(seen)


def _mount(body: spec.Mount, version: Version) -> MountSpec:
    _refuse_mixtures(body, version)
    common: dict[str, Any] = {
        "type": body.Type,
        "source": body.Source,
        "target": body.Target,
        "read_only": body.ReadOnly,
    }
    if body.Type == "bind":
        return MountSpec(**common, **_bind_options(body, version))
    if body.Type == "volume":
        volume = body.VolumeOptions or spec.VolumeOptions()
        driver = volume.DriverConfig or spec.DriverConfig()
        if volume.Subpath and version < (1, 45):
            raise Invalid("VolumeOptions.Subpath needs API v1.45 or newer")
        return MountSpec(
            **common,
            no_copy=volume.NoCopy,
            labels=volume.Labels or {},
            driver=driver.Name,
            driver_options=driver.Options or {},
            subpath=volume.Subpath,
        )
    if body.Type == "image":
        if version < (1, 48):
            raise Invalid('Mount type "Image" needs API v1.48 or newer')
        return MountSpec(**common, subpath=(body.ImageOptions or spec.ImageOptions()).Subpath)
    if body.Type == "tmpfs":
        return MountSpec(**common, options=_tmpfs(body.TmpfsOptions or spec.TmpfsOptions()))
    return MountSpec(**common)


def _bind_options(body: spec.Mount, version: Version) -> dict[str, Any]:
    asked = body.BindOptions or spec.BindOptions()
    if asked.Propagation and asked.Propagation not in _PROPAGATIONS:
        raise Invalid(f'invalid mount config for type "bind": invalid propagation mode: {asked.Propagation}')
    if version < (1, 44) and asked.ReadOnlyForceRecursive:
        raise Invalid("BindOptions.ReadOnlyForceRecursive needs API v1.44 or newer")
    if not body.ReadOnly and (asked.ReadOnlyForceRecursive or asked.ReadOnlyNonRecursive):
        word = "Force" if asked.ReadOnlyForceRecursive else "Non"
        raise Invalid(f"mount options conflict: !ReadOnly && BindOptions.ReadOnly{word}Recursive")
    return {
        "propagation": asked.Propagation,
        "options": ("nonrecursive",) if asked.NonRecursive and version >= (1, 40) else (),
        "create_source": asked.CreateMountpoint and version >= (1, 42),
        "shallow": asked.ReadOnlyNonRecursive or version < (1, 44),
        "deep": asked.ReadOnlyForceRecursive,
    }


def _refuse_mixtures(body: spec.Mount, version: Version) -> None:
    if version < (1, 42):
        return
    for name, present, kind in (
        ("VolumeOptions", body.VolumeOptions, "volume"),
        ("BindOptions", body.BindOptions, "bind"),
        ("TmpfsOptions", body.TmpfsOptions, "tmpfs"),
    ):
        if present is not None and body.Type != kind:
            raise Invalid(f'{name} must not be specified on mount type "{body.Type}"')
    if body.ImageOptions is not None and body.Type != "image":
        raise _bad_mount(body, "field ImageOptions must not be specified")
    if body.ClusterOptions is not None and body.Type != "cluster":
        raise _bad_mount(body, "field ClusterOptions must not be specified")


def _bad_mount(body: spec.Mount, detail: str) -> Invalid:
    return Invalid(f'invalid mount config for type "{body.Type}": {detail}')


def _tmpfs(body: spec.TmpfsOptions) -> tuple[str, ...]:
    words = []
    if body.SizeBytes:
        words.append(f"size={body.SizeBytes}")
    if body.Mode:
        words.append(f"mode={body.Mode:o}")
    for pair in body.Options or ():
        if not 1 <= len(pair) <= 2:
            raise Invalid('invalid mount config for type "tmpfs": invalid option array length')
        if pair[0] not in ("exec", "noexec"):
            raise Invalid(f'invalid mount config for type "tmpfs": invalid option: {pair[0]}')
        words.append("=".join(pair))
    return tuple(words)


def _split(text: str) -> tuple[str, ...]:
    return tuple(word for word in text.split(",") if word)


def binds(mounts: tuple[MountSpec, ...]) -> list[str] | None:
    """HostConfig.Binds."""
    texts = []
    for each in mounts:
        if each.asked_by == "binds":
            words = [part for part in (each.source, each.target, ",".join(each.options)) if part]
            texts.append(":".join(words))
    return texts or None


def tmpfs(mounts: tuple[MountSpec, ...]) -> dict[str, str]:
    """HostConfig.Tmpfs."""
    return {each.target: ",".join(each.options) for each in mounts if each.asked_by == "tmpfs"}


def mounts_json(mounts: tuple[MountSpec, ...]) -> list[dict[str, Any]]:
    """HostConfig.Mounts."""
    return [_mount_json(each) for each in mounts if each.asked_by == "mounts"]


def _mount_json(mount: MountSpec) -> dict[str, Any]:
    value: dict[str, Any] = {"Type": mount.type}
    if mount.source:
        value["Source"] = mount.source
    value["Target"] = mount.target
    if mount.read_only:
        value["ReadOnly"] = True
    if mount.type == "bind":
        options = {
            "Propagation": mount.propagation,
            "NonRecursive": "nonrecursive" in mount.options,
            "CreateMountpoint": mount.create_source,
            "ReadOnlyNonRecursive": mount.shallow,
            "ReadOnlyForceRecursive": mount.deep,
        }
        _add(value, "BindOptions", options)
    elif mount.type == "volume":
        driver = {"Name": mount.driver, "Options": dict(mount.driver_options)}
        _add(
            value,
            "VolumeOptions",
            {
                "NoCopy": mount.no_copy,
                "Labels": dict(mount.labels),
                "Subpath": mount.subpath,
                "DriverConfig": {key: each for key, each in driver.items() if each},
            },
        )
    elif mount.type == "image":
        _add(value, "ImageOptions", {"Subpath": mount.subpath})
    elif mount.type == "tmpfs":
        words = dict(word.partition("=")[::2] for word in mount.options)
        size, mode = words.pop("size", ""), words.pop("mode", "")
        _add(
            value,
            "TmpfsOptions",
            {
                "SizeBytes": int(size or 0),
                "Mode": int(mode or "0", 8),
                "Options": [[k, v] if v else [k] for k, v in words.items()],
            },
        )
    return value


def _add(value: dict[str, Any], key: str, options: dict[str, Any]) -> None:
    present = {name: each for name, each in options.items() if each}
    if present:
        value[key] = present
