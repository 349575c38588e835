"""Reading files that anybody may have put there: nothing is waited for, and nothing fills the memory.

Standard library only: a worker claims its run with it, before it imports anything heavy.
"""

from __future__ import annotations

import errno
import json
import math
import os
import re
import stat
from pathlib import Path
from typing import Any, BinaryIO, Literal

MOST_SMALL_BYTES = 16 * 2**20
"""Of a file that describes a run, a data set, a machine: 20,000 classes with long names take 2 MB."""
MOST_LEVELS = 40
"""Of lists and objects within one another; a specification has five."""
_LARGEST_INTEGER = 2**63
_PIECE_BYTES = 2**16
_LONGEST_NAME_BYTES = 255
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


def open_regular(file: Path, mode: Literal["rb", "r+b", "ab"] = "rb", *, buffering: int = -1) -> BinaryIO:
    """Open a regular file, through links or not; whatever else has its name is not waited for, as a pipe is.

    Raises OSError: it is missing, cannot be opened, or is no regular file.
    """
    return open(file, mode, buffering=buffering, opener=open_descriptor)


def open_descriptor(path: str | Path, flags: int, mode: int = 0o666) -> int:
    """Open a regular file as `os.open` does, without waiting for anybody.

    Raises OSError: as of `open_regular`.
    """
    descriptor = os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC, mode)
    try:
        _refuse_irregular(os.fstat(descriptor).st_mode, str(path))
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def is_regular(file: Path) -> bool:
    """Whether there is a regular file of this name, through links or not.

    Raises OSError: something else is there, or it cannot be looked at.
    """
    try:
        status = file.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    _refuse_irregular(status.st_mode, str(file))
    return True


def read_bounded(file: Path, most_bytes: int = MOST_SMALL_BYTES) -> bytes:
    """The bytes of a regular file.

    Raises OSError: it cannot be read, is no regular file, or has more than `most_bytes`.
    """
    with open_regular(file) as stream:
        size = os.fstat(stream.fileno()).st_size
        pieces, length = [], 0
        # A read takes the memory that it asks for: a small file is not worth all that may be read. What has
        # grown since, or tells no size, as below /proc, is read on.
        while length <= most_bytes >= size and (
            piece := stream.read(min(max(size - length, _PIECE_BYTES), most_bytes - length) + 1)
        ):
            pieces.append(piece)
            length += len(piece)
    if max(length, size) > most_bytes:
        raise TooLarge(file, most_bytes)
    return b"".join(pieces)


def read_end(file: Path, most_bytes: int) -> tuple[bytes, bool]:
    """The last bytes of a regular file, and whether there are others before them.

    Raises OSError: it cannot be read, or is no regular file.
    """
    with open_regular(file) as stream:
        size = os.fstat(stream.fileno()).st_size
        start = max(0, size - most_bytes)
        stream.seek(start)
        return stream.read(size - start), start > 0


def read_object(file: Path, most_bytes: int = MOST_SMALL_BYTES) -> dict[str, Any]:
    """The JSON object in a file.

    Raises OSError: as of `read_bounded`.
    Raises ValueError: as of `parse_object`.
    """
    return parse_object(read_bounded(file, most_bytes))


def known_object(file: Path) -> dict[str, Any]:
    """The JSON object in a file; an empty one where it is missing, or cannot be read as one."""
    try:
        return read_object(file)
    except (OSError, ValueError):
        return {}


def parse_object(text: str | bytes) -> dict[str, Any]:
    """A JSON object as this program would write it.

    Raises ValueError: it is not JSON or no object, has more than `MOST_LEVELS`, a whole number beyond 64
        bits, a number that is not finite, or half a character.
    """
    value = parse(text)
    if not isinstance(value, dict):
        raise ValueError("is not a JSON object")
    return value


def parse(text: str | bytes) -> Any:
    """A JSON value as this program would write it; raises ValueError: as of `parse_object`."""
    data = text.encode(errors="surrogatepass") if isinstance(text, str) else text
    try:
        value = json.loads(text, parse_int=_integer, parse_float=_number, parse_constant=_refuse_constant)
    except RecursionError:
        raise _too_deep() from None
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise ValueError("is not JSON") from None
    if data.count(b"[") + data.count(b"{") > MOST_LEVELS and has_more_levels(value, MOST_LEVELS):
        raise _too_deep()
    if _SURROGATE.search(data):
        # Two of them may well be one character.
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise ValueError("has half a character in it") from None
    return value


def has_more_levels(value: Any, most: int) -> bool:
    """Whether lists and dictionaries lie within one another more than `most` deep."""
    within = [value] if isinstance(value, dict | list) else []
    for _ in range(most):
        inner = [v for one in within for v in (one.values() if isinstance(one, dict) else one)]
        within = [v for v in inner if isinstance(v, dict | list)]
        if not within:
            return False
    return True


class TooLarge(OSError):  # noqa: N818 - a property of the file
    """A file has more bytes than any of its kind; not EFBIG, by which a limit of the process is told."""

    def __init__(self, file: Path, most_bytes: int) -> None:
        super().__init__(errno.EINVAL, f"larger than {most_bytes / 10**6:,.0f} MB", str(file))


def is_utf8(name: str) -> bool:
    """Whether the name of a file, as Python has it, is text that can be stored and shown."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def named_path(name: str | Path, base: Path = Path()) -> Path:
    """The absolute path that a person named, from `base` if it is relative; `~` and `~user` are homes.

    Raises ValueError: no file can be called so, or there is no such user; what is wrong, in a few words.
    """
    try:
        path = (base / Path(name).expanduser()).absolute()
    except RuntimeError:
        raise ValueError(f"there is no user {Path(name).parts[0][1:]!r} with a home directory") from None
    if not is_utf8(str(path)):
        raise ValueError("the path is not UTF-8")
    if "\0" in str(path):
        raise ValueError("the path has a null character in it")
    if max((len(part.encode()) for part in path.parts), default=0) > _LONGEST_NAME_BYTES:
        raise ValueError(f"the path has a name of more than {_LONGEST_NAME_BYTES} bytes in it")
    return path


def fault_of(error: OSError) -> str:
    """What is wrong and with which file, in one sentence's part."""
    what = error.strerror or str(error)
    return f"{error.filename}: {what}" if error.filename else what


def _refuse_irregular(mode: int, path: str) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "is a directory, not a file", path)
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "not a regular file", path)


def _integer(digits: str) -> int:
    # Python itself refuses to read more than some thousand digits, and takes its time with fewer.
    if len(digits) > 20 or not -_LARGEST_INTEGER <= (number := int(digits)) < _LARGEST_INTEGER:
        raise ValueError("has a whole number beyond 64 bits")
    return number


def _number(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError("has a number that is not finite")
    return number


def _refuse_constant(name: str) -> float:
    raise ValueError(f"has {name}, which is not a number")


def _too_deep() -> ValueError:
    return ValueError(f"has more than {MOST_LEVELS} levels of lists and objects")
