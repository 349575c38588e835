"""Reading what was queued."""

from __future__ import annotations

from tui_datasize.errors import StorageError
from tui_datasize.experiments.spec import RunSpec
from tui_datasize.files import read_object
from tui_datasize.runlog.paths import RunPaths


def read_spec(paths: RunPaths) -> RunSpec:
    """The specification that was queued.

    Raises:
        StorageError: `spec.json` is damaged.
    """
    try:
        return RunSpec.from_dict(read_object(paths.spec)["spec"])
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise StorageError(
            f"not the specification of a run ({error!r})", where=str(paths.spec), fix="queue the run again"
        ) from error
