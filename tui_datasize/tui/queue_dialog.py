"""The question before an experiment is queued, and on what terms."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.events import DescendantFocus
from textual.screen import ModalScreen
from textual.widgets import Input

from tui_datasize.experiments.load import ORDER_WORDS
from tui_datasize.experiments.load import Order as SweepOrder
from tui_datasize.jobs.queue.commands import QueueTerms
from tui_datasize.jobs.queue.state import MAX_ATTEMPTS, MOST_ATTEMPTS
from tui_datasize.tui.widgets.dialogs import CycleField, answers, facts_table, field
from tui_datasize.tui.widgets.palette import palette_of
from tui_datasize.tui.widgets.plain import Words, titled


class QueueDialog(ModalScreen[QueueTerms | None]):
    """Yes on enter, with the terms as they stand; None on escape.

    Args:
        title: The question.
        facts: What will be queued, as names and values.
        yes: What enter does.
        is_known: Whether some job is meant by a word that was written behind `after`.
        order: In which the runs stand, where they are of a sweep that may be queued in another order too;
            None where there is nothing to choose.
    """

    AUTO_FOCUS: ClassVar[str | None] = ""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "accept", "queue"),
        Binding("escape", "dismiss(None)", "back"),
    ]

    def __init__(
        self,
        title: str,
        facts: Sequence[tuple[str, str]],
        yes: str,
        is_known: Callable[[str], bool] = lambda _: True,
        order: SweepOrder | None = None,
    ) -> None:
        super().__init__()
        self._order = order
        self._is_known = is_known
        self._title = title
        self._facts = facts
        self._yes = yes

    def compose(self) -> ComposeResult:
        palette = palette_of(self.app)
        digits = len(str(MOST_ATTEMPTS))
        attempts = Input(str(MAX_ATTEMPTS), type="integer", max_length=digits, id="attempts", compact=True)
        terms = [
            field("after", Input(placeholder="runs or experiments to wait for", id="after", compact=True)),
            field("attempts", attempts),
        ]
        if self._order:
            terms.append(field("order", CycleField(tuple(ORDER_WORDS.items()), self._order)))
        box = Vertical(
            Words(facts_table(self._facts, palette.muted)),
            *terms,
            Words("", classes="problem"),
            answers((("enter", self._yes), ("tab", "terms"), ("esc", "back")), palette),
            classes="dialog",
        )
        yield titled(box, self._title)

    def on_descendant_focus(self, event: DescendantFocus) -> None:
        """Tell how a field is changed that is not written in."""
        hint = "space ← → change the order" if isinstance(event.widget, CycleField) else ""
        titled(self.query_one(".dialog"), self._title, hint)

    def on_input_submitted(self) -> None:
        self.action_accept()

    def action_accept(self) -> None:
        """Close with the terms; what cannot be meant is told, and asked for again."""
        after, attempts = (self.query_one(name, Input) for name in ("#after", "#attempts"))
        words = after.value.replace(",", " ").split()
        unknown = next((word for word in words if not self._is_known(word)), None)
        if not attempts.value.isdecimal() or not 1 <= int(attempts.value) <= MOST_ATTEMPTS:
            self._ask_again(attempts, f"attempts: a whole number from 1 to {MOST_ATTEMPTS:,}")
        elif unknown is not None:
            self._ask_again(after, f"after: no run in the queue begins with {unknown!r}")
        else:
            asked = int(attempts.value)
            others = asked if asked != MAX_ATTEMPTS else None
            self.dismiss(QueueTerms(tuple(words), others, self._other_order()))

    def _other_order(self) -> SweepOrder | None:
        """The order that was chosen; None where that is the one in which the runs stand."""
        chosen = {entry.value for entry in self.query(CycleField)} - {self._order}
        return next((order for order in ORDER_WORDS if order in chosen), None)

    def _ask_again(self, entry: Input, problem: str) -> None:
        self.query_one(".problem", Words).update(problem)
        entry.focus()
