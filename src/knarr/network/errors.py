"""What goes wrong in this room, by name and in Docker's words."""

from knarr.model.errors import Conflict, Denied, Invalid, KnarrError, Unavailable


class PortTaken(Conflict):
    """A host port is held by another container or program. Docker's API answers 500, not 409."""

    def __init__(self, endpoint: str, endpoint_id: str, cause: str) -> None:
        super().__init__(
            f"driver failed programming external connectivity on endpoint {endpoint} ({endpoint_id}): {cause}"
        )


class AddressTaken(Denied):
    """The address that was asked for belongs to another endpoint."""

    def __init__(self, address: str) -> None:
        super().__init__("Address already in use")
        self.address = address


class NoFreeAddress(Unavailable):
    """The subnet has no address left."""

    def __init__(self, network: str, family: str = "4") -> None:
        super().__init__(f"no available IPv{family} addresses on this network's address pools: {network}")


class AddressOutside(Invalid):
    """The address that was asked for is not a host address of the subnet."""

    def __init__(self, address: str, subnet: str) -> None:
        super().__init__(
            f"invalid address {address}: It does not belong to any of this network's subnets ({subnet})"
        )


class NoFreeSubnet(Unavailable):
    """Every default address pool is used up or overlaps with a route of the host."""

    def __init__(self) -> None:
        super().__init__("all predefined address pools have been fully subnetted")


class SubnetTaken(Conflict):
    """The subnet that was asked for overlaps with one in use."""

    def __init__(self) -> None:
        super().__init__("invalid pool request: Pool overlaps with other one on this address space")


class FirewallMissing(Unavailable):
    """libnftables is not installed, or the kernel has no nf_tables."""


class ParentMissing(KnarrError):
    """The link that a network shall hang on is not there, or cannot be made or used. Docker's API answers 500."""
