"""Slurm as the executor of a queue: hands runs over, looks at them, and passes on what is asked of them.

It works in rounds, each with at most one squeue, and waits for nothing: every step of it takes a moment. Like
the rest of the scheduler it may be killed at any moment: what it is about to do is committed before.
"""

from __future__ import annotations

import errno
import logging
import time
from collections import Counter
from collections.abc import Callable, Collection, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TypeAlias, TypeVar

from tui_datasize.errors import ConfigError
from tui_datasize.experiments.cluster_settings import ClusterSettings
from tui_datasize.experiments.project_tables import cluster_settings
from tui_datasize.files import fault_of
from tui_datasize.jobs.queue.cluster import HandedRun
from tui_datasize.jobs.queue.database import concerns_all
from tui_datasize.jobs.queue.faults import FaultKind
from tui_datasize.jobs.queue.store import Store
from tui_datasize.jobs.scheduler.shared_disk import SharedDisk, silent
from tui_datasize.jobs.scheduler.slurm.arrays import sbatch, script
from tui_datasize.jobs.scheduler.slurm.attempts import Attempts
from tui_datasize.jobs.scheduler.slurm.calls import (
    Call,
    ClusterTask,
    Commands,
    Reply,
    SqueueAnswer,
    read_most_tasks,
    read_sbatch,
    read_squeue,
    squeue,
)
from tui_datasize.jobs.scheduler.slurm.evidence import Evidence
from tui_datasize.jobs.scheduler.slurm.handing import directories, log_of, plan_array
from tui_datasize.jobs.scheduler.slurm.orders import Order, orders
from tui_datasize.jobs.scheduler.slurm.words import limit, waits
from tui_datasize.runlog.claim import read_claim
from tui_datasize.runlog.paths import ProjectPaths

SQUEUE_S = 5.0
"""The least time between two squeues."""
_TURN_S = 0.1
"""The longest that the scheduler's other work waits for a step."""
_ARRAYS_A_ROUND = 4
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 10.0, 300.0
"""For which nothing is handed over after Slurm has refused runs, or jobs have ended before they began."""
_ANSWER, _SUBMIT, _RUNS, _DISK, _NODES, _FILE = "answer", "submit", "runs", "disk", "nodes", "file"
"""What of the cluster may be at fault."""
_MOMENT_S = 0.02
"""For which the scheduler's other work waits for a shared disk."""
_SILENT_S = 20.0
"""After which a shared disk counts as one that does not answer."""
_LOOKS_UNANSWERED = 500
"""Runs that are looked at in one round while Slurm does not say which have begun."""
_BROKEN = 3
"""Rounds in a row in which the directory of a run alone could not be used."""
_NO_ANSWER = ("unable to contact", "timed out", "temporarily", "zero bytes", "connection")
"""Words of a failure behind which Slurm may have taken the runs."""
T = TypeVar("T")
_LOG = logging.getLogger(__name__)

_Work: TypeAlias = Generator[bool, None, None]
"""Yields whether it has more to do at once; otherwise it waits for a command."""


@dataclass(eq=False)
class _BackOff:
    """For which nothing is handed over, longer each time."""

    _length_s: float = 0.0
    until_s: float = 0.0

    def begin(self) -> None:
        if not self.lasts():
            self._length_s = min(_LONGEST_PAUSE_S, 2 * self._length_s or _FIRST_PAUSE_S)
            self.until_s = time.monotonic() + self._length_s

    def end(self) -> None:
        self._length_s = self.until_s = 0.0

    def lasts(self) -> bool:
        return time.monotonic() < self.until_s


class SlurmExecutor:
    """The runs of one queue that Slurm makes; to the `command` of a worker the run directory is added."""

    def __init__(
        self,
        store: Store,
        project: ProjectPaths,
        command: Sequence[str],
        commands: Commands,
        interval_s: float = SQUEUE_S,
    ) -> None:
        self._store = store
        self._project = project
        self._command = command
        self._commands = commands
        self._interval_s = interval_s
        self._round: _Work | None = None
        self._due_s = 0.0
        self._call: Call | None = None
        self._settings = ClusterSettings()
        """`[cluster]` as it could last be read."""
        self._most_tasks = 0
        """The cluster's limit of an array; 0 before it was asked."""
        self._size = 0
        """The same as far as Slurm has shown to take."""
        self._shared = SharedDisk()
        self._silent_s = _SILENT_S
        self._evidence = Evidence()
        self._disk = ""
        """What was wrong in this round with all directories."""
        self._broken: Counter[str] = Counter()
        """Runs whose directories alone cannot be used, with the rounds for which that has been so."""
        self._unasked: set[str] = set()
        """Runs that a job has of which Slurm was not asked."""
        self._looked = 0
        """Of the runs that are not known to run, how many were looked at while Slurm did not answer."""
        self._pauses = {subject: _BackOff() for subject in (_SUBMIT, _RUNS)}
        self._refused: set[str] = set()
        """Arrays that Slurm did not take, to be planned anew."""

    def step(self) -> None:
        """Go on for a moment.

        Raises StorageError: the queue's database cannot be written.
        """
        until_s = time.monotonic() + _TURN_S
        while time.monotonic() < until_s:
            if self._round is None:
                if not self._store.cluster.has_work():
                    self._store.faults.clear(FaultKind.CLUSTER)
                    return
                if time.monotonic() < self._due_s:
                    return
                self._due_s = time.monotonic() + self._interval_s
                self._round = self._go_round()
            try:
                if not next(self._round):
                    return
            except StopIteration:
                self._round = None

    def close(self) -> None:
        """Forget what is under way; the next scheduler asks again."""
        if self._call:
            self._call.close()
        self._shared.close()

    def _go_round(self) -> _Work:
        self._disk = ""
        if readable := self._read_settings():
            yield from self._begin_round(readable)
        settings = self._settings
        arrays, runs = self._store.cluster.arrays(), self._store.cluster.runs()
        if not runs:
            return
        self._due_s = time.monotonic() + self._interval_s
        names = [] if any(map(_may_be_anothers, runs)) else sorted(arrays)
        of_all, self._unasked = bool(self._unasked), set()
        answer = yield from self._ask(squeue(names, of_all=of_all))
        tasks = self._tasks(answer)
        known = self._acknowledge(arrays, tasks)
        by_name = {task.name: task for task in tasks or ()}
        told = SqueueAnswer(by_name, frozenset(arrays.values()), of_all)
        adopted = yield from self._look(known, tasks, told)
        self._tell_of_runs()
        if not self._disk:
            self._store.faults.clear(FaultKind.CLUSTER, _DISK)
        if tasks is not None:
            names = [name for name in arrays if name not in known] if readable and self._most_tasks else []
            yield from self._submit(settings, names)
            yield from self._pass_on(
                orders(self._store.cluster.runs(), tasks, arrays, adopted, is_draining=self._is_draining())
            )

    def _read_settings(self) -> ClusterSettings | None:
        """`[cluster]` as it is now; None where it is wrong or gone, and what was handed over just goes on."""
        try:
            settings = cluster_settings(self._project.root)
            problem = f"{self._project.experiments} has no [cluster] any more"
        except ConfigError as error:
            settings, problem = None, error.line
        if settings is None:
            self._report(_FILE, f"{problem}; nothing is handed over until that is mended")
            return None
        self._store.faults.clear(FaultKind.CLUSTER, _FILE)
        self._settings = settings
        return settings

    def _begin_round(self, settings: ClusterSettings) -> _Work:
        """Plan what is to be handed over, once the cluster's limit is known."""
        if not self._most_tasks:
            answer = yield from self._ask(["scontrol", "show", "config"])
            self._most_tasks = self._size = 0 if answer.problem else read_most_tasks(answer.out)
            if not self._most_tasks:
                self._lose(answer if answer.problem else Reply(1, err="its MaxArraySize is not told"))
                return
        try:
            yield from self._plan(settings)
        except OSError as error:
            self._lose_disk(error, settings)

    def _ask(self, words: Sequence[str], text: str = "") -> Generator[bool, None, Reply]:
        self._call = self._commands.start(words, text)
        while (answer := self._call.poll()) is None:
            yield False
        self._call = None
        return answer

    def _reach(self, work: Callable[[], T]) -> Generator[bool, None, T]:
        """As of `Reach`: while a disk takes its time, this machine's own runs go on."""
        while self._shared.busy_s():
            yield from self._give_time(self._shared.busy_s())
        call = self._shared.start(work)
        while not call.wait(_MOMENT_S):
            yield from self._give_time(call.taken_s)
        return call.result()

    def _give_time(self, taken_s: float) -> _Work:
        if taken_s >= self._silent_s:
            raise silent()
        yield False

    def _lose_disk(self, error: OSError, settings: ClusterSettings) -> None:
        self._evidence.disk_was_away(run.run_id for run in self._store.cluster.runs() if run.state.is_active)
        # Of whatever file it was that showed it, there is one disk.
        what = error.strerror or str(error)
        self._disk = f"{settings.shared}: {what}" if settings.shared else fault_of(error)
        self._report(_DISK, f"{self._disk}: runs of the cluster wait until that is fixed")

    def _is_draining(self) -> bool:
        return self._store.settings.read().draining

    def _plan(self, settings: ClusterSettings) -> _Work:
        """Commit what is to be handed over next."""
        arrays, is_probing = self._store.cluster.arrays(), self._evidence.is_probing
        # While one run is to find out, those that Slurm has and that have not begun do.
        has_probe = is_probing and any(
            run.state.is_waiting or self._evidence.is_probe(run.run_id) for run in self._store.cluster.runs()
        )
        is_doubtful = not all(arrays.values()) or has_probe
        is_paused = any(pause.lasts() for pause in self._pauses.values())
        if is_doubtful or is_paused or self._is_draining():
            return
        for _ in range(_ARRAYS_A_ROUND):
            jobs = self._store.cluster.waiting(self._size)
            if is_probing:
                jobs = sorted(jobs, key=lambda job: self._evidence.is_suspect(job.run_id))[:1]
            name = yield from plan_array(self._store, self._project, settings, jobs, self._reach)
            if not name or is_probing or self._size < self._most_tasks:
                return

    def _tasks(self, answer: Reply) -> list[ClusterTask] | None:
        """What squeue tells; None where it does not."""
        if answer.problem:
            self._lose(answer)
            return None
        try:
            tasks = read_squeue(answer.out)
        except ValueError as error:
            self._lose(Reply(1, err=str(error)))
            return None
        if self._most_tasks:
            self._store.faults.clear(FaultKind.CLUSTER, _ANSWER)
        return tasks

    def _acknowledge(self, arrays: Mapping[str, str], tasks: Iterable[ClusterTask] | None) -> set[str]:
        """The arrays that Slurm was known to have, before this answer or by it."""
        known = {name for name, job_id in arrays.items() if job_id}
        # One of the same name that is all over was another, for the same attempts: of runs held since.
        alive = (task for task in tasks or () if not task.is_over)
        found = {task.array: task.job_id for task in alive if arrays.get(task.array) == ""}
        if found:
            with self._store.transaction():
                for name, job_id in found.items():
                    self._store.cluster.acknowledge(name, job_id)
                    _LOG.info("array %s: found as job %s", name, job_id)
        return known | found.keys()

    def _look(
        self, known: set[str], tasks: Sequence[ClusterTask] | None, told: SqueueAnswer
    ) -> Generator[bool, None, Mapping[str, str]]:
        """Look at the runs that may have begun or ended; those of other submissions, by names of tasks."""
        by_run = {(task.array, task.job_id, task.number): task for task in tasks or ()}
        settings = self._settings
        attempts = self._attempts(settings, told)
        runs, free, adopted = self._store.cluster.runs(), list[str](), dict[str, str]()
        self._tell_reasons(settings, runs, by_run)
        unasked = self._next_unasked(runs) if tasks is None else frozenset()
        logs = log_of(self._project, settings, "").parent
        for run in runs:
            is_answered = tasks is not None and (run.array in known or not run.array)
            task = by_run.get((run.array, run.job_id, run.task))
            try:
                if tasks and _may_be_anothers(run):
                    adopted_task = yield from self._adopted(run, told.tasks, adopted)
                    task = task or adopted_task
                if run.is_outdated:
                    is_free = is_answered and (task is None or task.is_over)
                elif run.run_id in unasked or _may_have_changed(run, task, is_answered):
                    is_free = yield from attempts.look(run, task, logs, is_answered=is_answered)
                    self._broken.pop(run.run_id, None)
                    yield True
                else:
                    continue
            except OSError as error:
                if not (yield from self._is_of_one(run, error)):
                    self._lose_disk(error, settings)
                    break
                is_over = is_answered and (task is None or task.is_over)
                is_free = is_over and self._give_up_broken(run, error, attempts)
            free += [run.run_id] if is_free else []
        with self._store.transaction():
            self._store.cluster.take_back(free)
        if free:
            # There is room for others.
            self._pauses[_SUBMIT].end()
        return adopted

    def _attempts(self, settings: ClusterSettings, told: SqueueAnswer) -> Attempts:
        seen_by = (not settings.gpus, self._evidence, self._reach)
        return Attempts(self._store, self._project, *seen_by, told, self._unasked)

    def _give_up_broken(self, run: HandedRun, error: OSError, attempts: Attempts) -> bool:
        """Give up a run whose directory, alone, cannot be used, and could not before; whether it was."""
        self._broken[run.run_id] += 1
        if self._broken[run.run_id] < _BROKEN:
            return False
        attempts.give_up(run, fault_of(error))
        return True

    def _tell_reasons(
        self,
        settings: ClusterSettings,
        runs: Sequence[HandedRun],
        by_run: Mapping[tuple[str, str, int], ClusterTask],
    ) -> None:
        """Note why runs wait, where Slurm says something new of it."""
        reasons = dict[str, str]()
        for run in runs:
            task = by_run.get((run.array, run.job_id, run.task))
            if task and not task.is_over and run.state.is_waiting and not run.cancel_requested:
                reasons |= _new_reason(run, task, settings)
        if reasons:
            with self._store.transaction():
                for run_id, reason in reasons.items():
                    self._store.update(run_id, reason=reason)

    def _next_unasked(self, runs: Sequence[HandedRun]) -> Collection[str]:
        """Some of the runs of which only Slurm could tell whether they have begun: others each time."""
        waiting = [run.run_id for run in runs if run.array and not (run.state.is_active or run.is_outdated)]
        start = self._looked % max(1, len(waiting))
        self._looked += _LOOKS_UNANSWERED
        return frozenset((waiting[start:] + waiting[:start])[:_LOOKS_UNANSWERED])

    def _adopted(
        self, run: HandedRun, by_name: Mapping[str, ClusterTask], adopted: dict[str, str]
    ) -> Generator[bool, None, ClusterTask | None]:
        """The task that makes a run, of whichever submission, which is noted."""
        claim = yield from self._reach(partial(read_claim, self._project.run(run.experiment, run.run_id)))
        task = by_name.get(claim.job) if claim else None
        if task:
            adopted[task.name] = run.run_id
        return task

    def _is_of_one(self, run: HandedRun, error: OSError) -> Generator[bool, None, bool]:
        """Whether an error concerns the directory of one run, and not the disk."""
        place = self._project.runs / run.experiment
        place = place if place.is_symlink() else self._project.runs
        try:
            return error.errno != errno.ETIMEDOUT and not (
                yield from self._reach(partial(concerns_all, error, place))
            )
        except OSError:
            return False

    def _tell_of_runs(self) -> None:
        """Tell what jobs that came to nothing have shown, of all nodes or of some."""
        why, nodes = self._evidence.take_trouble(), ", ".join(self._evidence.avoided())
        if not self._evidence.is_probing:
            self._pauses[_RUNS].end()
            self._store.faults.clear(FaultKind.CLUSTER, _RUNS)
        elif why:
            self._hold_back(_RUNS, f"{why}; it is tried again by itself, with one run")
        if nodes:
            self._report(_NODES, f"jobs come to nothing on {nodes}; runs are handed over to other nodes")
        else:
            self._store.faults.clear(FaultKind.CLUSTER, _NODES)

    def _submit(self, settings: ClusterSettings, names: Sequence[str]) -> _Work:
        """Hand over the arrays that Slurm was just asked for and does not have."""
        runs, is_draining = self._store.cluster.runs() if names else [], self._is_draining()
        for name in names:
            own = [run for run in runs if run.array == name]
            if name in self._refused or any(run.is_outdated for run in own):
                self._refused.discard(name)
                with self._store.transaction():
                    self._store.cluster.take_back([run.run_id for run in own])
                continue
            if self._disk or is_draining:
                continue
            try:
                places = yield from directories(self._store, self._project, own, self._reach)
            except OSError as error:
                self._lose_disk(error, settings)
                continue
            log = log_of(self._project, settings, name)
            words = sbatch(name, len(own), settings, log, self._evidence.avoided())
            answer = yield from self._ask(words, script(name, places, settings, self._command))
            job_id = read_sbatch(answer.out) if not answer.problem else ""
            if job_id:
                with self._store.transaction():
                    self._store.cluster.acknowledge(name, job_id)
                _LOG.info("array %s: %d runs handed over as job %s", name, len(own), job_id)
                self._grow()
            elif limit(answer.problem, len(own)) or (
                answer.status is not None and _is_refusal(answer.problem)
            ):
                self._refuse(names, len(own), answer.problem)
                return
            elif answer.problem:
                self._lose(answer)
            # Whatever else it was: the next squeue tells whether Slurm has it.

    def _grow(self) -> None:
        """Note that Slurm has taken an array."""
        self._pauses[_SUBMIT].end()
        self._size = min(self._most_tasks, 2 * self._size)
        if self._size == self._most_tasks or not self._store.cluster.waiting(1):
            self._store.faults.clear(FaultKind.CLUSTER, _SUBMIT)

    def _refuse(self, names: Iterable[str], tasks: int, problem: str) -> None:
        self._refused.update(names)
        # It may be for want of those that were to be avoided.
        self._evidence.forget_nodes()
        if why := limit(problem, tasks):
            self._size = max(1, tasks // 2)
            sentence = f"Slurm takes no more runs now: {why} ({problem}); the others follow by themselves"
            if tasks > 1:
                # Fewer may fit at once.
                self._report(_SUBMIT, sentence)
                return
        else:
            sentence = f"Slurm takes no runs: {problem}; `datasize-tui doctor --cluster` looks further"
        self._hold_back(_SUBMIT, sentence)

    def _pass_on(self, orders: Iterable[Order]) -> _Work:
        """Have Slurm cancel, hold and release what a person did, and what was handed over twice."""
        for order in orders:
            answer = yield from self._ask(order.words)
            if not answer.problem and order.run_ids:
                with self._store.transaction():
                    self._store.cluster.hold(order.run_ids, is_held=order.is_hold)

    def _lose(self, answer: Reply) -> None:
        ahead = "runs that it has go on, and it is asked again by itself"
        self._report(_ANSWER, f"Slurm does not answer: {answer.problem}; {ahead}")

    def _hold_back(self, subject: str, sentence: str) -> None:
        """Hand nothing over for a while, longer each time."""
        self._pauses[subject].begin()
        self._report(subject, sentence)

    def _report(self, subject: str, sentence: str) -> None:
        self._store.faults.report(FaultKind.CLUSTER, subject, sentence)


def _is_refusal(problem: str) -> bool:
    """Whether sbatch has failed for what it was asked, and not for the want of an answer."""
    return bool(problem) and not any(word in problem.lower() for word in _NO_ANSWER)


def _may_be_anothers(run: HandedRun) -> bool:
    """Whether the task of a run is to be known though it may be of another submission."""
    return not run.array or run.cancel_requested


def _may_have_changed(run: HandedRun, task: ClusterTask | None, is_answered: bool) -> bool:
    """Whether the directory of a run may tell something new, by what Slurm says of its task."""
    is_begun = is_answered and not (task and task.is_pending)
    return run.state.is_active or run.cancel_requested or is_begun


def _new_reason(run: HandedRun, task: ClusterTask, settings: ClusterSettings) -> dict[str, str]:
    """Why a run waits, by its id; nothing where that is known."""
    if not (task.is_pending or task.state == "CONFIGURING"):
        return {}
    reason = waits(task, settings, datetime.now())
    return {run.run_id: reason} if reason != run.reason else {}
