"""Searches with halving: who of a rung goes on, decided once, with the end of its last run.

A rung is decided when all of its runs have succeeded or failed; a cancelled one keeps it waiting, for whoever
cancels stops a search and a retry goes on with it. Candidates are ranked by the accuracy on the images held
out at the end, the mean over seeds and subset draws of a train size; then by the loss on them; then the one
that was drawn first. A candidate of which a run failed is not promoted. No test image decides anything.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import fsum, isfinite
from pathlib import Path

from tui_datasize.experiments.search import Rung
from tui_datasize.experiments.spec import CELL, RunSpec
from tui_datasize.jobs.queue.commands import PROMOTION, CommandKind
from tui_datasize.jobs.queue.database import concerns_all, insert_commands
from tui_datasize.jobs.queue.spec_file import QueuedSpec, promoted_document
from tui_datasize.jobs.queue.state import JobState
from tui_datasize.runlog.paths import RunPaths
from tui_datasize.runlog.reached import last_validation
from tui_datasize.text import listed, plural

_AT_AN_END = (JobState.SUCCEEDED, JobState.FAILED)


@dataclass(frozen=True, slots=True)
class OnRung:
    """A run of a rung."""

    run_id: str
    rung: Rung
    state: JobState | None
    """None as long as it is promoted and not queued yet."""


@dataclass(eq=False)
class Searches:
    """The table `rungs` of one open database; its changes belong to the caller's transaction."""

    _connection: sqlite3.Connection
    _runs: Path
    """Where the directories of runs are."""
    _changed: set[str] = field(default_factory=set, init=False)
    """Searches of which a run has come or its state has changed since they were looked at."""
    asked: int = field(default=0, init=False)
    """How often runs were promoted."""

    def join(self, run_id: str, rung: Rung | None) -> bool:
        """Note where a run stands that is queued, or was found; whether that is news."""
        if rung is None or not rung.climbs:
            return False
        row = (rung.search, rung.number, run_id, json.dumps(rung.to_dict()))
        self._changed.add(rung.search)
        done = self._connection.execute("INSERT OR IGNORE INTO rungs VALUES (?, ?, ?, ?)", row)
        return done.rowcount > 0

    def follow(self, run_id: str) -> None:
        """Note that the state of a job has changed."""
        rows = self._connection.execute("SELECT search FROM rungs WHERE run_id = ?", (run_id,))
        self._changed.update(search for (search,) in rows)

    def advance(self) -> None:
        """Have the scheduler queue who goes on of rungs that have come to their end.

        Raises OSError: the record of a run cannot be read now, through a fault of the machine.
        """
        while self._changed:
            search = self._changed.pop()
            try:
                self._advance(search)
            except BaseException:
                self._changed.add(search)
                raise

    def _advance(self, search: str) -> None:
        here = last_rung(self._connection, search)
        if here is None:
            return
        rung, states = here
        if states.total() < rung.n_runs:
            # A rebuilt queue has lost those that had not begun; of a first rung whoever queued it knows them.
            if rung.number:
                known = {member.run_id for member in read_rung(self._connection, search, rung.number)}
                self._promote(read_rung(self._connection, search, rung.number - 1), rung.chosen, known)
        elif not rung.is_last and states.keys() <= {*_AT_AN_END}:
            members = read_rung(self._connection, search, rung.number)
            self._promote(members, self._chosen(members), set())

    def _chosen(self, members: Sequence[OnRung]) -> tuple[int, ...]:
        by_candidate: dict[int, list[tuple[float, float] | None]] = defaultdict(list)
        for member in members:
            by_candidate[member.rung.candidate].append(self._score(member))
        rung = members[0].rung
        return promoted(by_candidate, rung.kept[rung.number + 1])

    def _score(self, member: OnRung) -> tuple[float, float] | None:
        if member.state is not JobState.SUCCEEDED:
            return None
        run = "SELECT experiment FROM jobs WHERE run_id = ?"
        (experiment,) = self._connection.execute(run, (member.run_id,)).fetchone()
        try:
            return last_validation(RunPaths(self._runs / experiment / member.run_id))
        except OSError as error:
            if concerns_all(error, self._runs):
                raise
            return None

    def _promote(self, below: Sequence[OnRung], chosen: tuple[int, ...], known: set[str]) -> None:
        """Give the commands that queue the runs of the candidates chosen, which stand a rung below."""
        rows = []
        for member in below:
            if member.rung.candidate in chosen and member.state:
                rung = replace(member.rung, number=member.rung.number + 1, chosen=chosen)
                job = "SELECT document, priority FROM jobs WHERE run_id = ?"
                document, priority = self._connection.execute(job, (member.run_id,)).fetchone()
                run_id, next_document = promoted_document(document, rung)
                if run_id not in known:
                    rows.append((run_id, priority, False, next_document))
                    self.join(run_id, rung)
        insert_commands(self._connection, CommandKind.ENQUEUE, rows, PROMOTION + os.urandom(16).hex())
        self.asked += 1


def promoted(scores: Mapping[int, Sequence[tuple[float, float] | None]], most: int) -> tuple[int, ...]:
    """The candidates that go on, at most so many, in ascending order.

    `scores` are accuracy and loss on the images held out of each run of a candidate; None of one that failed.

    >>> promoted({0: [(0.5, 1.0)], 1: [(0.7, 1.0)], 2: [(0.7, 0.9)], 3: [(0.9, 0.1), None]}, 2)
    (1, 2)
    >>> promoted({0: [(0.5, 1.0)], 1: [(0.5, 1.0)]}, 1)
    (0,)
    """
    ranks = []
    for candidate, runs in scores.items():
        known = [score for score in runs if score and all(map(isfinite, score))]
        if len(known) == len(runs):
            accuracy, loss = (fsum(values) / len(known) for values in zip(*known, strict=True))
            ranks.append((-accuracy, loss, candidate))
    return tuple(sorted(candidate for *_, candidate in sorted(ranks)[:most]))


def last_rung(connection: sqlite3.Connection, search: str) -> tuple[Rung, Counter[JobState | None]] | None:
    """The last rung of a search, as one of its runs tells it, and how many of these are in which state.

    None where no run is known. Cheap: it is asked at every end of a run.
    """
    told = "SELECT number, stands FROM rungs WHERE search = ? ORDER BY number DESC LIMIT 1"
    row = connection.execute(told, (search,)).fetchone()
    if row is None:
        return None
    number, stands = row
    counts = connection.execute(
        "SELECT state, count(*) FROM rungs LEFT JOIN jobs USING (run_id) WHERE search = ? AND number = ? "
        "GROUP BY state",
        (search, number),
    )
    states = {JobState(state) if state else None: count for state, count in counts}
    return Rung.from_dict(json.loads(stands)), Counter(states)


def read_rung(connection: sqlite3.Connection, search: str, number: int) -> list[OnRung]:
    """The runs of a rung, by candidate and id."""
    rows = connection.execute(
        "SELECT run_id, stands, state FROM rungs LEFT JOIN jobs USING (run_id) WHERE search = ? "
        "AND number = ? ORDER BY run_id",
        (search, number),
    )
    members = [
        OnRung(run_id, Rung.from_dict(json.loads(stands)), JobState(state) if state else None)
        for run_id, stands, state in rows
    ]
    return sorted(members, key=lambda member: member.rung.candidate)


def promotions(connection: sqlite3.Connection) -> dict[str, Rung]:
    """By run id, where runs stand that were promoted."""
    rows = connection.execute("SELECT run_id, stands FROM rungs WHERE number > 0")
    return {run_id: Rung.from_dict(json.loads(stands)) for run_id, stands in rows}


def read_promoted(connection: sqlite3.Connection, experiment: str) -> list[RunSpec]:
    """The runs of an experiment that were promoted, those of searches that it has no more included.

    They count from the transaction that promotes them, in which the command to queue them is given.
    """
    queued = connection.execute(
        "SELECT DISTINCT document FROM rungs JOIN jobs USING (run_id) WHERE number > 0 AND experiment = ? "
        "ORDER BY position",
        (experiment,),
    ).fetchall()
    given = connection.execute(
        "SELECT DISTINCT commands.document FROM rungs JOIN commands USING (run_id) "
        "WHERE number > 0 AND applied_at IS NULL AND kind = ? ORDER BY commands.id",
        (CommandKind.ENQUEUE,),
    ).fetchall()
    specs = [QueuedSpec.read(document).spec for (document,) in (*queued, *given)]
    return list({spec.run_id: spec for spec in specs if spec.experiment == experiment}.values())


def unknown_to(connection: sqlite3.Connection, stands: Mapping[str, Rung]) -> set[str]:
    """Those of some runs that their searches do not know yet."""
    if not any(rung.climbs for rung in stands.values()):
        return set()
    known = {tuple(row) for row in connection.execute("SELECT search, run_id FROM rungs")}
    return {one for one, rung in stands.items() if rung.climbs and (rung.search, one) not in known}


def told_of_searches(connection: sqlite3.Connection) -> dict[str, str]:
    """By experiment, where its searches stand and what they wait for, one line; of ended ones nothing.

    A search is told by its train size, those that stand alike together.
    """
    told: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for search, run_id in connection.execute(
        "SELECT search, min(run_id) FROM rungs GROUP BY search"
    ).fetchall():
        cell, here = CELL.search(run_id), last_rung(connection, search)
        if cell and here and (words := _stands(*here)):
            told[run_id[: cell.start()]][words].append(int(cell["size"]))
    return {
        experiment: "; ".join(
            f"{listed([f'{size:,}' for size in sorted(sizes)])} images: {words}"
            for words, sizes in by_words.items()
        )
        for experiment, by_words in told.items()
    }


def _stands(rung: Rung, states: Counter[JobState | None]) -> str:
    """Where a search stands whose last rung has runs in these states; empty where it has come to its end."""
    done, missing = sum(states[state] for state in _AT_AN_END), rung.n_runs - states.total()
    if rung.is_last and done == rung.n_runs:
        return ""
    words = f"rung {rung.told}, {done:,} of {plural(rung.n_runs, 'run')} done"
    waits = [
        *([f"{missing:,} not queued: queue the experiment again"] if missing else []),
        *([f"{count:,} cancelled: retry goes on"] if (count := states[JobState.CANCELLED]) else []),
        *([f"{count:,} held"] if (count := states[JobState.HELD]) else []),
    ]
    if waits:
        return f"{words}, waits for {', '.join(waits)}"
    if done == rung.n_runs:
        return f"{words}, none to go on with: {states[JobState.FAILED]:,} failed"
    if rung.is_last:
        return words
    return (
        f"{words}, then {rung.kept[rung.number + 1]:,} of {plural(rung.kept[rung.number], 'candidate')} go on"
    )
