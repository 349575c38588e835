"""The keys of the Analysis tab, and which of them have something to act on."""

from __future__ import annotations

from dataclasses import dataclass

from textual.binding import Binding

BINDINGS: tuple[Binding, ...] = (
    Binding("e", "experiment", "experiment", tooltip="Choose the experiment"),
    Binding("m", "metric", "metric", tooltip="Choose the metric"),
    Binding("t", "ask", "ask", tooltip="Ask: a target, sizes to fit, what the next runs are for"),
    Binding("a", "queue_proposed", "queue", tooltip="Queue the runs that are proposed, after a question"),
    Binding("v", "variant", "variant", tooltip="The next variant of a sweep to the foreground"),
    Binding("p", "page(1)", "page", tooltip="The next page: plan, audit, spread, training curves, ..."),
    Binding("w", "choose_page", "what", show=False, tooltip="Choose a page from the list"),
    Binding("P", "page(-1)", "page before", show=False, tooltip="The page before"),
    Binding("o", "overlap", "overlap", tooltip="Learning curve or overlap, on a low screen"),
    Binding("s", "switch", "switch", tooltip="Another view: single runs, next metric or option, Jaccard"),
    Binding("n,right", "size(1)", "size", tooltip="Another train size: of the overlap, of single runs"),
    Binding("N,left", "size(-1)", "size before", show=False, tooltip="The train size before"),
    Binding("i", "words", "words", show=False, tooltip="All of the text beside the chart, to scroll"),
    Binding("f", "fit", "fit", tooltip="Log-linear law through the means or all runs; all laws"),
)
"""In the order in which the line at the bottom shows as many as fit."""


@dataclass(frozen=True, slots=True)
class InView:
    """What of the tab is on the screen."""

    is_page: bool
    """A page, not the learning curve."""
    is_low: bool
    """The screen is too low for the curve and the overlap at once."""
    is_overlap_chosen: bool
    """Which of the two is shown there."""
    has_overlap: bool
    """There are subset draws to compare."""
    views: int
    """Views of the page."""
    sizes: int
    """Train sizes of the page."""
    variants: int
    has_proposal: bool
    """The page is one that proposes runs to queue."""

    def has_use(self, action: str) -> bool:
        is_overlap_alone = not self.is_page and self.is_low and self.is_overlap_chosen
        is_overlap_seen = (
            self.has_overlap and not self.is_page and (not self.is_low or self.is_overlap_chosen)
        )
        match action:
            case "overlap":
                return self.has_overlap and self.is_low and not self.is_page
            case "fit":
                return not self.is_page and not is_overlap_alone
            case "switch":
                return self.views > 1 if self.is_page else is_overlap_seen
            case "size":
                return self.sizes > 1 if self.is_page else is_overlap_seen
            case "queue_proposed":
                return self.is_page and self.has_proposal
            case "variant":
                return self.variants > 1 and not is_overlap_alone
        return True
