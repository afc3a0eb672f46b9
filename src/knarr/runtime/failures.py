"""What went wrong on the way to execve, in the words that Docker's clients read. Pure.

The kinds follow moby's setExitCodeFromError: what cannot be executed is 126, what is not there 127.
"""

from knarr.model.errors import CannotExecute, KnarrError, NoSuchCommand

RUN = (
    "failed to create task for container: failed to create shim task: OCI runtime create failed: "
    "unable to start container process: error during container init: "
)
EXEC = "OCI runtime exec failed: exec failed: unable to start container process: "
_HINT = (
    ": Are you trying to mount a directory onto a file (or vice-versa)? "
    "Check if the specified host path exists and is the expected type"
)
_MISSING = ("executable file not found", "no such file or directory", "system cannot find the file specified")
_REFUSED = ("permission denied", "is a directory")


def failure(prefix: str, sentence: str) -> KnarrError:
    """The error of a start (`RUN`) or an exec (`EXEC`), which end in containerd's "unknown"; without a prefix the bare words."""
    text = f"{prefix}{sentence}: unknown" if prefix else sentence
    if any(words in sentence for words in _REFUSED):
        return CannotExecute(text)
    if "not a directory" in sentence:
        return NoSuchCommand(text + _HINT)
    if any(words in sentence for words in _MISSING):
        return NoSuchCommand(text)
    return KnarrError(text)


def spoken(error: OSError) -> str:
    """An OSError as Go would print it: `path: lower-case reason`."""
    reason = error.strerror or str(error)
    reason = reason[:1].lower() + reason[1:]
    path = error.filename2 or error.filename
    return f"{path}: {reason}" if isinstance(path, str) and path else reason
