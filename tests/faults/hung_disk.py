"""Runs a module to which a shared disk does not answer: `... hung_disk MODULE ARGUMENTS`.

The disk is the directory in `DATASIZE_HUNG_DISK`, silent while a file of its name with `.hung` is beside it:
who asks for something there waits, as for a mount whose server is gone.
"""

from __future__ import annotations

import os
import runpy
import sys
import time
from collections.abc import Callable
from typing import Any

_CALLS = ("open", "stat", "lstat", "mkdir", "listdir", "scandir", "unlink", "replace", "utime")
_REAL_PATH, _DIRECTORY, _STAT = os.path.realpath, os.path.dirname, os.stat


def _before(call: Callable[..., Any], disk: str) -> Callable[..., Any]:
    def called(path: Any = ".", *rest: Any, **options: Any) -> Any:
        if isinstance(path, (str, os.PathLike)):
            follows = call.__name__ != "lstat" and options.get("follow_symlinks", True)
            place = _REAL_PATH(path if follows else _DIRECTORY(os.path.abspath(path)))  # noqa: PTH100
            while f"{place}/".startswith(f"{disk}/") and _is_there(f"{disk}.hung"):
                time.sleep(0.01)
        return call(path, *rest, **options)

    return called


def _is_there(file: str) -> bool:
    try:
        _STAT(file)
    except FileNotFoundError:
        return False
    return True


def main() -> None:
    disk = _REAL_PATH(os.environ["DATASIZE_HUNG_DISK"])
    for name in _CALLS:
        setattr(os, name, _before(getattr(os, name), disk))
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
