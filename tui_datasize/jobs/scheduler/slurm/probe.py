"""What a node of the cluster sees, told in a directory that it shares with who asks.

Runs on the node as `python -m tui_datasize.jobs.scheduler.slurm.probe DIRECTORY`; writes `answer.json` there.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tui_datasize.programs import private_caches, python_code
from tui_datasize.runlog.atomic import write_json
from tui_datasize.runlog.lease import file_system_time
from tui_datasize.runlog.locks import is_locked

ANSWER = "answer.json"
HELD = "held"
"""A file whose lock is held by who asks."""
SEEN = frozenset(
    {"host", "python", "torch", "torch_fault", "sees_lock", "lock_fault", "time_s", "file_system_s"}
)
"""What an answer tells."""
_TORCH = (
    "import torch; c = torch.cuda; n = c.device_count() if c.is_available() else 0;"
    "print(torch.__version__, 'sees', ', '.join(c.get_device_name(i) for i in range(n)) or 'no GPU')"
)


def main(argv: Sequence[str]) -> int:
    """Look around and write what is seen."""
    directory = Path(argv[0])
    write_json(directory / ANSWER, _seen(directory))
    return 0


def _seen(directory: Path) -> dict[str, Any]:
    environment = os.environ | private_caches()
    done = subprocess.run(python_code(_TORCH), env=environment, capture_output=True, text=True, check=False)
    last = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
    try:
        sees_lock, lock_fault = is_locked(directory / HELD), ""
    except OSError as error:
        sees_lock, lock_fault = False, error.strerror or str(error)
    return {
        "host": os.uname().nodename,
        "python": platform.python_version(),
        "torch": done.stdout.strip() if done.returncode == 0 else "",
        "torch_fault": "" if done.returncode == 0 else last,
        "sees_lock": sees_lock,
        "lock_fault": lock_fault,
        "time_s": time.time(),
        "file_system_s": file_system_time(directory),
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
