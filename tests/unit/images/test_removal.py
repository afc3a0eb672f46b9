"""What `rmi` does, decided: docker's rules as a table."""

import pytest

from knarr.engine.images.errors import ImageInUse
from knarr.engine.images.listing import matches
from knarr.engine.images.removing import plan
from knarr.engine.images.rows import User
from knarr.model.digest import Digest
from knarr.model.reference import Reference

IMAGE = Digest.of(b"image")
DIGEST = f"@{Digest.of(b'manifest')}"
STOPPED, RUNNING = User("a" * 64, False), User("b" * 64, True)


def refs(*names: str) -> list[Reference]:
    return [Reference.parse(name) for name in names]


@pytest.mark.parametrize(
    ("asked", "names", "users", "force", "going", "delete"),
    [
        ("a", ["a:latest"], [], False, ["a:latest"], True),
        ("a", ["a:latest", "b:1"], [], False, ["a:latest"], False),
        ("a", ["a:latest", "b:1"], [STOPPED], False, ["a:latest"], False),
        ("a", ["a:latest", f"a{DIGEST}"], [], False, ["a:latest", f"a{DIGEST}"], True),
        ("a:1", ["a:1", "a:2", f"a{DIGEST}"], [], False, ["a:1"], False),
        (f"a{DIGEST}", ["a:1", f"a{DIGEST}"], [], False, [f"a{DIGEST}"], False),
        ("a", ["a:latest"], [STOPPED], True, ["a:latest"], True),
        ("a", ["a:latest"], [RUNNING], True, ["a:latest"], False),
        (IMAGE.short, ["a:1"], [], False, ["a:1"], True),
        (IMAGE.hex[:3], [f"{IMAGE.hex[:3]}:latest", "b:1"], [], False, [f"{IMAGE.hex[:3]}:latest"], False),
        (IMAGE.short, ["a:1", f"a{DIGEST}"], [], False, ["a:1", f"a{DIGEST}"], True),
        (IMAGE.hex, [], [], False, [], True),
        (str(IMAGE), ["a:1", "b:1"], [], True, [], True),
        (IMAGE.short, ["a:1"], [STOPPED], True, ["a:1"], True),
    ],
)
def test_what_goes(
    asked: str, names: list[str], users: list[User], force: bool, going: list[str], delete: bool
) -> None:
    assert plan(asked, IMAGE, refs(*names), users, force=force) == (tuple(refs(*going)), delete)


@pytest.mark.parametrize(
    ("asked", "names", "users", "force", "words"),
    [
        (
            "a",
            ["a:latest"],
            [STOPPED],
            False,
            (
                f'conflict: unable to remove repository reference "a" (must force) - container {"a" * 12} is using'
                f" its referenced image {IMAGE.short}"
            ),
        ),
        (
            IMAGE.short,
            ["a:1", "b:1"],
            [],
            False,
            f"conflict: unable to delete {IMAGE.short} (must be forced) - image is referenced in multiple repositories",
        ),
        (
            IMAGE.short,
            ["a:1"],
            [STOPPED],
            False,
            f"conflict: unable to delete {IMAGE.short} (must be forced) - image is being used by stopped container {'a' * 12}",
        ),
        (
            IMAGE.short,
            ["a:1"],
            [RUNNING],
            True,
            f"conflict: unable to delete {IMAGE.short} (cannot be forced) - image is being used by running container {'b' * 12}",
        ),
    ],
)
def test_what_is_refused(asked: str, names: list[str], users: list[User], force: bool, words: str) -> None:
    with pytest.raises(ImageInUse) as caught:
        plan(asked, IMAGE, refs(*names), users, force=force)
    assert str(caught.value) == words


@pytest.mark.parametrize(
    ("pattern", "name", "found"),
    [
        ("a", "a:1", True),
        ("a:1", "a:1", True),
        ("a:2", "a:1", False),
        ("*", "a:1", True),
        ("*", "user/a:1", False),
        ("*/a", "user/a:1", True),
        ("us?r/[a-c]:*", "user/a:1", True),
        ("[", "a:1", False),
        (r"\a", "a:1", True),
    ],
)
def test_the_reference_filter(pattern: str, name: str, found: bool) -> None:
    assert matches(pattern, name) is found
