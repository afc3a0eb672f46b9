"""Ids and the names of containers that got none."""
# ruff: noqa: SIM905  (words are easier to read in one text)

import secrets

_LEFT = (
    "able brave bright calm clever curious daring eager earnest fair fearless gentle glad happy honest "
    "hopeful jolly keen kind lively lucky merry mighty modest noble patient proud quick quiet ready sharp "
    "sincere steady stoic sunny swift tender tidy trusty upbeat vivid warm wise witty zealous"
).split()
_RIGHT = (
    "anchor ballast beacon berth boom bow buoy cargo clew cleat compass crest current delta drake ebb "
    "fathom ferry fjord gale galley gull halyard harbour helm hull island jetty keel knot lagoon lantern "
    "mast oar pilot plank prow quay rigging rudder sail seal shoal skerry sloop spar stern strait surf "
    "swell tern thwart tide tiller wake wharf"
).split()


def new_id() -> str:
    """64 hex digits."""
    return secrets.token_hex(32)


def random_name() -> str:
    """Two words; the caller sees to it that nobody has them."""
    return f"{secrets.choice(_LEFT)}_{secrets.choice(_RIGHT)}"


def numbered(name: str) -> str:
    """The same with a digit, for when the plain one is taken."""
    return f"{name}{secrets.randbelow(10)}"
