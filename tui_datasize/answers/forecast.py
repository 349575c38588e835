"""Beyond the largest size: the metric that the forecast tells, and how sure that is."""

from __future__ import annotations

from dataclasses import asdict

import polars as pl

from tui_datasize.answers import ahead, prices
from tui_datasize.answers.answer import Answer, Column, Sentence, Table, does_not_apply
from tui_datasize.answers.columns import of_kind
from tui_datasize.answers.learning_curve import chart
from tui_datasize.answers.record import NO_RUN, Record, named
from tui_datasize.stats.extrapolate import Outlook
from tui_datasize.stats.fits import FitFailure

_COLUMNS = (
    Column("train_size", "train size"),
    Column("factor", "times the largest", "number"),
    *of_kind("value", value="forecast", low="band from", high="to"),
    *of_kind("share", nominal="coverage meant", measured="on public curves"),
)


def ask(record: Record) -> Answer:
    """The forecast at twice, four and eight times the largest size, with its band."""
    if not record.curves:
        return does_not_apply(NO_RUN)
    known = [(curve, curve.outlook) for curve in record.curves if isinstance(curve.outlook, Outlook)]
    if not known:
        outlook = record.curves[0].outlook
        why = outlook.sentence if isinstance(outlook, FitFailure) else ""
        return does_not_apply(f"No forecast. {why}")
    points = [
        {**asdict(point), "variant": curve.variant}
        for curve, outlook in known
        for point in outlook.extrapolations
    ]
    table = pl.DataFrame(points, schema_overrides={"measured": pl.Float64})
    first, *others = (named(curve.variant, ahead.next_doubling(curve)) for curve, _ in known)
    small = (named(curve.variant, ahead.small_gains(curve)) for curve, _ in known)
    priced = [(curve.variant, prices.of_doubling(record, curve)) for curve, _ in known]
    return Answer(
        first,
        [
            *(Sentence(text) for text in others),
            *(Sentence(named(variant, text)) for variant, text in priced if text),
            *(Sentence(text) for text in small if text),
            *(sentence for curve, _ in known for sentence in ahead.doubts(curve)),
            Sentence(ahead.of_the_bands(known[0][1]), "aside"),
        ],
        [Table(table, _COLUMNS, record.metric)],
        [chart(curve) for curve, _ in known],
        "along the runs the average of the laws, weighed by AICc; beyond them the forecast with its band",
        rows=lambda: table,
    )
