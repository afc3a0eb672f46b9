"""The engine's statements: each function is called inside a transaction."""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence

from knarr.engine.record import (
    NetworkValue,
    Row,
    VolumeValue,
    decode_network,
    decode_row,
    decode_volume,
    encode,
)
from knarr.model.ports import Published


def load_containers(tx: sqlite3.Connection) -> list[Row]:
    """Every container, oldest first."""
    rows = tx.execute(
        "SELECT id, name, created, image, spec, state, extra FROM containers ORDER BY created"
    ).fetchall()
    return [decode_row(row) for row in rows]


def insert_container(tx: sqlite3.Connection, row: Row) -> None:
    """A new one. Raises Taken for its name."""
    tx.execute(
        "INSERT INTO containers (id, name, created, image, status, spec, state, extra) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            row.id,
            row.name,
            row.created,
            row.image,
            row.state.status,
            encode(row.spec),
            encode(row.state),
            encode(row.extra),
        ),
    )


def save_state(tx: sqlite3.Connection, row: Row) -> None:
    """Status, state and extra."""
    tx.execute(
        "UPDATE containers SET status = ?, state = ?, extra = ? WHERE id = ?",
        (row.state.status, encode(row.state), encode(row.extra), row.id),
    )


def save_spec(tx: sqlite3.Connection, row: Row) -> None:
    """Name and specification."""
    tx.execute("UPDATE containers SET name = ?, spec = ? WHERE id = ?", (row.name, encode(row.spec), row.id))


def ranges_taken(tx: sqlite3.Connection) -> set[int]:
    """Where the ranges of ids begin that containers have for themselves."""
    return {first for (first,) in tx.execute("SELECT first FROM id_ranges")}


def claim_range(tx: sqlite3.Connection, container_id: str, first: int) -> None:
    """It is the container's until that is deleted. Raises Taken."""
    tx.execute("INSERT INTO id_ranges (container, first) VALUES (?, ?)", (container_id, first))


def delete_container(tx: sqlite3.Connection, container_id: str) -> None:
    """With its endpoints, ports and uses of volumes, by the schema's cascades."""
    tx.execute("DELETE FROM containers WHERE id = ?", (container_id,))


def claim_endpoint(
    tx: sqlite3.Connection,
    container_id: str,
    network: str,
    addresses: tuple[str, str],
    published: Sequence[Published],
) -> None:
    """The addresses (IPv4, IPv6; "" for none) and the host ports of this life. Raises Taken."""
    four, six = addresses
    tx.execute(
        "INSERT INTO endpoints (container, network, address, address6) VALUES (?, ?, ?, ?)",
        (container_id, network, four or None, six or None),
    )
    claim_ports(tx, container_id, published)


def claim_ports(tx: sqlite3.Connection, container_id: str, published: Sequence[Published]) -> None:
    """Host ports; those that are open at the container's own address are none of the host's. Raises Taken."""
    tx.executemany(
        "INSERT INTO published (container, host_ip, host_port, protocol) VALUES (?, ?, ?, ?)",
        [
            (container_id, each.host_ip, each.host_port, each.port.protocol)
            for each in dict.fromkeys(published)
            if each.host_port
        ],
    )


def release_ports(tx: sqlite3.Connection, container_id: str, published: Sequence[Published]) -> None:
    """Gives host ports back."""
    tx.executemany(
        "DELETE FROM published WHERE container = ? AND host_ip = ? AND host_port = ? AND protocol = ?",
        [(container_id, each.host_ip, each.host_port, each.port.protocol) for each in published],
    )


def release_endpoints(tx: sqlite3.Connection, container_id: str) -> None:
    """After its life."""
    tx.execute("DELETE FROM endpoints WHERE container = ?", (container_id,))
    tx.execute("DELETE FROM published WHERE container = ?", (container_id,))


def save_ended(tx: sqlite3.Connection, row: Row) -> None:
    """Its state after a life: nothing of the network is its own any more."""
    save_state(tx, row)
    release_endpoints(tx, row.id)


def load_volumes(tx: sqlite3.Connection) -> list[tuple[str, int, VolumeValue]]:
    """(name, created, value) of each volume."""
    rows = tx.execute("SELECT name, created, value FROM volumes ORDER BY name").fetchall()
    return [(name, created, decode_volume(value)) for name, created, value in rows]


def put_volume(tx: sqlite3.Connection, name: str, created: int, value: VolumeValue) -> None:
    """New, or changed."""
    tx.execute(
        "INSERT INTO volumes (name, created, value) VALUES (?, ?, ?) "
        "ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        (name, created, encode(value)),
    )


def put_volumes(tx: sqlite3.Connection, volumes: Mapping[str, tuple[int, VolumeValue]]) -> None:
    """Several, by name: when made, and the value."""
    for name, (created, value) in volumes.items():
        put_volume(tx, name, created, value)


def delete_volumes(tx: sqlite3.Connection, names: Iterable[str]) -> None:
    """Raises Taken while a container uses one."""
    tx.executemany("DELETE FROM volumes WHERE name = ?", [(name,) for name in names])


def mark_leaving(tx: sqlite3.Connection, names: Iterable[str]) -> None:
    """Their files are on their way to the trash."""
    tx.executemany("INSERT OR IGNORE INTO leaving_volumes (name) VALUES (?)", [(name,) for name in names])


def load_leaving(tx: sqlite3.Connection) -> list[str]:
    """Volumes without a row whose files may still be there."""
    return [name for (name,) in tx.execute("SELECT name FROM leaving_volumes ORDER BY name")]


def unmark_leaving(tx: sqlite3.Connection, names: Iterable[str]) -> None:
    """Nothing of them is left."""
    tx.executemany("DELETE FROM leaving_volumes WHERE name = ?", [(name,) for name in names])


def use_volumes(tx: sqlite3.Connection, container_id: str, names: Iterable[str]) -> None:
    """The container holds these volumes."""
    tx.executemany(
        "INSERT OR IGNORE INTO volume_uses (volume, container) VALUES (?, ?)",
        [(name, container_id) for name in names],
    )


def load_networks(tx: sqlite3.Connection) -> list[tuple[str, str, int, NetworkValue]]:
    """(id, name, created, value) of each network that a user made, oldest first."""
    rows = tx.execute("SELECT id, name, created, value FROM networks ORDER BY created").fetchall()
    return [(key, name, created, decode_network(value)) for key, name, created, value in rows]


def insert_network(tx: sqlite3.Connection, key: str, name: str, created: int, value: NetworkValue) -> None:
    """A new one. Raises Taken for its name."""
    tx.execute("INSERT INTO networks VALUES (?, ?, ?, ?)", (key, name, created, encode(value)))


def delete_network(tx: sqlite3.Connection, key: str) -> None:
    """One that nobody is in."""
    tx.execute("DELETE FROM networks WHERE id = ?", (key,))


def release_endpoint(tx: sqlite3.Connection, container_id: str, network: str) -> None:
    """One place of a container that goes on."""
    tx.execute("DELETE FROM endpoints WHERE container = ? AND network = ?", (container_id, network))


def has_image(tx: sqlite3.Connection, image_id: str) -> bool:
    """Whether the image is still here."""
    return tx.execute("SELECT 1 FROM images WHERE id = ?", (image_id,)).fetchone() is not None


def setting(tx: sqlite3.Connection, key: str, default: str) -> str:
    """A lasting value of the engine: what is there, or `default`, which is written."""
    tx.execute("INSERT OR IGNORE INTO settings (key, value) VALUES (?, ?)", (key, default))
    value: str = tx.execute("SELECT value FROM settings WHERE key = ?", (key,)).fetchone()[0]
    return value


def change_setting(tx: sqlite3.Connection, key: str, value: str) -> None:
    """Another lasting value."""
    tx.execute("UPDATE settings SET value = ? WHERE key = ?", (value, key))
