"""The registry of an engine that was given none: every request is refused."""

from typing import Any, NoReturn

from knarr.model.errors import Unsupported


class Nowhere:
    """Stands where `engine.images.port.Registry` is expected."""

    def __getattr__(self, name: str) -> Any:
        def refuse(*_: object, **__: object) -> NoReturn:
            raise Unsupported("this engine was opened without a registry client")

        return refuse
