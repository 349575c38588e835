"""Every command with its arguments and an example; nothing here does any work."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, NoReturn, TypeAlias

from tui_datasize import __version__
from tui_datasize.cli.argument_types import (
    add_delta,
    add_fit_from,
    add_force,
    add_target,
    change,
    count,
    number_of_samples,
)
from tui_datasize.cli.queue_arguments import add_queue_command, add_run_command
from tui_datasize.cli.record_arguments import add_record_commands
from tui_datasize.cli.scheduler_arguments import add_scheduler_command
from tui_datasize.experiments.checkpoint_settings import KEEPS
from tui_datasize.jobs.state import JobState
from tui_datasize.text import visible

MOST_AMOUNT = 1_000_000
"""Larger changes of a priority or a place are a slip of the finger."""

TABLES = (
    *("answer", "runs", "metrics", "curve", "fits", "overlap"),
    *("ensembles", "audit", "groups", "variance", "plan"),
)
"""The keys of `answers.tables.TABLES`, which is not imported to print help."""
FORMATS = ("csv", "parquet", "json", "markdown")

if TYPE_CHECKING:
    Commands: TypeAlias = "argparse._SubParsersAction[_Parser]"

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
    for add in _called(first_word):
        add(commands)
    return parser


PROJECT_HELP = "directory that holds experiments.toml and runs/ (default: here)"


def _command(commands: Commands, name: str, summary: str, example: str) -> argparse.ArgumentParser:
    """A command with a one-line summary, an example and the option that all share."""
    command = commands.add_parser(
        name,
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}.",
        epilog=f"example:  datasize-tui {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    command.add_argument("--project", type=Path, metavar="DIR", default=argparse.SUPPRESS, help=PROJECT_HELP)
    return command


def _add_demo(commands: Commands) -> None:
    demo = _command(
        commands, "demo", "run a small sweep on scikit-learn's digits and show it", "demo --headless"
    )
    demo.add_argument(
        "--headless",
        action="store_true",
        help="no app: a progress bar, then the tables (without a terminal always)",
    )


def _add_experiments(commands: Commands) -> None:
    experiments = _command(
        commands, "experiments", "list the experiments of the project", "experiments --json"
    )
    _add_json(experiments)


def _add_queue(commands: Commands) -> None:
    _add_json(add_queue_command(partial(_command, commands)))


def _add_run(commands: Commands) -> None:
    add_run_command(partial(_command, commands))


def _add_status(commands: Commands) -> None:
    status = _command(commands, "status", "show the queue", "status --json")
    status.add_argument("--experiment", metavar="EXPERIMENT", help="show the jobs of one experiment")
    _add_json(status)


JOB_COMMANDS = {
    "hold": ("keep queued jobs from starting", "hold letters-n750"),
    "release": ("let held jobs start again", "release --all"),
    "cancel": ("cancel jobs, with all their processes where they run", "cancel letters-n750-d0-s101"),
    "retry": ("queue failed, cancelled or interrupted jobs again", "retry letters --state failed"),
    "priority": ("raise or lower queued jobs", "priority letters-n12000 --by 10"),
    "move": ("move queued jobs among those of their priority", "move letters-n12000 --by -1"),
}


def _add_job_commands(commands: Commands) -> None:
    for name, (summary, example) in JOB_COMMANDS.items():
        command = _command(commands, name, summary, example)
        command.add_argument(
            "jobs",
            nargs="*",
            metavar="JOB",
            help="a run id, a unique prefix of one, an experiment's name, or what several run ids begin "
            "with up to a `-`, such as letters-n750",
        )
        command.add_argument(
            "--all", action="store_true", help="the whole queue, as far as the command applies"
        )
        command.add_argument(
            "--state",
            action="append",
            default=[],
            choices=[state.value for state in JobState],
            metavar="STATE",
            help="only jobs in this state, such as failed; may be repeated",
        )
        if name == "priority":
            _add_by(command, 1, "how much to raise, negative to lower (default: 1)")
        if name == "move":
            _add_by(command, -1, "places, negative for up (default: -1)")


def _add_by(command: argparse.ArgumentParser, default: int, meaning: str) -> None:
    command.add_argument("--by", type=change(MOST_AMOUNT), default=default, metavar="N", help=meaning)


def _add_drain(commands: Commands) -> None:
    drain = _command(commands, "drain", "finish running jobs, start no others until `drain --off`", "drain")
    drain.add_argument("--off", action="store_true", help="start jobs again")


def _add_prune(commands: Commands) -> None:
    prune = _command(
        commands, "prune", "remove checkpoints that nothing needs any more", "prune letters --yes"
    )
    prune.add_argument("experiment", nargs="?", metavar="EXPERIMENT", help="of one experiment alone")
    prune.add_argument(
        "--keep",
        choices=KEEPS,
        help="what each run that succeeded keeps: last (checkpoint.pt), best (best.pt, the weights with the "
        "highest test accuracy; where a run has none, its checkpoint.pt), both or none; what superseded "
        "runs and broken writes have left goes in any case (default: [checkpoints] keep in "
        "experiments.toml, else none)",
    )
    prune.add_argument("--yes", action="store_true", help="remove them; without, show what it would free")
    _add_json(prune)


def _add_logs(commands: Commands) -> None:
    logs = _command(commands, "logs", "print what a run's worker wrote", "logs letters-n750-d0-s101 -f")
    logs.add_argument("job", metavar="JOB", help="a run id, or a unique prefix of one")
    logs.add_argument("-f", "--follow", action="store_true", help="keep printing until the run ends")


def _add_export(commands: Commands) -> None:
    export = _command(
        commands,
        "export",
        "write a table of all runs",
        "export --table runs --experiment letters --format csv -o letters.csv",
    )
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
    _add_metric(export)
    _add_plan_question(export.add_argument_group("options of --table plan and answer"))


def _add_analyze(commands: Commands) -> None:
    analyze = _command(
        commands,
        "analyze",
        "say how many images are enough: the answer, the learning curve, the forecast",
        "analyze letters --target 95 --fit-from 1000",
    )
    analyze.add_argument("experiment", metavar="EXPERIMENT", help="name of an experiment that has runs")
    _add_metric(analyze)
    add_target(analyze)
    add_fit_from(analyze)
    add_delta(analyze)
    analyze.add_argument(
        "--all", action="store_true", help="every question, with tables for specialists and every row"
    )
    _add_json(analyze)


def _add_plan(commands: Commands) -> None:
    plan = _command(
        commands,
        "plan",
        "propose the runs that narrow an answer most within a budget",
        "plan letters --target 95% --runs 20 --queue",
    )
    plan.add_argument("experiment", metavar="EXPERIMENT", help="name of an experiment that has runs")
    plan.add_argument("--variant", metavar="VARIANT", help="which curve, where the experiment sweeps several")
    _add_metric(plan)
    _add_plan_question(plan)
    plan.add_argument(
        "--queue",
        action="store_true",
        help="queue the proposed runs, with further seeds or draws where the sweep lists too few",
    )
    _add_json(plan)


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
        type=number_of_samples,
        metavar="S",
        help="or in training samples, counted as often as they are seen",
    )
    add_fit_from(command)


def _add_doctor(commands: Commands) -> None:
    doctor = _command(commands, "doctor", "check everything that a run needs", "doctor --repair")
    doctor.add_argument(
        "--repair",
        action="store_true",
        help="rebuild a damaged or lost queue from the run directories first; deletes nothing",
    )
    doctor.add_argument(
        "--forget-gpus",
        action="store_true",
        help="forget GPUs that runs of the project have used: they were taken out for good",
    )
    _add_json(doctor)


def _add_selftest(commands: Commands) -> None:
    from tui_datasize.training.selftest.command import add_arguments

    selftest = _command(
        commands,
        "selftest",
        "check in at most 12 minutes that this machine computes correctly",
        "selftest bits speed",
    )
    add_arguments(selftest)
    selftest.add_argument("--busy", action="store_true", help="also while runs are at work")


def _add_scheduler(commands: Commands) -> None:
    add_scheduler_command(partial(_command, commands))


def _add_record(commands: Commands) -> None:
    add_record_commands(partial(_command, commands))


_ADDED: Mapping[tuple[str, ...], Callable[[Commands], None]] = MappingProxyType(
    {
        ("demo",): _add_demo,
        ("experiments",): _add_experiments,
        ("queue",): _add_queue,
        ("run",): _add_run,
        ("status",): _add_status,
        tuple(JOB_COMMANDS): _add_job_commands,
        ("drain",): _add_drain,
        ("prune",): _add_prune,
        ("logs",): _add_logs,
        ("export",): _add_export,
        ("analyze",): _add_analyze,
        ("plan",): _add_plan,
        ("report", "import"): _add_record,
        ("doctor",): _add_doctor,
        ("selftest",): _add_selftest,
        ("scheduler",): _add_scheduler,
    }
)
"""What adds the commands of these names, in the order of the help."""


def _called(first_word: str) -> list[Callable[[Commands], None]]:
    return [add for names, add in _ADDED.items() if first_word in names] or list(_ADDED.values())


def _add_metric(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--metric",
        default="test_accuracy",
        metavar="METRIC",
        help="column to analyse (default: test_accuracy)",
    )


def _add_json(command: argparse.ArgumentParser) -> None:
    command.add_argument("--json", action="store_true", help="print JSON")
