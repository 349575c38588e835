"""`[devices]` of a project's file, which is read again when it changes while a scheduler runs."""

from __future__ import annotations

import argparse
import logging
import time
from dataclasses import dataclass, fields
from pathlib import Path

from tui_datasize.errors import ConfigError
from tui_datasize.experiments.device_settings import DeviceSettings, Packs
from tui_datasize.experiments.load import device_settings
from tui_datasize.jobs.ledger import DeviceLimits
from tui_datasize.runlog.paths import ProjectPaths

_LOG = logging.getLogger(__name__)
_LOOK_INTERVAL_S = 1.0


@dataclass(frozen=True, slots=True)
class DeviceOptions:
    """What one scheduler's options say about the devices; None where they leave it to the file."""

    slots_per_gpu: int | None = None
    max_jobs_per_gpu: int | None = None
    cpu_slots: int | None = None
    packs: Packs | None = None
    pack_width: int | None = None

    @classmethod
    def of(cls, arguments: argparse.Namespace) -> DeviceOptions:
        """The options of a scheduler's command line."""
        return cls(**{option.name: getattr(arguments, option.name) for option in fields(cls)})

    def over(self, devices: DeviceSettings) -> DeviceLimits:
        """The options, and what the file says beside them."""
        slots_per_gpu = self.slots_per_gpu or devices.slots_per_gpu
        return DeviceLimits(
            slots_per_gpu=slots_per_gpu,
            # The file's limit gives way to an option that asks for more slots.
            max_jobs_per_gpu=self.max_jobs_per_gpu or max(devices.max_jobs_per_gpu or 0, slots_per_gpu),
            cpu_slots=self.cpu_slots or devices.cpu_slots,
            packs=self.packs or devices.packs,
            pack_width=self.pack_width or devices.pack_width,
        )


class DeviceFile:
    """Looks at the file once a second and reads it when it has changed and is whole.

    A file that is wrong, or gone, leaves the settings as they are; what is wrong is said once in the log.

    Args:
        project: Whose file it is.
        options: What wins over the file.
    """

    def __init__(self, project: ProjectPaths, options: DeviceOptions) -> None:
        self._project = project
        self._options = options
        self._looked_s = float("-inf")
        self._seen: tuple[int, int] | None = None
        self._read: tuple[int, int] | None = None

    def poll(self) -> DeviceLimits | None:
        """The limits of a file that has changed; None where nothing is to be changed."""
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
