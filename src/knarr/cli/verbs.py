"""The table of all verbs: where each is, its other names, and what its groups are for. Verbs are imported when called."""

from collections.abc import Callable
from importlib import import_module

from knarr.api.client.http import Http
from knarr.cli.flags import Flag, Options, Verb

HELP = Flag("help", "", "bool", "Print usage")

# word → (module, name of its Verb, name of its function)
VERBS = {
    "attach": ("attach", "ATTACH", "attach"),
    "bootstrap": ("bootstrap", "BOOTSTRAP", "bootstrap"),
    "build": ("build", "BUILD", "build"),
    "commit": ("containers", "COMMIT", "commit"),
    "completion": ("completion", "COMPLETION", "completion"),
    "container inspect": ("inspecting", "CONTAINER", "container"),
    "container prune": ("prune", "CONTAINERS", "containers"),
    "context create": ("context", "CREATE", "create"),
    "context export": ("context", "EXPORT", "export"),
    "context import": ("context", "IMPORT", "import_"),
    "context inspect": ("context", "INSPECT", "inspect"),
    "context ls": ("context", "LS", "ls"),
    "context rm": ("context", "RM", "remove"),
    "context show": ("context", "SHOW", "show_name"),
    "context update": ("context", "UPDATE", "update"),
    "context use": ("context", "USE", "use"),
    "cp": ("copy", "CP", "copy"),
    "create": ("run", "CREATE", "create"),
    "diff": ("containers", "DIFF", "diff"),
    "events": ("logs", "EVENTS", "events"),
    "exec": ("attach", "EXEC", "execute"),
    "export": ("copy", "EXPORT", "export"),
    "history": ("images", "HISTORY", "history"),
    "image inspect": ("inspecting", "IMAGE", "image"),
    "image prune": ("prune", "IMAGES", "images"),
    "images": ("images", "IMAGES", "images"),
    "import": ("imagefiles", "IMPORT", "import_"),
    "info": ("info", "INFO", "info"),
    "inspect": ("inspecting", "INSPECT", "inspect"),
    "kill": ("containers", "KILL", "kill"),
    "load": ("imagefiles", "LOAD", "load"),
    "login": ("login", "LOGIN", "login"),
    "logout": ("login", "LOGOUT", "logout"),
    "logs": ("logs", "LOGS", "logs"),
    "network connect": ("networks", "CONNECT", "connect"),
    "network create": ("networks", "CREATE", "create"),
    "network disconnect": ("networks", "DISCONNECT", "disconnect"),
    "network inspect": ("inspecting", "NETWORK", "network"),
    "network ls": ("networks", "LS", "ls"),
    "network prune": ("prune", "NETWORKS", "networks"),
    "network rm": ("networks", "RM", "remove"),
    "pause": ("containers", "PAUSE", "pause"),
    "port": ("containers", "PORT", "port"),
    "ps": ("ps", "PS", "ps"),
    "pull": ("images", "PULL", "pull"),
    "push": ("images", "PUSH", "push"),
    "rename": ("containers", "RENAME", "rename"),
    "restart": ("containers", "RESTART", "restart"),
    "rm": ("containers", "RM", "remove"),
    "rmi": ("images", "RMI", "remove"),
    "run": ("run", "RUN", "run"),
    "save": ("imagefiles", "SAVE", "save"),
    "search": ("search", "SEARCH", "search"),
    "start": ("containers", "START", "start"),
    "stats": ("stats", "STATS", "stats"),
    "stop": ("containers", "STOP", "stop"),
    "system df": ("df", "DF", "disk_usage"),
    "system dial-stdio": ("dialstdio", "DIAL_STDIO", "dial"),
    "system prune": ("prune", "SYSTEM", "system"),
    "tag": ("images", "TAG", "tag"),
    "top": ("containers", "TOP", "top"),
    "unpause": ("containers", "UNPAUSE", "unpause"),
    "update": ("update", "UPDATE", "update"),
    "version": ("versioning", "VERSION", "show"),
    "volume create": ("volumes", "CREATE", "create"),
    "volume inspect": ("inspecting", "VOLUME", "volume"),
    "volume ls": ("volumes", "LS", "ls"),
    "volume prune": ("prune", "VOLUMES", "volumes"),
    "volume rm": ("volumes", "RM", "remove"),
    "wait": ("containers", "WAIT", "wait"),
}
_CONTAINER = "attach commit cp create diff exec export kill logs pause port rename restart rm run start stats stop top unpause update wait"
ALIASES = {
    **{f"container {word}": word for word in _CONTAINER.split()},
    "container ls": "ps",
    "container list": "ps",
    "container ps": "ps",
    "container remove": "rm",
    **{f"image {word}": word for word in ("history", "import", "load", "pull", "push", "save", "tag")},
    "image build": "build",
    "builder build": "build",
    "image ls": "images",
    "image list": "images",
    "image rm": "rmi",
    "image remove": "rmi",
    "system info": "info",
    "system events": "events",
    **{f"{group} list": f"{group} ls" for group in ("context", "network", "volume")},
    **{f"{group} remove": f"{group} rm" for group in ("context", "network", "volume")},
}
GROUPS = {
    "container": "Manage containers",
    "context": "Manage contexts",
    "image": "Manage images",
    "network": "Manage networks",
    "system": "Manage Docker",
    "volume": "Manage volumes",
}
# Verbs of docker's that this program has no code for: the plugin that they belong to, or why there is none.
PLUGINS = {"builder": "buildx", "buildx": "buildx", "compose": "compose"}
MISSING = {
    "checkpoint": "checkpoints need an experimental daemon",
    "manifest": "manifest lists are not written by this program: use `knarr buildx imagetools` or crane",
    "plugin": "managed plugins are out of scope",
    "trust": "content trust (Notary) has been retired",
    **dict.fromkeys(("config", "node", "secret", "service", "stack", "swarm"), "swarm is out of scope"),
}


def load(name: str) -> tuple[Verb, Callable[[Http, Options], int]]:
    """A verb's table and function, imported now."""
    module_name, verb_name, function_name = VERBS[name]
    module = import_module(f"knarr.cli.{module_name}")
    verb: Verb = getattr(module, verb_name)
    return verb._replace(flags=(*verb.flags, HELP)), getattr(module, function_name)


def all_verbs() -> dict[str, Verb]:
    """Every verb's table, aliases included."""
    found = {name: load(name)[0] for name in VERBS}
    return {**found, **{alias: found[name] for alias, name in ALIASES.items()}}


def names_of(name: str) -> list[str]:
    """All names of a verb, where it has more than one, as docker's help lists them."""
    others = [alias for alias, real in ALIASES.items() if real == name]
    return [*others, name] if others else []
