"""What a daemon is told when it starts; one value, read-only."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from knarr.network.pools import DEFAULT_POOLS, Pool


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
    debug: bool = False
