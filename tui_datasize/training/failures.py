"""Why a run failed, in one line that a person can act on."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Mapping
from types import MappingProxyType

from tui_datasize.errors import SHORT_OF_DISK, SHORT_OF_HOST, DatasizeError, DeviceUnavailable
from tui_datasize.runlog.claim import Lack

_OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "cannot allocate memory", "ALLOC_FAILED")
_FREE_SPACE = ("disk full", "free some space")
_MORE_MEMORY = ("out of memory", "end other programs")
_SHORTAGES: Mapping[int, tuple[str, str]] = MappingProxyType(
    {
        errno.ENOSPC: _FREE_SPACE,
        errno.EDQUOT: _FREE_SPACE,
        errno.EFBIG: ("a limit of file sizes is reached", "raise `ulimit -f`"),
        errno.EROFS: ("the disk is read-only", "mount it for writing"),
        errno.ENOMEM: _MORE_MEMORY,
        errno.EAGAIN: ("too few processes", "end other programs or raise `ulimit -u`"),
        errno.EMFILE: ("too many open files", "raise `ulimit -n`"),
        errno.ENFILE: ("too many open files on this machine", "end other programs"),
    }
)
"""What is said of an `OSError` by its number, and what helps."""
_REFUSED_CALL = re.compile(
    r"CUDNN_STATUS_(NOT_SUPPORTED|BAD_PARAM|VERSION_MISMATCH|LICENSE_ERROR)"
    r"|CUBLAS_STATUS_(NOT_SUPPORTED|INVALID_VALUE)"
    r"|invalid (configuration )?argument|operation not supported|too many resources requested for launch"
    r"|stream is capturing|stream capture|error during capture|capturing blocking stream"
)
"""Errors of CUDA that concern one call alone; after any other the context is gone."""
_DEVICE_ERROR = re.compile("CUDA error|CUDNN_STATUS|CUBLAS_STATUS")
_HOST_MEMORY = re.compile(r"DefaultCPUAllocator|can(no|')t allocate memory", re.IGNORECASE)
_LONGEST = 300
SEE_LOG = "see stderr.log"
"""What the reason ends with where it explains nothing."""


def reason(error: Exception) -> str:
    """One line that says what happened and, where it follows, what to do."""
    if isinstance(error, DatasizeError):
        return error.line
    if is_out_of_memory(error):
        return f"out of memory: {_first_line(error)}; use a smaller batch_size or a device with more memory"
    if isinstance(error, OSError) and (shortage := _SHORTAGES.get(error.errno or 0)):
        what, fix = shortage
        where = f" for {os.fsdecode(error.filename)}" if error.filename is not None else ""
        return f"{what}: {error.strerror}{where}; {fix}"
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{os.fsdecode(error.filename)}: {error.strerror}"
    return f"unexpected error: {type(error).__name__}: {_first_line(error)}; {SEE_LOG}"


def is_out_of_memory(error: Exception) -> bool:
    """Whether memory ran out, on the host or on the GPU."""
    # torch reports a failed host allocation and cuBLAS's own as a plain RuntimeError.
    text = str(error)
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(sign.lower() in text.lower() for sign in _OUT_OF_MEMORY)
    )


def is_short_of_disk(error: Exception) -> bool:
    """Whether there was no room to write: a full disk, a used-up quota, a limit of file sizes."""
    return isinstance(error, OSError) and error.errno in SHORT_OF_DISK


def lack(error: Exception) -> Lack:
    """What the machine lacked, where an error comes of that."""
    if is_out_of_memory(error):
        is_device = not isinstance(error, MemoryError) and not _HOST_MEMORY.search(str(error))
        return Lack.DEVICE_MEMORY if is_device else Lack.HOST
    if is_short_of_disk(error):
        return Lack.DISK
    if isinstance(error, OSError) and error.errno in SHORT_OF_HOST:
        return Lack.HOST
    if isinstance(error, RuntimeError) and "can't start new thread" in str(error):
        return Lack.HOST
    return Lack.LIBRARIES if isinstance(error, ImportError) else Lack.NOTHING


def ruins_process(error: Exception) -> bool:
    """Whether the process cannot use its GPU any more: a CUDA context does not survive a fault."""
    return isinstance(error, DeviceUnavailable) or (
        isinstance(error, RuntimeError)
        and not is_out_of_memory(error)
        and _DEVICE_ERROR.search(str(error)) is not None
        and _REFUSED_CALL.search(str(error)) is None
    )


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:_LONGEST] if lines else "no message"
