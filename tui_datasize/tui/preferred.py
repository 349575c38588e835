"""The app as a person wants it: their keys, the characters of their terminal, slow links, only looking."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.color import ColorSystem
from textual import events
from textual.actions import ActionParseResult
from textual.dom import DOMNode
from textual.filter import ANSIToTruecolor, LineFilter
from textual.theme import Theme
from textual.widgets import Input

from tui_datasize.tui.key_order import OrderlyApp
from tui_datasize.tui.keys import is_refused
from tui_datasize.tui.preferences import AS_USUAL, Preferences
from tui_datasize.tui.terminal import SparingDriver
from tui_datasize.tui.widgets.plain import AsciiOnly, PrintableOnly

SLOW_S = 5.0
"""On a slow link the project is looked at so often."""


class PreferredApp(OrderlyApp):
    """Goes by what was chosen for all projects."""

    preferences: Preferences = AS_USUAL

    def __init__(self, *arguments: Any, preferences: Preferences = AS_USUAL, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.preferences = preferences
        self._last_filters = [PrintableOnly(), *([AsciiOnly()] if preferences.is_ascii else [])]
        self._usual_colours: ColorSystem | None = None

    def paint_as(self, theme: Theme) -> None:
        """Leave the colours of a theme of 16 to the terminal, which has its own of each."""
        self._usual_colours = self._usual_colours or self.console._color_system
        own = ColorSystem.STANDARD if theme.ansi and self._usual_colours else self._usual_colours
        self.console._color_system = own
        for one in self._filters:
            if isinstance(one, ANSIToTruecolor):
                # Made for the theme that Textual begins with: it makes black of the terminal's own colours.
                one.enabled = not self.native_ansi_color

    @property
    def key_meanings(self) -> Mapping[str, str]:
        """What is pressed, and the key that it acts as."""
        return self.preferences.keys

    @property
    def is_read_only(self) -> bool:
        return self.preferences.read_only

    def say(self, text: str, *, error: bool = False) -> None:
        """Tell something in the status line."""
        raise NotImplementedError

    def get_line_filters(self) -> Sequence[LineFilter]:
        """What every line passes before it is drawn; called by Textual."""
        return [*super().get_line_filters(), *self._last_filters]

    def meant(self, event: events.Key) -> events.Key:
        """The key that it stands for; where text is written it is itself."""
        meant = self.key_meanings.get(event.key)
        if meant is None or isinstance(self.focused, Input):
            return event
        return events.Key(meant, meant if len(meant) == 1 else None)

    async def run_action(
        self,
        action: str | ActionParseResult,
        default_namespace: DOMNode | None = None,
        namespaces: Mapping[str, DOMNode] | None = None,
    ) -> bool:
        """Do what a key asks for, unless it changes something and nothing may be; called by Textual."""
        if is_refused(self, action if isinstance(action, str) else action[1]):
            self.say("read-only: nothing is changed from here", error=True)
            return True
        return await super().run_action(action, default_namespace, namespaces)

    async def on_mount(self) -> None:
        self.theme_changed_signal.subscribe(self, self.paint_as, immediate=True)
        self._rates = self.set_interval(SLOW_S, self._tell_rate, pause=not self.preferences.slow)

    def on_link_turned(self) -> None:
        """Draw less often on a slow link, and as usual on one that is fast again."""
        if self.preferences.slow or not isinstance(driver := self._driver, SparingDriver):
            return
        self.draw_seldom(driver.link.is_slow)
        if driver.link.is_slow:
            self.say(f"slow link: drawn every {SLOW_S:.0f} s")
            self._rates.resume()
            self._tell_rate()
        else:
            self.say("the link is fast again")
            self._rates.pause()
            self.show_rate(None)

    def _tell_rate(self) -> None:
        if isinstance(driver := self._driver, SparingDriver):
            self.show_rate(driver.link.bytes_per_s())

    def draw_seldom(self, seldom: bool) -> None:
        """Look at the project less often, or as usual."""
        raise NotImplementedError

    def show_rate(self, bytes_per_s: float | None) -> None:
        """Tell how much a slow link carries; nothing of a fast one."""
        raise NotImplementedError
