"""`[devices]` of a project's file, which is read again when it changes while a scheduler runs."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from pathlib import Path

from tui_datasize.errors import ConfigError
from tui_datasize.experiments.device_settings import DeviceOptions, DeviceSettings
from tui_datasize.experiments.project_tables import device_settings
from tui_datasize.runlog.paths import ProjectPaths

_LOG = logging.getLogger(__name__)
_LOOK_INTERVAL_S = 1.0


@dataclass(eq=False)
class DeviceFile:
    """Looks at the file once a second and reads it when it has changed and is whole.

    A file that is wrong, or gone, leaves the settings as they are; what is wrong is said once in the log.
    The options win over the file.
    """

    _project: ProjectPaths
    _options: DeviceOptions
    _looked_s: float = field(default=float("-inf"), init=False)
    _seen: tuple[int, int] | None = field(default=None, init=False)
    _read: tuple[int, int] | None = field(default=None, init=False)

    def poll(self) -> DeviceSettings | None:
        """The settings of a file that has changed; None where nothing is to be changed."""
        if time.monotonic() < self._looked_s + _LOOK_INTERVAL_S:
            return None
        self._looked_s = time.monotonic()
        before, self._seen = self._seen, _stamp(self._project.experiments)
        # An editor may be in the middle of writing it: what counts is what stays for a look.
        if self._seen is None or self._seen == self._read or self._seen != before:
            return None
        self._read = self._seen
        try:
            return self._options.over(device_settings(self._project.root))
        except ConfigError as error:
            _LOG.error("[devices] stay as they were: %s", error.line)
            return None


def _stamp(file: Path) -> tuple[int, int] | None:
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size
