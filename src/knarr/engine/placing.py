"""Decides which mounts a new container has, and which volumes must be made for them. Nothing is made here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256

from knarr.engine.checks import covering
from knarr.engine.errors import NoSuchContainer
from knarr.engine.live import Roster
from knarr.engine.names import new_id
from knarr.engine.plan import plan_mounts
from knarr.engine.record import Placed, VolumeValue
from knarr.engine.volumes import ANONYMOUS, Volumes, check_driver
from knarr.engine.world import World
from knarr.model.container import ContainerSpec, MountSpec
from knarr.model.descriptor import chain_ids
from knarr.model.errors import Invalid, Unsupported
from knarr.model.image import Image


@dataclass(slots=True)
class Wishes:
    """The mounts, the volumes that must be made for them, and those that the image fills if they are empty."""

    placed: list[Placed] = field(default_factory=list)
    volumes: list[tuple[str, VolumeValue]] = field(default_factory=list)
    filled: list[Placed] = field(default_factory=list)


class Placer:
    """Of one engine."""

    def __init__(self, world: World, roster: Roster, volumes: Volumes) -> None:
        self._world = world
        self._roster = roster
        self._volumes = volumes

    def decide(
        self,
        container_id: str,
        spec: ContainerSpec,
        inherited: Sequence[MountSpec],
        images: Mapping[str, Image],
    ) -> Wishes:
        """All mounts that are asked for and those of the image. Raises Invalid, Unsupported."""
        wishes = Wishes()
        for mount in plan_mounts(spec, inherited):
            placed = self._place(mount, wishes)
            if placed.type == "image":
                placed = self._place_image(container_id, placed, images[mount.source])
            wishes.placed.append(placed)
            if placed.type == "volume" and not mount.no_copy and not mount.subpath:
                wishes.filled.append(placed)
        return wishes

    def inherited(self, text: str) -> list[MountSpec]:
        """--volumes-from CONTAINER[:ro|rw]. Raises Invalid."""
        name, _, mode = text.partition(":")
        if not name:
            raise Invalid("volumes-from specification cannot be an empty string")
        if mode not in ("", "ro", "rw", "z", "Z"):
            raise Invalid(f"invalid mode: {mode}")
        try:
            other = self._roster.find(name)
        except NoSuchContainer as error:
            raise Invalid(str(error)) from None
        return [
            MountSpec(
                type=mount.type,
                target=mount.target,
                source=mount.name or mount.image or mount.source,
                read_only=mode == "ro" or not mount.writable,
                propagation=mount.propagation,
                options=mount.options,
                no_copy=True,
                subpath=mount.subpath,
                shallow=mount.shallow,
                asked_by="inherited",
                create_source=True,
            )
            for mount in other.extra.mounts
            if mount.asked_by != "tmpfs"
        ]

    def _place(self, mount: MountSpec, wishes: Wishes) -> Placed:
        placed = Placed(
            type=mount.type,
            target=mount.target,
            mode=",".join(mount.options) if mount.asked_by == "binds" else "",
            shallow=mount.shallow,
            deep=mount.deep,
            writable=not mount.read_only,
            options=mount.options,
            asked_by="binds" if mount.create_source else mount.asked_by,
            subpath=mount.subpath,
            called=mount.source if mount.type == "image" else "",
        )
        if mount.type == "bind":
            default = covering(mount.source, mount.propagation, self._world.settings.data_root)
            return replace(placed, source=mount.source, propagation=mount.propagation or default)
        if mount.type in ("tmpfs", "image"):
            return placed
        name = mount.source or new_id()
        check_driver(name, mount.driver)
        known = {each for each, _ in wishes.volumes}
        if name not in self._volumes and name not in known:
            value = VolumeValue(
                driver=mount.driver or "local",
                labels={**mount.labels, **({} if mount.source else ANONYMOUS)},
                anonymous=not mount.source,
                options=dict(mount.driver_options) or None,
            )
            wishes.volumes.append((name, value))
        return replace(
            placed,
            name=name,
            source=self._world.paths.volume(name),
            driver="local",
            mode=placed.mode or ("z" if mount.asked_by in ("binds", "mounts") else ""),
            anonymous=not mount.source or self._volumes.is_anonymous(name),
            subpath=mount.subpath,
        )

    def _place_image(self, container_id: str, placed: Placed, image: Image) -> Placed:
        if self._world.remap is not None:
            raise Unsupported("mounts of images are not supported in user namespaces")
        name = sha256(placed.target.encode()).hexdigest()[:12]
        return replace(
            placed,
            source=f"{self._world.paths.container(container_id)}/image-{name}",
            propagation="rprivate",
            writable=False,
            image=str(image.id),
            snapshot=f"{container_id}-{name}",
            chain=tuple(str(digest) for digest in chain_ids(image.layers)),
        )
