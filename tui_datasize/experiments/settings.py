"""Reading one key of a table of settings by the field that it sets."""

from __future__ import annotations

from typing import TypeAlias

from tui_datasize.experiments.keys import Row
from tui_datasize.experiments.toml import TomlTable, is_whole

Setting: TypeAlias = int | str | bool


def read_setting(row: Row, table: TomlTable) -> Setting:
    """The value of a key that the table has.

    Raises ConfigError: it is of another kind, out of its range, or not what its key says that it must be.
    """
    if row.choices:
        return table.choice(row.name, row.choices)
    if row.kind is bool:
        return table.boolean(row.name, False)
    if row.kind is str:
        text = table.text(row.name)
        if row.key.holds and not row.key.holds(text):
            raise table.error(row.name, row.key.expected)
        return text
    value = table.take(row.name)
    if not is_whole(value) or not row.key.at_least <= value <= (row.key.at_most or value):
        raise table.error(row.name, f"a whole number from {row.key.at_least} to {row.key.at_most}")
    return int(value)
