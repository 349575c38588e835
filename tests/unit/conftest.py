"""A queue without a scheduler's process, and a project to import into."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.unit.import_desk import Desk
from tests.unit.queue_desk import Queue
from tui_datasize.jobs.queue.store import Store
from tui_datasize.runlog.paths import ProjectPaths


@pytest.fixture
def queue(project: ProjectPaths) -> Iterator[Queue]:
    with closing(Store(project.queue)) as store:
        yield Queue(project, store)


@pytest.fixture
def desk(project: ProjectPaths) -> Desk:
    return Desk(project)
