"""Starting workers warm: forked from a preloader that has imported what they need."""

from __future__ import annotations

import array  # noqa: F401 - by `socket.send_fds`, which would load it when no file can be opened any more
import json
import logging
import os
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeAlias

from tui_datasize.jobs.workers.preloader import PACKET_BYTES, TAG_LENGTH
from tui_datasize.jobs.workers.spawn import ONE_THREAD, ColdSpawner, SpawnRequest, Worker
from tui_datasize.programs import python_module
from tui_datasize.runlog.claim import TAG_VARIABLE
from tui_datasize.runlog.identity import ProcessIdentity, boot_id

_LOG = logging.getLogger(__name__)
_MOST_FAILURES = 3
"""Preloaders in a row that may end before they are ready, or hang; then workers start cold."""
_SOURCES_INTERVAL_S = 2.0
_LOAD_PATIENCE_S = 300.0
"""How long the imports of a preloader may take; on a busy machine they take most of a minute."""
_NO_ALLOCATOR_THREADS: Mapping[str, str] = MappingProxyType({"_RJEM_MALLOC_CONF": "background_thread:false"})
"""Keeps polars' allocator (jemalloc) from starting threads when it is loaded."""


@dataclass(eq=False)
class WarmSpawner:
    """Starts workers through a preloader, which it keeps alive and up to date.

    `call` is the `MODULE:FUNCTION` that a worker runs; its arguments are what a cold worker's command ends
    with. The fallback takes over where no preloader can be had; one that has not forked a worker after
    `answer_s` is replaced.
    """

    _preload: Sequence[str]
    _call: str
    _fallback: ColdSpawner
    answer_s: float
    _preloader: _Preloader | None = field(default=None, init=False)
    _retired: list[_Preloader] = field(default_factory=list, init=False)
    _failures: int = field(default=0, init=False)

    def make_ready(self) -> bool:
        """Start a preloader if there is none; whether it has imported everything."""
        if self._failures >= _MOST_FAILURES:
            return True
        if self._preloader and self._preloader.check_sources():
            # Its workers still report through it.
            self._retired.append(self._preloader)
            self._preloader = None
        if self._preloader is None:
            self._preloader = _Preloader.launch(self._preload, self._call)
        return self._preloader.is_ready

    def start(self, request: SpawnRequest) -> Worker:
        packet = _packet(request)
        if self._preloader and self._preloader.is_ready and len(packet) <= PACKET_BYTES:
            return self._preloader.fork(request, packet)
        return self._fallback.start(request)

    def poll(self) -> None:
        self._fallback.poll()
        if self._preloader:
            self._preloader.poll(self.answer_s)
            if self._preloader.has_ended:
                earlier = 0 if self._preloader.has_answered else self._failures
                # It ended before it was ready, or owes the answer to a request.
                has_failed = not self._preloader.is_ready or bool(self._preloader.asked_s)
                self._failures = earlier + has_failed
                if self._failures == _MOST_FAILURES:
                    what = "%d preloaders in a row have failed: workers start cold from now on"
                    _LOG.error(what, _MOST_FAILURES)
                self._preloader.close()
                self._preloader = None
        for retired in list(self._retired):
            retired.poll(self.answer_s)
            if retired.has_ended or not retired.workers:
                retired.close()
                self._retired.remove(retired)

    def descriptors(self) -> Sequence[int]:
        preloaders = [*self._retired, *([self._preloader] if self._preloader else [])]
        return [preloader.control.fileno() for preloader in preloaders]

    def end_preloaders(self) -> None:
        """End those that there are: they have the log of the scheduler open. Workers go on."""
        for preloader in (*self._retired, *([self._preloader] if self._preloader else [])):
            preloader.close()
        self._preloader = None
        self._retired.clear()

    def close(self) -> None:
        self.end_preloaders()
        self._fallback.close()


Spawner: TypeAlias = ColdSpawner | WarmSpawner
"""A way to start workers."""


@dataclass(slots=True)
class _Preloader:
    """The scheduler's end of one preloader."""

    process: subprocess.Popen[bytes]
    control: socket.socket
    sources: Mapping[Path, int] = field(default_factory=dict)
    """Modification time, in nanoseconds, of the files it has loaded and that may change."""
    sources_checked_s: float = 0.0
    is_ready: bool = False
    has_ended: bool = False
    has_answered: bool = False
    launched_s: float = field(default_factory=time.monotonic)
    asked_s: dict[str, float] = field(default_factory=dict)
    """When workers were asked for that it has not answered yet, by tag, on the monotonic clock."""
    workers: dict[str, Worker] = field(default_factory=dict)
    """Workers that have not ended, by tag."""

    @classmethod
    def launch(cls, preload: Sequence[str], call: str) -> _Preloader:
        """Start a preloader; its imports take seconds, meanwhile it is not ready."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        options = ["--control", str(theirs.fileno()), "--preload", ",".join(preload), "--call", call]
        with theirs:
            process = subprocess.Popen(
                python_module("tui_datasize.jobs.workers.preloader", *options),
                env={**os.environ, **ONE_THREAD, **_NO_ALLOCATOR_THREADS, TAG_VARIABLE: "0" * TAG_LENGTH},
                stdin=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
        return cls(process, ours)

    def check_sources(self) -> bool:
        """Look now and then at the code that it has loaded; whether that has changed on disk."""
        if time.monotonic() < self.sources_checked_s + _SOURCES_INTERVAL_S:
            return False
        self.sources_checked_s = time.monotonic()
        return any(_modified_ns(file) != modified_ns for file, modified_ns in self.sources.items())

    def fork(self, request: SpawnRequest, packet: bytes) -> Worker:
        """Ask for a worker; its process is known when the preloader has answered."""
        # A preloader that has died since leaves the worker unborn; `poll` will tell.
        worker = self.workers[request.tag] = Worker()
        self.asked_s[request.tag] = time.monotonic()
        try:
            socket.send_fds(self.control, [packet], request.slots)
        except (BrokenPipeError, ConnectionResetError):
            self.has_ended = True
        except OSError:
            # Nothing was asked of it, and no answer is to be waited for.
            del self.workers[request.tag], self.asked_s[request.tag]
            raise
        return worker

    def poll(self, answer_s: float) -> None:
        """Take in everything that the preloader has said; one that says nothing for too long is given up."""
        while not self.has_ended:
            try:
                packet = self.control.recv(PACKET_BYTES)
            except BlockingIOError:
                if not self._is_overdue(answer_s):
                    return
                # Once it is dead, what it was asked for cannot come about any more.
                _LOG.error("the preloader (process %d) does not answer; it is replaced", self.process.pid)
                self.process.kill()
                self.process.wait()
                self.has_ended = True
                break
            except ConnectionResetError:
                packet = b""
            if packet:
                self._note(json.loads(packet))
            else:
                self.has_ended = True
        for worker in self.workers.values():
            worker.status_expected = False
            worker.is_gone = worker.was_never_begun = worker.process is None
        self.workers.clear()

    def _is_overdue(self, answer_s: float) -> bool:
        now_s = time.monotonic()
        if not self.is_ready:
            return now_s > self.launched_s + _LOAD_PATIENCE_S
        return any(now_s > asked_s + answer_s for asked_s in self.asked_s.values())

    def close(self) -> None:
        """End the preloader; its workers live on, and nobody will tell how they end."""
        self.has_ended = True
        self.poll(0.0)
        self.control.close()
        # It may be in the middle of an import, and has nothing to put in order.
        self.process.kill()
        self.process.wait()

    def _note(self, message: dict[str, Any]) -> None:
        if "sources" in message:
            self.sources = {Path(file): modified_ns for file, modified_ns in message["sources"].items()}
            # What has changed while it loaded is seen before it is used.
            self.sources_checked_s = 0.0
            self.is_ready = True
            return
        self.has_answered = True
        self.asked_s.pop(message["tag"], None)
        if "pid" in message and message["start_ticks"] is not None:
            worker = self.workers[message["tag"]]
            worker.process = ProcessIdentity(message["pid"], message["start_ticks"], boot_id())
        elif "status" in message:
            worker = self.workers.pop(message["tag"])
            worker.status = message["status"]
            worker.is_gone = True
            if "errno" in message:
                worker.was_never_begun = True
                number = message["errno"]
                worker.has_lost_slots = not number
                worker.error = OSError(number, os.strerror(number)) if number else None


def _packet(request: SpawnRequest) -> bytes:
    stdout, stderr = map(str, request.logs)
    message = {
        "tag": request.tag,
        "argv": request.arguments,
        "environment": dict(request.environment),
        "directory": str(request.directory),
        "stdout": stdout,
        "stderr": stderr,
    }
    call = {"call": f"{request.module}:main"} if request.module else {}
    return json.dumps(message | call).encode()


def _modified_ns(file: Path) -> int:
    try:
        return file.stat().st_mtime_ns
    except FileNotFoundError:
        return 0
