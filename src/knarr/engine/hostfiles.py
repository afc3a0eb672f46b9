"""The texts of /etc/hosts, /etc/hostname and /etc/resolv.conf of a container. Pure.

Docker's rules: a private network gets the host's nameservers without those that answer on the host's loopback only, and
public ones if none is left; the host network gets the host's file as it is.
"""

from collections.abc import Iterable, Sequence

from knarr.model.container import ContainerSpec

_LOCAL = (
    "127.0.0.1\tlocalhost\n"
    "::1\tlocalhost ip6-localhost ip6-loopback\n"
    "fe00::\tip6-localnet\n"
    "ff00::\tip6-mcastprefix\n"
    "ff02::1\tip6-allnodes\n"
    "ff02::2\tip6-allrouters\n"
)
_SERVER = "127.0.0.11"
_PUBLIC = ("8.8.8.8", "8.8.4.4")


def hosts(
    spec: ContainerSpec, addresses: Iterable[str], gateways: Sequence[str], neighbours: Iterable[str] = ()
) -> str:
    """/etc/hosts; `gateways` stand for host-gateway, `neighbours` are further lines."""
    lines = [_LOCAL]
    lines += (f"{line}\n" for line in (*extra_hosts(spec.extra_hosts, gateways), *neighbours))
    full = f"{spec.hostname}.{spec.domainname}" if spec.domainname else spec.hostname
    short, dot, _ = full.partition(".")
    names = f"{full} {short}" if dot else full
    lines += (f"{address}\t{names}\n" for address in addresses)
    return "".join(lines)


def extra_hosts(entries: Iterable[str], gateways: Sequence[str]) -> list[str]:
    """--add-host as lines of hosts(5)."""
    lines: list[str] = []
    for entry in entries:
        name, _, address = entry.partition(":")
        meant = gateways if address == "host-gateway" else (address.strip("[]"),)
        lines += (f"{each}\t{name}" for each in meant)
    return lines


def resolv_conf(
    host: str, spec: ContainerSpec, defaults: "Resolver", *, private: bool, served: bool = False
) -> str:
    """/etc/resolv.conf from the host's, with what was asked for instead. `served`: by the container's own name server,
    which must hear of names without a dot (ndots)."""
    found = parse(host)
    servers = spec.dns or defaults.servers or found.servers
    if private and not spec.dns:
        servers = tuple(server for server in servers if not _is_loopback(server)) or _PUBLIC
    search = spec.dns_search or defaults.search or found.search
    options = spec.dns_options or defaults.options or found.options
    if served:
        servers = (_SERVER,)
        if not any(option.startswith("ndots:") for option in options):
            options = ("ndots:0", *options)
    lines = [f"nameserver {server}" for server in servers]
    if search and tuple(search) != (".",):
        lines.append(f"search {' '.join(search)}")
    if options:
        lines.append(f"options {' '.join(options)}")
    return "\n".join(lines) + "\n"


class Resolver:
    """resolv.conf(5): servers, search, options."""

    def __init__(self, servers: Sequence[str] = (), search: Sequence[str] = (), options: Sequence[str] = ()):
        self.servers = tuple(servers)
        self.search = tuple(search)
        self.options = tuple(options)


def parse(text: str) -> Resolver:
    """Reads resolv.conf(5); the last `search` or `domain` counts."""
    servers: list[str] = []
    search: list[str] = []
    options: list[str] = []
    for line in text.splitlines():
        word, *values = line.split() or [""]
        if word == "nameserver" and values:
            servers.append(values[0])
        elif word in ("search", "domain"):
            search = values
        elif word == "options":
            options += values
    return Resolver(servers, search, options)


def _is_loopback(server: str) -> bool:
    return server.startswith("127.") or server == "::1"
