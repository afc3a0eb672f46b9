"""A client's credentials for a registry, as pulling and pushing take them."""

from dataclasses import dataclass

from knarr.build.port import Sessions
from knarr.engine.images.port import Auth

_HUB = "registry-1.docker.io"


@dataclass(slots=True)
class Lent:
    """An empty user stands for a token."""

    username: str
    password: str
    auth: str = ""
    identitytoken: str = ""
    registrytoken: str = ""


async def lent(sessions: Sessions, session: str, domain: str) -> Auth | None:
    """None where the client has none."""
    lender = await sessions.get(session)
    user, secret = await lender.credentials(_HUB if domain == "docker.io" else domain)
    return Lent(user, secret) if user or secret else None
