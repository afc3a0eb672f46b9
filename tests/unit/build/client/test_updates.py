"""What a builder tells comes back as the values that it was made of, and as BuildKit's JSON."""

from knarr.build.client.updates import document, values
from knarr.build.frontdoor.encoding import response
from knarr.build.told import Output, Status, Update, Vertex, Warned

UPDATES: list[Update] = [
    Vertex(digest="sha256:1", name="a", inputs=("sha256:0",), started=1_500_000_000, cached=True),
    Vertex(digest="sha256:1", name="a", started=1_500_000_000, completed=2_000_000_001, error="oh"),
    Status(id="s", vertex="sha256:1", name="n", current=1, total=2, moment=3, started=4, completed=5),
    Output(vertex="sha256:1", moment=10**9, stream=2, data=b"x\xff"),
    Warned(
        vertex="sha256:1",
        level=1,
        short="w",
        detail=("d",),
        url="u",
        filename="Dockerfile",
        source=b"FROM x",
        ranges=(((1, 0), (2, 0)),),
    ),
]


def test_they_come_back() -> None:
    assert values(response(UPDATES).SerializeToString()) == UPDATES


def test_as_json() -> None:
    found = [document(update) for update in UPDATES]
    assert [name for name, _ in found] == ["vertexes", "vertexes", "statuses", "logs", "warnings"]
    assert found[1][1] == {
        "digest": "sha256:1",
        "name": "a",
        "started": "1970-01-01T00:00:01.5Z",
        "completed": "1970-01-01T00:00:02.000000001Z",
        "error": "oh",
    }
    assert found[3][1] == {
        "vertex": "sha256:1",
        "stream": 2,
        "data": "eP8=",
        "timestamp": "1970-01-01T00:00:01Z",
    }
    assert found[4][1]["range"] == [
        {"start": {"line": 1, "character": 0}, "end": {"line": 2, "character": 0}}
    ]
