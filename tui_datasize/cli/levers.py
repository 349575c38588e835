"""Commands that change jobs, or the queue as a whole."""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Sequence

from tui_datasize.cli.basics import project_paths, talk
from tui_datasize.errors import EXIT_BAD_INPUT, EXIT_OK, ConfigError
from tui_datasize.jobs.client import QueueClient
from tui_datasize.jobs.queue.commands import (
    APPLIES_TO,
    Acknowledgement,
    CommandKind,
    CommandResult,
    select_jobs,
)
from tui_datasize.jobs.queue.state import JobState
from tui_datasize.text import plural

ANSWER_WITHIN_S = 10.0
"""How long a command waits for the scheduler's answer; what was asked is safe either way."""
_LOOK_AGAIN_S = 1.0
"""How often it is looked whether there still is a scheduler."""
_MOST_LINES = 20
"""Answers that are told one by one; more are counted."""


def change_jobs(arguments: argparse.Namespace) -> int:
    """Hold, release, cancel, retry, reprioritise or move jobs, and tell the scheduler's answer."""
    client = QueueClient(project_paths(arguments))
    kind = CommandKind(arguments.command)
    run_ids = _chosen(client, kind, arguments)
    if not run_ids:
        talk(_nothing_to_do(client, kind, arguments))
        return EXIT_OK
    if left_alone := _left_alone(client, run_ids, arguments):
        talk(left_alone)
    return _ask(client, client.send(kind, run_ids, getattr(arguments, "by", 0)))


def _left_alone(client: QueueClient, run_ids: Sequence[str], arguments: argparse.Namespace) -> str:
    """Which of the jobs that were named the command does not apply to; empty where it does to all."""
    named = {run_id for word in arguments.jobs for run_id in client.resolve_all(word)} - set(run_ids)
    counts = Counter(job.state for job in client.jobs() if job.run_id in named)
    stand = ", ".join(f"{count} {state}" for state, count in counts.items())
    return f"left alone: {stand}" if stand and not arguments.state else ""


def drain(arguments: argparse.Namespace) -> int:
    """Let the queue finish what runs and start nothing, or start again."""
    client = QueueClient(project_paths(arguments))
    return _ask(client, client.drain(not arguments.off))


def _chosen(client: QueueClient, kind: CommandKind, arguments: argparse.Namespace) -> list[str]:
    """Run ids, each once: of the whole queue, or of the given words.

    `--all`, an experiment and a beginning of several run ids stand for those jobs to which the command
    applies; a single run is asked for whatever its state, and the scheduler answers.

    Raises:
        ConfigError: Neither or both of jobs and `--all` are given.
        UnknownRunError: A word names nothing, or nothing clearly.
    """
    if bool(arguments.jobs) == arguments.all:
        raise ConfigError(
            "JOB and --all exclude each other" if arguments.all else "no job given",
            fix=f"name a run or an experiment, or say `{kind} --all`",
        )
    states = frozenset(JobState(word) for word in arguments.state)
    jobs = client.jobs()
    if arguments.all:
        return select_jobs(jobs, kind, states=states)
    state_of = {job.run_id: job.state for job in jobs}
    experiments = {job.experiment for job in jobs}
    chosen: dict[str, None] = {}
    for word in arguments.jobs:
        named = client.resolve_all(word)
        if len(named) > 1 or word in experiments:
            members = set(named)
            group = [job for job in jobs if job.run_id in members]
            chosen.update(dict.fromkeys(select_jobs(group, kind, states=states)))
        elif not states or state_of.get(named[0]) in states:
            chosen[named[0]] = None
    return list(chosen)


def _nothing_to_do(client: QueueClient, kind: CommandKind, arguments: argparse.Namespace) -> str:
    """Why the jobs that were named are none for the command."""
    named = {run_id for word in arguments.jobs for run_id in client.resolve_all(word)}
    counts = Counter(job.state for job in client.jobs() if arguments.all or job.run_id in named)
    stand = ", ".join(f"{count} {state}" for state, count in counts.items())
    wanted = " or ".join(arguments.state or sorted(APPLIES_TO[kind]))
    verb = "change the priority of" if kind is CommandKind.PRIORITY else kind
    return f"nothing to {verb}: of the {plural(counts.total(), 'job')} none is {wanted}" + (
        f" ({stand})" if stand else ""
    )


def _ask(client: QueueClient, acknowledgement: Acknowledgement) -> int:
    """Tell what the scheduler answers; status 2 where it refused everything."""
    results = ask(client, acknowledgement)
    tell(results or ())
    return EXIT_OK if results is None or any(result.ok for result in results) else EXIT_BAD_INPUT


def ask(client: QueueClient, acknowledgement: Acknowledgement) -> list[CommandResult] | None:
    """See that a scheduler runs, and what it answers; None, which a person is told, where that takes long."""
    if acknowledgement.doubt:
        talk(acknowledgement.doubt)
    client.ensure_scheduler()
    deadline_s = time.monotonic() + ANSWER_WITHIN_S
    while (results := client.wait(acknowledgement, min(_LOOK_AGAIN_S, ANSWER_WITHIN_S))) is None:
        # It may have been killed, or made room for another, before it came to this.
        client.ensure_scheduler()
        if time.monotonic() >= deadline_s:
            break
    if results is None:
        talk("Saved; waiting for the scheduler.")
    return results


def tell(results: Sequence[CommandResult]) -> None:
    """Tell a person the answers: one by one, or counted where there are many."""
    if len(results) <= _MOST_LINES:
        for result in results:
            talk(result.message)
        return
    texts = Counter(result.message.removeprefix(f"{result.run_id}: ") for result in results)
    for text, count in texts.most_common(_MOST_LINES):
        talk(f"{plural(count, 'run')}: {text}")
