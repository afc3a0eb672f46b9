"""Templates, tables and units."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knarr.cli import table
from knarr.cli.common import Failed
from knarr.cli.logs import moment
from knarr.cli.main import resolve, run
from knarr.cli.mountflags import mount
from knarr.cli.portflags import ports
from knarr.cli.template import Template, TemplateError
from knarr.cli.units import human_size, human_span
from knarr.cli.verbs import ALIASES, VERBS, all_verbs

VALUE = {
    "Name": "/web",
    "State": {"Running": True, "Pid": 7, "Status": "running"},
    "Ports": {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}], "81/tcp": None},
    "Args": ["a", "b"],
    "Empty": [],
}


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("{{.Name}}", "/web"),
        ("{{.State.Running}} {{.State.Pid}}", "true 7"),
        ("{{json .Args}}", '["a","b"]'),
        ("{{.Args}}", "[a b]"),
        ('{{join .Args ","}}', "a,b"),
        ("{{.Name | upper}}", "/WEB"),
        ("{{range .Args}}<{{.}}>{{end}}", "<a><b>"),
        ("{{range $i, $a := .Args}}{{$i}}={{$a}};{{end}}", "0=a;1=b;"),
        ("{{range $p, $c := .Ports}}{{$p}} {{end}}", "80/tcp 81/tcp "),
        ("{{index .Args 1}}", "b"),
        ('{{(index (index .Ports "80/tcp") 0).HostPort}}', "8080"),
        ("{{if .State.Running}}up{{else}}down{{end}}", "up"),
        ('{{if eq .State.Status "exited"}}x{{else if .State.Running}}y{{else}}z{{end}}', "y"),
        ("{{with .Empty}}x{{else}}none{{end}}", "none"),
        ("{{len .Args}}", "2"),
        ('{{printf "%s-%d" .Name .State.Pid}}', "/web-7"),
        ("{{println .Name}}", "/web\n"),
        ("a {{- .Name -}} b", "a/webb"),
    ],
)
def test_templates(text: str, wanted: str) -> None:
    assert Template(text).render(VALUE) == wanted


@pytest.mark.parametrize(
    "text", ["{{.Nope}}", "{{.State", "{{range .Args}}", "{{nofunction 1}}", "{{end}}", "{{.Name.Sub}}"]
)
def test_bad_templates_are_refused(text: str) -> None:
    with pytest.raises(TemplateError):
        Template(text).render(VALUE)


@given(st.text(alphabet='{}.|()":= abrangeifend$', max_size=30))
def test_any_template_is_rendered_or_refused(text: str) -> None:
    try:
        Template(text).render(VALUE)
    except TemplateError:
        pass


ROWS = [{"ID": "1", "Name": "one"}, {"ID": "22", "Name": "two"}]
COLUMNS = [("IDENTITY", "ID"), ("NAME", "Name")]


def test_tables() -> None:
    assert table.show(ROWS, COLUMNS, "") == "IDENTITY   NAME\n1          one\n22         two\n"
    assert table.show(ROWS, COLUMNS, "{{.Name}}") == "one\ntwo\n"
    assert (
        table.show(ROWS, COLUMNS, r"table {{.Name}}\t{{.ID}}")
        == "NAME      IDENTITY\none       1\ntwo       22\n"
    )
    assert table.show(ROWS, COLUMNS, "json") == '{"ID":"1","Name":"one"}\n{"ID":"22","Name":"two"}\n'
    assert table.show(ROWS, COLUMNS, "", quiet="ID") == "1\n22\n"
    assert table.show([], COLUMNS, "") == "IDENTITY   NAME\n"


@pytest.mark.parametrize(
    ("size", "wanted"), [(0, "0B"), (999, "999B"), (1000, "1kB"), (1234567, "1.23MB"), (123456789, "123MB")]
)
def test_human_sizes(size: int, wanted: str) -> None:
    assert human_size(size) == wanted


@pytest.mark.parametrize(
    ("seconds", "wanted"),
    [
        (0.5, "Less than a second"),
        (1, "1 second"),
        (59, "59 seconds"),
        (61, "About a minute"),
        (600, "10 minutes"),
        (3600, "About an hour"),
        (7200, "2 hours"),
        (86400 * 3, "3 days"),
        (86400 * 20, "2 weeks"),
        (86400 * 70, "2 months"),
        (86400 * 800, "2 years"),
    ],
)
def test_human_spans(seconds: float, wanted: str) -> None:
    assert human_span(seconds) == wanted


def test_ports() -> None:
    exposed, bindings = ports(["8080:80", "127.0.0.1:53:53/udp", "90", "7000-7001:7000-7001", "[::1]:1:1"])
    assert list(exposed) == ["80/tcp", "53/udp", "90/tcp", "7000/tcp", "7001/tcp", "1/tcp"]
    assert bindings["80/tcp"] == [{"HostIp": "", "HostPort": "8080"}]
    assert bindings["53/udp"] == [{"HostIp": "127.0.0.1", "HostPort": "53"}]
    assert bindings["90/tcp"] == [{"HostIp": "", "HostPort": ""}]
    assert bindings["1/tcp"] == [{"HostIp": "::1", "HostPort": "1"}]


@pytest.mark.parametrize("word", ["x:80", "80:70000", "1-2:1-3", ""])
def test_bad_ports_are_refused(word: str) -> None:
    with pytest.raises(Failed):
        ports([word])


def test_mounts() -> None:
    value = mount("type=bind,src=/a,dst=/b,readonly,bind-propagation=rslave")
    assert value == {
        "Type": "bind",
        "Source": "/a",
        "Target": "/b",
        "ReadOnly": True,
        "BindOptions": {"Propagation": "rslave"},
    }
    for bad in ("type=bind,src=/a", "nonsense", "type=bind,dst=/b,what=x"):
        with pytest.raises(ValueError):
            mount(bad)


def test_moments() -> None:
    assert moment("") is None
    assert moment("1700000000.5") == "1700000000.5"
    assert moment("2023-11-14T22:13:20.123456789Z") == "1700000000.123456789"
    assert moment("1h30m") is not None


def test_every_verb_loads_and_is_found() -> None:
    verbs = all_verbs()
    assert set(verbs) == {*VERBS, *ALIASES}
    assert resolve(["container", "ls", "-a"]) == ("ps", ["-a"])
    assert resolve(["volume", "ls"]) == ("volume ls", [])
    assert resolve(["nothing"])[0] is None


@pytest.mark.parametrize(
    ("words", "start"),
    [
        (["help"], "Usage:  knarr [OPTIONS] COMMAND\n"),
        (["help", "run"], "Usage:  knarr run [OPTIONS] IMAGE [COMMAND] [ARG...]\n"),
        (["help", "network"], "Usage:  knarr network COMMAND\n"),
        (["container", "ls", "--help"], "Usage:  knarr container ls [OPTIONS]\n"),
    ],
)
def test_help(words: list[str], start: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(words) == 0
    assert capsys.readouterr().out.startswith(start)
