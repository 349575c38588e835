"""Opens the app on a project."""

from __future__ import annotations

import gc
import os
from typing import TYPE_CHECKING

from tui_datasize.errors import EXIT_OK
from tui_datasize.jobs.client import QueueClient
from tui_datasize.jobs.scheduler.devices import DeviceMonitor
from tui_datasize.runlog.paths import ProjectPaths
from tui_datasize.tui.app import DatasizeApp

if TYPE_CHECKING:
    from tui_datasize.tui.polling.record import ProjectRecord


def run_app(project: ProjectPaths) -> int:
    """Open the app on a project and return its exit status.

    Without the mouse, so that text can be selected as in any other program; `DATASIZE_MOUSE=1` turns it
    on. The `TEXTUAL_...` variables of Textual hold for slow links.
    """

    def open_record() -> ProjectRecord:
        from tui_datasize.tui.polling.record import ProjectRecord

        return ProjectRecord(project)

    # It is looked for while nobody types.
    gc.disable()
    queue = QueueClient(project)
    app = DatasizeApp(project, queue, open_record, DeviceMonitor(used=queue.used_gpus).read)
    if "TEXTUAL_ANIMATIONS" not in os.environ:
        app.animation_level = "none"
    app.run(mouse=os.environ.get("DATASIZE_MOUSE") == "1")
    return EXIT_OK
