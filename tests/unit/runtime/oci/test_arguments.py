"""Command lines of knarr-oci, as runc reads them."""

import pytest

from knarr.runtime.oci.arguments import Call, parse
from knarr.runtime.oci.commands import COMMANDS, OPTIONS
from knarr.runtime.oci.errors import Usage


def parsed(*words: str) -> Call:
    return parse(["/usr/bin/knarr-oci", *words], OPTIONS, COMMANDS)


def test_flags_come_before_the_command_and_after_it() -> None:
    call = parsed("--root", "/run/x", "--log=l", "run", "--bundle", "/b", "-d", "--preserve-fds=2", "name")
    assert call.program == "knarr-oci"
    assert (call.option("root"), call.option("log")) == ("/run/x", "l")
    assert (call.command, call.id) == ("run", "name")
    assert (call.text("bundle"), call.on("detach"), call.number("preserve-fds")) == ("/b", True, 2)
    assert not call.on("keep")


def test_one_dash_or_two() -> None:
    call = parsed("create", "-console-socket", "/s", "--b=/b", "name")
    assert (call.text("console-socket"), call.text("bundle")) == ("/s", "/b")


def test_flags_follow_arguments_where_no_program_does() -> None:
    call = parsed("update", "name", "--memory", "5M", "--pids-limit", "-1")
    assert (call.id, call.text("memory"), call.number("pids-limit")) == ("name", "5M", -1)


@pytest.mark.parametrize("command", ["exec", "ps", "kill"])
def test_what_follows_the_name_belongs_to_the_program(command: str) -> None:
    assert parsed(command, "name", "--force").arguments == ["name", "--force"]


def test_an_exec_may_repeat_flags() -> None:
    call = parsed("exec", "-e", "A=1", "--env=B=2", "-g", "5", "-t", "name", "sh", "-c", "exit 3")
    assert call.many("env") == ["A=1", "B=2"]
    assert call.many("additional-gids") == ["5"]
    assert call.arguments == ["name", "sh", "-c", "exit 3"]


def test_two_dashes_end_flags() -> None:
    assert parsed("exec", "--", "name", "-x").arguments == ["name", "-x"]


def test_a_switch_may_be_turned_off() -> None:
    assert not parsed("exec", "--no-new-privs=false", "name", "true").on("no-new-privs")
    assert "no-new-privs" not in parsed("exec", "name", "true").flags


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["create"], 'knarr-oci: "create" requires exactly 1 argument(s)'),
        (["state", "a", "b"], 'knarr-oci: "state" requires exactly 1 argument(s)'),
        (["list", "a"], 'knarr-oci: "list" requires exactly 0 argument(s)'),
        (["exec"], 'knarr-oci: "exec" requires a minimum of 1 argument(s)'),
        (["kill", "a", "9", "more"], 'knarr-oci: "kill" requires a maximum of 2 argument(s)'),
        (["run", "--nosuch", "a"], "flag provided but not defined: -nosuch"),
        (["run", "--bundle"], "flag needs an argument: --bundle"),
        (["run", "--preserve-fds=x", "a"], 'invalid value "x" for flag -preserve-fds: parse error'),
        (["run", "--detach=maybe", "a"], 'invalid boolean value "maybe" for -detach: parse error'),
        (["dance"], "No help topic for 'dance'"),
    ],
)
def test_what_is_wrong_is_said_in_runcs_words(words: list[str], complaint: str) -> None:
    with pytest.raises(Usage) as raised:
        parsed(*words)
    assert str(raised.value) == complaint


def test_an_empty_name_is_refused() -> None:
    with pytest.raises(Usage, match="container id cannot be empty"):
        _ = parsed("state", "").id


@pytest.mark.parametrize("words", [["-h"], ["--help"], [], ["run", "-h"], ["kill", "--help", "x"]])
def test_help_is_asked_for(words: list[str]) -> None:
    assert parsed(*words).help


def test_help_of_the_program_inside_is_not_ours() -> None:
    assert not parsed("exec", "name", "ls", "--help").help


def test_checkpoints_take_any_flag_so_that_they_can_be_refused() -> None:
    assert parsed("checkpoint", "--image-path", "/x", "name").command == "checkpoint"
