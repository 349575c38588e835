"""Arguments of the commands that queue runs: which runs, and on what terms."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from tui_datasize.cli.argument_types import add_flags, add_json, whole_number, whole_numbers
from tui_datasize.jobs.queue.state import MAX_ATTEMPTS, MOST_ATTEMPTS


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
    _add_selection(run)
    _add_terms(run)


def _add_selection(command: argparse.ArgumentParser) -> None:
    command.add_argument("experiment", metavar="EXPERIMENT", help="name of a table in experiments.toml")
    command.add_argument(
        "--sizes", type=whole_numbers, default=(), metavar="N,N", help="only these train sizes"
    )
    command.add_argument(
        "--seeds", type=whole_numbers, default=(), metavar="S,S", help="only these training seeds"
    )
    add_flags(command, force="run finished runs again; the old results are kept")


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
