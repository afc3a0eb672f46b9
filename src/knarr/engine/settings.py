"""What a daemon is told when it starts; one value, read-only."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from knarr.network.pools import DEFAULT_POOLS, Pool


class CacheRule(NamedTuple):
    """What the build cache shall let go by itself; see knarr.build.pruning.Pruning."""

    all: bool = False
    filters: tuple[str, ...] = ()
    unused: int = 0
    reserved: int = 0
    max_used: int = 0
    min_free: int = 0


class BuilderSettings(NamedTuple):
    """`network_host` and `insecure`: what builds may be granted. `collect`: the cache is kept small, by `rules`, or by the builder's
    own and the amounts of `default`. `most` and `age` (nanoseconds): a record goes when it is beyond both."""

    network_host: bool = True
    insecure: bool = False
    collect: bool = True
    rules: tuple[CacheRule, ...] | None = None
    default: CacheRule = CacheRule()
    most: int = 50
    age: int = 48 * 3600 * 10**9


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """`bip` "" takes a free subnet of the pools for the default bridge; `bridge` "none" has no default bridge.

    `storage_driver` "" takes the best that works. `mirrors` are URLs for Docker Hub; `registry_mirrors` name them by registry host. `insecure_registries` are hosts or
    networks that speak plain HTTP. `log_driver` and `log_options` serve containers that ask for none. `host_ip` is where ports
    of the default network are published. Without `live_restore` containers end with the daemon. `publish_firewall` is "obey" or
    "bypass" (docs/decisions/0011); `default_network_opts` are options of new networks by their driver.
    """

    data_root: str = "/var/lib/knarr"
    exec_root: str = "/run/knarr"
    bridge: str = "knarr0"
    bip: str = ""
    mtu: int = 0
    icc: bool = True
    host_ip: str = ""
    ipv6: bool = False
    bip6: str = ""
    fixed_cidr: str = ""
    fixed_cidr_v6: str = ""
    ip_masq: bool = True
    default_network_opts: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    publish_firewall: str = "obey"
    ip_forward: bool = True
    userland_proxy: bool = True
    host_gateways: tuple[str, ...] = ()
    default_address_pools: tuple[Pool, ...] = DEFAULT_POOLS
    mirrors: tuple[str, ...] = ()
    registry_mirrors: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    insecure_registries: tuple[str, ...] = ()
    storage_driver: str = ""
    log_driver: str = "json-file"
    log_options: Mapping[str, str] = field(default_factory=dict)
    default_ulimits: tuple[str, ...] = ()
    default_shm_size: int = 64 << 20
    default_ipc_mode: str = "private"
    default_cgroupns_mode: str = "private"
    default_stop_timeout: int = 10
    init: bool = False
    init_path: str = ""
    max_concurrent_downloads: int = 3
    max_concurrent_uploads: int = 5
    cgroup_parent: str = ""
    shutdown_timeout: int = 15
    live_restore: bool = True
    labels: tuple[str, ...] = ()
    dns: tuple[str, ...] = ()
    dns_options: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()
    seccomp_profile: str = ""
    no_new_privileges: bool = False
    userns_remap: str = ""
    cdi_spec_dirs: tuple[str, ...] = ("/etc/cdi", "/var/run/cdi")
    builder: BuilderSettings = field(default_factory=BuilderSettings)
    debug: bool = False
