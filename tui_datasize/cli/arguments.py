"""What each command is given: its arguments in the order of its help, and what their values are read as."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from math import nan
from pathlib import Path
from typing import Any, TypeAlias

from tui_datasize.experiments.toml import MOST_WHOLE
from tui_datasize.jobs.queue.commands import JOB_COMMANDS, CommandKind
from tui_datasize.jobs.queue.state import MAX_ATTEMPTS, MOST_ATTEMPTS, JobState
from tui_datasize.text import MOST_COUNT

MOST_AMOUNT = 1_000_000
"""Larger changes of a priority or a place are a slip of the finger."""

TABLES = (
    *("answer", "runs", "metrics", "curve", "fits", "overlap"),
    *("ensembles", "audit", "groups", "variance", "plan"),
)
"""The keys of `answers.tables.TABLES`, which is not imported to print help."""
FORMATS = ("csv", "parquet", "json", "markdown")

Add: TypeAlias = "Callable[[argparse._ActionsContainer], object]"
"""Adds arguments to a command, or to a group of them."""


def count(text: str) -> int:
    """A whole number of at least 1."""
    number = _whole(text)
    if number is None or number < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text!r}")
    if number > MOST_COUNT:
        raise argparse.ArgumentTypeError(f"expected at most {MOST_COUNT:,}, got {text!r}")
    return number


def _whole(text: str) -> int | None:
    try:
        return int(text)
    except ValueError:
        return None


def whole_number(least: int, most: int) -> Callable[[str], int]:
    """A reader of whole numbers from `least` to `most`."""

    def read(text: str) -> int:
        number = _whole(text)
        if number is None or not least <= number <= most:
            span = f"from {least:,} to {most:,}"
            raise argparse.ArgumentTypeError(f"expected a whole number {span}, got {text!r}")
        return number

    return read


def change(most: int) -> Callable[[str], int]:
    """A reader of whole numbers other than 0, from `-most` to `most`."""
    read_number = whole_number(-most, most)

    def read(text: str) -> int:
        if number := read_number(text):
            return number
        raise argparse.ArgumentTypeError("expected a whole number other than 0, which changes nothing")

    return read


def amount(text: str) -> float:
    """A number above 0, such as 2e6 or 1.5."""
    try:
        number = float(text)
    except ValueError:
        number = nan
    if not 0 < number <= MOST_COUNT:
        raise argparse.ArgumentTypeError(f"expected a number above 0 and at most 1e12, got {text!r}")
    return number


def whole_numbers(text: str) -> Sequence[int]:
    """Whole numbers with commas between."""
    try:
        numbers = tuple(int(part) for part in text.replace("_", "").split(",") if part.strip())
    except ValueError:
        numbers = (-1,)
    if all(0 <= number <= MOST_WHOLE for number in numbers):
        return numbers
    raise argparse.ArgumentTypeError(f"expected whole numbers with commas between, got {text!r}")


def argument(*names: str, **details: Any) -> Add:
    """One argument, as `argparse` takes it."""
    return lambda command: command.add_argument(*names, **details)


def valued(name: str, metavar: str, meaning: str, **details: Any) -> Add:
    """One argument that has a value."""
    return argument(name, metavar=metavar, help=meaning, **details)


def flags(**meanings: str) -> Add:
    """Options without a value, what they mean by their names."""

    def add(command: argparse._ActionsContainer) -> None:
        for name, meaning in meanings.items():
            command.add_argument(f"--{name.replace('_', '-')}", action="store_true", help=meaning)

    return add


def group(title: str, *arguments: Add) -> Add:
    """Arguments that the help shows under a title of their own."""

    def add(command: argparse._ActionsContainer) -> None:
        titled = command.add_argument_group(title)
        for one in arguments:
            one(titled)

    return add


_REPEATED: dict[str, Any] = {"action": "append", "default": []}


class _JobsBefore(argparse.Action):
    """Words with spaces or commas between, in one option or in several."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        """Add the words to those of options before.

        EXPERIMENT would be taken for one of them where it stands last: that is told, where argparse would
        only say that it is missing.
        """
        given = [values] if isinstance(values, str) else values or ()
        if namespace.experiment is None and len(given) > 1:
            parser.error(
                f"{option_string} takes every word after it, {given[-1]!r} too: write EXPERIMENT first, as "
                f"in `{parser.prog} {given[-1]} {option_string} {' '.join(given[:-1])}`"
            )
        words = [word for text in given for word in text.split(",") if word]
        if not words:
            parser.error(f"{option_string}: expected a run or an experiment, got {' '.join(given)!r}")
        setattr(namespace, self.dest, (*getattr(namespace, self.dest), *words))


_JSON = flags(json="print JSON")
_EXPERIMENT = valued("experiment", "EXPERIMENT", "name of an experiment that has runs")
_METRIC = valued("--metric", "METRIC", "column to analyse (default: test_accuracy)", default="test_accuracy")
_FIT_FROM = valued(
    "--fit-from",
    "N",
    "leave smaller train sizes out of the fits",
    type=whole_number(0, MOST_COUNT),
    default=0,
)
_FORCE = flags(force="replace a file even where its suffix is that of another format")
# Read once the metric is known, as is the next.
_TARGET = valued(
    "--target",
    "T",
    "a value of the metric, such as 95 (percent), 95%% or 0.95: how many images does it need?",
)
_DELTA = valued(
    "--delta",
    "D",
    "what a doubling has to gain to be worth it, such as 0.5%% (the default) or, of a loss, 0.02",
)


def _instead(command: argparse._ActionsContainer) -> None:
    own = command.add_mutually_exclusive_group()
    _JSON(own)
    flags(
        check="say everything that is wrong with experiments.toml, a line each; status 2 where something is",
        keys="print every key of experiments.toml with range, default and meaning; data sets, metrics",
        template="print an experiments.toml to begin with",
        schema="print the JSON Schema of experiments.toml, by which editors complete and check it",
    )(own)


_CANCELLED = {"cancelled": "queue runs too that were cancelled, which are left out otherwise"}

DEMO = (flags(headless="no app: a progress bar, then the tables (without a terminal always)"),)
EXPERIMENTS = (_instead,)
STATUS = (valued("--experiment", "EXPERIMENT", "show the jobs of one experiment"), _JSON)


def of_jobs(kind: CommandKind) -> tuple[Add, ...]:
    """Those of a command that changes jobs."""
    jobs = valued(
        "jobs",
        "JOB",
        "a run id, a unique prefix of one, an experiment's name, or what several run ids begin "
        "with up to a `-`, such as letters-n750",
        nargs="*",
    )
    state = valued(
        "--state",
        "STATE",
        "only jobs in this state, such as failed; may be repeated",
        **_REPEATED,
        choices=[state.value for state in JobState],
    )
    chosen = (jobs, flags(all="the whole queue, as far as the command applies"), state)
    by = JOB_COMMANDS[kind].amount
    if kind is CommandKind.CANCEL:
        return *chosen, flags(yes="cancel running jobs unasked, as always where there is no terminal")
    if by is None:
        return chosen
    meaning = f"{by.meaning} (default: {by.default})"
    return *chosen, valued("--by", "N", meaning, type=change(MOST_AMOUNT), default=by.default)


DRAIN = (flags(off="start jobs again"),)


def _keep(command: argparse._ActionsContainer) -> None:
    # Only here, as below: what reads the file takes longer to import than all other commands need.
    from tui_datasize.experiments.project_tables import KEEPS

    command.add_argument(
        "--keep",
        choices=KEEPS,
        help="what each run that succeeded keeps: last (checkpoint.pt), best (best.pt, the weights with the "
        "highest accuracy on the images held out, without any on the test set, after refit those trained "
        "anew; where a run has none, its checkpoint.pt), both or none; what superseded runs and broken "
        "writes have left goes in any case (default: [checkpoints] keep in experiments.toml, else none)",
    )


PRUNE = (
    valued("experiment", "EXPERIMENT", "of one experiment alone", nargs="?"),
    _keep,
    flags(yes="remove them; without, show what it would free"),
    _JSON,
)
LOGS = (
    valued("job", "JOB", "a run id, or a unique prefix of one"),
    argument("-f", "--follow", action="store_true", help="keep printing until the run ends"),
)
_PLAN_QUESTION = (
    valued("--at", "N", "what is the metric at N images? (default: 4 x the largest size)", type=count),
    _TARGET,
    valued("--runs", "K", "budget in runs (default: as many as there are)", type=count),
    valued("--samples", "S", "or in training samples, counted as often as they are seen", type=amount),
    valued("--hours", "H", "or in hours of training, all runs together", type=amount),
    _FIT_FROM,
)
EXPORT = (
    argument("--table", choices=TABLES, default="runs", help="default: runs"),
    valued("--experiment", "EXPERIMENT", "rows of one experiment alone"),
    argument(
        "--columns",
        choices=("short", "all"),
        default="all",
        help="of --table runs: the usual ones, or all (default)",
    ),
    argument("--format", choices=FORMATS, default="csv", help="default: csv"),
    argument("-o", "--output", default="-", metavar="FILE", help="file to write; - prints (default)"),
    _FORCE,
    _METRIC,
    group("options of --table plan and answer", *_PLAN_QUESTION),
)
ANALYZE = (
    *(_EXPERIMENT, _METRIC, _TARGET, _FIT_FROM, _DELTA),
    flags(all="every question, with tables for specialists and every row"),
    _JSON,
)
PLAN = (
    _EXPERIMENT,
    valued("--variant", "VARIANT", "which curve, where the experiment sweeps several"),
    _METRIC,
    *_PLAN_QUESTION,
    flags(
        queue="queue the proposed runs, with further seeds or draws where the sweep lists too few",
        **_CANCELLED,
        write="add those that it does not list to the end of experiments.toml, whose text stays as it is",
    ),
    _JSON,
)
NOTE = (
    valued("experiment", "EXPERIMENT", "name of an experiment"),
    valued("words", "TEXT", "what to remember; without it what was remarked is printed", nargs="*"),
)
REPORT = (
    _EXPERIMENT,
    argument("-o", "--output", type=Path, required=True, metavar="FILE", help="page to write: .html or .md"),
    *(_FORCE, _METRIC, _TARGET, _DELTA, _FIT_FROM),
)
DOCTOR = (
    flags(
        repair="rebuild a damaged or lost queue from the run directories first; deletes nothing",
        cluster="check instead what runs on the cluster of [cluster] need, with a job that looks around",
        forget_gpus="forget GPUs that runs of the project have used: they were taken out for good",
    ),
    _JSON,
)


def _steps(command: argparse._ActionsContainer) -> None:
    from tui_datasize.training.selftest.command import add_arguments

    add_arguments(command)


SELFTEST = (_steps, flags(busy="also while runs are at work"))


def _order(command: argparse._ActionsContainer) -> None:
    from tui_datasize.experiments.load import ORDER_WORDS

    meanings = "; ".join(f"{order}: {words}" for order, words in ORDER_WORDS.items())
    command.add_argument(
        "--order",
        choices=tuple(ORDER_WORDS),
        help=f"in which the runs of this call are queued, behind those that wait already, which keep their "
        f"places. {meanings} (default: `order` of the experiment)",
    )


RUN = (
    valued("experiment", "EXPERIMENT", "name of a table in experiments.toml"),
    valued("--sizes", "N,N", "only these train sizes", type=whole_numbers, default=()),
    valued("--seeds", "S,S", "only these training seeds", type=whole_numbers, default=()),
    flags(**_CANCELLED, force="run finished and cancelled runs again; the old results are kept"),
    valued(
        "--after",
        "JOB",
        "start only when these runs, or all runs of these experiments, have succeeded; after "
        "EXPERIMENT, with spaces or commas between, may be repeated",
        action=_JobsBefore,
        nargs="+",
        default=(),
    ),
    valued(
        "--max-attempts",
        "N",
        f"attempts before a vanishing worker counts as a failure (default: {MAX_ATTEMPTS})",
        type=whole_number(1, MOST_ATTEMPTS),
    ),
    _order,
    argument(
        "--on",
        choices=("local", "slurm"),
        help="where the runs are made: by this machine, or by the cluster of [cluster] (default: `on` of the "
        "experiment)",
    ),
)
QUEUE = (*RUN, flags(dry_run="show what would be queued, queue nothing"), _JSON)
_SEED = whole_number(0, 2**63 - 1)


class _InPlaceOfFiles(argparse.Action):
    """An option with which the command takes no other argument."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        _option_string: str | None = None,
    ) -> None:
        setattr(namespace, self.dest, values)
        for action in parser._actions:
            if not action.option_strings:
                action.required = False


IMPORT = (
    valued("experiment", "EXPERIMENT", "name under which the runs are analysed"),
    valued(
        "files",
        "FILE",
        "table (CSV and similar, .xlsx), export of Weights & Biases, log of a trainer (JSON, TensorBoard, "
        "MLflow, printed by torchvision's scripts), confusion matrix, or a folder of such",
        nargs="+",
        type=Path,
    ),
    group(
        "what columns mean",
        valued(
            "--column",
            "NAME=COLUMN",
            "NAME is size, seed, draw, epoch, update, split, run, n_runs or a metric such as test_accuracy, "
            "accuracy (of the row's split) or wall_s, or test_accuracy_sd, the spread beside its means; "
            "columns of these names are found by themselves",
            **_REPEATED,
        ),
        valued("--variant", "COLUMN", "tells curves apart; may be repeated", **_REPEATED),
        valued("--experiment-column", "COLUMN", "tells experiments apart: EXPERIMENT-VALUE for each value"),
        valued(
            "--spread",
            "KIND",
            "the number beside a mean is its standard deviation (sd, the default) or standard error (se)",
            choices=("sd", "se"),
        ),
        valued("--sheet", "NAME", "of a workbook (.xlsx), where several sheets have cells"),
        valued("--map", "FILE", "TOML with all this; options go before it", type=Path),
        valued(
            "--run-pattern",
            "REGEX",
            r"where the name of a run holds its size and seed: 'n(?P<size>\d+)_s(?P<seed>\d+)' "
            "(default: n750, size=750, s101, seed_101, d0 and the like)",
        ),
        argument(
            "--percent",
            action=argparse.BooleanOptionalAction,
            help="whether accuracies and other shares are in percent (default: as each column shows)",
        ),
        valued(
            "--test-split",
            "NAME",
            "what the file calls the test split (default: test; val where there is no test split)",
        ),
    ),
    group(
        "what is left out",
        valued("--ignore", "COLUMN", "is not read; may be repeated", **_REPEATED),
        valued(
            "--skip-line",
            "N",
            "line, or record of a log, that is not read, of one of several files runs.csv:N; may be repeated",
            **_REPEATED,
        ),
        flags(
            any_state="read runs too that crashed, failed, were stopped or still ran",
            strict="import nothing where a file is damaged or refused",
        ),
    ),
    group(
        "what the file does not say",
        valued(
            "--size",
            "N",
            "train size of rows that have none; where sizes are shares, of the whole set",
            type=count,
        ),
        valued("--seed", "S", "seed of rows that have none (default: repeats are numbered)", type=_SEED),
        valued(
            "--draw",
            "D",
            "subset draw of rows that have none: 0 where all runs of a size share their images",
            type=_SEED,
        ),
        valued("--n-runs", "N", "runs behind each mean or group, where no column tells them", type=count),
        valued("--dataset", "TEXT", "name of the data set, in free words"),
        valued("--model", "TEXT", "name of the model, in free words"),
    ),
    flags(dry_run="show what would be read as what, and write nothing", json="with --dry-run: as JSON"),
    group(
        "in place of files",
        valued("--remove", "EXPERIMENT", "remove all its runs, which were imported", action=_InPlaceOfFiles),
        valued(
            "--undo",
            "EXPERIMENT",
            "take the last import back, of one experiment or of all; runs that it renewed are as before",
            action=_InPlaceOfFiles,
            nargs="?",
            const="",
        ),
    ),
)


def _device_options(command: argparse._ActionsContainer) -> None:
    from tui_datasize.experiments.device_settings import add_device_options

    whose = "for this scheduler alone; [devices] in experiments.toml holds for every one"
    add_device_options(command.add_argument_group("options of start and restart", whose))


SCHEDULER = (
    argument(
        "action",
        choices=("start", "restart", "stop", "status"),
        help="start: unless one runs; restart: end the one that runs, whose runs go on, and start one with "
        "exactly these options; status: whether one runs, what holds for the devices and where from",
    ),
    _device_options,
)
