"""Applying acknowledged commands: a batch in one transaction, with an answer for each."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from graphlib import TopologicalSorter
from itertools import groupby
from types import MappingProxyType
from typing import TypeAlias, TypeVar

from tui_datasize.errors import DatasizeError, StorageError
from tui_datasize.files import fault_of
from tui_datasize.jobs.queue.commands import PROMOTION, UNDO, CommandKind
from tui_datasize.jobs.queue.database import concerns_all, storage_errors
from tui_datasize.jobs.queue.records import PastAttempt, PendingCommand, Verdict
from tui_datasize.jobs.queue.spec_file import QueuedSpec
from tui_datasize.jobs.queue.state import SLURM, JobState
from tui_datasize.jobs.queue.store import Store
from tui_datasize.jobs.scheduler.shared_disk import SharedDisk, SharedDiskError
from tui_datasize.jobs.scheduler.superseded import has_succeeded, supersede
from tui_datasize.runlog.claim import (
    Observation,
    RunOutcome,
    conclude_if_there,
    make_end_durable,
    observe,
    utc_now,
    who_has,
)
from tui_datasize.runlog.paths import ProjectPaths, RunPaths
from tui_datasize.text import plural

T = TypeVar("T")
_BATCH = 1000
_TURN_S = 1.0
"""For which a slow shared disk may take up the time of commands at one look."""
FOR_CHECKPOINT = " for the sake of a checkpoint that is gone"
_UNSEEN = Observation(exit=None, claim=None, lock_held=False, claimant_alive=False)
_LOG = logging.getLogger(__name__)


@dataclass(eq=False)
class CommandApplier:
    """Applies what clients have asked for, in the order of their acknowledgements."""

    _store: Store
    _project: ProjectPaths
    _disk: SharedDisk = field(default_factory=SharedDisk)
    """Has the directories of runs that lie elsewhere, which links lead to."""
    stop_requested: bool = field(default=False, init=False)
    """Whether the last that was asked for is that the scheduler ends."""
    stops_unanswered: bool = field(default=False, init=False)
    """Whether it is to end though the database cannot be told so."""

    def apply_pending(self) -> int:
        """Apply the oldest pending commands, not all where a shared disk is slow, and return how many.

        Raises StorageError: the database or the disk cannot be written; nothing has been applied.
        """
        commands = self._store.pending_commands(_BATCH)
        if not commands:
            return 0
        applied, self._disk.asked_s = 0, 0.0
        try:
            with self._store.transaction():
                for (_, kind), group in groupby(commands, key=lambda command: (command.batch, command.kind)):
                    together = list(group)
                    with self._store.changes.noted(together[0].batch):
                        done = self._apply_group(kind, together)
                    applied += done
                    if done < len(together):
                        break
        except StorageError:
            # What was acknowledged is done, whatever else fails.
            self.stop_requested = self.stops_unanswered = self._store.settings.is_asked_to_stop()
            if not self.stops_unanswered:
                raise
            return 0
        return applied

    def close(self) -> None:
        self._disk.close()

    def dismiss_old_stops(self, newest: int) -> None:
        """Answer requests to stop that were meant for an earlier scheduler: this one was asked for since.

        `newest` is the last command that was acknowledged before this one could be seen.
        """
        stops = [s.id for s in self._store.pending_commands(-1, CommandKind.STOP) if s.id <= newest]
        with self._store.transaction():
            self._store.settle((stop, Verdict(True, "the scheduler had ended already")) for stop in stops)
            self._store.settings.write(stopped=False)

    def _apply_group(self, kind: CommandKind, commands: Sequence[PendingCommand]) -> int:
        if kind is not CommandKind.STOP and self.stop_requested:
            # Whoever asked saw a scheduler, and has started none.
            self._set_stop(requested=False, for_another=False)
        if kind is CommandKind.MOVE:
            answers = self._move(commands)
        elif kind is CommandKind.RETRY:
            answers = self._retry(commands)
        elif kind is CommandKind.DRAIN:
            answers = [self._drain(draining=command.amount != 0) for command in commands]
        elif kind is CommandKind.STOP:
            self._set_stop(requested=True, for_another=bool(commands[-1].amount))
            answers = [Verdict(True, "the scheduler ends; workers go on")] * len(commands)
        else:
            answers = list(self._one_by_one(commands))
        if kind is CommandKind.UNDO:
            answers = [self._end_undo(c, answer) for c, answer in zip(commands, answers, strict=False)]
        self._store.settle(
            (c.id, answer._replace(text=f"{c.run_id}: {answer.text}") if c.run_id else answer)
            for c, answer in zip(commands, answers, strict=False)
        )
        return len(answers)

    def _one_by_one(self, commands: Sequence[PendingCommand]) -> Iterator[Verdict]:
        for command in commands:
            verdict = self._apply_one(command)
            if command.batch.startswith(PROMOTION) and not verdict.ok:
                self._keep_refused(command, verdict.text)
            yield verdict
            if self._disk.asked_s > _TURN_S:
                # This machine's own runs have waited long enough; the rest follows at the next look.
                return

    def _keep_refused(self, command: PendingCommand, why: str) -> None:
        """Have a run that a search went on with fail: nobody hears a refusal, and its rung waits."""
        if self._store.state(command.run_id) is None:
            document = QueuedSpec.read(command.document)
            self._store.add(
                document.job(command.run_id, _UNSEEN, JobState.FAILED, why, priority=command.amount)
            )
            self._store.dependencies.replace(command.run_id, document.after)

    def _set_stop(self, *, requested: bool, for_another: bool) -> None:
        self.stop_requested = requested
        self._store.settings.write(stopped=requested and not for_another)

    def _apply_one(self, command: PendingCommand) -> Verdict:
        try:
            with self._store.savepoint():
                return _HANDLERS[command.kind](self, command, self._store.state(command.run_id))
        except OSError as error:
            if concerns_all(error, self._project.runs):
                # Acknowledged is acknowledged: it waits until the machine is well again.
                with storage_errors(self._project.runs):
                    raise
            # One broken run directory must not keep the other commands waiting.
            return Verdict(False, f"its directory cannot be used: {fault_of(error)}")
        except SharedDiskError as error:
            # Others of this machine do not wait for it.
            return Verdict(False, f"its directory cannot be used: {error}; nothing was changed")
        except (DatasizeError, sqlite3.Error):
            raise
        except Exception as error:
            _LOG.exception("%s: %s cannot be applied", command.run_id, command.kind)
            return Verdict(False, f"unexpected error: {type(error).__name__}: {error}; see scheduler.log")

    def _enqueue(self, command: PendingCommand, state: JobState | None) -> Verdict:
        try:
            document = QueuedSpec.read(command.document)
        except (KeyError, TypeError, ValueError) as error:
            return Verdict(
                False, f"the scheduler has another version and cannot read it ({error}); restart it"
            )
        has_joined = self._store.searches.join(command.run_id, document.rung)
        is_stranded = self._store.dependencies.has_failed_for(command.run_id)
        is_renewed = document.anew and state is JobState.SUCCEEDED
        if command.force or state is JobState.CANCELLED or is_stranded or is_renewed:
            return self._enqueue_again(command, state, document)
        if state is None:
            return self._add(command, document)
        if state is JobState.FAILED and not has_joined:
            return Verdict(False, "has failed before; retry it, or queue it with --force")
        if not state.is_final and self._store.value(command.run_id, "cancel_requested"):
            return Verdict(False, "is just being cancelled; queue it again in a moment")
        told = f"has {state} already" if state.is_final else "is in the queue already"
        return Verdict(True, told)

    def _enqueue_again(
        self, command: PendingCommand, state: JobState | None, document: QueuedSpec
    ) -> Verdict:
        """Queue a run that has ended once more; by force any that no worker has, from the start."""
        run_id, allowed = command.run_id, document.attempts_allowed
        if state and state.is_active:
            return Verdict(False, "is running; cancel it first")
        if problem := self._store.dependencies.problem(run_id, document.after):
            return Verdict(False, problem)
        paths = self._project.run(document.spec.experiment, run_id)
        is_moved = command.force and self.at(paths, partial(supersede, paths, self._project))
        if command.force or document.anew:
            # Whatever its task of a cluster still does, it is not what was asked for now.
            self._store.cluster.take_back([run_id])
        if state is None:
            return self._add(command, document)
        if state.is_final:
            self._store.queue_again(run_id)
        self._store.replace_document(run_id, command.document, command.amount, allowed, document.place)
        self._store.dependencies.replace(run_id, document.after)
        if is_moved:
            self._store.changes.note_renewed(run_id)
        how = " from the start" if command.force else FOR_CHECKPOINT if document.anew else ""
        return Verdict(True, f"queued again{how}")

    def _add(self, command: PendingCommand, document: QueuedSpec) -> Verdict:
        """Add a job that the queue does not know, in the state that its directory tells."""
        paths = self._project.run(document.spec.experiment, command.run_id)
        try:
            seen = self.at(paths, partial(_seen_durably, paths))
        except SharedDiskError:
            if document.place != SLURM:
                raise
            # Acknowledged, so it is kept: how its directory stands is found out when it is handed over.
            seen = _UNSEEN
        state, reason = JobState.QUEUED, ""
        if seen.final_exit and seen.final_exit.outcome in (RunOutcome.SUCCEEDED, RunOutcome.FAILED):
            state, reason = JobState(seen.final_exit.outcome), seen.final_exit.reason
        elif seen.is_running:
            state = JobState.RUNNING
        elif problem := self._store.dependencies.problem(command.run_id, document.after):
            # Acknowledged, so it is kept, where a person sees it.
            state, reason = JobState.FAILED, problem
        job = document.job(command.run_id, seen, state, reason, priority=command.amount)
        self._store.add(job)
        if document.after:
            self._store.dependencies.replace(command.run_id, document.after)
        if state is JobState.RUNNING and seen.claim:
            adopted = PastAttempt(seen.claim.attempt, seen.claim.tag, utc_now())
            self._store.record_attempt(command.run_id, adopted)
        if state is JobState.FAILED:
            return Verdict(False, f"has failed before: {reason}; retry it, or queue it with --force")
        if state is not JobState.QUEUED:
            return Verdict(True, f"is {state} already, by its directory")
        return Verdict(True, "queued")

    def _hold(self, command: PendingCommand, state: JobState | None) -> Verdict:
        if state is JobState.HELD:
            return Verdict(True, "is held already")
        if state is None or not state.is_waiting:
            return Verdict(False, _refusal(state, "cancel it to stop it"))
        self._store.change(command.run_id, JobState.HELD)
        return Verdict(True, "held")

    def _release(self, command: PendingCommand, state: JobState | None) -> Verdict:
        if state is not JobState.HELD:
            return Verdict(False, _refusal(state, "only held jobs are released"))
        self._store.change(command.run_id, JobState.QUEUED)
        return Verdict(True, "released")

    def _cancel(self, command: PendingCommand, state: JobState | None) -> Verdict:
        if state is JobState.CANCELLED:
            return Verdict(True, "is cancelled already")
        # Its source may have been cancelled by the command before this one.
        is_stranded = self._store.dependencies.has_failed_for(command.run_id) is JobState.CANCELLED
        if state is None or (state.is_final and not is_stranded):
            return Verdict(False, _refusal(state, "nothing is left to cancel"))
        if state.is_active:
            self._store.update(command.run_id, cancel_requested=1)
            return Verdict(True, "is being cancelled")
        is_clusters = self._store.value(command.run_id, "place") == SLURM and not state.is_final
        try:
            who = self._conclude(command.run_id)
        except SharedDiskError as error:
            if not is_clusters:
                raise
            who = str(error)
        if who and is_clusters:
            # A worker has it just now, or the disk is away: whoever looks at the cluster goes on with it.
            self._store.update(command.run_id, cancel_requested=1, reason="is being cancelled")
            return Verdict(True, "is being cancelled")
        if who:
            return Verdict(False, who)
        if is_stranded:
            self._store.change(command.run_id, JobState.QUEUED)
        self._store.change(command.run_id, JobState.CANCELLED, "cancelled")
        return Verdict(True, "cancelled")

    def _conclude(self, run_id: str) -> str:
        """Have the directory of a waiting run tell that it is cancelled: who has it, where somebody has."""
        paths, attempt = self._paths(run_id), self._store.value(run_id, "attempts") + 1
        is_renewed = bool(self._store.value(run_id, "anew"))
        is_told, who = self.at(paths, partial(_concluded, paths, attempt, is_renewed=is_renewed))
        if is_told:
            # The number is used up, so that no worker of an earlier attempt can still claim the run.
            self._store.increase(run_id, "attempts")
        return who

    def _paths(self, run_id: str) -> RunPaths:
        return self._project.run(self._store.value(run_id, "experiment"), run_id)

    def at(self, paths: RunPaths, work: Callable[[], T]) -> T:
        """Have something done to the directory of a run.

        Raises OSError: it cannot be.
        Raises SharedDiskError: the same of a directory that lies elsewhere, or does not answer.
        """
        return self._disk.ask(work) if paths.directory.parent.is_symlink() else work()

    def _retry(self, commands: Sequence[PendingCommand]) -> list[Verdict]:
        """Retry sources before what waits for them, so that a whole experiment can be asked for.

        Otherwise in the order that they had in line, however they are named. What has failed for one of them
        alone comes back with it.
        """
        sources = self._store.dependencies.sources
        named = self._store.in_line([command.run_id for command in commands])
        together = {run_id: sources(run_id) for run_id in named}
        in_order = [run_id for run_id in TopologicalSorter(together).static_order() if run_id in together]
        answers = {run_id: self._retry_one(run_id, together[run_id]) for run_id in in_order}
        for run_id, answer in answers.items():
            if answer.ok and (back := self._bring_back(run_id)):
                told = f"{answer.text}, with {plural(back, 'run')} that failed for it"
                answers[run_id] = answer._replace(text=told)
        return [answers[command.run_id] for command in commands]

    def _bring_back(self, source: str) -> int:
        """Queue again what has failed for a run, directly or not, and return how many runs that were."""
        back = [source]
        for one in back:
            for dependant in self._store.dependencies.failed_for(one):
                self._store.queue_again(dependant)
                back.append(dependant)
        return len(back) - 1

    def _retry_one(self, run_id: str, sources: Sequence[str]) -> Verdict:
        state = self._store.state(run_id)
        if state is JobState.INTERRUPTED:
            self._store.renew_attempts(run_id)
            return Verdict(True, "waits already; its attempts are counted from 0 again")
        if state and state.is_waiting:
            return Verdict(True, "waits already")
        if state not in (JobState.FAILED, JobState.CANCELLED):
            return Verdict(False, _refusal(state, "only failed, cancelled and interrupted runs are retried"))
        if hopeless := self._store.dependencies.hopeless(sources):
            return Verdict(False, f"{hopeless}; retry that first, or queue this again without waiting for it")
        behind = self._renew_sources(run_id)
        self._store.queue_again(run_id)
        return Verdict(True, f"queued again{behind}")

    def _renew_sources(self, run_id: str) -> str:
        """Queue anew what a run takes over from where checkpoints are gone; what is to be told of that."""
        lost: Collection[str] = ()
        with suppress(KeyError, TypeError, ValueError, SharedDiskError):
            spec = QueuedSpec.read(self._store.value(run_id, "document")).spec
            for source in filter(self._store.state, spec.sources):
                paths = self._paths(source)
                # Whether the disk answers.
                self.at(paths, paths.directory.exists)
            lost = self._store.without_checkpoints(self._project, spec)
        self._store.cluster.take_back(lost)
        for source in lost:
            self._store.renew(source)
        return f", behind {plural(len(lost), 'finished run')}{FOR_CHECKPOINT}" if lost else ""

    def _undo(self, command: PendingCommand, state: JobState | None) -> Verdict:
        """Put back what a command changed, where that still is as the command left it; no work is ended."""
        run_id, batch = command.run_id, command.batch.removeprefix(UNDO)
        if not run_id:
            return self._drain(draining=self._store.changes.was_draining(batch))
        change = self._store.changes.of(batch, run_id)
        if state is None or change is None:
            return Verdict(False, "was taken back already")
        before = change.before(self._store.changes.now(run_id)) if change.was else {}
        then = JobState(before.get("state", state))
        is_clusters = then.is_final and self._store.value(run_id, "place") == SLURM
        if not state.is_final and not state.is_active and (is_clusters or not change.was):
            # There is nothing to go back to, or a cluster has to be told.
            paths = self._paths(run_id)
            if bool(change.was) or self.at(paths, paths.directory.exists) or not self._store.remove(run_id):
                return self._cancel(command, state)
            return Verdict(True, "taken out of the queue")
        if not before:
            return Verdict(False, "left alone, as changed since")
        behind = self._renew_sources(run_id) if state.is_final and not then.is_final else ""
        self._store.put_back(run_id, before)
        if then is not state:
            return Verdict(True, f"{then} as before{behind}")
        return Verdict(True, f"priority is now {before['priority']}" if "priority" in before else "put back")

    def _end_undo(self, command: PendingCommand, answer: Verdict) -> Verdict:
        """Let others follow once all jobs are as they were; what could not be put back is not tried again."""
        self._store.changes.forget(command.batch.removeprefix(UNDO), command.run_id)
        hopeless = self._store.follow_back(command.run_id) if answer.ok else ""
        return Verdict(False, f"failed: {hopeless}") if hopeless else answer

    def _drain(self, *, draining: bool) -> Verdict:
        self._store.changes.note_drain(draining)
        self._store.settings.write(draining=draining)
        if draining:
            return Verdict(True, "draining: running jobs finish, no new ones start")
        return Verdict(True, "the queue starts jobs again")

    def _priority(self, command: PendingCommand, state: JobState | None) -> Verdict:
        if state is None or state.is_final:
            return Verdict(False, _refusal(state, "only waiting jobs have a priority"))
        priority = self._store.increase(command.run_id, "priority", command.amount)
        return Verdict(True, f"priority is now {priority}")

    def _move(self, commands: Sequence[PendingCommand]) -> list[Verdict]:
        """Move marked jobs as one block: those at the end of the line stay, and stay in order."""
        marked = {command.run_id for command in commands}
        moved: set[str] = set()
        in_line: set[str] = set()
        for run_id in marked:
            if run_id not in in_line:
                line = self._store.line(run_id)
                in_line.update(line)
                moved.update(self._move_in_line(line, marked, commands[0].amount))
        already = f"is at the {'end' if commands[0].amount > 0 else 'front'} of its line already"
        answers = dict.fromkeys(in_line, Verdict(True, already))
        answers |= dict.fromkeys(moved, Verdict(True, "moved"))
        for run_id in marked - in_line:
            answers[run_id] = Verdict(
                False, _refusal(self._store.state(run_id), "only waiting jobs are moved")
            )
        return [answers[command.run_id] for command in commands]

    def _move_in_line(self, line: list[str], marked: set[str], amount: int) -> set[str]:
        # Whoever is moved down is moved up in the line seen from its end.
        seen = line[::-1] if amount > 0 else line
        places: dict[int, str] = {}
        moved: set[str] = set()
        for place, run_id in enumerate(seen):
            if run_id in marked:
                # Not past those of the block that are at the end already.
                new_place = max(place - abs(amount), len(places))
                places[new_place] = run_id
                moved.update({run_id} if new_place < place else ())
        others = iter([run_id for run_id in seen if run_id not in marked])
        after = [places.get(place) or next(others) for place in range(len(seen))]
        self._store.reorder(after[::-1] if amount > 0 else after)
        return moved


_Handler: TypeAlias = Callable[[CommandApplier, PendingCommand, JobState | None], Verdict]
_HANDLERS: Mapping[CommandKind, _Handler] = MappingProxyType(
    {
        CommandKind.ENQUEUE: CommandApplier._enqueue,
        CommandKind.HOLD: CommandApplier._hold,
        CommandKind.RELEASE: CommandApplier._release,
        CommandKind.CANCEL: CommandApplier._cancel,
        CommandKind.PRIORITY: CommandApplier._priority,
        CommandKind.UNDO: CommandApplier._undo,
    }
)


def _seen_durably(paths: RunPaths) -> Observation:
    seen = observe(paths)
    make_end_durable(paths, seen)
    return seen


def _concluded(paths: RunPaths, attempt: int, *, is_renewed: bool) -> tuple[bool, str]:
    """Whether a directory tells that an attempt is cancelled, and who has the run where it cannot."""
    if is_renewed and has_succeeded(paths):
        return False, ""
    is_told = conclude_if_there(paths, attempt, RunOutcome.CANCELLED, "cancelled while it waited")
    who = "" if is_told is not False else who_has(paths) or "a worker is just leaving it; try again"
    return bool(is_told), who


_ENDED: Mapping[JobState, str] = MappingProxyType(
    {
        JobState.SUCCEEDED: "has succeeded already; `queue --force` runs it again",
        JobState.FAILED: "has failed already; `retry` runs it again",
        JobState.CANCELLED: "is cancelled already; `retry` queues it again",
    }
)


def _refusal(state: JobState | None, advice: str) -> str:
    if state is None:
        return "is not in the queue"
    return _ENDED.get(state) or f"is {state}; {advice}"
