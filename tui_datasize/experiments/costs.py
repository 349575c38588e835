"""`[costs]` of `experiments.toml`: what a label and an hour of a GPU cost."""

from __future__ import annotations

from dataclasses import dataclass

from tui_datasize.experiments.keys import key
from tui_datasize.experiments.toml import Problems, TomlTable

LONGEST_CURRENCY = 8


@dataclass(frozen=True, slots=True)
class Costs:
    """Prices; 0 where none is given."""

    label: float = key(0.0, "price of the label of one image")
    gpu_hour: float = key(0.0, "price of an hour of a GPU")
    currency: str = key("", 'that they are in, such as "EUR"')

    @property
    def are_known(self) -> bool:
        return bool(self.label or self.gpu_hour)

    def money(self, amount: float) -> str:
        """An amount as people read it.

        >>> Costs(currency="EUR").money(204.8), Costs(currency="EUR").money(3.6)
        ('EUR 205', 'EUR 3.60')
        """
        return f"{self.currency} {amount:,.{0 if amount >= 10 else 2}f}"


NO_COSTS = Costs()


def read_costs(table: TomlTable) -> Costs:
    """Read `[costs]`.

    Raises ConfigError: a key is unknown, a price is no number of at least 0, or there is no currency to it.
    """
    problems = Problems()
    label = problems.of(lambda: table.number("label", 0.0), 0.0)
    gpu_hour = problems.of(lambda: table.number("gpu_hour", 0.0), 0.0)
    # A currency that is none is told once, and not missed as well.
    currency = problems.of(lambda: table.text("currency", ""), "?")
    with problems.part():
        is_short = currency.isprintable() and len(currency) <= LONGEST_CURRENCY
        if not is_short or ((label or gpu_hour) and not currency.strip()):
            raise table.error("currency", f'one such as "EUR", of at most {LONGEST_CURRENCY} letters')
    with problems.part():
        table.finish()
    problems.raise_all()
    return Costs(label, gpu_hour, currency.strip())
