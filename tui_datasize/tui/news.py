"""What has ended since the app was opened, for whoever looks elsewhere; what goes on when it is left."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from tui_datasize.jobs.queue.state import JobState
from tui_datasize.text import plural
from tui_datasize.tui.polling.snapshot import JobRow, Snapshot, legend_counts
from tui_datasize.tui.widgets.palette import STATE_LOOKS, CellState

_LONGEST_NOTICE = 200


@dataclass(frozen=True, slots=True)
class News:
    """One line to be told once."""

    text: str
    is_bad: bool
    """Whether it tells of a failure."""


def _now() -> str:
    from tui_datasize.runlog.claim import utc_now

    return utc_now()


@dataclass(eq=False)
class NewsReader:
    """Finds in snapshots what nobody has been told of: failed jobs, and experiments that have ended since."""

    since: str = field(default_factory=_now)
    _told: set[tuple[str, str]] = field(default_factory=set, init=False)

    def read(self, snapshot: Snapshot) -> list[News]:
        """The news of a snapshot, each only once however often it is read."""
        ended = [row for row in snapshot.jobs if row.finished_at > self.since and row.state.is_final]
        fresh = [row for row in ended if (row.run_id, row.finished_at) not in self._told]
        if not fresh:
            return []
        self._told |= {(row.run_id, row.finished_at) for row in fresh}
        failed = [row for row in fresh if row.state is JobState.FAILED]
        return [*_failures(failed), *_endings(snapshot, {row.experiment for row in fresh})]


def _failures(failed: Sequence[JobRow]) -> list[News]:
    if not failed:
        return []
    last = max(failed, key=lambda row: row.finished_at)
    text = f"{last.run_id} failed: {last.reason}" if last.reason else f"{last.run_id} failed"
    if len(failed) > 1:
        text = f"{plural(len(failed), 'run')} failed, the last: {text}"
    return [News(text, is_bad=True)]


def _endings(snapshot: Snapshot, experiments: set[str]) -> list[News]:
    states: dict[str, Counter[CellState]] = defaultdict(Counter)
    for row in snapshot.jobs:
        if row.experiment in experiments:
            states[row.experiment][row.shown_state] += 1
    news = []
    for experiment, counts in states.items():
        if not any(isinstance(state, JobState) and not state.is_final for state in counts):
            words = ", ".join(f"{n:,} {STATE_LOOKS[state].word}" for state, n in legend_counts(counts))
            news.append(News(f"{experiment} ended: {words}", is_bad=bool(counts[JobState.FAILED])))
    return news


def new_mistakes(before: Snapshot, snapshot: Snapshot) -> str:
    """What has come to be wrong with single experiments of the project's file, in a line; mostly empty."""
    if snapshot.experiments is before.experiments:
        return ""
    known = {plan.problem for plan in before.experiments}
    return " · ".join(one.problem for one in snapshot.experiments if one.problem and one.problem not in known)


def terminal_signal(text: str) -> str:
    r"""What makes a terminal ring and show a notice of its desktop: BEL, and OSC 9 with the text.

    Only printable characters are sent, so that no text ends the sequence or begins another. The name in
    front keeps terminals that take a number there for a command from doing so.

    >>> terminal_signal("digits\x1b ended")
    '\x07\x1b]9;datasize: digits ended\x07'
    """
    printable = "".join(character for character in text if character.isprintable())
    return f"\a\x1b]9;datasize: {printable[:_LONGEST_NOTICE]}\a"


def farewell(snapshot: Snapshot) -> str | None:
    """What is said on leaving: what goes on without the app."""
    running = len(snapshot.running())
    waiting = sum(not state.is_final and not state.is_active for state in snapshot.states.values())
    if not running and not waiting:
        return None
    parts = [plural(running, "run") + " at work"] if running else []
    parts += [f"{waiting:,} waiting"] if waiting else []
    return f"{' and '.join(parts)}: they go on. `datasize-tui status` shows them."
