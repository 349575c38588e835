"""Errors a person can act on: what is wrong, where, and what to do about it."""

from __future__ import annotations

import errno
from typing import Self

from tui_datasize.text import visible

EXIT_OK = 0
EXIT_RUN_FAILED = 1
EXIT_BAD_INPUT = 2
EXIT_TRY_AGAIN = 3
"""The machine is short of something, or a file is locked: the same may succeed in a moment."""

SHORT_OF_HOST = frozenset({errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE})
"""Numbers of an `OSError` for the want of memory, processes or open files, of the machine or by a limit."""
SHORT_OF_DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS})
"""Those for the want of room to write: a disk, a quota, `ulimit -f`, a file system mounted for reading."""

_WAYS_OUT = (
    dict.fromkeys(SHORT_OF_HOST, "try again in a moment")
    | dict.fromkeys(SHORT_OF_DISK, "make room, then try again")
    | {errno.EROFS: "mount it for writing, then try again"}
)


class DatasizeError(Exception):
    """One clear line for a person.

    Args:
        what: What is wrong, with the value that came.
        where: File, key path, run or directory concerned; empty when there is none.
        fix: What to do about it; empty when it follows from `what`.
    """

    exit_status = EXIT_BAD_INPUT

    def __init__(self, what: str, *, where: str = "", fix: str = "") -> None:
        self.what = what
        self.where = where
        self.fix = fix
        super().__init__(self.line)

    @classmethod
    def of(cls, error: Exception, what: str, *, where: str = "", fix: str = "") -> Self:
        """Of what the system refused: `what` "cannot be written", and why.

        Where that was for the want of something, the fix is to see to it and the exit status says so.
        """
        number, why = (error.errno, error.strerror) if isinstance(error, OSError) else (None, "")
        made = cls(f"{what}: {why or error}", where=where, fix=_WAYS_OUT.get(number or 0, fix))
        made.exit_status = EXIT_TRY_AGAIN if number in _WAYS_OUT else cls.exit_status
        return made

    @property
    def line(self) -> str:
        """The whole message on one line: `where: what; fix`."""
        text = f"{self.where}: {self.what}" if self.where else self.what
        text = f"{text}; {self.fix}" if self.fix else text
        return visible(" ".join(text.split()))


def exit_status_of(error: OSError) -> int:
    """Whether what the system refused was for the want of something, which may be there in a moment."""
    return EXIT_TRY_AGAIN if error.errno in _WAYS_OUT else EXIT_BAD_INPUT


class ConfigError(DatasizeError):
    """`experiments.toml` or an option of a command is wrong."""


class DataError(DatasizeError):
    """A data set is missing, unreadable or too small for what was asked."""


class StorageError(DatasizeError):
    """A directory or the queue's database cannot be read or written."""


class UnknownRunError(DatasizeError):
    """No run, or more than one, answers to the given id or prefix."""


class RunFailedError(DatasizeError):
    """A run ended without a result; `what` is the reason a person can act on."""

    exit_status = EXIT_RUN_FAILED


class DeviceUnavailable(DatasizeError):  # noqa: N818 - the state of a machine, no mistake of anyone
    """A device cannot be used, now or at all: no fault of the run that wanted it."""

    exit_status = EXIT_RUN_FAILED
