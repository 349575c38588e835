"""Data sets are downloaded and decoded before a run takes a GPU for them: that may be hours without one.

What comes of it decides nothing: a run without its images tries it again, and tells why that fails.
"""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field

from tui_datasize.experiments.images.named import NamedImages
from tui_datasize.experiments.project_tables import DATA_VARIABLE
from tui_datasize.jobs.scheduler.gpu_probes import side_environment
from tui_datasize.jobs.workers.spawn import SpawnRequest, Worker
from tui_datasize.jobs.workers.warm import Spawner
from tui_datasize.runlog.paths import ProjectPaths
from tui_datasize.text import listed

_MODULE = "tui_datasize.training.datasets"
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Images:
    """All images that runs want, in the size that they want them."""

    named: tuple[NamedImages, ...]
    """Their data set first, then those that belong to it."""
    data_dir: str
    """Where it lies; empty for what the project's file says."""


@dataclass(eq=False)
class Preparing:
    """Has data sets downloaded and decoded where that has not been done, one after the other.

    A process that does it is nobody's worker and holds no slot. It goes on where its scheduler ends; whoever
    wants the same images meanwhile waits for it.
    """

    _spawner: Spawner
    _project: ProjectPaths
    _begun: dict[Images, Worker] = field(default_factory=dict, init=False)

    def prepare(self, wanted: Images) -> bool:
        """Begin to prepare images where nobody has; whether a run may take a GPU for them already."""
        worker = self._begun.get(wanted)
        if worker is None:
            if self.under_way():
                return False
            worker = self._begun[wanted] = self._spawner.start(self._request(wanted))
        return not worker.is_alive()

    def under_way(self) -> Sequence[str]:
        """The data sets that are being prepared."""
        return [wanted.named[0].name for wanted, worker in self._begun.items() if worker.is_alive()]

    def _request(self, wanted: Images) -> SpawnRequest:
        root = self._project.root.absolute()
        name, *beside = (images.name for images in wanted.named)
        what = f"{name}, and for it {listed(beside)}" if beside else name
        _LOG.info("%s: images are fetched and decoded, if they are not there yet", what)
        data = {DATA_VARIABLE: wanted.data_dir} if wanted.data_dir else {}
        return SpawnRequest(
            *((), side_environment("") | data, uuid.uuid4().hex, (), root),
            module=_MODULE,
            words=(str(root), *(json.dumps(images.to_words()) for images in wanted.named)),
            output=self._project.scheduler_log,
        )
