"""`[checkpoints]` of `experiments.toml`: which weights stay when the disk is freed."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

from tui_datasize.experiments.toml_table import Table

Keep: TypeAlias = Literal["none", "last", "best", "both"]
"""What a run that succeeded keeps: no weights, those of its end, of its best evaluation, or both."""
KEEPS: tuple[Keep, ...] = get_args(Keep)


def read_keep(table: Table) -> Keep:
    """Read `[checkpoints]`.

    Raises:
        ConfigError: A key is unknown, or `keep` is none of the words.
    """
    keep = table.choice("keep", KEEPS, "none")
    table.finish()
    return keep
