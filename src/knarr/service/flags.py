"""dockerd's flags, where knarrd has the thing: one table for the command line, daemon.json and what a reload changes.

What Docker has and knarrd does not is in `REFUSED`, so that it is refused by name. A flag that is not given leaves no value.
"""

import argparse
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from knarr.engine.checks import size
from knarr.model.errors import Invalid
from knarr.model.version import VERSION

DEFAULT_CONFIG = "/etc/knarr/daemon.json"
LEVELS = ("debug", "info", "warn", "error", "fatal")


class Flag(NamedTuple):
    """One setting. `key` is its name in daemon.json; `kind` one of text, list, int, bool, size, pairs, switches, limits, pools, nested, builder."""

    name: str
    key: str
    kind: str
    metavar: str
    help: str
    short: str = ""
    reloads: bool = False


def _flag(name: str, kind: str, metavar: str, text: str, **more: Any) -> Flag:
    return Flag(name, more.pop("key", name), kind, metavar, text, **more)


FLAGS = (
    _flag("host", "list", "ADDRESS", "unix://PATH, tcp://HOST:PORT or fd://[NAME]; may be repeated", key="hosts", short="H"),
    _flag("data-root", "text", "DIR", "where images, containers and volumes are kept (default /var/lib/knarr)"),
    _flag("exec-root", "text", "DIR", "where the state of running containers is kept (default /run/knarr)"),
    _flag("pidfile", "text", "FILE", "write the daemon's process id there", short="p"),
    _flag("group", "text", "NAME", "the group that may use the unix socket (default docker, where it exists)", short="G"),
    _flag("tls", "bool", "BOOL", "TLS on tcp://; implied by --tlsverify"),
    _flag("tlsverify", "bool", "BOOL", "TLS on tcp://, for clients with a certificate of --tlscacert only"),
    _flag("tlscacert", "text", "FILE", "who signs the certificates of clients (default ~/.docker/ca.pem)"),
    _flag("tlscert", "text", "FILE", "the daemon's certificate (default ~/.docker/cert.pem)"),
    _flag("tlskey", "text", "FILE", "its key (default ~/.docker/key.pem)"),
    _flag("bridge", "text", "NAME", "the default network's bridge (default knarr0); 'none' for no default network", short="b"),
    _flag("bip", "text", "CIDR", "the bridge's address, as 172.17.0.1/16"),
    _flag("mtu", "int", "BYTES", "the containers' MTU"),
    _flag("icc", "bool", "BOOL", "let containers of the default network talk to each other (default true)"),
    _flag("ipv6", "bool", "BOOL", "IPv6 on the default network (default false)"),
    _flag("bip6", "text", "CIDR", "the bridge's IPv6 address, as fd00::1/64"),
    _flag("fixed-cidr", "text", "CIDR", "the part of the default network's subnet that containers get"),
    _flag("fixed-cidr-v6", "text", "CIDR", "the default network's IPv6 subnet, or the part of it that containers get"),
    _flag("ip-masq", "bool", "BOOL", "translate what containers of the default network send outward (default true)"),
    _flag("iptables", "bool", "BOOL", "taken if true: rules are nftables'"),
    _flag("ip6tables", "bool", "BOOL", "taken if true: rules are nftables'"),
    _flag("ip-forward", "bool", "BOOL", "turn the host's IPv4 forwarding on (default true)"),
    _flag("userland-proxy", "bool", "BOOL", "carry what the kernel cannot send to published ports, such as ::1 (default true)"),
    _flag("publish-firewall", "text", "obey|bypass", "whether published ports obey the host's own firewall, where one is active (default obey)"),
    _flag("default-network-opt", "nested", "DRIVER=KEY=VALUE", "an option of new networks", key="default-network-opts"),
    _flag("ip", "text", "ADDRESS", "the host's address of ports published on the default network (default 0.0.0.0)"),
    _flag("default-address-pool", "pools", "base=CIDR,size=N", "where networks get their subnets", key="default-address-pools"),
    _flag("registry-mirror", "list", "URL", "a mirror of Docker Hub, or HOST=URL for any other registry", key="registry-mirrors", reloads=True),
    _flag("insecure-registry", "list", "HOST", "a registry that speaks plain HTTP", key="insecure-registries", reloads=True),
    _flag("registry", "text", "HOST:PORT", "serve a registry there, kept under the data root"),
    _flag("max-concurrent-downloads", "int", "N", "layers pulled at a time (default 3)", reloads=True),
    _flag("max-concurrent-uploads", "int", "N", "layers pushed at a time (default 5)", reloads=True),
    _flag("storage-driver", "text", "NAME", "overlay2 or vfs", short="s"),
    _flag("log-driver", "text", "NAME", "the containers' logging driver (default json-file)"),
    _flag("log-opt", "pairs", "KEY=VALUE", "an option of the logging driver", key="log-opts"),
    _flag("label", "list", "KEY=VALUE", "a label of the daemon", key="labels", reloads=True),
    _flag("dns", "list", "ADDRESS", "name servers of containers"),
    _flag("dns-opt", "list", "OPTION", "resolver options of containers", key="dns-opts"),
    _flag("dns-search", "list", "DOMAIN", "search domains of containers"),
    _flag("host-gateway-ip", "list", "ADDRESS", "what host-gateway stands for in --add-host (default: the bridge's address)", key="host-gateway-ips"),
    _flag("default-ulimit", "limits", "NAME=SOFT:HARD", "a limit of containers that set none", key="default-ulimits"),
    _flag("default-shm-size", "size", "BYTES", "the size of /dev/shm in containers (default 64 MiB)", reloads=True),
    _flag("default-ipc-mode", "text", "MODE", "the IPC namespace of containers: private or shareable (default private)", reloads=True),
    _flag("default-cgroupns-mode", "text", "MODE", "the cgroup namespace of containers: private or host (default private)", reloads=True),
    _flag("default-stop-timeout", "int", "SECONDS", "how long containers have to end before they are killed (default 10)", reloads=True),
    _flag("init", "bool", "BOOL", "run an init in containers that do not say (default false)"),
    _flag("init-path", "text", "FILE", "the program that --init runs"),
    _flag("default-runtime", "text", "NAME", "runc, which is knarr's own (default runc)", reloads=True),
    _flag("seccomp-profile", "text", "FILE", "the default seccomp profile, or 'unconfined'"),
    _flag("no-new-privileges", "bool", "BOOL", "set no_new_privs in containers by default"),
    _flag("userns-remap", "text", "USER", "give containers a user namespace of the ids that /etc/subuid and /etc/subgid have for USER[:GROUP], or 'default'"),
    _flag("cdi-spec-dir", "list", "DIR", "where vendors describe devices (CDI; default /etc/cdi and /var/run/cdi)", key="cdi-spec-dirs"),
    _flag("cgroup-parent", "text", "PATH", "the parent of the containers' cgroups"),
    _flag("exec-opt", "list", "KEY=VALUE", "native.cgroupdriver=cgroupfs, which is the one there is", key="exec-opts"),
    _flag("live-restore", "bool", "BOOL", "containers go on without the daemon (default true); false: they end with it", reloads=True),
    _flag("shutdown-timeout", "int", "SECONDS", "how long requests, and containers without --live-restore, may take to end (default 15)", reloads=True),
    _flag("feature", "switches", "NAME=BOOL", "features by name; none of them changes knarrd", key="features", reloads=True),
    _flag("http-proxy", "text", "URL", "the proxy on the way to registries"),
    _flag("https-proxy", "text", "URL", "the proxy on the way to registries"),
    _flag("no-proxy", "text", "HOSTS", "what is asked without a proxy"),
    _flag("log-level", "text", "LEVEL", "debug, info, warn, error or fatal (default info)", short="l", reloads=True),
    _flag("log-format", "text", "FORMAT", "text or json (default text)"),
    _flag("raw-logs", "bool", "BOOL", "taken, because the log has no colours"),
    _flag("debug", "bool", "BOOL", "log level debug", short="D", reloads=True),
)  # fmt: skip
FILE_ONLY = (_flag("", "builder", "", "what builds may do and leave", key="builder"),)
BY_KEY = {flag.key: flag for flag in (*FLAGS, *FILE_ONLY)}

REFUSED = {
    "add-runtime": "runtimes", "allow-direct-routing": "", "authorization-plugin": "authorization-plugins", "bridge-accept-fwmark": "",
    "containerd": "", "containerd-namespace": "", "containerd-plugins-namespace": "containerd-plugin-namespace", "cpu-rt-period": "",
    "cpu-rt-runtime": "", "cri-containerd": "", "experimental": "",
    "firewall-backend": "", "ip-forward-no-drop": "", "max-download-attempts": "", "metrics-addr": "", "network-control-plane-mtu": "",
    "network-diagnostic-port": "", "node-generic-resource": "node-generic-resources", "nri-opts": "", "rootless": "",
    "selinux-enabled": "", "storage-opt": "storage-opts", "swarm-default-advertise-addr": "",
    "userland-proxy-path": "", "min-api-version": "", "swarm-raft-heartbeat-tick": "", "swarm-raft-election-tick": "",
    "default-gateway": "", "default-gateway-v6": "",
}  # fmt: skip
"""What dockerd takes and knarrd has not; the value is the key in daemon.json where that differs."""


def refused(name: str) -> Invalid:
    """A setting that Docker has, and knarrd does not."""
    return Invalid(f"knarrd has no {name}: this setting of dockerd is not supported")


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        "knarrd", description="The knarr daemon.", argument_default=argparse.SUPPRESS, allow_abbrev=False
    )
    add = parser.add_argument
    add(
        "--config-file",
        default=DEFAULT_CONFIG,
        metavar="FILE",
        help=f"settings as JSON (default {DEFAULT_CONFIG})",
    )
    add(
        "--validate",
        action="store_true",
        default=False,
        help="look at the settings, say whether they are good, and end",
    )
    for flag in FLAGS:
        words = [f"--{flag.name}", *([f"-{flag.short}"] if flag.short else [])]
        more: dict[str, Any] = {
            "dest": flag.key,
            "metavar": flag.metavar,
            "help": flag.help.replace("%", "%%"),
        }
        if flag.kind == "bool":
            more |= {"nargs": "?", "const": True}
        if flag.kind in ("list", "pairs", "switches", "limits", "pools", "nested"):
            more["action"] = "append"
        add(*words, type=READERS[flag.kind], **more)
    for name in REFUSED:
        add(f"--{name}", nargs="?", action=_Refuse, help=argparse.SUPPRESS)
    add("--version", "-v", action="version", version=f"knarrd {VERSION}")
    return parser


class _Refuse(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        parser.error(str(refused(self.option_strings[0])))


def _boolean(text: str) -> bool:
    if text.lower() not in ("true", "false", "1", "0", "t", "f"):
        raise argparse.ArgumentTypeError(f"not a boolean: {text!r}")
    return text.lower() in ("true", "1", "t")


def _size(text: str) -> int:
    try:
        return size(text)
    except Invalid as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"invalid key value pair: {text!r}")
    return key, value


def _switch(text: str) -> tuple[str, bool]:
    key, equals, value = text.partition("=")
    return key, _boolean(value) if equals else True


def _nested(text: str) -> tuple[str, str, str]:
    driver, equals, rest = text.partition("=")
    key, second, value = rest.partition("=")
    if not equals or not second:
        raise argparse.ArgumentTypeError(f"invalid key value pair: {text!r}")
    return driver, key, value


def _by_driver(words: Sequence[tuple[str, str, str]]) -> dict[str, dict[str, str]]:
    table: dict[str, dict[str, str]] = {}
    for driver, key, value in words:
        table.setdefault(driver, {})[key] = value
    return table


def _pool(text: str) -> dict[str, str]:
    return dict(_pair(word) for word in text.split(","))


READERS: dict[str, Callable[[str], Any]] = {
    "text": str,
    "list": str,
    "int": int,
    "bool": _boolean,
    "size": _size,
    "pairs": _pair,
    "switches": _switch,
    "limits": str,
    "pools": _pool,
    "nested": _nested,
}


def parse(words: Sequence[str]) -> tuple[dict[str, Any], str, bool]:
    """Settings by their keys, the configuration file, whether it is only to be looked at. Ends the process on --help."""
    found = vars(arguments().parse_args(words))
    config_file, validate = found.pop("config_file"), found.pop("validate")
    for flag in FLAGS:
        if flag.key in found and flag.kind in ("pairs", "switches"):
            found[flag.key] = dict(found[flag.key])
        if flag.key in found and flag.kind == "nested":
            found[flag.key] = _by_driver(found[flag.key])
    return found, config_file, validate
