"""What clients ask of the queue, what is acknowledged, and what came of it: one sentence for a person."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from tui_datasize.errors import DatasizeError, StorageError
from tui_datasize.jobs.queue.commands import JOB_COMMANDS, CommandKind, counted
from tui_datasize.jobs.queue.state import MAX_ATTEMPTS
from tui_datasize.text import cancelled_left_out, lost_checkpoints, lost_evaluations, plural, there_already

if TYPE_CHECKING:
    # Most commands of the command line do not read the file.
    from tui_datasize.experiments.cluster_settings import Place
    from tui_datasize.experiments.device_settings import DeviceOptions
    from tui_datasize.experiments.load import Order as SweepOrder
    from tui_datasize.experiments.search import Rung
    from tui_datasize.experiments.spec import RunSpec

ANSWER_WITHIN_S = 10.0
"""How long the scheduler's answer is waited for; what was acknowledged is done either way."""
_MOST_TEXTS = 5
"""Different answers that one sentence tells."""


@dataclass(frozen=True, slots=True)
class QueueTerms:
    """On what terms runs are queued."""

    after: tuple[str, ...] = ()
    """Runs, prefixes of runs or experiments that must succeed before."""
    max_attempts: int | None = None
    """Attempts that each run is allowed before a vanishing worker fails it; None: `MAX_ATTEMPTS`."""
    order: SweepOrder | None = None
    """In which the runs of a sweep are queued; None: as they stand, which is the experiment's own."""
    on: Place = "local"
    """Where they are made; for the sources that are queued with them, too."""

    @property
    def attempts(self) -> int:
        return self.max_attempts or MAX_ATTEMPTS


@dataclass(frozen=True, slots=True)
class Enqueue:
    """Queue these runs; as `QueueClient.enqueue` says."""

    specs: tuple[RunSpec, ...]
    data_dir: Path | None = None
    sources: tuple[RunSpec, ...] = ()
    """Runs that those take weights from."""
    terms: QueueTerms = QueueTerms()
    incomplete: tuple[str, ...] = ()
    """Runs among them that had succeeded, and whose evaluations were lost."""
    force: bool = False
    rungs: Mapping[str, Rung] = field(default_factory=dict)
    """By run id, where those of a search stand."""
    left_out: tuple[RunSpec, ...] = ()
    """Cancelled runs that were not asked for."""


@dataclass(frozen=True, slots=True)
class ChangeJobs:
    """Change these jobs."""

    kind: CommandKind
    run_ids: tuple[str, ...]
    amount: int = 0
    left_alone: Mapping[str, int] = field(default_factory=dict)
    """How many of the chosen jobs the command is not for, by their states in words."""


@dataclass(frozen=True, slots=True)
class Drain:
    """Finish running jobs and start no others, or start again."""

    draining: bool = True


@dataclass(frozen=True, slots=True)
class StopScheduler:
    """End the scheduler, and start none; the runs go on."""


@dataclass(frozen=True, slots=True)
class RestartScheduler:
    """End the scheduler, and start another with other options; the runs go on."""

    options: DeviceOptions


@dataclass(frozen=True, slots=True)
class Undo:
    """Take the last command back: what was queued, held, released, cancelled, retried, raised or moved."""


Command: TypeAlias = Enqueue | ChangeJobs | Drain | StopScheduler | RestartScheduler | Undo


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """Commands that are committed: they will be applied whatever ends before."""

    command_ids: tuple[int, ...]
    new: int = 0
    """Runs that an enqueue added or queued again."""
    present: int = 0
    """Runs that were in the queue or done already, failed ones included."""
    failed: int = 0
    """Runs among `present` that have failed: a retry or a forced enqueue runs them again."""
    incomplete: int = 0
    """Runs among `new` that had succeeded, and whose record lacks evaluations."""
    cancelled: int = 0
    """Runs among `new` that had been cancelled."""
    renewed: int = 0
    """Runs among `new` that had succeeded, and whose checkpoints are gone, which others need."""
    doubt: str = ""
    """Where the queue was made for them on a file system that may be one of a network: a sentence."""


@dataclass(frozen=True, slots=True)
class CommandResult:
    """What became of one command for one run."""

    run_id: str
    """Empty for a command that concerns no run."""
    ok: bool
    message: str
    """One line for a person, with the run's id."""


class Answered(StrEnum):
    """How a request ended."""

    DONE = "done"
    """The scheduler did all of it, or is at it."""
    REFUSED = "refused"
    """It makes no sense, or the scheduler did not do it for some of the runs."""
    NOT_YET = "not acknowledged in time"
    """It is saved, and the scheduler has not answered yet."""
    UNREADABLE = "queue unreadable"
    """Nothing was saved: the queue cannot be read or written."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a request, as the app and the command line tell it."""

    answered: Answered
    sentence: str
    """One line for a person."""
    acknowledgement: Acknowledgement = Acknowledgement(())
    results: tuple[CommandResult, ...] = ()
    """For each command of the acknowledgement; empty while the scheduler has not answered."""
    error: DatasizeError | None = None
    """Why the request could not be made, or no scheduler runs to answer it."""

    @property
    def refused(self) -> list[CommandResult]:
        return [result for result in self.results if not result.ok]

    @property
    def is_bad(self) -> bool:
        """Whether a person has to look after it."""
        return self.error is not None or self.answered is Answered.REFUSED


def outcome_of(
    command: Enqueue | ChangeJobs | Drain | Undo,
    acknowledgement: Acknowledgement,
    results: Sequence[CommandResult] | None,
    error: DatasizeError | None = None,
) -> Outcome:
    """What came of a command that was acknowledged.

    `results` are None where the scheduler has not answered in time; `error` tells why there is none.
    """
    refused = [result for result in results or () if not result.ok]
    if isinstance(command, Enqueue):
        said = _what_was_queued(command, acknowledgement, len(refused))
        told = [said + (f": {_grouped(refused)}" if refused else "")]
    elif results is not None:
        told = [_grouped(results)]
    elif isinstance(command, Drain):
        told = ["drain" if command.draining else "start jobs again"]
    elif isinstance(command, Undo):
        # What is undone is told before.
        told = []
    else:
        told = [f"{JOB_COMMANDS[command.kind].verb} {plural(len(command.run_ids), 'run')}"]
    if results is None:
        told.append("saved; " + (error.line if error else "the scheduler has not answered yet"))
    if isinstance(command, ChangeJobs) and command.left_alone:
        told.append(f"left alone: {counted(command.left_alone)}")
    told.append(acknowledgement.doubt)
    answered = Answered.NOT_YET if results is None else Answered.REFUSED if refused else Answered.DONE
    sentence = "; ".join(part for part in told if part)
    return Outcome(answered, sentence, acknowledgement, tuple(results or ()), error)


def outcome_of_error(error: DatasizeError) -> Outcome:
    """What came of a command of which nothing was acknowledged."""
    answered = Answered.UNREADABLE if isinstance(error, StorageError) else Answered.REFUSED
    return Outcome(answered, error.line, error=error)


def outcome_of_stop(*, ended: bool) -> Outcome:
    """What came of a request to stop the scheduler: whether none runs any more."""
    if not ended:
        return Outcome(Answered.NOT_YET, "scheduler: has not ended yet; it does so as soon as it can")
    others = "any job that is queued or changed starts another, and so does `scheduler start`"
    return Outcome(Answered.DONE, f"scheduler: stopped; running jobs go on; {others}")


def outcome_of_restart(options: DeviceOptions) -> Outcome:
    """What was restarted, and for how long its options hold: their end surprises whoever tries one out."""
    told = "scheduler: restarted as experiments.toml says; running jobs go on"
    if options.said:
        end = "until it ends, 30 s after the last job; an app that asked for it starts others with the same"
        told = f"scheduler: restarted with {options.describe()}; running jobs go on; that holds {end}"
    return Outcome(Answered.DONE, told)


def _what_was_queued(command: Enqueue, acknowledgement: Acknowledgement, refused: int) -> str:
    there = there_already(acknowledgement.present, keep_terms=command.terms != QueueTerms())
    queued = plural(acknowledgement.new - refused, "run")
    experiment = next((spec.experiment for spec in (*command.specs, *command.left_out)), "")
    cancelled = 0 if refused else acknowledgement.cancelled
    again = f" ({cancelled:,} cancelled before)" if cancelled else ""
    lost = lost_evaluations(acknowledgement.incomplete) + lost_checkpoints(acknowledgement.renewed)
    text = f"{experiment}: {queued} queued{again}{lost}, {there}"
    if acknowledgement.failed:
        text += f", {acknowledgement.failed:,} of them failed (`retry` runs those again)"
    text += f", {refused:,} refused" if refused else ""
    return "; ".join(filter(None, (text, cancelled_left_out(len(command.left_out)))))


def _of_several(answer: str) -> str:
    """An answer about one run as it is told of several.

    >>> _of_several("is running; cancel it to stop it")
    'are running; cancel them to stop them'
    """
    told = re.sub(r"\b(cancel|queue|retry|stop) it\b", r"\1 them", answer)
    return re.sub("^has ", "have ", re.sub("^is ", "are ", told))


def _grouped(results: Sequence[CommandResult]) -> str:
    """Answers on one line: a single one with its run, equal ones counted, the most frequent first."""
    texts = Counter(result.message.removeprefix(f"{result.run_id}: ") for result in results)
    whole = {result.message.removeprefix(f"{result.run_id}: "): result.message for result in results}
    parts = [
        whole[text] if count == 1 or text == whole[text] else f"{plural(count, 'run')}: {_of_several(text)}"
        for text, count in texts.most_common(_MOST_TEXTS)
    ]
    if len(texts) > _MOST_TEXTS:
        parts.append(f"{plural(len(texts) - _MOST_TEXTS, 'other answer')}")
    return "; ".join(parts)
