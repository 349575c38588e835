"""Slurm as the executor of a queue: hands runs over, looks at them, and passes on what is asked of them.

It works in rounds, each with at most one squeue, and waits for nothing: every step of it takes a moment. Like
the rest of the scheduler it may be killed at any moment: what it is about to do is committed before.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Generator, Iterable, Mapping, Sequence
from datetime import datetime
from typing import TypeAlias

from tui_datasize.errors import ConfigError
from tui_datasize.experiments.cluster_settings import ClusterSettings
from tui_datasize.experiments.load import cluster_settings
from tui_datasize.files import fault_of
from tui_datasize.jobs.queue.cluster import HandedRun
from tui_datasize.jobs.queue.faults import FaultKind
from tui_datasize.jobs.queue.state import JobState
from tui_datasize.jobs.queue.store import Store
from tui_datasize.jobs.scheduler.slurm.arrays import sbatch, script
from tui_datasize.jobs.scheduler.slurm.attempts import Attempts, RunLook
from tui_datasize.jobs.scheduler.slurm.calls import (
    Call,
    ClusterTask,
    Commands,
    Reply,
    read_most_tasks,
    read_sbatch,
    read_squeue,
    squeue,
)
from tui_datasize.jobs.scheduler.slurm.handing import directories, log_of, plan_array
from tui_datasize.jobs.scheduler.slurm.words import waits
from tui_datasize.runlog.claim import read_claim
from tui_datasize.runlog.paths import ProjectPaths

SQUEUE_S = 5.0
"""The least time between two squeues."""
_TURN_S = 0.1
"""The longest that the scheduler's other work waits for a step."""
_ARRAYS_A_ROUND = 4
_NAMES_A_COMMAND = 200
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 10.0, 300.0
"""For which nothing is handed over after Slurm has refused runs, or jobs have ended before they began."""
_ANSWER, _SUBMIT, _RUNS, _DISK = "answer", "submit", "runs", "disk"
"""What of the cluster may be at fault."""
_TOO_MANY = ("limit", "array", "too many", "policy")
"""Words of a refusal that a smaller array may escape."""
_NO_ANSWER = ("unable to contact", "timed out", "temporarily", "zero bytes", "connection")
"""Words of a failure behind which Slurm may have taken the runs."""
_LOG = logging.getLogger(__name__)

_Work: TypeAlias = Generator[bool, None, None]
"""Yields whether it has more to do at once; otherwise it waits for a command."""


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
        self._most_tasks = 0
        """The cluster's limit of an array; 0 before it was asked."""
        self._size = 0
        """The same as far as Slurm and its nodes have shown to take."""
        self._is_proven, self._is_probing = False, False
        """Whether a worker has begun lately; whether one run is to find out if any can."""
        self._disk = ""
        """What was wrong in this round with a directory."""
        self._pause_s, self._not_before_s = 0.0, 0.0
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

    def _go_round(self) -> _Work:
        try:
            settings = cluster_settings(self._project.root)
        except ConfigError as error:
            self._report(_SUBMIT, error.line)
            return
        if settings is None:
            self._report(_SUBMIT, f"{self._project.experiments} has no [cluster] any more")
            return
        if not self._most_tasks:
            answer = yield from self._ask(["scontrol", "show", "config"])
            self._most_tasks = self._size = 0 if answer.problem else read_most_tasks(answer.out)
            if not self._most_tasks:
                self._lose(answer if answer.problem else Reply(1, err="its MaxArraySize is not told"))
                return
        self._disk = ""
        try:
            yield from self._plan(settings)
        except OSError as error:
            self._disk = fault_of(error)
            self._tell_of_disk()
        arrays, runs = self._store.cluster.arrays(), self._store.cluster.runs()
        if not runs:
            return
        self._due_s = time.monotonic() + self._interval_s
        answer = yield from self._ask(squeue([] if any(not run.array for run in runs) else sorted(arrays)))
        tasks = self._tasks(answer)
        known = self._acknowledge(arrays, tasks)
        yield from self._look(settings, known, tasks)
        self._tell_of_disk()
        if tasks is not None:
            yield from self._submit(settings, [name for name in arrays if name not in known])
            yield from self._pass_on(tasks, arrays)

    def _ask(self, words: Sequence[str], text: str = "") -> Generator[bool, None, Reply]:
        self._call = self._commands.start(words, text)
        while (answer := self._call.poll()) is None:
            yield False
        self._call = None
        return answer

    def _plan(self, settings: ClusterSettings) -> _Work:
        """Commit what is to be handed over next."""
        arrays = self._store.cluster.arrays()
        is_doubtful = not all(arrays.values()) or (self._is_probing and len(arrays) > 0)
        if is_doubtful or time.monotonic() < self._not_before_s or self._store.settings.read().draining:
            return
        for _ in range(_ARRAYS_A_ROUND):
            name = yield from plan_array(
                *(self._store, self._project, settings), 1 if self._is_probing else self._size
            )
            if not name or self._is_probing or self._size < self._most_tasks:
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
        self._store.faults.clear(FaultKind.CLUSTER, _ANSWER)
        return tasks

    def _acknowledge(self, arrays: Mapping[str, str], tasks: Iterable[ClusterTask] | None) -> set[str]:
        """The arrays that Slurm was known to have, before this answer or by it."""
        known = {name for name, job_id in arrays.items() if job_id}
        found = {task.array: task.job_id for task in tasks or () if arrays.get(task.array) == ""}
        if found:
            with self._store.transaction():
                for name, job_id in found.items():
                    self._store.cluster.acknowledge(name, job_id)
                    _LOG.info("array %s: found as job %s", name, job_id)
        return known | found.keys()

    def _look(self, settings: ClusterSettings, known: set[str], tasks: Sequence[ClusterTask] | None) -> _Work:
        """Look at the runs that may have begun or ended, and tell why others wait."""
        by_run = {(task.array, task.job_id, task.number): task for task in tasks or ()}
        by_name = {task.name: task for task in tasks or ()}
        living = frozenset(task.name for task in tasks or () if not task.is_over)
        attempts = Attempts(self._store, self._project, not settings.gpus, self._is_proven, living)
        free, reasons = list[str](), dict[str, str]()
        for run in self._store.cluster.runs():
            task = by_run.get((run.array, run.job_id, run.task)) if run.array else self._of(run, by_name)
            is_answered = tasks is not None and (run.array in known or not run.array)
            if run.is_outdated:
                if is_answered and (task is None or task.is_over):
                    free.append(run.run_id)
                continue
            if run.state.is_waiting and task is not None and not task.is_over:
                reasons |= _new_reason(run, task, settings)
            if not run.state.is_active and ((task and task.is_pending) or not is_answered):
                continue
            try:
                finding = attempts.look(
                    run, task, is_answered=is_answered, log=log_of(self._project, settings, run.array)
                )
            except OSError as error:
                self._disk = self._disk or fault_of(error)
                continue
            free += [run.run_id] if finding.is_free else []
            self._learn(finding)
            yield True
        with self._store.transaction():
            self._store.cluster.take_back(free)
            for run_id, reason in reasons.items():
                if (state := self._store.state(run_id)) and state.is_waiting:
                    self._store.update(run_id, reason=reason)

    def _of(self, run: HandedRun, by_name: Mapping[str, ClusterTask]) -> ClusterTask | None:
        """The task of a run that another queue has handed over."""
        try:
            claim = read_claim(self._project.run(run.experiment, run.run_id))
        except OSError:
            return None
        return by_name.get(claim.job) if claim else None

    def _learn(self, finding: RunLook) -> None:
        if finding.trouble:
            self._is_probing = True
            self._hold_back(_RUNS, f"{finding.trouble}; it is tried again by itself, with one run")
        elif finding.has_begun:
            self._is_proven, self._is_probing = True, False
            self._grow(_RUNS)

    def _grow(self, subject: str) -> None:
        """Note that a thing works."""
        self._pause_s = self._not_before_s = 0.0
        self._size = min(self._most_tasks, 2 * self._size)
        self._store.faults.clear(FaultKind.CLUSTER, subject)

    def _submit(self, settings: ClusterSettings, names: Sequence[str]) -> _Work:
        """Hand over the arrays that Slurm was just asked for and does not have."""
        runs = self._store.cluster.runs()
        for name in names:
            own = [run for run in runs if run.array == name]
            if name in self._refused or any(run.is_outdated for run in own):
                self._refused.discard(name)
                with self._store.transaction():
                    self._store.cluster.take_back([run.run_id for run in own])
                continue
            words = sbatch(name, len(own), settings, log_of(self._project, settings, name))
            text = script(name, directories(self._store, self._project, own), settings, self._command)
            answer = yield from self._ask(words, text)
            job_id = read_sbatch(answer.out) if not answer.problem else ""
            if job_id:
                with self._store.transaction():
                    self._store.cluster.acknowledge(name, job_id)
                _LOG.info("array %s: %d runs handed over as job %s", name, len(own), job_id)
                self._grow(_SUBMIT)
            elif answer.status is not None and _is_refusal(answer.problem):
                self._refuse(names, len(own), answer.problem)
                return
            elif answer.problem:
                self._lose(answer)
            # Whatever else it was: the next squeue tells whether Slurm has it.

    def _refuse(self, names: Iterable[str], tasks: int, problem: str) -> None:
        if any(word in problem.lower() for word in _TOO_MANY):
            self._size = max(1, tasks // 2)
        self._refused.update(names)
        self._hold_back(
            _SUBMIT, f"Slurm takes no runs: {problem}; `datasize-tui doctor --cluster` looks further"
        )

    def _pass_on(self, tasks: Sequence[ClusterTask], arrays: Collection[str]) -> _Work:
        """Have Slurm cancel, hold and release what a person did, and what was handed over twice."""
        found = self._store.cluster.runs()
        by_name = {task.name: task for task in tasks}
        # Others may have jobs of any name, and those of another queue are known by their claims.
        adopted = {task.name: run for run in found if not run.array and (task := self._of(run, by_name))}
        runs = {(run.array, run.task): run for run in found if run.array}
        cancel, hold, release = [], list[ClusterTask](), list[ClusterTask]()
        for task in tasks:
            run = adopted.get(task.name) or runs.get((task.array, task.number))
            if task.is_over or (task.array not in arrays and task.name not in adopted):
                continue
            if run is None or (run.job_id not in ("", task.job_id)):
                # Handed over twice. One that runs is in nobody's way: it has the run, or leaves it alone.
                cancel += [task] if task.is_pending else []
            elif _is_unwanted(run, task):
                cancel.append(task)
            elif task.is_pending and run.state is JobState.HELD and not run.is_held:
                hold.append(task)
            elif task.is_pending and run.state.is_waiting and run.is_held:
                release.append(task)
        for words, chosen in (
            (["scancel"], cancel),
            (["scontrol", "uhold"], hold),
            (["scontrol", "release"], release),
        ):
            for start in range(0, len(chosen), _NAMES_A_COMMAND):
                part = chosen[start : start + _NAMES_A_COMMAND]
                names = [task.name for task in part]
                answer = yield from self._ask(
                    [*words, *(names if words == ["scancel"] else [",".join(names)])]
                )
                if not answer.problem and words != ["scancel"]:
                    changed = [runs[task.array, task.number].run_id for task in part]
                    with self._store.transaction():
                        self._store.cluster.hold(changed, is_held=words[1] == "uhold")

    def _tell_of_disk(self) -> None:
        if self._disk:
            self._report(_DISK, f"{self._disk}: runs of the cluster wait until that is fixed")
        else:
            self._store.faults.clear(FaultKind.CLUSTER, _DISK)

    def _lose(self, answer: Reply) -> None:
        ahead = "runs that it has go on, and it is asked again by itself"
        self._report(_ANSWER, f"Slurm does not answer: {answer.problem}; {ahead}")

    def _hold_back(self, subject: str, sentence: str) -> None:
        """Hand nothing over for a while, longer each time."""
        if time.monotonic() >= self._not_before_s:
            self._pause_s = min(_LONGEST_PAUSE_S, 2 * self._pause_s or _FIRST_PAUSE_S)
            self._not_before_s = time.monotonic() + self._pause_s
        self._report(subject, sentence)

    def _report(self, subject: str, sentence: str) -> None:
        self._store.faults.report(FaultKind.CLUSTER, subject, sentence)


def _is_refusal(problem: str) -> bool:
    """Whether sbatch has failed for what it was asked, and not for the want of an answer."""
    return bool(problem) and not any(word in problem.lower() for word in _NO_ANSWER)


def _is_unwanted(run: HandedRun, task: ClusterTask) -> bool:
    """Whether Slurm is to end a task, or not to start it."""
    if run.is_outdated:
        return task.is_pending or run.state is not JobState.SUCCEEDED
    return run.cancel_requested and run.state.is_active


def _new_reason(run: HandedRun, task: ClusterTask, settings: ClusterSettings) -> dict[str, str]:
    """Why a run waits, by its id; nothing where that is known."""
    if not (task.is_pending or task.state == "CONFIGURING"):
        return {}
    reason = waits(task, settings, datetime.now())
    return {run.run_id: reason} if reason != run.reason else {}
