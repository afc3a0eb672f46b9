"""`--change`: Dockerfile instructions on a configuration."""

import pytest

from knarr.engine.images.changes import apply_changes
from knarr.model.container import Healthcheck
from knarr.model.errors import Invalid
from knarr.model.image import ImageConfig
from knarr.model.ports import Port

BASE = ImageConfig(environment=("PATH=/bin", "A=1"), working_dir="/srv", labels={"k": "v"})


@pytest.mark.parametrize(
    ("change", "field", "value"),
    [
        ('CMD ["echo", "hi"]', "command", ("echo", "hi")),
        ("cmd echo hi", "command", ("/bin/sh", "-c", "echo hi")),
        ("CMD", "command", None),
        ('ENTRYPOINT ["/e"]', "entrypoint", ("/e",)),
        ("ENV A=2 B=3", "environment", ("PATH=/bin", "A=2", "B=3")),
        ('ENV C="a b"', "environment", ("PATH=/bin", "A=1", "C=a b")),
        ("ENV C a b", "environment", ("PATH=/bin", "A=1", "C=a b")),
        ("ENV PATH=/x:$PATH", "environment", ("PATH=/x:/bin", "A=1")),
        ("ENV B=${A}x", "environment", ("PATH=/bin", "A=1", "B=1x")),
        ("LABEL a=b", "labels", {"k": "v", "a": "b"}),
        ("EXPOSE 80 443/udp", "exposed_ports", (Port(80), Port(443, "udp"))),
        ("EXPOSE 8000-8002", "exposed_ports", (Port(8000), Port(8001), Port(8002))),
        ("USER daemon:daemon", "user", "daemon:daemon"),
        ("VOLUME /data /more", "volumes", ("/data", "/more")),
        ('VOLUME ["/a b"]', "volumes", ("/a b",)),
        ("WORKDIR /tmp", "working_dir", "/tmp"),
        ("WORKDIR sub/../x", "working_dir", "/srv/x"),
        ("STOPSIGNAL SIGUSR1", "stop_signal", "SIGUSR1"),
        ("ONBUILD RUN x", "on_build", ("RUN x",)),
        ("HEALTHCHECK NONE", "healthcheck", Healthcheck(test=("NONE",))),
        (
            "HEALTHCHECK --interval=1m30s --retries=3 CMD curl x",
            "healthcheck",
            Healthcheck(test=("CMD-SHELL", "curl x"), interval=90 * 10**9, retries=3),
        ),
        ("# nothing\n\nUSER a", "user", "a"),
    ],
)
def test_a_change(change: str, field: str, value: object) -> None:
    assert getattr(apply_changes(BASE, [change]), field) == value


@pytest.mark.parametrize(
    "change",
    [
        "RUN x",
        "FROM x",
        "nonsense",
        "ENV",
        "ENV A",
        "ENV =x",
        "EXPOSE x",
        "EXPOSE 0",
        'LABEL "a',
        "USER",
        "ONBUILD FROM x",
        "HEALTHCHECK x",
        "HEALTHCHECK --interval=x CMD y",
        "VOLUME ''",
    ],
)
def test_a_bad_change(change: str) -> None:
    with pytest.raises(Invalid):
        apply_changes(BASE, [change])
