"""A bundle's config.json, read and checked before anything is made, in runc's words."""

import json
import os
from collections.abc import Mapping
from typing import Any

from knarr.model.errors import Invalid, NotFound
from knarr.runtime.oci.errors import words
from knarr.runtime.plan_checks import check_bundle, check_hooks

CONFIG = "config.json"


def load_config(bundle: str) -> dict[str, Any]:
    """The configuration of a bundle. Raises NotFound, Invalid."""
    try:
        with open(f"{bundle}/{CONFIG}", "rb") as file:
            config = json.load(file)
    except FileNotFoundError:
        raise NotFound(f"JSON specification file {CONFIG} not found") from None
    except ValueError as error:
        raise Invalid(f"{CONFIG}: {error}") from None
    if config is None:
        raise Invalid("config cannot be null")
    check_bundle(config)
    check_hooks(config.get("hooks") or {})
    check_process(config.get("process"))
    for mount in config.get("mounts") or ():
        words_ = mount.get("options") or ()
        bind = mount.get("type") == "bind" or "bind" in words_ or "rbind" in words_
        if bind and not str(mount.get("source") or "").startswith("/"):
            mount["source"] = os.path.normpath(os.path.join(bundle, str(mount.get("source") or "")))
    made: dict[str, Any] = config
    return made


def relax(config: dict[str, Any]) -> list[str]:
    """What runc ignores is ignored here too, but said. `config` is changed."""
    kinds = [entry.get("type") for entry in (config.get("linux") or {}).get("namespaces") or ()]
    root = config.get("root")
    if not isinstance(root, dict) or not root.get("readonly") or "mount" in kinds:
        return []
    config["root"] = {**root, "readonly": False}
    return [
        "the root stays writable: without a mount namespace it cannot be read-only for the container alone"
    ]


def check_process(process: Any) -> Mapping[str, Any]:
    """An OCI process that can be started. Raises Invalid."""
    if not isinstance(process, dict):
        raise Invalid("process property must not be empty")
    if not process.get("cwd"):
        raise Invalid("Cwd property must not be empty")
    if not str(process["cwd"]).startswith("/"):
        raise Invalid("Cwd must be an absolute path")
    if not process.get("args"):
        raise Invalid("args must not be empty")
    if process.get("selinuxLabel") and not os.path.isdir("/sys/fs/selinux/booleans"):
        raise Invalid("selinux label is specified in config, but selinux is disabled or not supported")
    return process


def root_of(config: Mapping[str, Any], bundle: str) -> str:
    """The root's absolute path. Raises Invalid."""
    root = config.get("root")
    if not isinstance(root, dict):
        raise Invalid("root must be specified")
    path = os.path.normpath(os.path.join(bundle, str(root.get("path") or "")))
    try:
        os.stat(path)
        real = os.path.realpath(path, strict=True)
    except OSError as error:
        raise Invalid(f"invalid rootfs: stat {words(error)}") from None
    if real != path:
        raise Invalid("invalid rootfs: not an absolute path, or a symlink")
    return path


def check(config: Mapping[str, Any], cgroup_version: int) -> None:
    """What must agree with each other. Raises Invalid."""
    linux = config.get("linux") or {}
    entries = linux.get("namespaces") or ()
    kinds = [entry.get("type") for entry in entries]
    for kind in kinds:
        if kinds.count(kind) > 1:
            raise Invalid(f'malformed spec file: duplicated ns {{"{kind}" ""}}')
    for name in ("hostname", "domainname"):
        if config.get(name) and "uts" not in kinds:
            raise Invalid(f"unable to set {name} without a private UTS namespace")
    if (linux.get("maskedPaths") or linux.get("readonlyPaths")) and "mount" not in kinds:
        raise Invalid("unable to restrict sys entries without a private MNT namespace")
    _check_mappings(linux, entries)
    if (linux.get("resources") or {}).get("unified") and cgroup_version == 1:
        raise Invalid("invalid configuration: cannot use unified on cgroup v1")


def _check_mappings(linux: Mapping[str, Any], entries: Any) -> None:
    paths = {entry.get("type"): entry.get("path") for entry in entries}
    mapped = bool(linux.get("uidMappings") or linux.get("gidMappings"))
    if "user" not in paths and mapped:
        raise Invalid("user namespace mappings specified, but user namespace isn't enabled in the config")
    if "user" in paths and not paths["user"] and not mapped:
        raise Invalid(
            "user namespaces enabled, but no namespace path to join nor mappings to apply specified"
        )
    if linux.get("timeOffsets"):
        if "time" not in paths:
            raise Invalid("time namespace offsets specified, but time namespace isn't enabled in the config")
        if paths["time"]:
            raise Invalid(
                "time namespace enabled, but both namespace path and time offsets specified -- you may only provide one"
            )
