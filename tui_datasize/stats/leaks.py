"""Test images that a run was trained on, told by the hash of their decoded pixels."""

from __future__ import annotations

import polars as pl

from tui_datasize.runlog.schema import Schema, schema

LEAKS: Schema = schema(
    (pl.String, "run_id"),
    (pl.Int64, "train_index", "train_label", "test_index", "test_label"),
    (pl.UInt64, "hash"),
)
"""A training and a test image of one run with the same pixels. Differing labels mean that one is wrong."""


def find_leaks(subsets: pl.DataFrame, predictions: pl.DataFrame) -> pl.DataFrame:
    """Pairs of equal images in a run's subset and its test set, schema `LEAKS`.

    Args:
        subsets: Columns `run_id`, `index`, `label`, `hash` of training images.
        predictions: Columns `run_id`, `index`, `label`, `hash` of test images; each may stand there once
            per evaluation.

    >>> train = pl.DataFrame({"run_id": "a", "index": [7, 8], "label": [0, 1], "hash": [11, 12]})
    >>> test = pl.DataFrame({"run_id": "a", "index": [3, 3], "label": [1, 1], "hash": [12, 12]})
    >>> find_leaks(train, test).rows()
    [('a', 8, 1, 3, 1, 12)]
    """
    columns = ("run_id", "index", "label", "hash")
    tested = predictions.select(columns).unique(maintain_order=True)
    pairs = subsets.select(columns).join(tested, on=["run_id", "hash"], suffix="_test", maintain_order="left")
    named = {
        "index": "train_index",
        "label": "train_label",
        "index_test": "test_index",
        "label_test": "test_label",
    }
    return pairs.rename(named).select(pl.col(name).cast(kind) for name, kind in LEAKS.items())
