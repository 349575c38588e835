"""The tables of the queue's database, as the steps that made them what they are."""

from __future__ import annotations

from collections.abc import Iterable

from tui_datasize.jobs.queue.state import MAX_ATTEMPTS, JobState


def _one_of(states: Iterable[JobState]) -> str:
    return "state IN (" + ", ".join(f"'{state}'" for state in states) + ")"


WAITING = _one_of(state for state in JobState if state.is_waiting)
ACTIVE = _one_of(state for state in JobState if state.is_active)
UNRENEWED = _one_of((JobState.FAILED, JobState.CANCELLED))
UNFINISHED = _one_of(state for state in JobState if not state.is_final)
STARTABLE = f"{WAITING} AND blocked = 0"
LOCAL = "place = ''"
"""Conditions on `jobs`; in these very words, so that the partial indexes serve."""

NEVER_BEGAN = "never began"
"""Outcome of an attempt whose worker did not come; it does not count as one."""
VANISHED = "vanished"
"""Outcome of an attempt whose worker went without a word."""
QUEUED_JOB = (
    "run_id, experiment, workload, priority, position, attempts, alone, document, shape, "
    f"coalesce((SELECT outcome = '{VANISHED}' FROM attempts WHERE attempts.run_id = jobs.run_id "
    f"AND outcome != '{NEVER_BEGAN}' ORDER BY attempt DESC LIMIT 1), 0) AS has_vanished"
)
"""The columns of a `QueuedJob`, of `jobs`."""

ACTIVE_JOB = (
    "run_id, experiment, workload, state, attempts, max_attempts, alone, cancel_requested, "
    "jobs.device, reserved_bytes, tag"
)
"""The columns of an `ActiveJob`, of `jobs` joined with `attempts`."""

_FIRST = f"""
CREATE TABLE jobs (
    run_id TEXT PRIMARY KEY,
    experiment TEXT NOT NULL,
    workload TEXT NOT NULL,
    state TEXT NOT NULL CHECK ({_one_of(JobState)}),
    priority INTEGER NOT NULL DEFAULT 0,
    position INTEGER NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    max_attempts INTEGER NOT NULL,
    alone INTEGER NOT NULL DEFAULT 0,
    cancel_requested INTEGER NOT NULL DEFAULT 0,
    reason TEXT NOT NULL DEFAULT '',
    device TEXT NOT NULL DEFAULT '',
    queued_at TEXT NOT NULL,
    started_at TEXT NOT NULL DEFAULT '',
    finished_at TEXT NOT NULL DEFAULT '',
    document TEXT NOT NULL
);
CREATE INDEX jobs_waiting ON jobs (priority DESC, position) WHERE {WAITING};
CREATE INDEX jobs_active ON jobs (run_id) WHERE {ACTIVE};
CREATE INDEX jobs_position ON jobs (position);
CREATE TABLE attempts (
    run_id TEXT NOT NULL REFERENCES jobs,
    attempt INTEGER NOT NULL,
    device TEXT NOT NULL,
    reserved_bytes INTEGER NOT NULL,
    tag TEXT NOT NULL,
    started_at TEXT NOT NULL,
    finished_at TEXT NOT NULL DEFAULT '',
    outcome TEXT NOT NULL DEFAULT '',
    reason TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (run_id, attempt)
);
CREATE TABLE commands (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    batch TEXT NOT NULL,
    kind TEXT NOT NULL,
    run_id TEXT NOT NULL,
    amount INTEGER NOT NULL DEFAULT 0,
    force INTEGER NOT NULL DEFAULT 0,
    document TEXT NOT NULL DEFAULT '',
    created_at TEXT NOT NULL,
    applied_at TEXT,
    ok INTEGER,
    message TEXT
);
CREATE INDEX commands_pending ON commands (id) WHERE applied_at IS NULL;
CREATE TABLE workloads (
    workload TEXT PRIMARY KEY,
    peak_bytes INTEGER NOT NULL
);
"""
"""`document` is the content of the run's `spec.json`; `workload` names what decides a run's memory.
`attempts.outcome` is empty while the attempt goes on."""

_DEPENDENCIES = f"""
ALTER TABLE jobs ADD COLUMN attempts_allowed INTEGER NOT NULL DEFAULT {MAX_ATTEMPTS};
ALTER TABLE jobs ADD COLUMN blocked INTEGER NOT NULL DEFAULT 0;
DROP INDEX jobs_waiting;
CREATE INDEX jobs_startable ON jobs (priority DESC, position) WHERE {STARTABLE};
CREATE INDEX jobs_unfinished ON jobs (experiment) WHERE {UNFINISHED};
CREATE TABLE dependencies (
    run_id TEXT NOT NULL,
    source TEXT NOT NULL,
    PRIMARY KEY (run_id, source)
) WITHOUT ROWID;
CREATE INDEX dependencies_source ON dependencies (source);
CREATE TABLE settings (
    name TEXT PRIMARY KEY,
    value INTEGER NOT NULL
);
CREATE TABLE notices (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    event TEXT NOT NULL,
    experiment TEXT NOT NULL,
    run_id TEXT NOT NULL DEFAULT '',
    reason TEXT NOT NULL DEFAULT ''
);
"""
"""`attempts_allowed` is what a retry grants anew; `blocked` counts a job's sources, in `dependencies`,
that have not succeeded. `notices` holds what the notification command has not been told yet."""


def shape_of(document: str) -> str:
    """An SQL expression for what decides the time of the run that a document describes.

    That is its specification without its seeds, draw and source; empty for a document of an unknown kind.
    """
    spec = f"json_remove(json_extract({document}, '$.spec'), '$.subset')"
    spec = f"json_replace({spec}, '$.seed', 0, '$.transfer.source', '')"
    return f"iif(json_valid({document}), coalesce({spec}, ''), '')"


_SHAPES = f"""
CREATE TABLE shapes (
    id INTEGER PRIMARY KEY,
    spec TEXT NOT NULL UNIQUE
);
ALTER TABLE jobs ADD COLUMN shape INTEGER NOT NULL DEFAULT 0;
INSERT INTO shapes (spec) SELECT DISTINCT {shape_of("document")} FROM jobs;
UPDATE jobs SET shape = (SELECT id FROM shapes WHERE spec = {shape_of("document")});
"""
"""Thousands of runs share a few shapes: to take every document apart would take longer than all else."""

_FAULTS = """
CREATE TABLE faults (
    kind TEXT NOT NULL,
    subject TEXT NOT NULL,
    sentence TEXT NOT NULL,
    since TEXT NOT NULL,
    count INTEGER NOT NULL,
    last TEXT NOT NULL,
    PRIMARY KEY (kind, subject)
) WITHOUT ROWID;
DELETE FROM settings WHERE name = 'start_errno';
"""

_CARDS = """
CREATE TABLE cards (
    uuid TEXT PRIMARY KEY,
    used INTEGER NOT NULL DEFAULT 0,
    taken TEXT NOT NULL DEFAULT ''
);
INSERT INTO cards (uuid, used) SELECT DISTINCT device, 1 FROM attempts WHERE device NOT IN ('', 'cpu');
"""
"""`used` tells whether a run has used the GPU; `taken` tells who keeps it from taking runs."""

_MEMORY = """
CREATE TABLE memory (
    workload TEXT NOT NULL,
    in_file INTEGER NOT NULL,
    work_bytes INTEGER NOT NULL,
    image_bytes INTEGER NOT NULL,
    test_bytes INTEGER NOT NULL,
    PRIMARY KEY (workload, in_file)
) WITHOUT ROWID;
DROP TABLE workloads;
"""
"""What runs of a workload took of a GPU, by where their training images lay: see `gpu_memory.Learned`."""

_PROBES = """
ALTER TABLE cards ADD COLUMN proven TEXT NOT NULL DEFAULT '';
"""
"""With which driver, torch and boot the GPU was found to work; empty where it was not."""

_ANSWERS = """
ALTER TABLE commands ADD COLUMN found_boot TEXT NOT NULL DEFAULT '';
ALTER TABLE commands ADD COLUMN found_s REAL NOT NULL DEFAULT 0;
"""
"""In which boot, and how many seconds after its start, a scheduler that began found a command answered."""

_CONTEXTS = """
ALTER TABLE cards ADD COLUMN context_bytes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE cards ADD COLUMN context_with TEXT NOT NULL DEFAULT '';
"""
"""What a process was seen to have on the GPU beyond its tensors, and with which driver and torch."""

COUNT_SOURCES = f"""
UPDATE source_sets SET (blocked, hopeless) = (
    SELECT coalesce(sum(state != '{JobState.SUCCEEDED}'), 0),
           sum(coalesce(state IN ('{JobState.FAILED}', '{JobState.CANCELLED}'), 1))
    FROM sources LEFT JOIN jobs ON run_id = source WHERE sources.waits = id)"""

_SOURCE_SETS = f"""
CREATE TABLE source_sets (
    id INTEGER PRIMARY KEY,
    named TEXT NOT NULL UNIQUE,
    blocked INTEGER NOT NULL DEFAULT 0,
    hopeless INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE sources (
    waits INTEGER NOT NULL,
    source TEXT NOT NULL,
    PRIMARY KEY (waits, source)
) WITHOUT ROWID;
CREATE INDEX sources_source ON sources (source);
ALTER TABLE jobs ADD COLUMN waits INTEGER NOT NULL DEFAULT 0;
CREATE TEMP TABLE named_sets AS
    SELECT run_id, group_concat(source, ' ') AS named
    FROM (SELECT run_id, source FROM dependencies ORDER BY run_id, source) GROUP BY run_id;
INSERT INTO source_sets (named) SELECT DISTINCT named FROM named_sets;
UPDATE jobs SET waits = coalesce(
    (SELECT id FROM named_sets JOIN source_sets USING (named) WHERE run_id = jobs.run_id), 0);
DROP TABLE named_sets;
INSERT INTO sources SELECT DISTINCT waits, source FROM dependencies JOIN jobs USING (run_id);
{COUNT_SOURCES};
CREATE INDEX jobs_waits ON jobs (waits) WHERE waits != 0;
DROP TABLE dependencies;
CREATE VIEW dependencies AS SELECT run_id, source FROM jobs JOIN sources USING (waits) WHERE jobs.waits != 0;
"""
"""Hundreds of runs that wait for the same hundreds share one set of sources, `named` by their ids in order:
`sources` are its members, `blocked` counts those that have not succeeded, as it does of each job, and
`hopeless` those that will not: failed, cancelled, not in the queue."""

_CHANGED = """
ALTER TABLE commands ADD COLUMN changed INTEGER NOT NULL DEFAULT 1;
UPDATE commands SET changed = instr(substr(message, length(run_id) + 1), 'already') = 0
WHERE message IS NOT NULL;
"""
"""Whether a command that was followed has changed its job; of older answers a word told it."""

_CLUSTER = """
ALTER TABLE jobs ADD COLUMN place TEXT NOT NULL DEFAULT '';
CREATE INDEX jobs_placed ON jobs (state) WHERE place != '';
CREATE TABLE arrays (
    name TEXT PRIMARY KEY,
    job_id TEXT NOT NULL DEFAULT ''
);
CREATE TABLE handed (
    run_id TEXT PRIMARY KEY,
    array TEXT NOT NULL,
    task INTEGER NOT NULL,
    first INTEGER NOT NULL,
    is_held INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE INDEX handed_array ON handed (array);
"""
"""`place` names the cluster that makes the run, empty for this machine. `handed` has the runs that a cluster
was given, or is to be given: as which task of which array, from which attempt on, and whether it was told to
hold them. An array has no `job_id` until the cluster is known to have it."""

_RENEWALS = f"""
ALTER TABLE jobs ADD COLUMN anew INTEGER AS
    (iif(json_valid(document), coalesce(json_extract(document, '$.anew'), 0), 0)) VIRTUAL;
CREATE INDEX jobs_anew ON jobs (state) WHERE anew AND {UNRENEWED};
"""
"""`anew` tells of a finished run that is trained anew for its checkpoint."""

_RUNGS = """
CREATE TABLE rungs (
    search TEXT NOT NULL,
    number INTEGER NOT NULL,
    run_id TEXT NOT NULL,
    stands TEXT NOT NULL,
    PRIMARY KEY (search, number, run_id)
) WITHOUT ROWID;
CREATE INDEX rungs_run ON rungs (run_id);
"""
"""The runs of each rung of a search at a train size, and where each stands in it, as JSON: of the first rung
as they are queued, of the others as they are promoted."""

_CHANGES = """
CREATE TABLE changes (
    id INTEGER PRIMARY KEY,
    batch TEXT NOT NULL,
    run_id TEXT NOT NULL,
    was TEXT NOT NULL,
    became TEXT NOT NULL,
    document TEXT,
    UNIQUE (batch, run_id)
);
ALTER TABLE commands DROP COLUMN changed;
"""
"""What a command found and left of each job that it changed, as JSON; `was` is empty of a new one, `document`
is the one before where it got another. Without a run they are of the whole queue."""

STEPS = (
    *(_FIRST, _DEPENDENCIES, _SHAPES, _FAULTS, _CARDS, _MEMORY, _PROBES, _ANSWERS, _CONTEXTS),
    *(_SOURCE_SETS, _CHANGED, _CLUSTER, _RENEWALS, _RUNGS, _CHANGES),
)
"""What takes a database from each version to the next; a new one takes them all. Never edit a step
that was released: add another."""

SCHEMA_VERSION = len(STEPS)


def statements(version: int) -> Iterable[str]:
    """The statements that bring a database of `version` (0 for an empty one) up to date."""
    for step in STEPS[version:]:
        yield from (statement for part in step.split(";") if (statement := part.strip()))
