"""Every command with its arguments and an example; nothing here does any work."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn

from tui_datasize import __version__
from tui_datasize.cli import app_arguments, arguments
from tui_datasize.jobs.queue.commands import JOB_COMMANDS
from tui_datasize.text import visible

DESCRIPTION = """\
How much data is enough? Queue sweeps of image-classifier trainings over the train size,
watch them live, and read their learning curves. Without a command the app opens."""

EXIT_STATUSES = (
    "exit status: 0 done, 1 a run failed, 2 wrong usage or bad input, 3 the machine is short of\n"
    "something or a file is locked: try again"
)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Leave with a line about what is wrong; arguments may be names of files from elsewhere."""
        super().error(visible(message))


def build_parser(words: Sequence[str] | None = None) -> argparse.ArgumentParser:
    """The parser of the whole command line, or of as much of it as one call needs.

    Where the words name a command, or ask for the app, other commands are left out: making them all takes as
    long as some commands themselves.
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
    for add in app_arguments.APP:
        add(parser)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    word = "" if words is None else _command_word(words)
    called = [command for command in SUBCOMMANDS if command.name == word]
    is_app = words is not None and not word and not {"-h", "--help"}.intersection(words)
    for command in called if called or is_app else SUBCOMMANDS:
        own = commands.add_parser(
            command.name,
            help=command.summary,
            description=f"{command.summary[0].upper()}{command.summary[1:]}.",
            epilog=f"example:  datasize-tui {command.name}{command.example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        own.add_argument("--project", type=Path, metavar="DIR", default=argparse.SUPPRESS, help=PROJECT_HELP)
        for add in command.arguments:
            add(own)
    return parser


def _command_word(words: Sequence[str]) -> str:
    """The first of the words that is neither an option nor the value of one; empty without any."""
    rest = iter(words)
    for word in rest:
        if word in ("--project", "--once", "--size"):
            next(rest, "")
        elif not word.startswith("-"):
            return word
    return ""


PROJECT_HELP = "directory that holds experiments.toml and runs/ (default: here)"


class Subcommand(NamedTuple):
    """A command of the command line."""

    name: str
    call: str
    """Its module in this package, imported only when it is called, and its function there."""
    summary: str
    example: str
    """What stands behind its name."""
    arguments: tuple[arguments.Add, ...]


SUBCOMMANDS = (
    Subcommand(
        "demo",
        "demo:demo",
        "run a small sweep on scikit-learn's digits and show it",
        " --headless",
        arguments.DEMO,
    ),
    Subcommand(
        "experiments",
        "queueing:experiments",
        "list the experiments of the project, check its file, or tell what may stand in it",
        " --check",
        arguments.EXPERIMENTS,
    ),
    Subcommand(
        "queue",
        "queueing:queue",
        "queue the runs of an experiment that are missing",
        " letters --sizes 750,1500 --seeds 0 --dry-run",
        arguments.QUEUE,
    ),
    Subcommand(
        "run",
        "watch:run",
        "queue the runs of an experiment that are missing and wait for all of them",
        " digits --sizes 40",
        arguments.RUN,
    ),
    Subcommand("status", "status:status", "show the queue", " --json", arguments.STATUS),
    *(
        Subcommand(kind.value, "queueing:change_jobs", what.summary, what.example, arguments.of_jobs(kind))
        for kind, what in JOB_COMMANDS.items()
    ),
    Subcommand(
        "drain",
        "queueing:drain",
        "finish running jobs, start no others until `drain --off`",
        "",
        arguments.DRAIN,
    ),
    Subcommand(
        "undo",
        "queueing:undo",
        "take the last command for jobs back: queueing, hold, cancel, move, ...",
        "",
        (),
    ),
    Subcommand(
        "prune",
        "prune:prune",
        "remove checkpoints that nothing needs any more",
        " letters --yes",
        arguments.PRUNE,
    ),
    Subcommand(
        "logs", "watch:logs", "print what a run's worker wrote", " letters-n750-d0-s101 -f", arguments.LOGS
    ),
    Subcommand(
        "export",
        "tables:export",
        "write a table of all runs",
        " --table runs --experiment letters --format csv -o letters.csv",
        arguments.EXPORT,
    ),
    Subcommand(
        "analyze",
        "tables:analyze",
        "say how many images are enough: the answer, the learning curve, the forecast",
        " letters --target 95 --fit-from 1000",
        arguments.ANALYZE,
    ),
    Subcommand(
        "plan",
        "tables:plan",
        "propose the runs that narrow an answer most within a budget",
        " letters --target 95% --runs 20 --queue",
        arguments.PLAN,
    ),
    Subcommand(
        "report",
        "tables:report",
        "write an experiment as one page",
        " letters -o letters.html",
        arguments.REPORT,
    ),
    Subcommand(
        "note",
        "queueing:remark",
        "write a remark on an experiment, or print those that are there",
        " letters 'draw 2 has mislabelled images'",
        arguments.NOTE,
    ),
    Subcommand(
        "import",
        "importing:import_runs",
        "bring results that were trained elsewhere in, as read-only runs",
        " theirs results.csv --column size=n_train --column test_accuracy=acc",
        arguments.IMPORT,
    ),
    Subcommand("doctor", "doctor:doctor", "check everything that a run needs", " --repair", arguments.DOCTOR),
    Subcommand(
        "selftest",
        "doctor:selftest",
        "check in at most 12 minutes that this machine computes correctly",
        " bits speed",
        arguments.SELFTEST,
    ),
    Subcommand(
        "scheduler",
        "scheduling:scheduler",
        "start, restart, stop or look for the project's scheduler",
        " restart --slots-per-gpu 2",
        arguments.SCHEDULER,
    ),
    Subcommand(
        "config",
        "terminals:config",
        "show what holds for the app on all projects (colours, keys, ...), or check the file that says so",
        " validate",
        app_arguments.CONFIG,
    ),
    Subcommand(
        "completion",
        "terminals:completion",
        "print the script by which a shell completes these commands",
        " bash",
        app_arguments.COMPLETION,
    ),
)
"""In the order of the help."""
