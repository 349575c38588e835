"""What the keys do, read from the bindings themselves: the line at the bottom, help, the command palette."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from textwrap import wrap

from rich.text import Text
from textual.app import SystemCommand
from textual.binding import Binding
from textual.dom import DOMNode
from textual.geometry import Size
from textual.screen import Screen
from textual.widgets import Input

from tui_datasize.tui.widgets.line_view import LineView
from tui_datasize.tui.widgets.palette import Palette

KEY_NAMES = {
    "escape": "esc",
    "plus": "+",
    "minus": "-",
    "equals_sign": "=",
    "slash": "/",
    "asterisk": "*",
    "question_mark": "?",
    "left_square_bracket": "[",
    "right_square_bracket": "]",
    **{f"ctrl+{letter}": f"^{letter}" for letter in "elnptz"},
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
    "less_than_sign": "<",
    "greater_than_sign": ">",
}
CHANGES = frozenset(
    (
        *("queue_all", "queue_proposed", "activate", "change", "cancel", "drain", "undo"),
        *("build", "note", "prune", "scheduler"),
    )
)
"""Actions that change the queue or a file of the project."""
_LAST = ("part(1)", "help", "leave")


def key_name(key: str) -> str:
    """A key as a person would write it."""
    return KEY_NAMES.get(key, key)


def own_name(owner: DOMNode, key: str) -> str:
    """The same for someone who has named keys anew."""
    meanings: Mapping[str, str] = getattr(owner.app, "key_meanings", {})
    return key_name(next((pressed for pressed, meant in meanings.items() if meant == key), key))


def is_refused(owner: DOMNode, action: str) -> bool:
    """Whether an action changes something where one only looks on."""
    is_read_only: bool = getattr(owner.app, "is_read_only", False)
    return is_read_only and action.partition("(")[0].rpartition(".")[2] in CHANGES


def hint_of(owner: DOMNode, action: str, text: str) -> str:
    """What is said of a key, where it may be pressed."""
    return "" if is_refused(owner, action) else text


class KnowsUse:
    """Whose keys say why they do nothing, and need not be shown then."""

    def has_use(self, action: str) -> bool:
        """Whether an action would do anything to what is on the screen."""
        raise NotImplementedError


class KeyBar(LineView):
    """Shows the keys of whatever has the focus; help and leaving always stand at the end."""

    DEFAULT_CSS = "KeyBar { height: 1; background: $panel; }"

    def on_mount(self) -> None:
        self.screen.bindings_updated_signal.subscribe(self, self._follow)

    def _follow(self, screen: Screen[object]) -> None:
        if screen is self.app.screen:
            self.redraw()

    def draw(self, size: Size) -> Sequence[Text]:
        shown: dict[str, Binding] = {}
        focused = self.screen.focused
        for active in self.screen.active_bindings.values():
            binding = active.binding
            # Where text is typed, letters are text.
            if isinstance(focused, Input) and active.node is not focused:
                continue
            if isinstance(active.node, KnowsUse) and not active.node.has_use(binding.action):
                continue
            if binding.show and active.enabled and not is_refused(self, binding.action):
                shown.setdefault(binding.action, binding)
        last = [binding for action, binding in shown.items() if action in _LAST]
        first = [binding for action, binding in shown.items() if action not in _LAST]
        tail = self._entries(last, size.width)
        head = self._entries(first, size.width - tail.cell_len)
        head.pad_right(max(0, size.width - head.cell_len - tail.cell_len))
        return [head.append_text(tail)]

    def _entries(self, bindings: Sequence[Binding], width: int) -> Text:
        bold, plain = f"bold {self.palette.primary}", self.palette.foreground
        line = Text()
        for binding in bindings:
            key = binding.key_display or own_name(self, binding.key)
            entry = Text.assemble((f" {key}", bold), (f" {binding.description} ", plain))
            if line.cell_len + entry.cell_len > width:
                break
            line.append_text(entry)
        return line


LIST_KEYS = (
    ("↑ ↓ k j", "up and down"),
    ("PgUp PgDn", "a screenful"),
    ("g G", "first and last"),
    ("tab", "next part of the screen"),
    ("esc", "one layer back"),
)
"""Keys that every list knows, and what they do."""
_EXPLANATION_WIDTH = 53
"""Columns that a screen of 80 leaves beside the keys."""


@dataclass(frozen=True, slots=True)
class KeyHelp:
    """One action and its keys."""

    owner: DOMNode
    """Whose action it is."""
    action: str
    keys: tuple[str, ...]
    """Keys as a person would write them."""
    title: str
    text: str
    """What it does, in a few words."""


@dataclass(frozen=True, slots=True)
class KeyGroup:
    """The keys of one part of the screen."""

    title: str
    entries: tuple[KeyHelp, ...]


def keys_of(title: str, owner: DOMNode) -> KeyGroup:
    """The keys that a widget's class defines itself, those with a tooltip."""
    entries = []
    for binding in type(owner).BINDINGS:
        if isinstance(binding, Binding) and binding.tooltip and not is_refused(owner, binding.action):
            names = tuple(own_name(owner, key.strip()) for key in binding.key.split(","))
            entries.append(KeyHelp(owner, binding.action, names, binding.description, binding.tooltip))
    return KeyGroup(title, tuple(entries))


def without_taken(group: KeyGroup, groups: Iterable[KeyGroup]) -> KeyGroup:
    """A group without the keys that mean something else in others, which come before it."""
    taken = {key for other in groups for entry in other.entries for key in entry.keys}
    return KeyGroup(group.title, tuple(entry for entry in group.entries if not taken & set(entry.keys)))


def commands_of(groups: Iterable[KeyGroup], run: Callable[..., object]) -> Iterator[SystemCommand]:
    """Every action as an entry of the palette."""
    for entry in (entry for group in groups for entry in group.entries):
        title = f"{entry.title[:1].upper()}{entry.title[1:]} ({' '.join(entry.keys)})"
        yield SystemCommand(title, entry.text, partial(run, entry.action, entry.owner))


def help_text(groups: Iterable[KeyGroup], extra: Sequence[tuple[str, str]], palette: Palette) -> Text:
    """All keys, one action a line."""
    text = Text()
    for group in groups:
        if group.entries:
            text.append(f"{group.title}\n", f"bold {palette.primary}")
            for entry in group.entries:
                _append(text, " ".join(entry.keys), entry.text, palette)
            text.append("\n")
    text.append("In every list\n", f"bold {palette.primary}")
    for keys, what in extra:
        _append(text, keys, what, palette)
    text.rstrip()
    return text


def _append(text: Text, keys: str, what: str, palette: Palette) -> None:
    lines = f"\n{'':16}".join(wrap(what, _EXPLANATION_WIDTH))
    text.append(f"  {keys:<14}", f"bold {palette.foreground}").append(f"{lines}\n", palette.muted)
