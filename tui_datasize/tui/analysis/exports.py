"""What `ctrl+e` writes while the learning curve or the overlap is in view."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tui_datasize.tui.exporting import TableInView

if TYPE_CHECKING:
    import polars as pl

    from tui_datasize.analysis.overlap import DrawOverlap
    from tui_datasize.analysis.summary import Analysis


def curve_in_view(analysis: Analysis) -> TableInView:
    """The learning curves of all variants."""

    def build() -> pl.DataFrame:
        import polars as pl

        return pl.concat([curve.curve for curve in analysis.curves])

    return TableInView(f"{analysis.experiment}-curve-{analysis.metric.name}", build)


def overlap_in_view(experiment: str, overlaps: Sequence[DrawOverlap]) -> TableInView:
    """Pairs of draws of all sizes, as a whole and class by class."""

    def build() -> pl.DataFrame:
        from tui_datasize.analysis.overlap_tables import overlap_table

        return overlap_table(overlaps)

    return TableInView(f"{experiment}-overlap", build)
