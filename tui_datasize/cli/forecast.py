"""The estimates of `status`: the queue's executions, seen as work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tui_datasize.analysis.eta import Estimate, Paces, Work, forecast
from tui_datasize.experiments.budget import total_updates
from tui_datasize.jobs.client import QueueClient
from tui_datasize.jobs.gpus import CPU
from tui_datasize.jobs.state import Job, JobState
from tui_datasize.jobs.views import Execution


def estimate_ends(client: QueueClient, jobs: Sequence[Job]) -> tuple[list[Estimate], int]:
    """Estimates for the jobs that run or will run, held ones left out, and the number of slots."""
    after = {job.run_id: job.waits_for for job in jobs if job.waits_for}
    executions = client.executions()
    # A job that waits will probably run where the others have run.
    usual = next((e.device for e in reversed(executions) if e.device), CPU)
    works = [(execution.state, _work(execution, usual, after)) for execution in executions]
    paces = Paces(work for state, work in works if state is JobState.SUCCEEDED)
    coming = [work for state, work in works if state.is_active or state.is_waiting]
    slots = client.settings().slots or 1
    return forecast(coming, paces, slots), slots


def _work(execution: Execution, usual_device: str, after: Mapping[str, tuple[str, ...]]) -> Work:
    spec, state = execution.spec, execution.state
    # What a job that starts from nothing had used before is not work done.
    keeps_work = state.is_active or state in (JobState.INTERRUPTED, JobState.SUCCEEDED)
    return Work(
        run_id=execution.run_id,
        experiment=spec.experiment,
        dataset=spec.dataset,
        model=str(spec.model),
        batch_size=spec.batch_size,
        device=CPU if (execution.device or usual_device) == CPU else "GPU",
        total_updates=total_updates(spec),
        used_s=execution.used_s if keeps_work else 0.0,
        is_running=state.is_active,
        after=after.get(execution.run_id, ()),
    )
