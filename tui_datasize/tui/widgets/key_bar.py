"""The line of keys at the bottom: as many as fit, none cut in the middle."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text
from textual.binding import Binding
from textual.geometry import Size
from textual.screen import Screen
from textual.widgets import Input

from tui_datasize.tui.widgets.line_view import LineView

_KEY_NAMES = {
    "space": "space",
    "enter": "enter",
    "escape": "esc",
    "plus": "+",
    "minus": "-",
    "equals_sign": "=",
    "slash": "/",
    "asterisk": "*",
    "question_mark": "?",
    "left_square_bracket": "[",
    "right_square_bracket": "]",
    "ctrl+e": "^e",
    "ctrl+p": "^p",
    "f1": "F1",
    "up": "↑",
    "down": "↓",
    "left": "←",
    "right": "→",
    "pageup": "PgUp",
    "pagedown": "PgDn",
    "home": "Home",
    "end": "End",
    "comma": ",",
    "full_stop": ".",
}
_LAST = ("help", "leave")


def key_name(key: str) -> str:
    """A key as a person would write it."""
    return _KEY_NAMES.get(key, key)


class KeyBar(LineView):
    """Shows the keys of whatever has the focus; help and leaving always stand at the end."""

    DEFAULT_CSS = """
    KeyBar { height: 1; background: $panel; }
    """

    def on_mount(self) -> None:
        """Follow the focus."""
        super().on_mount()
        self.screen.bindings_updated_signal.subscribe(self, self._follow)

    def _follow(self, screen: Screen[object]) -> None:
        if screen is self.app.screen:
            self.redraw()

    def draw(self, size: Size) -> Sequence[Text]:
        """The line of keys."""
        shown: dict[str, Binding] = {}
        focused = self.screen.focused
        for active in self.screen.active_bindings.values():
            binding = active.binding
            # Where text is typed, letters are text.
            if isinstance(focused, Input) and active.node is not focused:
                continue
            if binding.show and active.enabled:
                shown.setdefault(binding.action, binding)
        last = [binding for action, binding in shown.items() if action in _LAST]
        first = [binding for action, binding in shown.items() if action not in _LAST]
        tail = self._entries(last, size.width)
        head = self._entries(first, size.width - tail.cell_len)
        head.pad_right(max(0, size.width - head.cell_len - tail.cell_len))
        return [head.append_text(tail)]

    def _entries(self, bindings: Sequence[Binding], width: int) -> Text:
        palette = self.palette
        line = Text()
        for binding in bindings:
            key = binding.key_display or key_name(binding.key)
            entry = Text.assemble(
                (f" {key}", f"bold {palette.primary}"), (f" {binding.description} ", palette.foreground)
            )
            if line.cell_len + entry.cell_len > width:
                break
            line.append_text(entry)
        return line
