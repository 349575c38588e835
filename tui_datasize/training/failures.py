"""Why a run failed, in one line that a person can act on."""

from __future__ import annotations

import errno
import os
import re

from tui_datasize.errors import DatasizeError, DeviceUnavailable
from tui_datasize.runlog.claim import Lack

_OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "cannot allocate memory", "ALLOC_FAILED")
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
_REFUSED_CALL = re.compile(
    r"CUDNN_STATUS_(NOT_SUPPORTED|BAD_PARAM|VERSION_MISMATCH|LICENSE_ERROR)"
    r"|CUBLAS_STATUS_(NOT_SUPPORTED|INVALID_VALUE)"
    r"|invalid (configuration )?argument|operation not supported|too many resources requested for launch"
    r"|stream is capturing|stream capture|error during capture|capturing blocking stream"
)
"""Errors of CUDA that concern one call alone; after any other the context is gone."""
_DEVICE_ERROR = re.compile("CUDA error|CUDNN_STATUS|CUBLAS_STATUS")
_HOST_MEMORY = re.compile(r"DefaultCPUAllocator|can(no|')t allocate memory", re.IGNORECASE)
_HOST_SCARCITIES = (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE)
_LONGEST = 300


def reason(error: Exception) -> str:
    """One line that says what happened and, where it follows, what to do."""
    if isinstance(error, DatasizeError):
        return error.line
    if is_out_of_memory(error):
        return f"out of memory: {_first_line(error)}; use a smaller batch_size or a device with more memory"
    if is_disk_full(error):
        return f"disk full: {_first_line(error)}; free some space and retry"
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{os.fsdecode(error.filename)}: {error.strerror}"
    return f"unexpected error: {type(error).__name__}: {_first_line(error)}; see stderr.log"


def is_out_of_memory(error: Exception) -> bool:
    """Whether memory ran out, on the host or on the GPU."""
    # torch reports a failed host allocation and cuBLAS's own as a plain RuntimeError.
    text = str(error)
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(sign.lower() in text.lower() for sign in _OUT_OF_MEMORY)
    )


def is_disk_full(error: Exception) -> bool:
    """Whether a file system had no space left, or the user's quota was used up."""
    return isinstance(error, OSError) and error.errno in _DISK_FULL


def lack(error: Exception) -> Lack:
    """What the machine lacked, where an error comes of that."""
    if is_out_of_memory(error):
        is_device = not isinstance(error, MemoryError) and not _HOST_MEMORY.search(str(error))
        return Lack.DEVICE_MEMORY if is_device else Lack.HOST
    if is_disk_full(error):
        return Lack.DISK
    if isinstance(error, OSError) and error.errno in _HOST_SCARCITIES:
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
