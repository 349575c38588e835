"""Why runs that a command waits for do not go on, in words. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from tui_datasize.jobs.queue.state import Job, JobState

DRAINING = "waiting: the queue is draining and starts no jobs; `datasize-tui drain --off` ends that"


def obstacles(jobs: Iterable[Job], run_ids: Collection[str], *, draining: bool) -> list[str]:
    """What some runs wait for that is no free slot, one line each; empty where nothing keeps them.

    A line stays the same for as long as what it tells of holds.
    """
    unfinished = {job.run_id: job for job in jobs if not job.state.is_final}
    ours = [unfinished[run_id] for run_id in run_ids if run_id in unfinished]
    ahead = _ahead(ours, unfinished)
    lines = [f"waiting: runs of {', '.join(_experiments(ahead))} have to succeed first"] if ahead else []
    if held := [job for job in (*ours, *ahead) if job.state is JobState.HELD]:
        lines.append(_of_held(held))
    if draining and any(not job.state.is_active for job in ours):
        lines.append(DRAINING)
    return lines


def _ahead(ours: Sequence[Job], unfinished: Mapping[str, Job]) -> list[Job]:
    """Other unfinished runs that ours wait for, directly or not."""
    reached = {job.run_id: job for job in ours}
    to_follow = list(ours)
    for job in to_follow:
        sources = [unfinished[run_id] for run_id in job.waits_for if run_id in unfinished]
        to_follow += [source for source in sources if source.run_id not in reached]
        reached |= {source.run_id: source for source in sources}
    return list(reached.values())[len(ours) :]


def _of_held(held: Sequence[Job]) -> str:
    if len(held) == 1:
        run_id = held[0].run_id
        return f"waiting: {run_id} is held; `datasize-tui release {run_id}` lets it start"
    names = " ".join(_experiments(held))
    return f"waiting: {len(held)} runs are held; `datasize-tui release {names}` lets them start"


def _experiments(jobs: Iterable[Job]) -> list[str]:
    return list(dict.fromkeys(job.experiment for job in jobs))
