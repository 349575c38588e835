"""What the app asks of a terminal and of the machine, beside LEET (wandb) and terminalboard on the same logs.

    uv run --with wandb --with terminalboard --with tensorboard --with pyte python -m benchmarks.terminal

Each program runs in a pseudo-terminal of its own; its bytes are kept with their times and read by pyte,
which says when its screen first shows what was asked for. Programs take turns, so that a busy machine is
busy for all. `--only` chooses among: `start` (36 finished runs at 160x48: first paint, bytes, memory), `rest`
(the same left alone), `live` (4 runs with one update a second at 80x24), `many` (10,000 runs: first paint,
keys), `queued` (10,000 jobs that wait: first paint, filters), `imports` and `slow` (links of 400 to
10,000 B/s). Without wandb or terminalboard only the app is measured.
"""

from __future__ import annotations

import argparse
import compileall
import importlib.util
import math
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import tui_datasize
from benchmarks.app_at_rest import look
from benchmarks.key_answers import FILTERS, STROKES, Strokes, answers_to
from tests.fakes import fake_spec, fake_sweep, metric_rows, write_lines, write_run
from tests.terminal import Terminal, opened
from tui_datasize.experiments.budget import total_updates
from tui_datasize.experiments.load import load_project
from tui_datasize.experiments.spec import Budget, RunSpec
from tui_datasize.experiments.sweep import plan_runs
from tui_datasize.jobs.client import QueueClient
from tui_datasize.jobs.rebuild import repair
from tui_datasize.runlog.claim import utc_now
from tui_datasize.runlog.paths import ProjectPaths

_WIDE, _SMALL = (160, 48), (80, 24)
_QUIET_S = 1.5
"""A screen that has not changed for so long is whole."""
_TOLD_WITHIN_S = 30.0
_APPLIED_WITHIN_S = 300.0
_MIB = 2**20
_EXPERIMENTS = """[experiments.digits]
dataset = "digits"
model = { name = "mlp" }
budget = { samples = 6400 }
batch_size = 32
evaluate = { times = 4 }
"""
_SIZES = "sizes = [40, 80, 160, 320, 640, 1280]\n"
_20_SIZES = f"sizes = {[*range(40, 840, 40)]}\n"
_10_000 = f"{_20_SIZES}seeds = {{ count = 500, step = 1 }}\n"
_OF_TWO_RATES = f"""{_20_SIZES}seeds = {{ count = 125, step = 1 }}
subset = {{ seeds = [0, 1] }}
[experiments.digits.sweep]
"optimizer.lr" = [0.001, 0.01]
"""
"""10,000 as well, with draws and a swept key."""
_LONG = Budget("samples", 32 * 100_000)


def main(argv: Sequence[str] | None = None) -> None:
    """Print one line per measurement."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.terminal", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=_PARTS, default=list(_PARTS))
    parser.add_argument("--rounds", type=int, default=5, help="starts of each program (default: 5)")
    parser.add_argument(
        "--project", type=Path, help="of `many` or `queued`: kept, and used again where it is there"
    )
    parser.add_argument("--seconds", type=float, default=30, help="of rest and of live runs (default: 30)")
    arguments = parser.parse_args(argv)
    # Whoever stops it stops what it has started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    # As where the package is installed: what is imported is compiled once.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    compileall.compile_dir(str(Path(tui_datasize.__path__[0])), quiet=1)
    with tempfile.TemporaryDirectory(prefix="terminal.") as directory:
        for part in arguments.only:
            _PARTS[part](Path(directory) / part, arguments)


@dataclass(frozen=True)
class Program:
    """One program on one set of logs."""

    name: str
    command: Sequence[str]
    shows: str
    """Regular expression that its screen matches as soon as the runs are there."""
    keys: Sequence[str] = ()
    """What opens its charts."""
    environment: Mapping[str, str] = field(default_factory=dict)


def _shown(program: Program, size: tuple[int, int]) -> AbstractContextManager[Terminal]:
    return opened(program.command, size, program.environment)


def _start(directory: Path, arguments: argparse.Namespace) -> None:
    """First paint, bytes to it and to the whole screen, memory; 36 finished runs."""
    with _logs(directory, fake_sweep()) as programs:
        found: dict[str, list[tuple[float, int, int, int]]] = {program.name: [] for program in programs}
        for _ in range(arguments.rounds):
            for program in programs:
                with _shown(program, _WIDE) as terminal:
                    terminal.settle(_QUIET_S)
                    # The app says so as long as it has not read everything.
                    while "reading " in terminal.text:
                        terminal.settle(_QUIET_S)
                        time.sleep(0.1)
                    resident = _tree(terminal.pid)[1]
                    found[program.name].append((*terminal.first(program.shows), terminal.drawn, resident))
    for name, rounds in found.items():
        paints, frames, whole, memory = ([one[place] for one in rounds] for place in range(4))
        print(
            f"start at 160x48, {name}: first paint {_spread(paints)} s, "
            f"{statistics.median(frames) / 1e3:.1f} kB to it, "
            f"{statistics.median(whole) / 1e3:.1f} kB to the whole screen, "
            f"{statistics.median(memory) / _MIB:.0f} MiB resident"
        )


def _rest(directory: Path, arguments: argparse.Namespace) -> None:
    """Bytes and processor time of programs that are left alone."""
    with _logs(directory, fake_sweep()) as programs:
        _watch("left alone", programs, _WIDE, arguments.seconds)


def _live(directory: Path, arguments: argparse.Namespace) -> None:
    """Bytes a second with four runs that log once a second."""
    specs = [fake_spec(train_size=size, seed=seed, budget=_LONG) for size in (320, 1280) for seed in (0, 101)]
    with _logs(directory, specs, live=True) as programs:
        _watch("4 live runs at 80x24", programs, _SMALL, arguments.seconds)


def _watch(what: str, programs: Sequence[Program], size: tuple[int, int], seconds: float) -> None:
    """Open the charts of programs side by side, and print what they take afterwards."""
    with ExitStack() as stack:
        terminals = [(program, stack.enter_context(_shown(program, size))) for program in programs]
        for program, terminal in terminals:
            terminal.settle(_QUIET_S)
            for key in program.keys:
                terminal.press(key)
                time.sleep(3)
        time.sleep(5)
        before = [(terminal.drawn, _tree(terminal.pid)[0]) for _, terminal in terminals]
        time.sleep(seconds)
        for (program, terminal), (drawn, cpu_s) in zip(terminals, before, strict=True):
            share = (_tree(terminal.pid)[0] - cpu_s) / seconds
            print(
                f"{what}, {program.name}: {(terminal.drawn - drawn) / seconds:.0f} B/s, {share:.2%} of a core"
            )
            if os.environ.get("DATASIZE_SHOW_SCREENS"):
                print(terminal.text)


def _many(directory: Path, arguments: argparse.Namespace) -> None:
    """First paint and answers to keys of the app with 10,000 runs."""
    project = ProjectPaths(arguments.project or directory / "project")
    if not project.root.exists():
        _project(project.root.parent, project.root.name, _10_000)
        for number in range(10_000):
            spec = fake_spec(train_size=40 + 40 * (number % 20), seed=number // 20)
            write_run(project, spec, tables=False)
        repair(project)
    _answers("10,000 runs", project, STROKES, arguments.rounds)


def _queued(directory: Path, arguments: argparse.Namespace) -> None:
    """The same with 10,000 jobs that wait in a queue that is drained."""
    project = ProjectPaths(arguments.project or directory / "project")
    if not project.root.exists():
        _project(project.root.parent, project.root.name, _OF_TWO_RATES)
        client, loaded = QueueClient(project), load_project(project.experiments)
        for acknowledgement in (
            client.drain(),
            client.enqueue(plan_runs(loaded.experiments["digits"], loaded)),
        ):
            client.ensure_scheduler()
            client.wait(acknowledgement, _APPLIED_WITHIN_S)
    _answers("10,000 queued jobs", project, FILTERS, arguments.rounds)


def _answers(what: str, project: ProjectPaths, strokes: Strokes, rounds: int) -> None:
    """Print first paints, and answers to keys."""
    program = _app(project)
    try:
        with _shown(program, _WIDE) as terminal:
            terminal.settle(10.0)
            print(f"{what} at 160x48, first opened: first paint {terminal.first(program.shows)[0]:.2f} s")
        paints = []
        for _ in range(rounds):
            with _shown(program, _WIDE) as terminal:
                terminal.until(lambda: re.search(program.shows, terminal.text))
                paints.append(terminal.first(program.shows)[0])
        print(f"{what} at 160x48: first paint {_spread(paints)} s")
        for size in (_WIDE, _SMALL):
            for pressed, keys in answers_to(strokes, partial(_shown, program, size), rounds).items():
                within, spent = zip(
                    *(map(statistics.median, zip(*key, strict=True)) for key in keys), strict=True
                )
                print(
                    f"{what} at {size[0]}x{size[1]}, {pressed}: answered within {_spread(within)} ms, "
                    f"{_spread(spent)} ms of processor time (each key by its median)"
                )
    finally:
        QueueClient(project).stop_scheduler()


def _imports(_directory: Path, arguments: argparse.Namespace) -> None:
    """Processor time of `import tui_datasize.tui.app` against `import textual.app`, in turn."""
    modules = ("pass", "import textual.app", "import tui_datasize.tui.app")
    times: dict[str, list[float]] = {module: [] for module in modules}
    for _ in range(max(arguments.rounds, 5)):
        for module in modules:
            times[module].append(_cpu_s(module))
    base, textual, app = (statistics.median(times[module]) for module in modules)
    print(
        f"imports: textual.app {textual - base:.3f} s, tui_datasize.tui.app {app - base:.3f} s, "
        f"{(app - base) / (textual - base):.2f} times"
    )


def _slow(directory: Path, arguments: argparse.Namespace) -> None:
    """Seconds until the screen tells of a slow link, and no more of it once it is fast."""
    with _logs(directory, fake_sweep(), others=False) as (program,):
        for rate, keys in ((math.inf, "21"), (10_000, "21"), (1_500, ""), (400, "")):
            told: list[float] = []
            ended: list[float] = []
            for _ in range(arguments.rounds):
                with _shown(program, _SMALL) as terminal:
                    terminal.bytes_per_s = rate
                    told.append(_until_told(terminal, keys, True))
                    terminal.bytes_per_s = math.inf
                    ended.append(_until_told(terminal, "21", False))
            print(f"a link of {rate} B/s: told after {_spread(told)} s, over after {_spread(ended)} s")


def _until_told(terminal: Terminal, keys: str, is_slow: bool) -> float:
    """Seconds until the screen tells a rate, or no more, while keys are pressed; NaN if it does not."""
    began = time.perf_counter()
    while (passed := time.perf_counter() - began) < _TOLD_WITHIN_S:
        if (re.search(r"\d\.\d kB/s", terminal.text) is not None) is is_slow:
            return passed
        for key in keys:
            terminal.press(key)
            time.sleep(0.5)
    return math.nan


def _cpu_s(statement: str) -> float:
    before = os.times()
    subprocess.run([sys.executable, "-c", statement], check=True)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


_PARTS: Mapping[str, Callable[[Path, argparse.Namespace], None]] = {
    "start": _start,
    "rest": _rest,
    "live": _live,
    "many": _many,
    "queued": _queued,
    "imports": _imports,
    "slow": _slow,
}


def _project(directory: Path, name: str = "project", sweep: str = _SIZES) -> ProjectPaths:
    project = ProjectPaths(directory / name)
    project.root.mkdir(parents=True)
    project.experiments.write_text(_EXPERIMENTS + sweep)
    return project


def _app(project: ProjectPaths) -> Program:
    command = [sys.executable, "-m", "tui_datasize", "--project", str(project.root)]
    return Program("datasize-tui", command, r"n\d+.*\bd\d+|\b1280\b", ["2"])


@contextmanager
def _logs(
    directory: Path, specs: Sequence[RunSpec], live: bool = False, others: bool = True
) -> Iterator[list[Program]]:
    """The same runs in the format of each program that is installed; live ones log until the block ends."""
    project = _project(directory)
    for spec in specs:
        write_run(project, spec, state="running" if live else "succeeded", evaluations=0 if live else None)
    repair(project)
    writers: list[Callable[[RunSpec, Mapping[str, Any]], None]] = [_own_writer(project)] if live else []
    programs, closing = [_app(project)], []
    for install in (_leet, _terminalboard) if others else ():
        if made := install(directory):
            program, write, close = made
            programs.append(program)
            writers.append(write)
            closing.append(close)
    ended = threading.Event()
    feeding = threading.Thread(target=_feed, args=(specs, writers, ended, live))
    feeding.start()
    if not live:
        feeding.join()
        for close in closing:
            close()
    try:
        yield programs
    finally:
        ended.set()
        feeding.join()
        if live:
            for close in closing:
                close()
        QueueClient(project).stop_scheduler()
        for program in programs[1:]:
            shutil.rmtree(Path(program.command[-1]), ignore_errors=True)


def _feed(
    specs: Sequence[RunSpec],
    writers: Sequence[Callable[[RunSpec, Mapping[str, Any]], None]],
    ended: threading.Event,
    live: bool,
) -> None:
    """Twelve rows a run at once, or one row a second and run until `ended`."""
    moment = 1
    while not ended.is_set() if live else moment <= 12:
        for spec in specs:
            last = total_updates(spec)
            update = min(last, moment * (50 if live else max(1, last // 12)))
            for row in metric_rows(spec, [update], 0.9)[:: 1 if moment % 10 == 0 or not live else 3]:
                for write in writers:
                    write(spec, row | {"time": utc_now()})
        moment += 1
        if live:
            ended.wait(1.0)


def _own_writer(project: ProjectPaths) -> Callable[[RunSpec, Mapping[str, Any]], None]:
    return lambda spec, row: write_lines(project.run(spec.experiment, spec.run_id).metrics, [dict(row)])


_Installed = tuple[Program, Callable[[RunSpec, Mapping[str, Any]], None], Callable[[], None]]


def _scalars(row: Mapping[str, Any]) -> dict[str, float]:
    """Names as TensorBoard has them, and values."""
    names = ("loss", "accuracy", "lr", "grad_norm", "images_per_s", "top5", "ece")
    return {f"{row['split']}/{name}": row[name] for name in names if row[name] is not None}


def _leet(directory: Path) -> _Installed | None:
    if importlib.util.find_spec("wandb") is None:
        return None
    import wandb

    logs = directory / "leet"
    logs.mkdir(parents=True)
    runs: dict[str, Any] = {}

    def write(spec: RunSpec, row: Mapping[str, Any]) -> None:
        if spec.run_id not in runs:
            runs[spec.run_id] = wandb.init(
                mode="offline",
                dir=str(logs),
                id=spec.run_id,
                name=spec.run_id,
                reinit="create_new",
                settings=wandb.Settings(silent=True, x_disable_stats=True, console="off"),
            )
        runs[spec.run_id].log(_scalars(row), step=row["update"])

    def close() -> None:
        for run in runs.values():
            run.finish()

    command = [shutil.which("wandb") or "wandb", "leet", str(logs / "wandb")]
    return Program("LEET", command, r"digits-n", environment={"WANDB_SILENT": "true"}), write, close


def _terminalboard(directory: Path) -> _Installed | None:
    if importlib.util.find_spec("terminalboard") is None or importlib.util.find_spec("tensorboard") is None:
        return None
    from torch.utils.tensorboard import SummaryWriter

    logs = directory / "tensorboard"
    logs.mkdir(parents=True)
    runs: dict[str, Any] = {}

    def write(spec: RunSpec, row: Mapping[str, Any]) -> None:
        run = runs.setdefault(spec.run_id, SummaryWriter(str(logs / spec.run_id)))
        for name, value in _scalars(row).items():
            run.add_scalar(name, value, row["update"])
        run.flush()

    def close() -> None:
        for run in runs.values():
            run.close()

    command = [shutil.which("terminalboard") or "terminalboard", "--reset-view", str(logs)]
    return Program("terminalboard", command, r"train/|test/"), write, close


def _tree(pid: int) -> tuple[float, int]:
    """Processor seconds and resident bytes of a program, with the processes of its terminal session.

    Of the app not the scheduler and the workers, which have sessions of their own.
    """
    cpu_s, resident = 0.0, 0
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                if os.getsid(int(process.name)) == pid:
                    used, held = look(int(process.name))
                    cpu_s, resident = cpu_s + used, resident + held
            except (ProcessLookupError, FileNotFoundError):
                continue
    return cpu_s, resident


def _spread(values: Sequence[float]) -> str:
    """Median and range."""
    return f"{statistics.median(values):.2f} [{min(values):.2f} {max(values):.2f}]"


if __name__ == "__main__":
    main()
