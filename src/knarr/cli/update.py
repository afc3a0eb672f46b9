"""`knarr update`: a container's limits, its restart policy, its published ports."""

import sys
from typing import Any

from knarr.api.client.http import ApiError, Http
from knarr.cli.common import Failed
from knarr.cli.containerbody import restart_policy
from knarr.cli.containerflags import FLAGS
from knarr.cli.flags import Flag, Options, Verb
from knarr.cli.portflags import ports

_LIMITS = (
    "blkio-weight",
    "cpu-period",
    "cpu-quota",
    "cpu-rt-period",
    "cpu-rt-runtime",
    "cpu-shares",
    "cpus",
    "cpuset-cpus",
    "cpuset-mems",
    "memory",
    "memory-reservation",
    "memory-swap",
    "on-unhealthy",
    "pids-limit",
    "restart",
)
UPDATE = Verb(
    "update",
    "Update configuration of one or more containers",
    "[OPTIONS] CONTAINER [CONTAINER...]",
    (
        *(flag._replace(default=None) for flag in FLAGS if flag.name in _LIMITS),
        Flag("publish-add", "", "list", "Publish a port of the running container: [IP:][HOST:]PORT[/PROTO]"),
        Flag("publish-rm", "", "list", "Take a published port away: PORT[/PROTO] or [IP:]HOST:PORT[/PROTO]"),
    ),
    least=1,
)


def update(http: Http, options: Options) -> int:
    """Prints each name; the warnings, then the errors, come last."""
    if not options.given:
        raise Failed("you must provide one or more flags when using this command")
    try:
        policy = restart_policy(options.restart) if options.restart else {}
    except Failed as error:
        raise Failed(str(error)) from None
    body: dict[str, Any] = {
        "BlkioWeight": options.blkio_weight,
        "CpuPeriod": options.cpu_period,
        "CpuQuota": options.cpu_quota,
        "CpuRealtimePeriod": options.cpu_rt_period,
        "CpuRealtimeRuntime": options.cpu_rt_runtime,
        "CpuShares": options.cpu_shares,
        "CpusetCpus": options.cpuset_cpus,
        "CpusetMems": options.cpuset_mems,
        "Memory": options.memory,
        "MemoryReservation": options.memory_reservation,
        "MemorySwap": options.memory_swap,
        "NanoCpus": round(options.cpus * 1_000_000_000),
        "PidsLimit": options.pids_limit or None,
        "RestartPolicy": policy,
    }
    if options.on_unhealthy:
        body["OnUnhealthy"] = options.on_unhealthy
    for key, words in (("PublishAdd", options.publish_add), ("PublishRm", options.publish_rm)):
        if words:
            body[key] = ports(words)[1]
    warnings: list[str] = []
    errors: list[str] = []
    for name in options.args:
        try:
            with http.request("POST", f"/containers/{name}/update", body=body) as answer:
                warnings += answer.json().get("Warnings") or []
        except ApiError as error:
            errors.append(f"Error response from daemon: {error}")
        else:
            print(name)
    for warning in warnings:
        print(warning)
    for text in errors:
        print(text, file=sys.stderr)
    return 1 if errors else 0
