"""Every command with its arguments and an example; nothing here does any work."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, NoReturn

from tui_datasize import __version__
from tui_datasize.cli.arguments import (
    add_delta,
    add_experiment,
    add_fit_from,
    add_flags,
    add_force,
    add_import_arguments,
    add_json,
    add_metric,
    add_queue_arguments,
    add_report_arguments,
    add_run_arguments,
    add_target,
    amount,
    change,
    count,
)
from tui_datasize.jobs.queue.state import JobState
from tui_datasize.text import visible

MOST_AMOUNT = 1_000_000
"""Larger changes of a priority or a place are a slip of the finger."""

TABLES = (
    *("answer", "runs", "metrics", "curve", "fits", "overlap"),
    *("ensembles", "audit", "groups", "variance", "plan"),
)
"""The keys of `answers.tables.TABLES`, which is not imported to print help."""
FORMATS = ("csv", "parquet", "json", "markdown")

DESCRIPTION = """\
How much data is enough? Queue sweeps of image-classifier trainings over the train size,
watch them live, and read their learning curves. Without a command the app opens."""

EXIT_STATUSES = "exit status: 0 done, 1 a run failed, 2 wrong usage or bad input"


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Leave with a line about what is wrong; arguments may be names of files from elsewhere."""
        super().error(visible(message))


def build_parser(first_word: str = "") -> argparse.ArgumentParser:
    """The parser of the whole command line, or of as much of it as one call needs.

    Args:
        first_word: Where it names a command, the others are left out: making them all takes as long as
            some commands themselves.
    """
    parser = _Parser(
        prog="datasize-tui",
        description=DESCRIPTION,
        epilog=f"{EXIT_STATUSES}\nexample:  datasize-tui --project ~/letters",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"datasize-tui {__version__}")
    parser.add_argument("--project", type=Path, metavar="DIR", help=PROJECT_HELP, default=None)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    called = [command for command in COMMANDS if command.name == first_word]
    for command in called or COMMANDS:
        command.add(
            commands.add_parser(
                command.name,
                help=command.summary,
                description=f"{command.summary[0].upper()}{command.summary[1:]}.",
                epilog=f"example:  datasize-tui {command.name}{command.example}",
                formatter_class=argparse.RawDescriptionHelpFormatter,
                allow_abbrev=False,
            )
        )
    return parser


PROJECT_HELP = "directory that holds experiments.toml and runs/ (default: here)"


class Command(NamedTuple):
    """A command of the command line."""

    name: str
    call: str
    """Its module in this package, imported only when it is called, and its function there."""
    summary: str
    example: str
    """What stands behind its name."""
    add_arguments: Callable[[argparse.ArgumentParser], None]

    def add(self, parser: argparse.ArgumentParser) -> None:
        """Add its arguments and the option that all share."""
        parser.add_argument(
            "--project", type=Path, metavar="DIR", default=argparse.SUPPRESS, help=PROJECT_HELP
        )
        self.add_arguments(parser)


def _add_demo(demo: argparse.ArgumentParser) -> None:
    add_flags(demo, headless="no app: a progress bar, then the tables (without a terminal always)")


def _add_experiments(experiments: argparse.ArgumentParser) -> None:
    instead = experiments.add_mutually_exclusive_group()
    add_json(instead)
    add_flags(
        instead,
        check="say everything that is wrong with experiments.toml, a line each; status 2 where something is",
        keys="print every key of experiments.toml with range, default and meaning; data sets, metrics",
        schema="print the JSON Schema of experiments.toml, by which editors complete and check it",
    )


def _add_status(status: argparse.ArgumentParser) -> None:
    status.add_argument("--experiment", metavar="EXPERIMENT", help="show the jobs of one experiment")
    add_json(status)


def _add_jobs(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "jobs",
        nargs="*",
        metavar="JOB",
        help="a run id, a unique prefix of one, an experiment's name, or what several run ids begin "
        "with up to a `-`, such as letters-n750",
    )
    add_flags(command, all="the whole queue, as far as the command applies")
    command.add_argument(
        "--state",
        action="append",
        default=[],
        choices=[state.value for state in JobState],
        metavar="STATE",
        help="only jobs in this state, such as failed; may be repeated",
    )


def _add_priority(priority: argparse.ArgumentParser) -> None:
    _add_jobs(priority)
    _add_by(priority, 1, "how much to raise, negative to lower (default: 1)")


def _add_move(move: argparse.ArgumentParser) -> None:
    _add_jobs(move)
    _add_by(move, -1, "places, negative for up (default: -1)")


def _add_by(command: argparse.ArgumentParser, default: int, meaning: str) -> None:
    command.add_argument("--by", type=change(MOST_AMOUNT), default=default, metavar="N", help=meaning)


def _add_drain(drain: argparse.ArgumentParser) -> None:
    add_flags(drain, off="start jobs again")


def _add_prune(prune: argparse.ArgumentParser) -> None:
    # Only here, as below: what reads the file takes longer to import than all other commands need.
    from tui_datasize.experiments.load import KEEPS

    prune.add_argument("experiment", nargs="?", metavar="EXPERIMENT", help="of one experiment alone")
    prune.add_argument(
        "--keep",
        choices=KEEPS,
        help="what each run that succeeded keeps: last (checkpoint.pt), best (best.pt, the weights with the "
        "highest test accuracy; where a run has none, its checkpoint.pt), both or none; what superseded "
        "runs and broken writes have left goes in any case (default: [checkpoints] keep in "
        "experiments.toml, else none)",
    )
    add_flags(prune, yes="remove them; without, show what it would free")
    add_json(prune)


def _add_logs(logs: argparse.ArgumentParser) -> None:
    logs.add_argument("job", metavar="JOB", help="a run id, or a unique prefix of one")
    logs.add_argument("-f", "--follow", action="store_true", help="keep printing until the run ends")


def _add_export(export: argparse.ArgumentParser) -> None:
    export.add_argument("--table", choices=TABLES, default="runs", help="default: runs")
    export.add_argument("--experiment", metavar="EXPERIMENT", help="rows of one experiment alone")
    export.add_argument(
        "--columns",
        choices=("short", "all"),
        default="all",
        help="of --table runs: the usual ones, or all (default)",
    )
    export.add_argument("--format", choices=FORMATS, default="csv", help="default: csv")
    export.add_argument(
        "-o", "--output", default="-", metavar="FILE", help="file to write; - prints (default)"
    )
    add_force(export)
    add_metric(export)
    _add_plan_question(export.add_argument_group("options of --table plan and answer"))


def _add_analyze(analyze: argparse.ArgumentParser) -> None:
    add_experiment(analyze)
    add_metric(analyze)
    add_target(analyze)
    add_fit_from(analyze)
    add_delta(analyze)
    add_flags(analyze, all="every question, with tables for specialists and every row")
    add_json(analyze)


def _add_plan(plan: argparse.ArgumentParser) -> None:
    add_experiment(plan)
    plan.add_argument("--variant", metavar="VARIANT", help="which curve, where the experiment sweeps several")
    add_metric(plan)
    _add_plan_question(plan)
    add_flags(
        plan, queue="queue the proposed runs, with further seeds or draws where the sweep lists too few"
    )
    add_json(plan)


def _add_plan_question(command: argparse._ActionsContainer) -> None:
    command.add_argument(
        "--at",
        type=count,
        metavar="N",
        help="what is the metric at N images? (default: 4 x the largest size)",
    )
    add_target(command)
    command.add_argument(
        "--runs", type=count, metavar="K", help="budget in runs (default: as many as there are)"
    )
    command.add_argument(
        "--samples",
        type=amount,
        metavar="S",
        help="or in training samples, counted as often as they are seen",
    )
    command.add_argument(
        "--hours", type=amount, metavar="H", help="or in hours of training, all runs together"
    )
    add_fit_from(command)


def _add_doctor(doctor: argparse.ArgumentParser) -> None:
    add_flags(
        doctor,
        repair="rebuild a damaged or lost queue from the run directories first; deletes nothing",
        forget_gpus="forget GPUs that runs of the project have used: they were taken out for good",
    )
    add_json(doctor)


def _add_selftest(selftest: argparse.ArgumentParser) -> None:
    from tui_datasize.training.selftest.command import add_arguments

    add_arguments(selftest)
    add_flags(selftest, busy="also while runs are at work")


def _add_scheduler(scheduler: argparse.ArgumentParser) -> None:
    from tui_datasize.experiments.device_settings import add_device_options

    scheduler.add_argument(
        "action",
        choices=("start", "restart", "stop", "status"),
        help="start: unless one runs; restart: end the one that runs, whose runs go on, and start one with "
        "exactly these options; status: whether one runs, what holds for the devices and where from",
    )
    start = scheduler.add_argument_group(
        "options of start and restart",
        "for this scheduler alone; [devices] in experiments.toml holds for every one",
    )
    add_device_options(start)


COMMANDS = (
    Command(
        "demo",
        "demo:demo",
        "run a small sweep on scikit-learn's digits and show it",
        " --headless",
        _add_demo,
    ),
    Command(
        "experiments",
        "queueing:experiments",
        "list the experiments of the project, check its file, or tell what may stand in it",
        " --check",
        _add_experiments,
    ),
    Command(
        "queue",
        "queueing:queue",
        "queue the runs of an experiment that are missing",
        " letters --sizes 750,1500 --seeds 0 --dry-run",
        add_queue_arguments,
    ),
    Command(
        "run",
        "watch:run",
        "queue the runs of an experiment that are missing and wait for all of them",
        " digits --sizes 40",
        add_run_arguments,
    ),
    Command("status", "status:status", "show the queue", " --json", _add_status),
    Command("hold", "queueing:change_jobs", "keep queued jobs from starting", " letters-n750", _add_jobs),
    Command("release", "queueing:change_jobs", "let held jobs start again", " --all", _add_jobs),
    Command(
        "cancel",
        "queueing:change_jobs",
        "cancel jobs, with all their processes where they run",
        " letters-n750-d0-s101",
        _add_jobs,
    ),
    Command(
        "retry",
        "queueing:change_jobs",
        "queue failed, cancelled or interrupted jobs again",
        " letters --state failed",
        _add_jobs,
    ),
    Command(
        "priority",
        "queueing:change_jobs",
        "raise or lower queued jobs",
        " letters-n12000 --by 10",
        _add_priority,
    ),
    Command(
        "move",
        "queueing:change_jobs",
        "move queued jobs among those of their priority",
        " letters-n12000 --by -1",
        _add_move,
    ),
    Command(
        "drain", "queueing:drain", "finish running jobs, start no others until `drain --off`", "", _add_drain
    ),
    Command(
        "prune", "prune:prune", "remove checkpoints that nothing needs any more", " letters --yes", _add_prune
    ),
    Command("logs", "watch:logs", "print what a run's worker wrote", " letters-n750-d0-s101 -f", _add_logs),
    Command(
        "export",
        "tables:export",
        "write a table of all runs",
        " --table runs --experiment letters --format csv -o letters.csv",
        _add_export,
    ),
    Command(
        "analyze",
        "tables:analyze",
        "say how many images are enough: the answer, the learning curve, the forecast",
        " letters --target 95 --fit-from 1000",
        _add_analyze,
    ),
    Command(
        "plan",
        "tables:plan",
        "propose the runs that narrow an answer most within a budget",
        " letters --target 95% --runs 20 --queue",
        _add_plan,
    ),
    Command(
        "report",
        "tables:report",
        "write an experiment as one page",
        " letters -o letters.html",
        add_report_arguments,
    ),
    Command(
        "import",
        "importing:import_runs",
        "bring results that were trained elsewhere in, as read-only runs",
        " theirs results.csv --column size=n_train --column test_accuracy=acc",
        add_import_arguments,
    ),
    Command("doctor", "doctor:doctor", "check everything that a run needs", " --repair", _add_doctor),
    Command(
        "selftest",
        "selftest:selftest",
        "check in at most 12 minutes that this machine computes correctly",
        " bits speed",
        _add_selftest,
    ),
    Command(
        "scheduler",
        "scheduling:scheduler",
        "start, restart, stop or look for the project's scheduler",
        " restart --slots-per-gpu 2",
        _add_scheduler,
    ),
)
"""In the order of the help."""
