"""Bodies of the requests of volumes, networks and registries' credentials."""

from typing import Any

from msgspec import Struct

from knarr.api.spec.containers import Endpoint


class VolumeCreate(Struct, forbid_unknown_fields=True):
    """The body of POST /volumes/create."""

    Name: str = ""
    Driver: str = ""
    DriverOpts: dict[str, str] | None = None
    Labels: dict[str, str] | None = None
    ClusterVolumeSpec: Any = None


class AddressRange(Struct, forbid_unknown_fields=True):
    """One entry of IPAM.Config."""

    Subnet: str = ""
    IPRange: str = ""
    Gateway: str = ""
    AuxiliaryAddresses: dict[str, str] | None = None


class Ipam(Struct, forbid_unknown_fields=True):
    """A network's address management."""

    Driver: str = ""
    Options: dict[str, str] | None = None
    Config: list[AddressRange] | None = None


class NetworkCreate(Struct, forbid_unknown_fields=True):
    """The body of POST /networks/create."""

    Name: str = ""
    CheckDuplicate: bool | None = None
    Driver: str = ""
    Scope: str = ""
    EnableIPv4: bool | None = None
    EnableIPv6: bool | None = None
    IPAM: Ipam | None = None
    Internal: bool = False
    Attachable: bool = False
    Ingress: bool = False
    ConfigOnly: bool = False
    ConfigFrom: dict[str, str] | None = None
    Options: dict[str, str] | None = None
    Labels: dict[str, str] | None = None


class NetworkConnect(Struct, forbid_unknown_fields=True):
    """The body of POST /networks/{id}/connect."""

    Container: str = ""
    EndpointConfig: Endpoint | None = None


class NetworkDisconnect(Struct, forbid_unknown_fields=True):
    """The body of POST /networks/{id}/disconnect."""

    Container: str = ""
    Force: bool = False


class Credentials(Struct, forbid_unknown_fields=True):
    """AuthConfig: the body of POST /auth, and base64 in the header X-Registry-Auth."""

    username: str = ""
    password: str = ""
    auth: str = ""
    email: str = ""
    serveraddress: str = ""
    identitytoken: str = ""
    registrytoken: str = ""
