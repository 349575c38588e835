"""What `ctrl+e` writes while the learning curve or the overlap is in view."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tui_datasize.tui.exporting import TableInView

if TYPE_CHECKING:
    import polars as pl

    from tui_datasize.answers.answer import Answer
    from tui_datasize.stats.summary import Analysis


def curve_in_view(analysis: Analysis) -> TableInView:
    """The learning curves of all variants."""

    def build() -> pl.DataFrame:
        import polars as pl

        return pl.concat([curve.curve for curve in analysis.curves])

    return TableInView(f"{analysis.experiment}-curve-{analysis.metric.name}", build)


def overlap_in_view(experiment: str, overlap: Answer | None) -> TableInView | None:
    """Pairs of draws of all sizes, as a whole and class by class."""
    rows = overlap.rows if overlap else None
    return TableInView(f"{experiment}-overlap", rows) if rows else None
