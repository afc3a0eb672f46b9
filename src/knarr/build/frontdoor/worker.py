"""What this builder says it can do; clients offer and hide their flags by it.

The label `org.mobyproject.buildkit.worker.snapshotter` tells buildx that results of several platforms, archives and pushes
come from here; by the capability `exporter.image.attestations` that attestations can be asked for. The capabilities `cache.…`
let it send every kind of cache: what this builder lacks is refused here, by name.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from knarr.build.proto.caps_pb2 import APICap
from knarr.build.proto.gateway_pb2 import PongResponse
from knarr.build.proto.ops_pb2 import Platform as PlatformMessage
from knarr.build.proto.worker_pb2 import BuildkitVersion, GCPolicy, WorkerRecord
from knarr.build.pruning import Pruning
from knarr.model.platform import Platform

VERSION = BuildkitVersion(
    package="github.com/moby/buildkit", version="v0.26.0+knarr", dockerfileVersion="1.26.0"
)

_FRONTEND_CAPS = (
    "frontend.caps",
    "frontend.inputs",
    "gateway.evaluate",
    "gateway.solve.evaluate",
    "gateway.solve.metadata",
    "gateway.warnings",
    "importcaches",
    "proto.refarray",
    "reference.output",
    "return",
    "returnmap",
    "solve.base",
    "solve.inlinereturn",
)
_LLB_CAPS = (
    "source.image",
    "source.image.resolvemode",
    "source.image.layerlimit",
    "source.local",
    "source.local.unique",
    "source.local.sessionid",
    "source.local.includepatterns",
    "source.local.followpaths",
    "source.local.excludepatterns",
    "source.local.sharedkeyhint",
    "source.git",
    "source.git.keepgitdir",
    "source.git.subdir",
    "source.git.checksum",
    "source.http",
    "source.http.checksum",
    "source.http.perm",
    "source.http.uidgid",
    "exporter.multiple",
    "exporter.image.attestations",
    "exec.meta.base",
    "exec.meta.network",
    "exec.meta.sethostname",
    "exec.meta.proxyenv",
    "exec.meta.ulimit",
    "exec.mount.bind",
    "exec.mount.bind.readwrite-nooutput",
    "exec.mount.cache",
    "exec.mount.cache.sharing",
    "exec.mount.selector",
    "exec.mount.tmpfs",
    "exec.mount.tmpfs.size",
    "exec.mount.secret",
    "exec.mount.ssh",
    "exec.secretenv",
    "file.base",
    "file.rm.wildcard",
    "file.copy.includeexcludepatterns",
    "file.rm.nofollowsymlink",
    "constraints",
    "platform",
    "meta.ignorecache",
    "meta.description",
    "cache.azblob",
    "cache.gha",
    "cache.s3",
    "mergeop",
    "diffop",
)


_STORE = "org.mobyproject.buildkit.worker.snapshotter"
_GATEWAY = "org.mobyproject.buildkit.worker.moby.host-gateway-ip"
Worker = Callable[[], WorkerRecord]


class Facts(NamedTuple):
    """Of the daemon's one worker; what may change is asked for each time. `gateways` stand for host-gateway, `rules` keep the cache
    small, `allowed` are the entitlements that builds may have."""

    name: str
    platforms: Callable[[], Sequence[Platform]]
    gateways: Callable[[], Sequence[str]]
    rules: Callable[[], Sequence[Pruning]]
    allowed: frozenset[str]

    def record(self) -> WorkerRecord:
        """The worker as clients are told of it. A client knows of one gateway only: the IPv4 one where there is one."""
        gateways = sorted(self.gateways(), key=lambda each: ":" in each)
        return WorkerRecord(
            ID=self.name,
            Labels={_STORE: "overlay2", **({_GATEWAY: gateways[0]} if gateways else {})},
            platforms=[
                PlatformMessage(Architecture=each.architecture, OS=each.os, Variant=each.variant or "")
                for each in self.platforms()
            ],
            gc_policies=[
                GCPolicy(
                    all=each.all,
                    keepDuration=each.unused,
                    filters=each.filters,
                    reservedSpace=each.reserved,
                    maxUsedSpace=each.max_used,
                    minFreeSpace=each.min_free,
                )
                for each in self.rules()
            ],
            version=VERSION,
        )


def pong(worker: WorkerRecord) -> PongResponse:
    """The answer to LLBBridge/Ping."""
    return PongResponse(
        FrontendAPICaps=[APICap(ID=name, Enabled=True) for name in _FRONTEND_CAPS],
        LLBCaps=[APICap(ID=name, Enabled=True) for name in _LLB_CAPS],
        Workers=[worker],
    )
