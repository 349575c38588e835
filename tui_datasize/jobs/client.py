"""The queue as the app and the commands see it: ask, look, and see that a scheduler runs."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tui_datasize.errors import ConfigError, DatasizeError
from tui_datasize.experiments.cluster_settings import Place
from tui_datasize.experiments.project_tables import data_directory
from tui_datasize.experiments.sources import in_order_of_paths
from tui_datasize.experiments.spec import RunSpec
from tui_datasize.jobs.queue import image_files, reading, requests
from tui_datasize.jobs.queue.commands import UNDO, CommandKind
from tui_datasize.jobs.queue.database import QueueWatch, create_database, insert_commands, transaction
from tui_datasize.jobs.queue.dependencies import Dependencies, check_sources, none_of_each_other
from tui_datasize.jobs.queue.faults import (
    Fault,
    FaultKind,
    Faults,
    fault_of_halted,
    fault_of_scheduler,
    faults_of_disk,
    new_fault,
    read_faults,
    runs_to_do,
)
from tui_datasize.jobs.queue.known_gpus import KnownGpus
from tui_datasize.jobs.queue.names import find_runs, unclear
from tui_datasize.jobs.queue.reading import Execution, Usage
from tui_datasize.jobs.queue.requests import (
    Acknowledgement,
    ChangeJobs,
    Command,
    CommandResult,
    Drain,
    Enqueue,
    Outcome,
    RestartScheduler,
    StopScheduler,
    Undo,
)
from tui_datasize.jobs.queue.settings import Settings
from tui_datasize.jobs.queue.state import MAX_ATTEMPTS, Job, JobState
from tui_datasize.jobs.queue.undo import being_cancelled, last_done
from tui_datasize.jobs.scheduler import launch
from tui_datasize.jobs.scheduler.devices import slots_by_file
from tui_datasize.jobs.scheduler.lock import read_notes
from tui_datasize.jobs.scheduler.slots import describe_holders, read_holders, slot_directory, unusable
from tui_datasize.jobs.search_client import SearchClient
from tui_datasize.jobs.workers.process import ProjectProcesses
from tui_datasize.runlog.identity import ProcessIdentity
from tui_datasize.runlog.paths import ProjectPaths

if TYPE_CHECKING:
    from tui_datasize.experiments.search import Rung

LOADING = "starting: loading PyTorch"
STOPPED = "waiting for `datasize-tui scheduler start`: it was stopped"
_LEARNED_FROM = 500
"""Finished runs whose times are read to tell those of others."""
_LOOK_AGAIN_S = 1.0
"""How often it is looked whether there still is a scheduler to answer."""


class ToQueue(NamedTuple):
    """What an enqueue adds."""

    runs: Mapping[str, RunSpec]
    """All that it looks at by id, in order."""
    forced: Collection[str]
    stranded: Collection[str]
    """Those that failed for another alone."""
    renewed: Collection[str]
    """Finished ones that others need, and whose checkpoints are gone."""
    queued: Sequence[str]
    """All that are added or run again."""

    def waits_for(self, after: Mapping[str, Sequence[str]]) -> Mapping[str, Sequence[str]]:
        """What each of the runs waits for: its sources, and what it is to be queued behind."""
        named = none_of_each_other(after, self.queued)
        return {run_id: [*spec.sources, *named.get(run_id, ())] for run_id, spec in self.runs.items()}


class QueueClient(SearchClient):
    """A client of one project's queue; cheap to make, used from any thread, may come and go."""

    def request(self, command: Command) -> Outcome:
        """Ask, see that a scheduler runs, and say what came of it; raises no error of the project.

        What was acknowledged is done, whatever the outcome says of the answer.
        """
        try:
            if isinstance(command, StopScheduler):
                return requests.outcome_of_stop(ended=self.stop_scheduler())
            if isinstance(command, RestartScheduler):
                self.restart_scheduler(command.options)
                return requests.outcome_of_restart(command.options)
            if isinstance(command, Undo):
                return self._undo()
            return self.answer_to(command, self._commit(command))
        except DatasizeError as error:
            return requests.outcome_of_error(error)

    def answer_to(
        self, command: Enqueue | ChangeJobs | Drain | Undo, acknowledgement: Acknowledgement
    ) -> Outcome:
        """Wait for the scheduler's answer to what was acknowledged, `requests.ANSWER_WITHIN_S` at most."""
        look_s = min(_LOOK_AGAIN_S, requests.ANSWER_WITHIN_S)
        deadline_s = time.monotonic() + requests.ANSWER_WITHIN_S
        try:
            self.ensure_scheduler()
            while (results := self.wait(acknowledgement, look_s)) is None:
                # It may have been killed, or made room for another, before it came to this.
                self.ensure_scheduler()
                if time.monotonic() >= deadline_s:
                    break
        except DatasizeError as error:
            return requests.outcome_of(command, acknowledgement, None, error)
        return requests.outcome_of(command, acknowledgement, results)

    def _undo(self) -> Outcome:
        if not self.project.queue.exists():
            raise ConfigError("nothing to undo: there is no queue here yet")
        with self._database() as connection:
            done = last_done(connection)
            ended = launch.wait_until(lambda: not being_cancelled(connection, done), requests.ANSWER_WITHIN_S)
        if not ended:
            raise ConfigError("the jobs are still being cancelled", fix="undo it once they have ended")
        outcome = self.answer_to(Undo(), self.send(CommandKind.UNDO, done.run_ids, 0, UNDO + done.batch))
        return replace(outcome, sentence=f"undo of: {done.words}: {outcome.sentence}")

    def _commit(self, command: Enqueue | ChangeJobs | Drain) -> Acknowledgement:
        if isinstance(command, ChangeJobs):
            return self.send(command.kind, command.run_ids, command.amount)
        if isinstance(command, Drain):
            return self.drain(command.draining)
        before = [run_id for word in command.terms.after for run_id in self.resolve_all(word)]
        return self.enqueue(
            command.specs,
            force=command.force,
            data_dir=command.data_dir,
            max_attempts=command.terms.attempts,
            on=command.terms.on,
            after={spec.run_id: before for spec in command.specs},
            sources=command.sources,
            incomplete=command.incomplete,
            rungs=command.rungs,
        )

    def enqueue(
        self,
        specs: Sequence[RunSpec],
        *,
        force: bool = False,
        priority: int = 0,
        data_dir: Path | None = None,
        max_attempts: int = MAX_ATTEMPTS,
        after: Mapping[str, Sequence[str]] | None = None,
        sources: Sequence[RunSpec] = (),
        incomplete: Collection[str] = (),
        on: Place = "local",
        rungs: Mapping[str, Rung] | None = None,
    ) -> Acknowledgement:
        """Queue the runs that are missing, in the given order, to be made by this machine or by a cluster.

        Runs that succeeded, failed or wait or run are left alone; cancelled ones are queued again, and those
        that failed for another run alone, whose weights they do not need. With `force` all run afresh, and so
        do those of `incomplete`, whose evaluations were lost: old directories move to `.superseded/`.
        `sources`, which those of `specs` take weights from and wait for, are queued first where missing, and
        never forced; finished ones whose checkpoints are gone are trained anew. `max_attempts` are allowed
        before a vanishing worker fails a run. `after` tells, by run id, what else must succeed before it
        starts; itself and what is to wait for the same is left out; `rungs` where those of a search stand.

        Raises ConfigError, DataError: a run was imported, there is no such cluster, or as of `check_images`.
        Raises StorageError: the runs directory cannot be written or holds a damaged queue.
        Raises UnknownRunError: one would wait for a run not queued, failed or waiting for it; none is queued.
        """
        # Not above: what only looks at the queue is counted in milliseconds.
        from tui_datasize.jobs.queue.spec_file import write_documents

        asked = self.to_queue(specs, sources, force=force, incomplete=incomplete)
        self.check_images(tuple(asked.runs.values()), data_dir)
        place = checked_place(self.project, on, asked.runs.values())
        doubt, waits_for = create_database(self.project.queue), asked.waits_for(after or {})
        # Not within the transaction: what the documents tell of git may take seconds.
        stands = {**self.promotions(), **(rungs or {})}
        terms = (data_dir, max_attempts, waits_for, place, asked.renewed, stands)
        documents = write_documents(self.project.root, asked.runs, *terms)
        return self._insert(documents, waits_for, asked, incomplete, priority, doubt, stands)

    def to_queue(
        self,
        specs: Sequence[RunSpec],
        sources: Sequence[RunSpec] = (),
        *,
        force: bool = False,
        incomplete: Collection[str] = (),
    ) -> ToQueue:
        """What `enqueue` would do now; nothing is done.

        Raises ConfigError: a run was imported.
        """
        from tui_datasize.jobs.queue.checkpoints import without_checkpoints

        # An id is a digest of the whole specification: of thousands of runs it is worth taking once.
        runs = in_order_of_paths((*sources, *specs))
        states = self.expected_states()
        forced = {spec.run_id for spec in specs} if force else set()
        lost, stranded = _lost(incomplete, states), self._stranded(runs, states)
        queued = _missing(runs, forced | stranded | lost, states)
        needing = [runs[one] for one in queued]
        nothing: dict[str, RunSpec] = {}
        found = self._read(lambda queue: without_checkpoints(queue, self.project, needing), nothing)
        renewed = found.keys() - set(queued)
        runs = in_order_of_paths((*(found[one] for one in found if one in renewed), *runs.values()))
        _refuse_imported(runs)
        return ToQueue(runs, forced, stranded, renewed, [one for one in runs if one in renewed.union(queued)])

    def expected_states(self) -> Mapping[str, JobState]:
        """By run id the state of each job once all that was asked for is done."""
        return self._read(reading.expected_states, {})

    def check_images(self, specs: Sequence[RunSpec], data_dir: Path | None) -> Mapping[str, Sequence[str]]:
        """Look at the image files of runs that are to be queued; what is to be told of each data set.

        Raises ConfigError: a run reads image files by other rules than earlier ones of its experiment.
        Raises DataError: image files cannot be shown as a person sees them.
        """
        wanted = image_files.rules_of(specs)
        if not wanted:
            return {}
        self._refuse_mixed(wanted)
        return image_files.check_images(specs, data_dir or data_directory(self.project.root))

    def mixed_rules(self, wanted: Mapping[str, int]) -> str:
        """What is to be told of runs that read image files by other rules than their experiment does now.

        A sentence with the way out; empty where there are none.
        """
        try:
            self._refuse_mixed(wanted)
        except ConfigError as error:
            return error.line
        return ""

    def _refuse_mixed(self, wanted: Mapping[str, int]) -> None:
        if not wanted:
            return
        shapes = self.shapes()
        shape_of = self.runs_of_shapes(shapes.keys())
        # The others have no numbers to be compared with.
        lost = {job.run_id for job in self.jobs() if job.state in (JobState.CANCELLED, JobState.FAILED)}
        earlier = [shapes[number] for run_id, number in shape_of.items() if run_id not in lost]
        pending: list[RunSpec] = self._read(reading.read_pending, [])
        image_files.refuse_mixed(wanted, [*earlier, *pending])

    def _stranded(self, runs: Mapping[str, RunSpec], states: Mapping[str, JobState]) -> set[str]:
        """Runs that failed for another alone, which they waited for and need no weights of."""
        nobody: set[str] = set()
        stranded = self._read(lambda queue: Dependencies(queue).have_failed_for_others(), nobody)
        failed = {run_id for run_id, state in states.items() if state is JobState.FAILED}
        return {one for one in stranded.intersection(runs) if failed.isdisjoint(runs[one].sources)}

    def _insert(
        self,
        documents: Mapping[str, str],
        waits_for: Mapping[str, Sequence[str]],
        asked: ToQueue,
        incomplete: Collection[str],
        priority: int,
        doubt: str,
        stands: Mapping[str, Rung],
    ) -> Acknowledgement:
        from tui_datasize.jobs.queue.searches import unknown_to

        with self._database() as connection, transaction(connection):
            states = reading.expected_states(connection)
            lost = _lost(incomplete, states).intersection(documents)
            afresh = lost.union(asked.forced)
            stranded = {run_id for run_id in asked.stranded if states.get(run_id) is JobState.FAILED}
            anew = _lost(asked.renewed, states)
            missing = _missing(documents, afresh | stranded | anew, states)
            check_sources(connection, states, missing, waits_for)
            # Those of another search are there, but it does not know them.
            others = unknown_to(connection, {one: stands[one] for one in documents if one in stands})
            told = [*missing, *sorted(others.difference(missing))]
            rows = [(run_id, priority, run_id in afresh, documents[run_id]) for run_id in told]
            command_ids = insert_commands(connection, CommandKind.ENQUEUE, rows)
        present = documents.keys() - set(missing)
        failed = sum(states[run_id] is JobState.FAILED for run_id in present)
        cancelled = sum(states.get(run_id) is JobState.CANCELLED for run_id in missing)
        counts = (len(missing), len(present), failed, len(lost), cancelled, len(anew))
        return Acknowledgement(command_ids, *counts, doubt)

    def wait(self, acknowledgement: Acknowledgement, timeout_s: float) -> list[CommandResult] | None:
        """The answers to acknowledged commands, in order; None where they take longer than `timeout_s`."""
        if not acknowledgement.command_ids:
            return []
        asked = (acknowledgement.command_ids[0], acknowledgement.command_ids[-1])
        answered = "FROM commands WHERE id BETWEEN ? AND ? AND applied_at IS NOT NULL"
        with self._database() as connection:

            def is_answered() -> bool:
                (count,) = connection.execute(f"SELECT count(*) {answered}", asked).fetchone()
                return bool(count == len(acknowledgement.command_ids))

            if not launch.wait_until(is_answered, timeout_s):
                return None
            rows = connection.execute(f"SELECT run_id, ok, message {answered} ORDER BY id", asked)
            return [CommandResult(run_id, bool(ok), message) for run_id, ok, message in rows]

    def jobs(self) -> list[Job]:
        """All jobs in queue order, acknowledged but not yet applied ones included as queued."""
        return self._read(reading.read_jobs, [])

    def drain(self, draining: bool = True) -> Acknowledgement:
        """Finish running jobs and start no others, or start again; it lasts until the other is asked for."""
        return self.send(CommandKind.DRAIN, [""], int(draining))

    def slots(self) -> int:
        """Jobs that are taken at once: as the scheduler that runs says, else as the project's file does."""
        told = self.settings().slots if self.scheduler_alive() else None
        return slots_by_file(self.project.root, self.used_gpus) if told is None else told

    def used_gpus(self) -> list[str]:
        """UUIDs of the GPUs that runs of the project have used, unless they were forgotten since."""
        return self._read(lambda connection: KnownGpus(connection).used(), [])

    def forget_gpus(self) -> list[str]:
        """Forget the GPUs that runs have used, and return them: some were taken out for good."""
        if not self.project.queue.exists():
            return []
        with self._database() as connection, transaction(connection):
            return KnownGpus(connection).forget()

    def note_gpu_works(self, uuid: str) -> None:
        """Take back the fault of a GPU that was found to work; a scheduler that runs tries it itself."""
        if self.project.queue.exists() and not self.scheduler_alive():
            with self._database() as connection:
                Faults(connection, self.project.queue).clear(FaultKind.GPU, uuid)

    def usage(self) -> list[Usage]:
        """The time that all attempts of each experiment have had of the devices."""
        return self._read(reading.read_usage, [])

    def orphans(self) -> list[ProcessIdentity]:
        """Workers of this project, and descendants of such, whose run is not theirs any more."""
        # Seen before the queue is read: one that starts in between is then not taken for an orphan.
        workers = list(ProjectProcesses(self.project.root).find_workers())
        if not self.project.queue.exists():
            return [process for process, _ in workers]
        with self._database() as connection:
            tags = reading.read_tags(connection)
        return [process for process, tag in workers if tag not in tags and process.is_alive()]

    def waits_for_slots(self) -> str:
        """One line on why jobs wait that may start, such as slots of other projects; mostly empty."""
        if not self.project.queue.exists():
            return ""
        with self._database() as connection:
            settings = Settings(connection).read()
            if settings.draining or not reading.has_startable(connection):
                return ""
            taken = KnownGpus(connection).taken()
        if settings.stopped:
            return STOPPED
        if settings.loading and self.scheduler_alive():
            return LOADING
        if taken:
            return f"waiting: {'; '.join(taken)}"
        if not settings.slots:
            return ""
        try:
            holders = read_holders(slot_directory())
        except OSError as error:
            return unusable(slot_directory(), error)
        return describe_holders(holders, self.project.root.absolute(), settings.slots)

    def faults(self) -> list[Fault]:
        """What is wrong with the machine, so that the queue does not work as it should; oldest first."""
        if not self.project.queue.exists():
            return []
        with self._database() as connection:
            told, count = read_faults(connection), runs_to_do(connection)
            gone = [] if self.scheduler_alive() else list(fault_of_scheduler(connection, count))
        # A full disk may keep the scheduler from writing that it is full; nobody else need try what rests.
        seen = [*faults_of_disk(self.project.runs, tries=count > 0), *gone]
        takes_nothing = any(fault.kind is FaultKind.DISK for fault in seen)
        if takes_nothing:
            # What ended runs, and keeps the scheduler from its database, is the same.
            told = [fault for fault in told if fault.kind is not FaultKind.DISK or fault.subject]
        if notes := read_notes(self.project.scheduler_lock):
            if notes.fault and not takes_nothing:
                seen.append(new_fault(FaultKind.DATABASE, "", notes.fault))
            if count and launch.is_halted(notes.pid, self.project):
                seen.append(fault_of_halted(notes.pid))
        known = {(fault.kind, fault.subject) for fault in told}
        return told + [fault for fault in seen if (fault.kind, fault.subject) not in known]

    def executions(self, jobs: Sequence[Job]) -> list[Execution]:
        """What tells how long runs take, of all jobs, which were just read."""
        return self._read(lambda connection: reading.read_executions(connection, jobs, _LEARNED_FROM), [])

    def shapes(self) -> Mapping[int, RunSpec]:
        """What the jobs are to do, by number: their specifications without seeds, draw and source."""
        return self._read(reading.read_shapes, {})

    def runs_of_shapes(self, numbers: Collection[int]) -> Mapping[str, int]:
        if not numbers:
            return {}
        return self._read(lambda connection: reading.runs_of_shapes(connection, numbers), {})

    def watch(self) -> QueueWatch:
        return QueueWatch(self.project.queue)

    def counts(self) -> Mapping[JobState, int]:
        """Number of jobs in each state, states without a job included."""
        return dict.fromkeys(JobState, 0) | Counter(job.state for job in self.jobs())

    def resolve(self, prefix: str) -> str:
        """The one run whose id is or begins with `prefix`, queued or only on disk.

        Raises UnknownRunError: there is none, or more than one.
        """
        found = find_runs(self._run_ids(prefix), prefix)
        if len(found) == 1:
            return found[0]
        raise unclear(prefix, found, self.project)

    def resolve_all(self, word: str) -> list[str]:
        """The runs that a word names, in queue order.

        That is a run by its id, all runs of an experiment, all whose ids begin with the word and go on
        with a `-`, such as all of one train size, or else the one run whose id begins with the word.

        Raises UnknownRunError: there is none, or several begin with a word that ends within a part of them.
        """
        if of_experiment := [job.run_id for job in self.jobs() if job.experiment == word]:
            return of_experiment
        run_ids = self._run_ids(word)
        found = find_runs(run_ids, word)
        whole = [run_id for run_id in found if run_id.startswith(f"{word.removesuffix('-')}-")]
        if len(found) == 1 or whole:
            return whole or found
        raise unclear(word, found, self.project)

    def _run_ids(self, prefix: str) -> list[str]:
        """All jobs, or all run directories where no job's id begins with `prefix`."""
        run_ids = [job.run_id for job in self.jobs()]
        if any(run_id.startswith(prefix) for run_id in run_ids):
            return run_ids
        return [paths.run_id for paths in self.project.all_runs()]


def _refuse_imported(runs: Mapping[str, RunSpec]) -> None:
    if imported := next((run_id for run_id, spec in runs.items() if spec.imported), ""):
        raise ConfigError("was trained elsewhere and imported: it cannot be run", where=imported)


def checked_place(project: ProjectPaths, on: Place, runs: Iterable[RunSpec]) -> str:
    """The place of jobs that are to be made there; raises ConfigError: they cannot be."""
    # Not above: what only looks at the queue is counted in milliseconds.
    from tui_datasize.jobs.queue.cluster import check_cluster, local_problem

    experiments = {spec.experiment for spec in runs}
    if on == "local":
        for name in sorted(experiments):
            if problem := local_problem(project, name):
                raise ConfigError(problem, where=name)
        return ""
    check_cluster(project, experiments)
    return on


def _lost(incomplete: Collection[str], states: Mapping[str, JobState]) -> set[str]:
    """Those of the runs that lack something that have not been queued again yet."""
    return {run_id for run_id in incomplete if states.get(run_id) is JobState.SUCCEEDED}


def _missing(run_ids: Iterable[str], forced: Collection[str], states: Mapping[str, JobState]) -> list[str]:
    """Those that are to be queued: by force, or as they are not there or were cancelled."""
    return [
        run_id
        for run_id in run_ids
        if run_id in forced or states.get(run_id, JobState.CANCELLED) is JobState.CANCELLED
    ]
