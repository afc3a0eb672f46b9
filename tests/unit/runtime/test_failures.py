"""Errors keep their kind and their words on the way from the init to the daemon."""

import errno

import pytest

from knarr.model.errors import CannotExecute, Invalid, KnarrError, NoSuchCommand
from knarr.runtime.failures import EXEC, RUN, failure, spoken
from knarr.wire.zygote import describe, revive


@pytest.mark.parametrize(
    ("sentence", "kind"),
    [
        ('exec: "x": executable file not found in $PATH', NoSuchCommand),
        ('exec: "/x": stat /x: no such file or directory', NoSuchCommand),
        ('exec: "/x": permission denied', CannotExecute),
        ('exec: "/etc": is a directory', CannotExecute),
        ("error mounting: not a directory", NoSuchCommand),
        ("invalid argument", KnarrError),
    ],
)
def test_kinds(sentence: str, kind: type[KnarrError]) -> None:
    error = failure(RUN, sentence)
    assert type(error) is kind
    assert str(error).startswith(f"{RUN}{sentence}: unknown")
    assert str(failure(EXEC, sentence)).startswith("OCI runtime exec failed: ")
    assert type(failure("", sentence)) is kind
    assert "unknown" not in str(failure("", sentence))


def test_an_oserror_is_spoken_as_go_does() -> None:
    assert (
        spoken(FileNotFoundError(errno.ENOENT, "No such file or directory", "/x"))
        == "/x: no such file or directory"
    )
    assert spoken(OSError(errno.EINVAL, "Invalid argument")) == "invalid argument"
    assert spoken(OSError(errno.EBUSY, "Busy", "a", None, "b")) == "b: busy"


class Special(Invalid):
    pass


def test_errors_travel() -> None:
    for error in (NoSuchCommand("x"), Invalid("y"), KnarrError("z")):
        again = revive(describe(error))
        assert (type(again), str(again)) == (type(error), str(error))
    assert type(revive(describe(Special("s")))) is Invalid
    assert type(revive(describe(Special("s")), {"Special": Special})) is Special
    again = revive(describe(FileNotFoundError(errno.ENOENT, "No such file", "/p")))
    assert (type(again), again.args[0]) == (FileNotFoundError, errno.ENOENT)
    assert str(revive(describe(ZeroDivisionError("bug")))) == "ZeroDivisionError: bug"
