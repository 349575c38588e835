"""The last words of the app."""

from __future__ import annotations

from tui_datasize.tui.look.snapshot import Snapshot
from tui_datasize.tui.widgets.text import plural


def farewell(snapshot: Snapshot) -> str | None:
    """What is said on leaving: what goes on without the app."""
    running = len(snapshot.running())
    waiting = sum(not state.is_final and not state.is_active for state in snapshot.states.values())
    if not running and not waiting:
        return None
    parts = [plural(running, "run") + " at work"] if running else []
    parts += [f"{waiting:,} waiting"] if waiting else []
    return f"{' and '.join(parts)}: they go on. `datasize-tui status` shows them."
