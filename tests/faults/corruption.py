"""A project of which one file is spoilt, and every command run on it: each says one clear line or works.

`python -m tests.faults.corruption DIRECTORY` reads a case a line from stdin (seed, file, spoiler, commands,
tabs between) and answers with one line of JSON. A command that hangs ends it with the stack of where it hung.
"""

from __future__ import annotations

import faulthandler
import io
import json
import os
import random
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, redirect_stderr, redirect_stdout, suppress
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tests.fakes import fake_spec, write_run
from tui_datasize.experiments.spec import RunSpec
from tui_datasize.runlog.paths import ProjectPaths

HANG_S = 5.0
ELSEWHERE = "elsewhere.csv"
"""Results to import, beside the project."""
MOST_BYTES = 500 * 10**6
_LONGEST_LINE = 1000
_HUNG = "hung"
_EXPERIMENT = "digits"
_FILE = """\
[experiments.digits]
dataset = "digits"
model = { name = "mlp" }
sizes = [40, 80, 160]
seeds = [0, 1]
budget = { samples = 6400 }
batch_size = 32
evaluate = { times = 4 }
"""
_FAILING_WORKER = shlex.join(
    [
        *("sh", "-c"),
        'printf \'{"attempt": %d, "outcome": "failed", "reason": "%s", "finished_at": ""}\' '
        '$(($(date +%s%N) / 10000000 % 1000000000)) $(echo $$ | tr 0-9 a-j) > "$0/new" '
        '&& mv -f "$0/new" "$0/exit.json"',
    ]
)
"""Fails an attempt whose number the clock tells, so that each is newer than the last, and with its process
number, in letters, for a reason: runs that die alike but for their numbers would pause the queue."""
_LONGEST_SCHEDULER_S = 3.0
HOSTILE: tuple[Any, ...] = (
    *(None, True, -1, 0, 7, 2**62, 2**63, 10**300, 1e300, -0.5, "", "x" * 100_000, "\ud800", "\x1b[2J\u202e"),
    *([], {}, [[]], {"a": 1}, ["x"], [2**62], "../../../etc/passwd", "NaN"),
)


def specs() -> list[RunSpec]:
    """The runs that are in the project before it is spoilt; the last one only queued."""
    return [fake_spec(train_size=size, seed=seed) for size in (40, 80, 160) for seed in (0, 1)]


def make_project(root: Path) -> ProjectPaths:
    """Finished runs of every kind, one that waits, a queue that knows them, and a cache of the record."""
    from tui_datasize.jobs.client import QueueClient
    from tui_datasize.jobs.queue.store import Store
    from tui_datasize.jobs.scheduler.apply_commands import CommandApplier
    from tui_datasize.jobs.scheduler.device_history import DeviceHistory
    from tui_datasize.jobs.scheduler.devices import DeviceReport
    from tui_datasize.runlog.notes import add_note
    from tui_datasize.runlog.reader import RunLog
    from tui_datasize.tui.view_state import ViewState, save_view_state

    root.mkdir()
    project = ProjectPaths(root)
    project.experiments.write_text(_FILE)
    (root.parent / ELSEWHERE).write_text("train_size,seed,test_accuracy\n40,7,0.8\n80,7,0.9\n")
    *made, waiting = specs()
    states: Sequence[Any] = ("succeeded", "succeeded", "succeeded", "interrupted", "failed")
    for spec, state in zip(made, states, strict=True):
        run = write_run(project, spec, state=state, reason="NaN loss" if state == "failed" else "")
        for file in (run.stdout, run.stderr, run.checkpoint, run.best):
            file.write_text("a line\n" * 20)
    add_note(project, _EXPERIMENT, "a remark", datetime.now(UTC))
    QueueClient(project).enqueue([*made, waiting])
    with closing(Store(project.queue)) as store:
        while CommandApplier(store, project).apply_pending():
            pass
    project.scheduler_log.write_text("2026-01-01 INFO scheduler begins\n")
    RunLog(project).runs()
    save_view_state(project, ViewState("queue", _EXPERIMENT))
    DeviceHistory(project.device_history).note(DeviceReport((), 2, ""))
    return project


def targets(project: ProjectPaths) -> list[str]:
    """Everything that may be spoilt, relative to the project: files, and the directories above them."""
    run = project.run(_EXPERIMENT, specs()[0].run_id)
    interrupted = project.run(_EXPERIMENT, specs()[3].run_id)
    waiting = project.run(_EXPERIMENT, specs()[-1].run_id)
    of_project = (project.experiments, project.queue, project.scheduler_lock, project.scheduler_log)
    of_cache = (project.cache, project.cache / "app.json", project.device_history)
    beside = (project.runs, project.runs / _EXPERIMENT, *of_cache)
    others = (interrupted.claim, interrupted.lock, interrupted.metrics, waiting.exit, waiting.directory)
    notes = (project.notes, project.note(_EXPERIMENT))
    found = [
        *run.files,
        run.directory,
        *of_project,
        *beside,
        *others,
        *notes,
        *sorted(project.cache.rglob("*.parquet")),
    ]
    return [str(path.relative_to(project.root)) for path in found]


def commands(project: ProjectPaths) -> list[list[str]]:
    """Every command on a project, as a person would type it."""
    run, other = specs()[0].run_id, specs()[-1].run_id
    tables = (
        "answer",
        "runs",
        "metrics",
        "curve",
        "fits",
        "overlap",
        "ensembles",
        "audit",
        "groups",
        "variance",
        "plan",
    )
    return [
        *(["status"], ["status", "--json"], ["experiments"], ["logs", run], ["prune", "--json"]),
        *(["queue", _EXPERIMENT, "--dry-run"], ["queue", _EXPERIMENT], ["scheduler", "status"]),
        *(
            ["hold", other],
            ["release", other],
            ["cancel", other],
            ["retry", other],
            ["priority", other, "--by", "1"],
            ["move", other, "--by", "1"],
            ["drain"],
            ["drain", "--off"],
            ["undo"],
        ),
        *(["export", "--table", table, "--experiment", _EXPERIMENT] for table in tables),
        *(["analyze", _EXPERIMENT], ["plan", _EXPERIMENT], ["prune", "--yes"]),
        ["report", _EXPERIMENT, "-o", str(project.root.parent / "report.html"), "--force"],
        ["note", _EXPERIMENT, "a remark"],
        ["queue", _EXPERIMENT, "--force"],
        ["import", "elsewhere", str(project.root.parent / ELSEWHERE)],
        ["doctor", "--repair"],
    ]


UNTRIED = MappingProxyType(
    {
        "demo": "has a project of its own",
        "run": "waits for its runs, however long these take",
        "selftest": "looks at no project",
        "completion": "looks at no project",
        "config": "looks at no project",
    }
)
"""Commands that are not among them, and why."""


QUICK = ("status", "experiments", "logs", "prune", "queue", "hold", "cancel", "scheduler")
"""Commands that take no statistics."""


def _truncate(file: Path, _: random.Random) -> None:
    os.truncate(file, 0)


def _halve(file: Path, _: random.Random) -> None:
    os.truncate(file, file.stat().st_size // 2)


def _scramble(file: Path, chance: random.Random) -> None:
    file.write_bytes(chance.randbytes(max(file.stat().st_size, 100)))


def _flip(file: Path, chance: random.Random) -> None:
    data = bytearray(file.read_bytes() or b"{}")
    for _ in range(max(1, len(data) // 500)):
        data[chance.randrange(len(data))] = chance.randrange(256)
    file.write_bytes(data)


def _inflate(file: Path, _: random.Random) -> None:
    os.truncate(file, 40 * 10**9)


def _fill(file: Path, _: random.Random) -> None:
    file.write_bytes(b'{"a": "' + b"x" * 30_000_000 + b'"}\n')


def _retype(file: Path, chance: random.Random) -> None:
    """Put something hostile in the place of one value of a document, or of some rows."""
    lines = file.read_text().splitlines() if file.suffix == ".jsonl" else [file.read_text()]
    spoilt = []
    for line in lines:
        document = json.loads(line)
        spoilt.append(
            json.dumps(_with_one(document, chance) if chance.random() < 0.5 or len(lines) == 1 else document)
        )
    file.write_text("\n".join(spoilt) + "\n")


def _with_one(value: Any, chance: random.Random) -> Any:
    inner = (
        list(value.items())
        if isinstance(value, dict)
        else list(enumerate(value))
        if isinstance(value, list)
        else []
    )
    if not inner or chance.random() < 0.1:
        return chance.choice(HOSTILE)
    key, chosen = chance.choice(inner)
    copy = value.copy()
    copy[key] = _with_one(chosen, chance)
    return copy


def _as_table(file: Path, chance: random.Random) -> None:
    """A readable table whose columns are not those that are looked for."""
    import polars as pl

    frame = pl.read_parquet(file)
    column = chance.choice(frame.columns)
    made = (
        *(pl.DataFrame(), frame.clear(), frame.drop(column), frame.rename({column: "other"})),
        *(frame.with_columns(pl.lit("x").alias(column)), frame.with_columns(pl.lit(None).alias(column))),
        *(frame.with_columns(pl.lit(2**62).alias(column)), frame.with_columns(pl.lit(-7.5).alias(column))),
        pl.concat([frame, frame]),
    )
    chance.choice(made).write_parquet(file)


def _remove(file: Path) -> None:
    if file.is_dir() and not file.is_symlink():
        shutil.rmtree(file)
    else:
        file.unlink(missing_ok=True)
    file.parent.mkdir(parents=True, exist_ok=True)


def _as_pipe(file: Path, _: random.Random) -> None:
    _remove(file)
    os.mkfifo(file)


def _as_directory(file: Path, _: random.Random) -> None:
    _remove(file)
    file.mkdir()


def _as_file(file: Path, _: random.Random) -> None:
    _remove(file)
    file.write_text("7\n")


def _as_loop(file: Path, _: random.Random) -> None:
    _remove(file)
    file.symlink_to(file)


def _as_dangling(file: Path, _: random.Random) -> None:
    _remove(file)
    file.symlink_to(file.with_name("nowhere"))


def _as_endless(file: Path, _: random.Random) -> None:
    _remove(file)
    file.symlink_to("/dev/zero")


SPOILERS: Mapping[str, Callable[[Path, random.Random], None]] = MappingProxyType(
    {
        "truncated": _truncate,
        "halved": _halve,
        "random": _scramble,
        "flipped": _flip,
        "40 GB": _inflate,
        "30 MB line": _fill,
        "wrong value": _retype,
        "wrong table": _as_table,
        "pipe": _as_pipe,
        "directory": _as_directory,
        "file": _as_file,
        "loop": _as_loop,
        "dangling": _as_dangling,
        "endless": _as_endless,
    }
)
_OF_CONTENT = ("truncated", "halved", "random", "flipped", "40 GB", "30 MB line")


def cases(project: ProjectPaths) -> Iterator[tuple[str, str]]:
    """Every target with every way of spoiling it that changes something."""
    for target in targets(project):
        path = project.root / target
        for name in SPOILERS:
            if name in _OF_CONTENT and not path.is_file():
                continue
            if name == "wrong value" and not (path.is_file() and path.suffix in (".json", ".jsonl")):
                continue
            if name == "wrong table" and path.suffix != ".parquet":
                continue
            if (name, path.is_dir()) in (("directory", True), ("file", False)):
                continue
            yield target, name


def try_case(pristine: Path, place: Path, case: tuple[str, str, str], wanted: Sequence[str]) -> list[str]:
    """Spoil a copy, run the wanted commands on it, and return what was wrong with their answers."""
    seed, target, spoiler = case
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(pristine, place, symlinks=True)
    project = ProjectPaths(place)
    SPOILERS[spoiler](place / target, random.Random(seed))
    problems = []
    for words in commands(project):
        if not wanted or words[0] in wanted:
            problems += [f"{' '.join(words)}: {problem}" for problem in run_command(place, words)]
    return problems + _look_of_the_app(project)


def is_of_time(problem: str) -> bool:
    """Whether a problem may be the machine's, that of an answer that took too long."""
    return ": took " in problem or problem.startswith(_HUNG)


def clock_s() -> float:
    """Seconds, less those in which this thread could have gone on and the machine did other work."""
    _, kept_ns, _ = map(int, Path("/proc/thread-self/schedstat").read_text().split())
    return time.monotonic() - kept_ns / 1e9


def run_command(root: Path, words: Sequence[str]) -> list[str]:
    """What is wrong with how a command answers."""
    from tui_datasize.cli.dispatch import main

    out, err = io.TextIOWrapper(io.BytesIO(), "utf-8", errors="backslashreplace"), io.StringIO()
    began_s, status = clock_s(), 0
    faulthandler.dump_traceback_later(4 * HANG_S, exit=True, file=sys.__stderr__)
    try:
        with redirect_stdout(out), redirect_stderr(err):
            status = main([words[0], "--project", str(root), *words[1:]])
    except SystemExit as leave:
        status = int(leave.code or 0)
    except BaseException:
        return [traceback.format_exc(limit=-6)]
    finally:
        faulthandler.cancel_dump_traceback_later()
        out.flush()
    took_s, told = clock_s() - began_s, err.getvalue()
    problems = [f"took {took_s:.1f} s"] if took_s > HANG_S else []
    if "Traceback" in told or b"Traceback" in out.detach().getvalue():
        problems.append(told[-2000:])
    if status == 2 and not any(line.strip() for line in told.splitlines()):
        problems.append("refused without a word")
    problems += [
        f"a line of {len(line)} characters" for line in told.splitlines() if len(line) > _LONGEST_LINE
    ]
    return problems


def _look_of_the_app(project: ProjectPaths) -> list[str]:
    """What is wrong with the first look that the app takes."""
    from tui_datasize.jobs.client import QueueClient
    from tui_datasize.jobs.scheduler.devices import DeviceReport
    from tui_datasize.tui.polling.collect import Collector
    from tui_datasize.tui.polling.record import ProjectRecord
    from tui_datasize.tui.polling.snapshot import Interest
    from tui_datasize.tui.view_state import load_view_state

    began_s = clock_s()
    faulthandler.dump_traceback_later(4 * HANG_S, exit=True, file=sys.__stderr__)
    try:
        load_view_state(project)
        shown = Interest(curves=tuple(spec.run_id for spec in specs()), log=specs()[0].run_id)
        collector = Collector(
            project, QueueClient(project), lambda: ProjectRecord(project), lambda: DeviceReport((), 2, "")
        )
        collector.collect(shown)
    except Exception:
        return ["app: " + traceback.format_exc(limit=-6)]
    finally:
        faulthandler.cancel_dump_traceback_later()
    took_s = clock_s() - began_s
    return [f"app: took {took_s:.1f} s"] if took_s > HANG_S else []


def _schedule(project: ProjectPaths, _options: Sequence[str] = ()) -> None:
    """A scheduler in this process that does what is asked and ends; its workers fail at once.

    Where they cannot even say so, it would wait to try again: then it is told to end.
    """
    from tui_datasize.errors import StorageError
    from tui_datasize.jobs.scheduler import main

    err = io.StringIO()
    with redirect_stderr(err):
        options = ["--idle-s", "0", "--worker", _FAILING_WORKER, "--call", "", "--cpu-slots", "2"]
        ender = threading.Timer(_LONGEST_SCHEDULER_S, os.kill, (os.getpid(), signal.SIGTERM))
        ender.start()
        try:
            status = main.main(["--project", str(project.root), *options])
        finally:
            ender.cancel()
    if status:
        raise StorageError(err.getvalue().strip().splitlines()[-1])


def serve(directory: Path) -> None:
    """Try the cases that come on stdin."""
    from tui_datasize.cli import doctor
    from tui_datasize.jobs.scheduler import launch
    from tui_datasize.runlog import reader

    os.environ |= {"DATASIZE_SLOTS_DIR": str(directory / "slots"), "CUDA_VISIBLE_DEVICES": ""}
    launch.ensure_scheduler = _schedule
    # Importing torch takes its time whatever the project holds.
    doctor._torch = lambda: doctor.Check("torch", "ok", "not looked for")
    reader._LEAST_TO_CACHE = 1
    pristine = directory / "pristine"
    project = make_project(pristine)
    print(json.dumps([list(case) for case in cases(project)]), flush=True)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for line in sys.stdin:
        *case, wanted = line.rstrip("\n").split("\t")
        with suppress(KeyboardInterrupt):
            problems = try_case(
                pristine,
                directory / "project",
                (case[0], case[1], case[2]),
                [word for word in wanted.split(",") if word],
            )
        peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        if peak_bytes > max(MOST_BYTES, before * 1024):
            problems.append(f"{peak_bytes / 10**6:.0f} MB of memory")
            before = peak_bytes / 1024
        print(json.dumps(problems), flush=True)


class CaseRunner:
    """The process that tries cases, from the outside; one that hung or died is replaced.

    Args:
        directory: An empty one for it.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._started = 0
        self.cases = self._start()

    def __enter__(self) -> CaseRunner:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()
        self._errors.close()

    def try_case(self, seed: int, target: str, spoiler: str, wanted: Sequence[str] = ()) -> list[str]:
        """What was wrong with the answers to a spoilt file; empty `wanted` for all commands."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(f"{seed}\t{target}\t{spoiler}\t{','.join(wanted)}\n")
        self._process.stdin.flush()
        if answer := self._process.stdout.readline():
            return list(json.loads(answer))
        self._process.wait()
        said = (self._directory / f"{self._started}.err").read_text()[-3000:]
        self._start()
        return [f"{_HUNG if 'Timeout' in said else 'died'}: {said}"]

    def _start(self) -> list[tuple[str, str]]:
        self._started += 1
        place = self._directory / str(self._started)
        place.mkdir(parents=True)
        self._errors = place.with_suffix(".err").open("w")
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__, str(place)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )
        assert self._process.stdout
        return [(target, spoiler) for target, spoiler in json.loads(self._process.stdout.readline())]


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
