"""What tells two saved images apart."""

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from knarr.cli.imagediff import differences


def layer(**files: Any) -> bytes:
    """A layer of files; a value is contents, or the header's fields and contents."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, value in files.items():
            fields, data = value if isinstance(value, tuple) else ({}, value)
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            for field, each in fields.items():
                setattr(entry, field, each)
            tar.addfile(entry, io.BytesIO(data))
    return out.getvalue()


def saved(path: Path, *layers: bytes, config: Mapping[str, Any] | None = None, level: int = 6) -> str:
    blobs: dict[str, bytes] = {}

    def blob(data: bytes) -> dict[str, str]:
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        blobs[digest] = data
        return {"digest": digest}

    history = [{"created_by": f"RUN {number} # buildkit"} for number in range(len(layers))]
    document = {"config": {"Env": ["A=1"]}, "history": [{"empty_layer": True}, *history], **(config or {})}
    manifest = {
        "config": blob(json.dumps(document).encode()),
        "layers": [blob(gzip.compress(data, level, mtime=0)) for data in layers],
    }
    with tarfile.open(path, "w") as tar:
        files = {f"blobs/{digest.replace(':', '/')}": data for digest, data in blobs.items()}
        index = {"manifests": [blob(json.dumps(manifest).encode())]}
        files |= {f"blobs/{digest.replace(':', '/')}": data for digest, data in blobs.items()}
        for name, data in {**files, "index.json": json.dumps(index).encode()}.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return str(path)


def told(tmp_path: Path, one: bytes, two: bytes) -> list[str]:
    same = layer(same=b"same")
    return list(differences(saved(tmp_path / "1", same, one), saved(tmp_path / "2", same, two)))


def test_files(tmp_path: Path) -> None:
    assert told(tmp_path, layer(a=b"x"), layer(a=b"x")) == []
    assert told(tmp_path, layer(a=b"x 1"), layer(a=b"x 2", b=b"")) == [
        "layer 2 (RUN 1): /a: other contents from byte 2 on: 'x 1', and then 'x 2'",
        "layer 2 (RUN 1): /b: only in the second",
    ]
    assert told(tmp_path, layer(a=b"\xff\x00"), layer(a=b"\xff\x01")) == [
        "layer 2 (RUN 1): /a: other contents from byte 1 on"
    ]
    assert told(
        tmp_path, layer(a=({"mode": 0o600, "mtime": 1}, b"")), layer(a=({"mode": 0o4755, "uid": 7}, b""))
    ) == [
        "layer 2 (RUN 1): /a: mode 0600, and then 4755",
        "layer 2 (RUN 1): /a: owner 0:0, and then 7:0",
        "layer 2 (RUN 1): /a: time 1, and then 0",
    ]
    assert told(tmp_path, layer(a=b"", b=b""), layer(b=b"", a=b"")) == [
        "layer 2 (RUN 1): the files are in another order"
    ]


def test_what_is_not_in_files(tmp_path: Path) -> None:
    data = layer(a=b"x" * 10_000)
    one = saved(tmp_path / "1", data, config={"config": {"Env": ["A=1"], "User": "me"}})
    two = saved(tmp_path / "2", data, data, config={"config": {"Env": ["A=2"]}, "created": "now"}, level=0)
    assert list(differences(one, two)) == [
        "layer 1 (RUN 0): the same files, archived otherwise",
        "layer 2: only one of the images has it",
        'config.config.Env[0]: "A=1", and then "A=2"',
        'config.config.User: "me", and then null',
        (
            'config.history: [{"empty_layer": true}, {"created_by": "RUN 0 # buildkit"}], and then '
            '[{"empty_layer": true}, {"created_by": "RUN 0 # buildkit"}, {"created_by": "RUN 1 # buildkit"}]'
        ),
        'config.created: null, and then "now"',
    ]
