"""Decoding the files of a data set, in as many processes as there are cores."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from queue import SimpleQueue

from tui_datasize.errors import DataError
from tui_datasize.experiments.images.walk import together
from tui_datasize.programs import python_module
from tui_datasize.training import build
from tui_datasize.training.build import Chunk, Filled, SplitArrays, SplitName
from tui_datasize.training.decoding_process import BadImages, Form, question, read_files, understand


class FileFiller:
    """Fills chunks of a data set's arrays from the files of each split, in the order of its images.

    By default one process per core that this process may use decodes. A Pillow that decodes holds the
    interpreter's lock half of the time: threads would not do.
    """

    def __init__(
        self, files: Mapping[SplitName, Sequence[str]], form: Form, processes: int | None = None
    ) -> None:
        self._files = files
        self._form = form
        self._processes = processes or len(os.sched_getaffinity(0))

    def __call__(self, folder: Path, chunks: Sequence[Chunk]) -> Iterator[Filled]:
        """Fill chunks and yield each when it is done, in any order.

        Raises DataError: some images cannot be decoded: all chunks were tried, and the first bad files named.
            Or images differ in size, which is told at once.
        Raises OSError: a process met this error, or ended before its time.
        """
        bad: list[DataError] = []
        # A chunk for each: to start a process takes longer than to decode some hundred images.
        images = sum(chunk.stop - chunk.start for chunk in chunks)
        count = min(self._processes, -(-images // build.CHUNK_IMAGES))
        attempts = self._in_processes(folder, chunks, count) if count > 1 else self._here(folder, chunks)
        # Left to the garbage collector, threads and processes would be ended at any moment, on any thread.
        with contextlib.closing(attempts):
            for attempt in attempts:
                try:
                    yield attempt.result()
                except BadImages as found:
                    for error in found.args:
                        print(error.line, flush=True)
                    bad += found.args
        if bad:
            raise together(bad, "; stdout.log names them all")

    def _here(self, folder: Path, chunks: Sequence[Chunk]) -> Generator[Future[Filled], None, None]:
        """One after the other in this process: where there is little to do, starting others takes longer."""
        for chunk in chunks:
            done: Future[Filled] = Future()
            files = self._files[chunk.split][chunk.start : chunk.stop]
            try:
                arrays = SplitArrays.open(folder, chunk.split)
                done.set_result(arrays.fill(chunk, lambda *_, files=files: read_files(files, self._form)))
            except (BadImages, DataError, OSError) as error:
                done.set_exception(error)
            yield done

    def _in_processes(
        self, folder: Path, chunks: Sequence[Chunk], count: int
    ) -> Generator[Future[Filled], None, None]:
        # The processes end first: a thread that waits for an answer then has one.
        with ThreadPoolExecutor(count) as threads, _running(folder, self._form, count) as processes:
            idle: SimpleQueue[subprocess.Popen[str]] = SimpleQueue()
            for process in processes:
                idle.put(process)

            def fill(chunk: Chunk) -> Filled:
                process = idle.get()
                files = self._files[chunk.split][chunk.start : chunk.stop]
                try:
                    return understand(_ask(process, question(chunk, files)))
                finally:
                    idle.put(process)

            waiting = iter(chunks)
            pending = {threads.submit(fill, chunk) for chunk in islice(waiting, 2 * count)}
            while pending:
                done, pending = wait(pending, return_when=FIRST_COMPLETED)
                pending |= {threads.submit(fill, chunk) for chunk in islice(waiting, len(done))}
                yield from done


@contextlib.contextmanager
def _running(folder: Path, form: Form, count: int) -> Iterator[list[subprocess.Popen[str]]]:
    """Decoding processes, killed at the end: what they have not answered is decoded again."""
    module = "tui_datasize.training.decoding_process"
    command = python_module(module, str(folder), json.dumps(asdict(form)))
    processes: list[subprocess.Popen[str]] = []
    try:
        for _ in range(count):
            pipes = subprocess.PIPE
            processes.append(
                subprocess.Popen(command, stdin=pipes, stdout=pipes, text=True, encoding="utf-8")
            )
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                with contextlib.suppress(OSError):
                    if pipe:
                        pipe.close()


def _ask(process: subprocess.Popen[str], line: str) -> str:
    if process.stdin is None or process.stdout is None:
        raise ValueError("a process without pipes")
    # A process that is gone shows on either side of the pipe.
    with contextlib.suppress(BrokenPipeError):
        process.stdin.write(line)
        process.stdin.flush()
    answer = process.stdout.readline()
    if not answer:
        status = process.wait()
        raise ChildProcessError(f"a decoding process ended with exit status {status}; see stderr.log")
    return answer
