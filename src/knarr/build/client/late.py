"""Messages of protobuf's library, which takes 30 ms to start: imported when the first one comes, for most builds need none."""

from importlib import import_module
from typing import Any


class Late:
    """One type of knarr.build.proto."""

    def __init__(self, module: str, name: str):
        self._module = module
        self._name = name

    def __call__(self, **fields: Any) -> Any:
        """A new message."""
        return self._type()(**fields)

    def FromString(self, data: bytes) -> Any:  # noqa: N802  (protobuf's name)
        """As the type has it."""
        return self._type().FromString(data)

    def _type(self) -> Any:
        return getattr(import_module(f"knarr.build.proto.{self._module}"), self._name)
