"""The three forms in which a mount is asked for (Binds, Mounts, Tmpfs), both ways. Pure; reading raises Invalid."""

from typing import Any

from knarr.api.spec import containers as spec
from knarr.api.spec.versions import Version
from knarr.model.container import MountSpec
from knarr.model.errors import Invalid

_PROPAGATIONS = ("private", "rprivate", "slave", "rslave", "shared", "rshared")
_CONSISTENCIES = ("consistent", "cached", "delegated", "default")
_LABELS = ("z", "Z")
_IDMAPS = ("idmap", "ridmap")


def read_mounts(host: spec.HostConfig, version: Version) -> tuple[MountSpec, ...]:
    """Every mount that a HostConfig asks for."""
    return (
        *(bind(text, host.VolumeDriver) for text in host.Binds or ()),
        *(_mount(each, version) for each in host.Mounts or ()),
        *(
            MountSpec(type="tmpfs", target=target, options=_split(options), asked_by="tmpfs")
            for target, options in (host.Tmpfs or {}).items()
        ),
    )


def bind(text: str, volume_driver: str = "") -> MountSpec:
    """`[source:]target[:words]`. `options` keeps the words as they were written."""
    parts = text.split(":")
    if len(parts) > 3 or not all(parts[:2]):
        raise Invalid(f"invalid volume specification: '{text}'")
    if len(parts) == 1:
        return MountSpec(type="volume", target=parts[0], driver=volume_driver, asked_by="binds")
    source, target = parts[:2]
    words = _split(parts[2]) if len(parts) == 3 else ()
    local = source.startswith("/")
    read_only, propagation, no_copy = _mode(parts[2] if len(parts) == 3 else "", words, local)
    if not target.startswith("/"):
        raise Invalid(
            f"invalid volume specification: '{text}': invalid mount config for type "
            f"\"{'bind' if local else 'volume'}\": invalid mount path: '{target}' mount path must be absolute"
        )
    return MountSpec(
        type="bind" if local else "volume",
        source=source,
        target=target,
        read_only=read_only,
        options=words,
        propagation=propagation,
        no_copy=no_copy,
        create_source=local,
        driver="" if local else volume_driver,
        asked_by="binds",
    )


def _mode(text: str, words: tuple[str, ...], local: bool) -> tuple[bool, str, bool]:
    read_only, propagation, no_copy = False, "", False
    seen: set[str] = set()
    for word in words:
        if word in ("ro", "rw"):
            kind, read_only = "access", word == "ro"
        elif word in _PROPAGATIONS and local:
            kind, propagation = "propagation", word
        elif word == "nocopy" and not local:
            kind, no_copy = "copy", True
        elif word in _IDMAPS and local:
            kind = "idmap"
        elif word in _LABELS:
            kind = "label"
        elif word in _CONSISTENCIES:
            kind = "consistency"
        else:
            raise Invalid(f"invalid mode: {text}")
        if kind in seen:
            raise Invalid(f"invalid mode: {text}")
        seen.add(kind)
    return read_only, propagation, no_copy


def _mount(body: spec.Mount, version: Version) -> MountSpec:
    if version >= (1, 42):
        _refuse_mixtures(body)
    common: dict[str, Any] = {
        "type": body.Type,
        "source": body.Source,
        "target": body.Target,
        "read_only": body.ReadOnly,
    }
    if body.Type == "bind":
        bound = body.BindOptions or spec.BindOptions()
        if bound.Propagation and bound.Propagation not in _PROPAGATIONS:
            raise Invalid(
                f"invalid mount config for type \"bind\": invalid propagation mode: '{bound.Propagation}'"
            )
        if version < (1, 44) and bound.ReadOnlyForceRecursive:
            raise Invalid("BindOptions.ReadOnlyForceRecursive needs API v1.44 or newer")
        flat = bound.NonRecursive and version >= (1, 40)
        return MountSpec(
            **common,
            propagation=bound.Propagation,
            options=("nonrecursive",) if flat else (),
            create_source=bound.CreateMountpoint and version >= (1, 42),
        )
    if body.Type == "volume":
        volume = body.VolumeOptions or spec.VolumeOptions()
        driver = volume.DriverConfig or spec.DriverConfig()
        return MountSpec(
            **common,
            no_copy=volume.NoCopy,
            labels=volume.Labels or {},
            driver=driver.Name,
            driver_options=driver.Options or {},
            subpath=volume.Subpath,
        )
    if body.Type == "tmpfs":
        return MountSpec(**common, options=_tmpfs(body.TmpfsOptions or spec.TmpfsOptions()))
    return MountSpec(**common)


def _refuse_mixtures(body: spec.Mount) -> None:
    for name, present, kind in (
        ("VolumeOptions", body.VolumeOptions, "volume"),
        ("BindOptions", body.BindOptions, "bind"),
        ("TmpfsOptions", body.TmpfsOptions, "tmpfs"),
    ):
        if present is not None and body.Type != kind:
            raise Invalid(f'{name} must not be specified on mount type "{body.Type}"')


def _tmpfs(body: spec.TmpfsOptions) -> tuple[str, ...]:
    words = []
    if body.SizeBytes:
        words.append(f"size={body.SizeBytes}")
    if body.Mode:
        words.append(f"mode={body.Mode:o}")
    words += ["=".join(pair) for pair in body.Options or ()]
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
