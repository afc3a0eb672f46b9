"""`knarr build`: what its flags ask for, and how a build's news look."""

from collections.abc import Sequence

import pytest

from knarr.build.errors import BuildFailed, Place
from knarr.build.told import Output, Status, Update, Vertex, Warned
from knarr.cli import buildwish
from knarr.cli.build import BUILD
from knarr.cli.buildboard import Board, excerpt, failure, warned
from knarr.cli.buildwish import Output as Target
from knarr.cli.buildwish import Secret
from knarr.cli.common import Failed
from knarr.cli.flags import Options, parse

S = 10**9


def options(*words: str) -> Options:
    return parse(BUILD, [*words, "."])


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ((), [Target("moby", {})]),
        (("-t", "a", "-t", "b"), [Target("moby", {"name": "a,b"})]),
        (("--load",), [Target("moby", {})]),
        (("--push", "-t", "a"), [Target("image", {"push": "true", "name": "a"})]),
        (("-o", "type=image", "--push"), [Target("image", {"push": "true"})]),
        (("-o", "out"), [Target("local", {}, "out")]),
        (("-o", "-"), [Target("tar", {}, "-")]),
        (("-o", "type=oci,dest=x,compression=zstd"), [Target("oci", {"compression": "zstd"}, "x")]),
        (("-o", "type=docker", "-t", "a"), [Target("moby", {"name": "a"})]),
        (("-o", "type=docker,dest=x"), [Target("docker", {}, "x")]),
        (("-o", "type=registry"), [Target("image", {"push": "true"})]),
        (("-o", "type=tar", "-o", "o"), [Target("tar", {}, "-"), Target("local", {}, "o")]),
        (("-o", "o", "--load"), [Target("local", {}, "o"), Target("moby", {})]),
        (("--annotation", "k=v"), [Target("moby", {"annotation.k": "v"})]),
        (
            ("--annotation", "index,manifest[linux/amd64]:k.x=v"),
            [Target("moby", {"annotation-index.k.x": "v", "annotation-manifest[linux/amd64].k.x": "v"})],
        ),
    ],
)
def test_outputs(words: Sequence[str], found: Sequence[Target]) -> None:
    assert buildwish.outputs(options(*words)) == found


@pytest.mark.parametrize(
    "text", ["dest=x", "type=odd", "type=local", "type=local,dest=-", "type=oci,dest", "type=oci,tar=false"]
)
def test_outputs_that_make_no_sense(text: str) -> None:
    with pytest.raises(Failed):
        buildwish.outputs(options("-o", text))


def test_secrets_agents_and_caches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IN_ENV", "1")
    assert buildwish.secrets(["id=a,src=f", "id=b,env=V", "id=IN_ENV", "id=g", "type=env,id=e,src=V"]) == {
        "a": Secret("f"),
        "b": Secret("", "V"),
        "IN_ENV": Secret("", "IN_ENV"),
        "g": Secret("g"),
        "e": Secret("", "V"),
    }
    for bad in ("src=f", "id", "id=a,type=odd"):
        with pytest.raises(Failed):
            buildwish.secrets([bad])
    assert buildwish.agents(["default", "k=a,b"]) == {"default": [], "k": ["a", "b"]}
    assert buildwish.caches(["user/app", "type=local,src=d"], "cache-from") == [
        ("registry", {"ref": "user/app"}),
        ("local", {"src": "d"}),
    ]
    assert buildwish.caches(["type=local,dest=d"], "cache-to") == [("local", {"dest": "d", "mode": "min"})]
    with pytest.raises(Failed):
        buildwish.caches(["src=d"], "cache-from")


def test_attributes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HERE", "env")
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    words = ("--build-arg", "A=1", "--build-arg", "HERE", "--build-arg", "NOT_HERE", "--label", "l=x=y")
    more = ("--network", "host", "--add-host", "h:1.2.3.4,i=::1", "--shm-size", "1k", "--platform", "a/b,c/d")
    assert buildwish.attributes(options(*words, *more, "--no-cache", "--pull"), ["A=0", "P=1"]) == {
        "image-resolve-mode": "pull",
        "build-arg:A": "1",
        "build-arg:P": "1",
        "build-arg:HERE": "env",
        "label:l": "x=y",
        "force-network-mode": "host",
        "add-hosts": "h=1.2.3.4,i=::1",
        "shm-size": "1024",
        "platform": "a/b,c/d",
        "no-cache": "",
    }
    found = buildwish.attributes(options("--no-cache-filter", "a", "--explain-cache", "--sbom", "true"), [])
    assert found["no-cache"] == "a"
    assert found["build-arg:KNARR_EXPLAIN_CACHE"] == "1"
    assert found["attest:sbom"] == ""
    assert buildwish.attestations(options("--provenance", "mode=max", "--attest", "type=sbom,a=b")) == {
        "attest:provenance": "mode=max",
        "attest:sbom": "a=b",
    }
    assert buildwish.attestations(options("--attest", "type=sbom", "--sbom=false")) == {}
    for bad in (("--network", "mine"), ("--no-cache", "--no-cache-filter", "x"), ("--add-host", "x")):
        with pytest.raises(Failed):
            buildwish.attributes(options(*bad), [])
    assert buildwish.entitlements(options("--network", "host")) == ["network.host"]
    with pytest.raises(Failed):
        buildwish.entitlements(options("--allow", "all"))


def test_metadata_is_what_it_was() -> None:
    assert buildwish.metadata({"d": "eyJhIjogMX0=", "n": "12345678", "x": "sha256:1"}) == {
        "d": {"a": 1},
        "n": "12345678",
        "x": "sha256:1",
    }


NEWS: list[Update] = [
    Vertex(digest="a", name="[1/2] FROM x", started=S, completed=S + S // 10),
    Status(id="sha256:1", vertex="a", current=1500, total=3000, moment=S, started=S, completed=S),
    Vertex(digest="b", name="[2/2] RUN x", started=2 * S),
    Output(vertex="b", moment=2 * S + S // 2, stream=1, data=b"one\ntw"),
    Output(vertex="b", moment=3 * S, stream=2, data=b"o\r\n50%\r99%\n\x1b[31mred"),
    Vertex(digest="c", name="cached", started=S, completed=S, cached=True),
]


def test_plain_lines() -> None:
    board = Board()
    assert list(board.feed(NEWS)) == [
        "#1 [1/2] FROM x",
        "#1 sha256:1 1.5kB / 3kB done",
        "#1 DONE 0.1s",
        "",
        "#2 [2/2] RUN x",
        "#2 0.500 one",
        "#2 1.000 two",
        "#2 1.000 99%",
        "#3 cached",
        "#3 CACHED",
        "",
    ]
    ended = Vertex(digest="b", name="[2/2] RUN x", started=2 * S, completed=4 * S, error="oh")
    assert list(board.feed([ended])) == ["#2 2.000 \x1b[31mred", "#2 ERROR: oh", ""]
    assert list(board.feed([ended])) == []


def test_a_picture_of_now() -> None:
    board = Board()
    list(board.feed(NEWS))
    width = 40
    lines = board.picture(4 * S, S, width, 24)
    assert lines == [
        "[+] Building 3.0s (2/3)",
        " => [1/2] FROM x                    0.1s",
        " => => sha256:1 1.5kB / 3kB         0.0s",
        " => [2/2] RUN x                     2.0s",
        " => => # one",
        " => => # two",
        " => => # 99%",
        " => => #  [31mred",
        " => CACHED cached                   0.0s",
    ]
    assert len(board.picture(4 * S, S, width, 6)) <= 9
    small = board.picture(4 * S, S, 20, 24)
    assert all(len(line) <= 20 for line in small)
    over = Vertex(digest="b", name="[2/2] RUN x", started=2 * S, completed=4 * S, error="context canceled: x")
    list(board.feed([over]))
    lines = board.picture(9 * S, S, width, 5, over=True)
    assert lines[0] == "[+] Building 8.0s (3/3) FINISHED"
    assert " => CANCELED [2/2] RUN x            2.0s" in lines


def test_a_failure_with_its_lines() -> None:
    board = Board()
    list(board.feed(NEWS))
    place = Place(filename="Dockerfile", source=b"FROM x\nRUN x \\\n y\nCMD z\n", ranges=(((2, 0), (3, 0)),))
    told = list(failure(board, BuildFailed("it failed", place=place, vertex="b")))
    assert told == [
        "------",
        " > [2/2] RUN x:",
        "0.500 one",
        "1.000 two",
        "1.000 99%",
        "------",
        "Dockerfile:2",
        "--------------------",
        "   1 |     FROM x",
        "   2 | >>> RUN x \\",
        "   3 | >>>  y",
        "   4 |     CMD z",
        "   5 |     ",
        "--------------------",
        "ERROR: failed to build: failed to solve: it failed",
    ]
    assert list(excerpt(Place(filename="x", source=b""))) == []


def test_warnings_and_reasons() -> None:
    check = Warned(
        vertex="",
        level=1,
        short="Rule: x",
        detail=("more",),
        url="u",
        source=b"FROM",
        ranges=(((1, 0), (1, 0)),),
    )
    assert list(warned([check, Warned(vertex="b", level=1, short="cache: RUN x: never built")])) == [
        "",
        "Why steps ran:",
        " - RUN x: never built",
        "",
        " 1 warning found (use --debug to expand):",
        " - Rule: x (line 1)",
    ]
    whole = list(warned([check], whole=True))
    assert whole[1:5] == [" 1 warning found:", " - Rule: x (line 1)", "more", "More info: u"]
