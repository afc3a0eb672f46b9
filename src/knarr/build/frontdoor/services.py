"""A gRPC service whose methods raise our errors."""

from knarr.build.frontdoor.failures import failure
from knarr.grpc import services
from knarr.grpc.status import RpcError
from knarr.model.errors import KnarrError


class Service(services.Service):
    """See grpc.services; errors go out as BuildKit's clients look for them."""

    def told(self, error: Exception) -> RpcError | None:
        return failure(error) if isinstance(error, KnarrError) else None
