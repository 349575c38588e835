"""A fork server: imports heavy modules once, then forks one worker per request.

Runs as `python -m tui_datasize.jobs.workers.preloader`, started by a scheduler that it talks to over an
inherited socket. It runs no thread and opens no GPU before a fork, reports how its workers end, and
ends with the scheduler; its workers live on.

Messages are JSON objects, one per packet. From the scheduler, with the descriptors of the worker's
slots attached: `{"tag", "argv", "environment", "directory", "stdout", "stderr"}`, with a `"call"` for what
is no worker, such as the probe of a GPU. To the scheduler:
`{"sources": {file: modified_ns}}` once it is ready, `{"tag", "pid", "start_ticks"}` after a fork, and
`{"tag", "status"}` at a worker's end, with an `"errno"` beside it for one that was not forked: why it could
not be, or 0 where its slots may be others' by now.
"""

from __future__ import annotations

import argparse
import array  # noqa: F401 - by `socket.recv_fds`, which would load it when no file can be opened any more
import ctypes
import errno
import fcntl
import gc
import importlib
import importlib.util
import json
import os
import selectors
import signal
import socket
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from tui_datasize.jobs.workers.slot_file import is_lost
from tui_datasize.programs import private_caches
from tui_datasize.runlog.claim import TAG_VARIABLE
from tui_datasize.runlog.identity import start_ticks

PACKET_BYTES = 1 << 16
MOST_SLOTS = 64
TAG_LENGTH = 32
"""Every tag has this length, so that a worker's can be written over the preloader's own."""
CANNOT_FORK_STATUS = 71
"""Exit status reported for a worker that could not be forked (EX_OSERR)."""

_RESTING_THREADS = frozenset({"polars-ooc-clea"})
"""Threads that may exist beside a fork, by the 15 letters that the kernel keeps of their names.

polars starts this one when it is imported, to delete files that queries spill. It waits for the first of
them in a channel (crates/polars-ooc/src/spill_file.rs) and holds no lock meanwhile; a worker, which
spills nothing, does not miss it. polars' pool starts with its first operation, in the worker.
"""
_RESTING_PATIENCE_S = 10.0

_Main = Callable[[Sequence[str]], int]


class Preloader:
    """Serves fork requests until the scheduler closes its end of the socket."""

    def __init__(self, control: socket.socket, main: _Main, sources: Mapping[str, int]) -> None:
        self._control = control
        self._main = main
        self._sources = dict(sources)
        self._selector = selectors.DefaultSelector()
        self._selector.register(control, selectors.EVENT_READ)
        self._libc = ctypes.CDLL(None)
        self._tag_address = _tag_address(self._libc)

    def serve(self) -> None:
        self._send({"sources": self._sources})
        while True:
            for key, _ in self._selector.select():
                if key.data is not None:
                    self._reap(key.fd, *key.data)
                elif not self._serve_request():
                    return

    def _serve_request(self) -> bool:
        try:
            packet, slots, flags, _ = socket.recv_fds(self._control, PACKET_BYTES, MOST_SLOTS)
        except ConnectionResetError:
            # The scheduler was killed before it had read everything that it was told.
            return False
        if not packet:
            return False
        request = json.loads(packet)
        try:
            if flags & socket.MSG_CTRUNC:
                # Those that are too many for this process have been closed.
                self._refuse(request, errno.EMFILE)
            elif any(map(is_lost, slots)):
                # While they were on their way, nobody could see who has them.
                self._refuse(request, 0)
            else:
                self._fork(request)
        except OSError as error:
            self._refuse(request, error.errno or errno.EIO)
        finally:
            for descriptor in slots:
                os.close(descriptor)
        return True

    def _refuse(self, request: Mapping[str, Any], number: int) -> None:
        self._send({"tag": request["tag"], "status": CANNOT_FORK_STATUS, "errno": number})

    def _fork(self, request: dict[str, Any]) -> None:
        pid, tag = os.fork(), request["tag"]
        if pid == 0:
            self._become_worker(request)
        # The child cannot be reaped by anyone else, so its number is still its own.
        try:
            begun_ticks = start_ticks(pid)
            self._selector.register(os.pidfd_open(pid), selectors.EVENT_READ, (pid, tag))
        except OSError:
            # Nobody could tell how it ends.
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise
        self._send({"tag": tag, "pid": pid, "start_ticks": begun_ticks})

    def _reap(self, pidfd: int, pid: int, tag: str) -> None:
        self._selector.unregister(pidfd)
        os.close(pidfd)
        _, status = os.waitpid(pid, 0)
        self._send({"tag": tag, "status": os.waitstatus_to_exitcode(status)})

    def _send(self, message: dict[str, Any]) -> None:
        # A scheduler that is gone is noticed as the end of its messages.
        with suppress(BrokenPipeError, ConnectionResetError):
            self._control.send(json.dumps(message).encode())

    def _become_worker(self, request: dict[str, Any]) -> NoReturn:
        """Turn the forked child into a worker; exit handlers of the parent are not run."""
        status = 1
        try:
            os.setsid()
            for key in list(self._selector.get_map().values()):
                if key.data is not None:
                    os.close(key.fd)
            self._selector.close()
            self._control.close()
            if _is_in_place(request):
                os.environ.update(request["environment"])
                if "call" not in request:
                    ctypes.memmove(self._tag_address, request["tag"].encode(), TAG_LENGTH)
                sys.argv = [sys.argv[0], *request["argv"]]
                main = function_named(request["call"]) if "call" in request else self._main
                status = _run(main, request["argv"])
        except BaseException:
            traceback.print_exc()
        finally:
            try:
                sys.stdout.flush()
                sys.stderr.flush()
                self._libc.fflush(None)
            finally:
                # On a full disk, too, lest it goes on as another preloader.
                os._exit(status)


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Import what is asked for, then serve."""
    name = "python -m tui_datasize.jobs.workers.preloader"
    parser = argparse.ArgumentParser(prog=name, description=__doc__)
    parser.add_argument("--control", type=int, required=True, help="descriptor of the inherited socket")
    parser.add_argument("--preload", default="", help="modules to import, with commas between")
    parser.add_argument("--call", required=True, help="MODULE:FUNCTION that takes the worker's arguments")
    arguments = parser.parse_args(argv)
    control = socket.socket(fileno=arguments.control)
    control.set_inheritable(False)
    _end_with_scheduler(control)
    # Names that libraries form when they are imported.
    os.environ.update(private_caches())
    modified_ns = _modification_times(arguments.call.partition(".")[0])
    # What is imported stays for good: looking for garbage in it takes a tenth of the time, and in a worker
    # would copy its pages.
    gc.disable()
    for name in filter(None, arguments.preload.split(",")):
        importlib.import_module(name)
    worker_main = function_named(arguments.call)
    gc.collect()
    gc.freeze()
    gc.enable()
    _refuse_running_threads()
    _refuse_opened_gpu()
    # From now on the scheduler's end is noticed where its requests are read; workers inherit no handler.
    fcntl.fcntl(control, fcntl.F_SETFL, fcntl.fcntl(control, fcntl.F_GETFL) & ~os.O_ASYNC)
    signal.signal(signal.SIGIO, signal.SIG_DFL)
    files = {getattr(module, "__file__", None) for module in sys.modules.values()}
    loaded = {file: at_ns for file, at_ns in modified_ns.items() if file in files}
    Preloader(control, worker_main, loaded).serve()
    sys.stdout.flush()
    sys.stderr.flush()
    # Exit handlers of the imported libraries have nothing to end here.
    os._exit(0)


def function_named(call: str) -> _Main:
    """The function that `MODULE:FUNCTION` names."""
    module, _, function = call.partition(":")
    main: _Main = getattr(importlib.import_module(module), function)
    return main


def _end_with_scheduler(control: socket.socket) -> None:
    """End at once if the scheduler goes while the imports, which take long, are under way."""

    def look(*_: object) -> None:
        try:
            has_gone = not control.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except ConnectionResetError:
            has_gone = True
        if has_gone:
            os._exit(0)

    signal.signal(signal.SIGIO, look)
    fcntl.fcntl(control, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(control, fcntl.F_SETFL, fcntl.fcntl(control, fcntl.F_GETFL) | os.O_ASYNC)
    # It may have gone before.
    look()


def _modification_times(package: str) -> dict[str, int]:
    """Modification time, in nanoseconds, of every file of the worker's own package, before it is loaded.

    A change during the imports, which take seconds, must not go unseen. Libraries hardly change.
    """
    spec = importlib.util.find_spec(package)
    folders = (spec.submodule_search_locations if spec else None) or []
    files = (file for folder in folders for file in Path(folder).rglob("*.py"))
    return {str(file): file.stat().st_mtime_ns for file in files}


def _refuse_running_threads() -> None:
    """End if an import has started a thread that runs: a worker might wait for its locks for ever."""
    deadline = time.monotonic() + _RESTING_PATIENCE_S
    while True:
        threads = list(_other_threads())
        strangers = [name for name, _ in threads if name not in _RESTING_THREADS]
        busy = [name for name, state in threads if state != "S"]
        if strangers or (busy and time.monotonic() >= deadline):
            sys.exit(f"preloader: the imported modules run threads ({', '.join(strangers or busy)})")
        if not busy:
            break
        time.sleep(0.01)
    # Newer interpreters warn at every fork beside a thread, whatever it does.
    warnings.filterwarnings("ignore", message=".*multi-threaded", category=DeprecationWarning)


def _other_threads() -> Iterator[tuple[str, str]]:
    """Name and state of every thread but the first, as proc_pid_stat(5) tells them."""
    for task in Path("/proc/self/task").iterdir():
        # One that has just ended is no matter.
        with suppress(FileNotFoundError, ProcessLookupError):
            if int(task.name) != os.getpid():
                name, _, rest = (task / "stat").read_text().partition(" (")[2].rpartition(") ")
                yield name, rest[0]


def _refuse_opened_gpu() -> None:
    """End if an import has opened a GPU: CUDA cannot be used on the other side of a fork."""
    # Not imported for this: where nothing has, there is nothing to ask. Some machines have GPUs without the
    # files below.
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        sys.exit("preloader: the imported modules have initialised CUDA, which ends at a fork")
    opened = {os.path.realpath(link) for link in Path("/proc/self/fd").iterdir()}
    gpus = sorted(path for path in opened if path.startswith("/dev/nvidia"))
    if gpus:
        sys.exit(f"preloader: the imported modules opened {', '.join(gpus)}")


def _tag_address(libc: ctypes.CDLL) -> int:
    """Where this process's own environment block holds the value of the tag.

    A forked child shows its parent's environment in /proc; writing its own tag into the block itself
    is what makes it and its descendants findable.
    """
    libc.getenv.restype = ctypes.c_void_p
    address = libc.getenv(TAG_VARIABLE.encode())
    if len(os.environ.get(TAG_VARIABLE, "")) != TAG_LENGTH or address is None:
        sys.exit(f"preloader: {TAG_VARIABLE} must be set to {TAG_LENGTH} characters")
    return int(address)


def _is_in_place(request: Mapping[str, Any]) -> bool:
    """Go to the worker's directory and write to its logs; where the disk does not let it, say so."""
    try:
        _redirect(request)
        os.chdir(request["directory"])
    except OSError as error:
        print(f"preloader: no worker begun: {error}", file=sys.stderr)
        return False
    return True


def _redirect(request: Mapping[str, Any]) -> None:
    """Read from nothing and write to the log files of the run."""
    append = os.O_WRONLY | os.O_APPEND | os.O_CREAT
    output = ((1, request["stdout"], append), (2, request["stderr"], append))
    for target, path, flags in ((0, os.devnull, os.O_RDONLY), *output):
        descriptor = os.open(path, flags, 0o666)
        os.dup2(descriptor, target)
        os.close(descriptor)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]


def _run(main: _Main, argv: Sequence[str]) -> int:
    """Call a worker's main function and tell its exit status as an interpreter would."""
    try:
        return int(main(argv) or 0)
    except SystemExit as leave:
        if leave.code is None or isinstance(leave.code, int):
            return leave.code or 0
        print(leave.code, file=sys.stderr)
        return 1


if __name__ == "__main__":
    main()
