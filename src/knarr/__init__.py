"""knarr: a container engine behind Docker's own API, and a library: `from knarr import Engine`.

The names below are found when they are asked for, because everything of knarr passes through this file: it imports nothing. Their types are in __init__.pyi.
"""

_NAMES = {
    "Container": "knarr.library.container",
    "Engine": "knarr.library.engine",
    "ExecResult": "knarr.library.values",
    "Healthcheck": "knarr.library.options",
    "LogLine": "knarr.library.values",
    "Login": "knarr.library.images",
    "Mount": "knarr.library.options",
    "Network": "knarr.library.networks",
    "Options": "knarr.library.options",
    "Process": "knarr.library.process",
    "Volume": "knarr.library.volumes",
    "errors": "knarr.model.errors",
}


def __getattr__(name: str) -> object:
    if name not in _NAMES:
        raise AttributeError(f"module 'knarr' has no attribute {name!r}")
    import importlib

    module = importlib.import_module(_NAMES[name])
    found = module if name == "errors" else getattr(module, name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_NAMES})
