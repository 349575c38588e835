"""What each command is given: its arguments, and what their values are read as."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from math import nan
from pathlib import Path
from typing import Any

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


def add_flags(command: argparse._ActionsContainer, **meanings: str) -> None:
    """Add options without a value, what they mean by their names."""
    for name, meaning in meanings.items():
        command.add_argument(f"--{name.replace('_', '-')}", action="store_true", help=meaning)


def add_json(command: argparse._ActionsContainer) -> None:
    """Add `--json`."""
    add_flags(command, json="print JSON")


def add_experiment(command: argparse._ActionsContainer) -> None:
    """Add EXPERIMENT, of a command that reads its runs."""
    command.add_argument("experiment", metavar="EXPERIMENT", help="name of an experiment that has runs")


def add_metric(command: argparse._ActionsContainer) -> None:
    """Add `--metric`."""
    meaning = "column to analyse (default: test_accuracy)"
    command.add_argument("--metric", default="test_accuracy", metavar="METRIC", help=meaning)


def add_fit_from(command: argparse._ActionsContainer) -> None:
    """Add `--fit-from`."""
    read, meaning = whole_number(0, MOST_COUNT), "leave smaller train sizes out of the fits"
    command.add_argument("--fit-from", type=read, default=0, metavar="N", help=meaning)


def add_force(command: argparse._ActionsContainer) -> None:
    """Add `--force`, of a command that writes a file."""
    add_flags(command, force="replace a file even where its suffix is that of another format")


def add_target(command: argparse._ActionsContainer) -> None:
    """Add `--target`, read once the metric is known."""
    meaning = "a value of the metric, such as 95 (percent), 95%% or 0.95: how many images does it need?"
    command.add_argument("--target", metavar="T", help=meaning)


def add_delta(command: argparse._ActionsContainer) -> None:
    """Add `--delta`, read once the metric is known."""
    meaning = "what a doubling has to gain to be worth it, such as 0.5%% (the default) or, of a loss, 0.02"
    command.add_argument("--delta", metavar="D", help=meaning)


def add_experiments(experiments: argparse.ArgumentParser) -> None:
    """Those of `experiments`."""
    instead = experiments.add_mutually_exclusive_group()
    add_json(instead)
    add_flags(
        instead,
        check="say everything that is wrong with experiments.toml, a line each; status 2 where something is",
        keys="print every key of experiments.toml with range, default and meaning; data sets, metrics",
        schema="print the JSON Schema of experiments.toml, by which editors complete and check it",
    )


def add_status(status: argparse.ArgumentParser) -> None:
    """Those of `status`."""
    status.add_argument("--experiment", metavar="EXPERIMENT", help="show the jobs of one experiment")
    add_json(status)


def add_jobs(command: argparse.ArgumentParser, kind: CommandKind) -> None:
    """Those of a command that changes jobs."""
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
    if by := JOB_COMMANDS[kind].amount:
        meaning = f"{by.meaning} (default: {by.default})"
        command.add_argument("--by", type=change(MOST_AMOUNT), default=by.default, metavar="N", help=meaning)


def add_prune(prune: argparse.ArgumentParser) -> None:
    """Those of `prune`."""
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


def add_logs(logs: argparse.ArgumentParser) -> None:
    """Those of `logs`."""
    logs.add_argument("job", metavar="JOB", help="a run id, or a unique prefix of one")
    logs.add_argument("-f", "--follow", action="store_true", help="keep printing until the run ends")


def add_export(export: argparse.ArgumentParser) -> None:
    """Those of `export`."""
    export.add_argument("--table", choices=TABLES, default="runs", help="default: runs")
    export.add_argument("--experiment", metavar="EXPERIMENT", help="rows of one experiment alone")
    meaning = "of --table runs: the usual ones, or all (default)"
    export.add_argument("--columns", choices=("short", "all"), default="all", help=meaning)
    export.add_argument("--format", choices=FORMATS, default="csv", help="default: csv")
    meaning = "file to write; - prints (default)"
    export.add_argument("-o", "--output", default="-", metavar="FILE", help=meaning)
    add_force(export)
    add_metric(export)
    _add_plan_question(export.add_argument_group("options of --table plan and answer"))


def add_analyze(analyze: argparse.ArgumentParser) -> None:
    """Those of `analyze`."""
    add_experiment(analyze)
    add_metric(analyze)
    add_target(analyze)
    add_fit_from(analyze)
    add_delta(analyze)
    add_flags(analyze, all="every question, with tables for specialists and every row")
    add_json(analyze)


def add_plan(plan: argparse.ArgumentParser) -> None:
    """Those of `plan`."""
    add_experiment(plan)
    plan.add_argument("--variant", metavar="VARIANT", help="which curve, where the experiment sweeps several")
    add_metric(plan)
    _add_plan_question(plan)
    further = "with further seeds or draws where the sweep lists too few"
    add_flags(plan, queue=f"queue the proposed runs, {further}")
    add_json(plan)


def _add_plan_question(command: argparse._ActionsContainer) -> None:
    meaning = "what is the metric at N images? (default: 4 x the largest size)"
    command.add_argument("--at", type=count, metavar="N", help=meaning)
    add_target(command)
    meaning = "budget in runs (default: as many as there are)"
    command.add_argument("--runs", type=count, metavar="K", help=meaning)
    meaning = "or in training samples, counted as often as they are seen"
    command.add_argument("--samples", type=amount, metavar="S", help=meaning)
    meaning = "or in hours of training, all runs together"
    command.add_argument("--hours", type=amount, metavar="H", help=meaning)
    add_fit_from(command)


def add_doctor(doctor: argparse.ArgumentParser) -> None:
    """Those of `doctor`."""
    add_flags(
        doctor,
        repair="rebuild a damaged or lost queue from the run directories first; deletes nothing",
        forget_gpus="forget GPUs that runs of the project have used: they were taken out for good",
    )
    add_json(doctor)


def add_selftest(selftest: argparse.ArgumentParser) -> None:
    """Those of `selftest`."""
    from tui_datasize.training.selftest.command import add_arguments

    add_arguments(selftest)
    add_flags(selftest, busy="also while runs are at work")


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


def add_queue_arguments(queue: argparse.ArgumentParser) -> None:
    """Those of `queue`."""
    add_run_arguments(queue)
    add_flags(queue, dry_run="show what would be queued, queue nothing")
    add_json(queue)


def add_run_arguments(run: argparse.ArgumentParser) -> None:
    """Those of `run`: which runs, and on what terms."""
    run.add_argument("experiment", metavar="EXPERIMENT", help="name of a table in experiments.toml")
    for option, word, meaning in (("--sizes", "N,N", "train sizes"), ("--seeds", "S,S", "training seeds")):
        meaning = f"only these {meaning}"
        run.add_argument(option, type=whole_numbers, default=(), metavar=word, help=meaning)
    add_flags(run, force="run finished runs again; the old results are kept")
    _add_terms(run)


def _add_terms(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--after",
        action=_JobsBefore,
        nargs="+",
        default=(),
        metavar="JOB",
        help="start only when these runs, or all runs of these experiments, have succeeded; after "
        "EXPERIMENT, with spaces or commas between, may be repeated",
    )
    command.add_argument(
        "--max-attempts",
        type=whole_number(1, MOST_ATTEMPTS),
        metavar="N",
        help=f"attempts before a vanishing worker counts as a failure (default: {MAX_ATTEMPTS})",
    )
    # Only here: it takes longer to import than other commands need.
    from tui_datasize.experiments.load import ORDER_WORDS

    meanings = "; ".join(f"{order}: {words}" for order, words in ORDER_WORDS.items())
    command.add_argument(
        "--order",
        choices=tuple(ORDER_WORDS),
        help=f"in which the runs of this call are queued, behind those that wait already, which keep their "
        f"places. {meanings} (default: `order` of the experiment)",
    )


def add_import_arguments(command: argparse.ArgumentParser) -> None:
    """EXPERIMENT, FILE..., what columns mean, and what is done."""
    command.add_argument("experiment", metavar="EXPERIMENT", help="name under which the runs are analysed")
    command.add_argument(
        "files",
        nargs="+",
        type=Path,
        metavar="FILE",
        help="CSV (a row per run or evaluation, or the chart export of Weights & Biases), a TensorBoard "
        "event file, or a folder of such",
    )
    _add_columns(command.add_argument_group("what columns mean"))
    _add_left_out(command.add_argument_group("what is left out"))
    _add_told(command.add_argument_group("what the file does not say"))
    show = "show what would be read as what, and write nothing"
    add_flags(command, dry_run=show, json="with --dry-run: as JSON")


def _add_columns(columns: argparse._ArgumentGroup) -> None:
    columns.add_argument(
        "--column",
        action="append",
        default=[],
        metavar="NAME=COLUMN",
        help="NAME is size, seed, draw, epoch, update, split, run or a metric such as test_accuracy, "
        "accuracy (of the row's split) or wall_s; columns of these names are found by themselves",
    )
    columns.add_argument(
        "--variant", action="append", default=[], metavar="COLUMN", help="tells curves apart; may be repeated"
    )
    columns.add_argument("--map", type=Path, metavar="FILE", help="TOML with all this; options go before it")
    columns.add_argument(
        "--run-pattern",
        metavar="REGEX",
        help=r"where the name of a run holds its size and seed: 'n(?P<size>\d+)_s(?P<seed>\d+)' "
        "(default: n750, size=750, s101, seed_101, d0 and the like)",
    )
    meaning = "whether accuracies and other shares are in percent (default: as each column shows)"
    columns.add_argument("--percent", action=argparse.BooleanOptionalAction, help=meaning)
    meaning = "what the file calls the test split (default: test; val where there is no test split)"
    columns.add_argument("--test-split", metavar="NAME", help=meaning)


def _add_left_out(what: argparse._ArgumentGroup) -> None:
    what.add_argument(
        "--ignore", action="append", default=[], metavar="COLUMN", help="is not read; may be repeated"
    )
    what.add_argument(
        "--skip-line",
        action="append",
        default=[],
        metavar="N",
        help="line that is not read, of one of several files runs.csv:N; may be repeated",
    )
    add_flags(
        what,
        any_state="read runs too that crashed, failed, were stopped or still ran",
        strict="import nothing where a file is damaged or refused",
    )


def _add_told(told: argparse._ArgumentGroup) -> None:
    told.add_argument("--size", type=count, metavar="N", help="train size of rows that have none")
    seed = whole_number(0, 2**63 - 1)
    meaning = "seed of rows that have none (default: repeats are numbered)"
    told.add_argument("--seed", type=seed, metavar="S", help=meaning)
    meaning = "subset draw of rows that have none: 0 where all runs of a size share their images"
    told.add_argument("--draw", type=seed, metavar="D", help=meaning)
    told.add_argument("--dataset", metavar="TEXT", help="name of the data set, in free words")
    told.add_argument("--model", metavar="TEXT", help="name of the model, in free words")


def add_report_arguments(command: argparse.ArgumentParser) -> None:
    """EXPERIMENT, the file, and what is asked of the curve."""
    add_experiment(command)
    command.add_argument(
        "-o", "--output", type=Path, required=True, metavar="FILE", help="page to write: .html or .md"
    )
    add_force(command)
    add_metric(command)
    add_target(command)
    add_delta(command)
    add_fit_from(command)


def add_scheduler(scheduler: argparse.ArgumentParser) -> None:
    """What is to be done, and the options of a scheduler that starts."""
    from tui_datasize.experiments.device_settings import add_device_options

    scheduler.add_argument(
        "action",
        choices=("start", "restart", "stop", "status"),
        help="start: unless one runs; restart: end the one that runs, whose runs go on, and start one with "
        "exactly these options; status: whether one runs, what holds for the devices and where from",
    )
    whose = "for this scheduler alone; [devices] in experiments.toml holds for every one"
    add_device_options(scheduler.add_argument_group("options of start and restart", whose))
