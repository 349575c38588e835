"""The keys of the Queue tab."""

from __future__ import annotations

from textual.binding import Binding

_QUEUE_ALL = "Queue what is missing; asks for terms: what to wait for (after), how many attempts, the order"

BINDINGS: tuple[Binding, ...] = (
    Binding("a", "queue_all", "queue all", tooltip=_QUEUE_ALL),
    Binding("h,H", "change('hold')", "hold", tooltip="Hold waiting jobs"),
    Binding("u", "change('release')", "release", tooltip="Release held jobs"),
    Binding("c", "cancel", "cancel", tooltip="Cancel jobs, running ones too, after a question"),
    Binding("r", "change('retry')", "retry", tooltip="Queue failed, cancelled or interrupted jobs again"),
    Binding("D", "drain", "drain", tooltip="Finish running jobs and start no others, or start again"),
    Binding("l,L", "log", "log", tooltip="The log of the job on the whole screen"),
    Binding("slash", "filter", "filter", tooltip="Show only jobs that match; ! excludes a word"),
    Binding("plus,equals_sign", "priority(1)", "raise", tooltip="Raise the priority"),
    Binding("minus", "priority(-1)", "lower", tooltip="Lower the priority"),
    Binding("left_square_bracket,K", "shift(-1)", "up", tooltip="Move up in the queue"),
    Binding("right_square_bracket,J", "shift(1)", "down", tooltip="Move down in the queue"),
    Binding("enter,i", "details", "details", tooltip="Everything about the run or experiment"),
    Binding("s", "scheduler", "scheduler", tooltip="The scheduler: restart with other options, or stop it"),
    Binding("d", "doctor", "doctor", tooltip="Check everything that a run needs; takes some seconds"),
    Binding("escape", "back", "back", show=False, tooltip="Drop the filter, then the marks"),
)
