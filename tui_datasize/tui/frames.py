"""When the screen is laid out and painted: once nobody has anything left to do."""

from __future__ import annotations

import asyncio

from textual.events import Resize
from textual.geometry import Size
from textual.reactive import Reactive
from textual.screen import Screen
from textual.widget import Widget

from tui_datasize.tui.terminal import SparingDriver

_TAKEN_WITHIN_S = 0.005
_MOST_TURNS = 200
"""Of the event loop, for which a frame waits where somebody always has something to do."""


class WholeFrames(Screen[None]):
    """The screen of the tabs, whose styles know how large it is.

    Laid out and painted not 60 times a second but when nobody has anything left to do: first the layout,
    then one frame with all that follows from it.
    """

    # Not of the app: each dialog that opens would have its styles computed twice.
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (120, "-wide")]  # noqa: RUF012
    VERTICAL_BREAKPOINTS = [(0, "-short"), (34, "-tall")]  # noqa: RUF012
    focused: Reactive[Widget | None] = Reactive(None, repaint=False)
    """Two widgets look otherwise then, not all of the screen."""
    _turns_left = 0
    """0 where nothing is to be laid out or painted."""
    _paints = False

    def __init__(self, size: Size) -> None:
        # Classes that came with its first size would have every style computed a second time.
        told = (size.width, self.HORIZONTAL_BREAKPOINTS), (size.height, self.VERTICAL_BREAKPOINTS)
        names = (max(one for one in breakpoints if one[0] <= length)[1] for length, breakpoints in told)
        super().__init__(id="_default", classes=" ".join(names))

    async def _on_resize(self, event: Resize) -> None:
        """Take the size that the terminal has by now.

        Of two that are on their way each layout would send for the other, for ever.
        """
        size = self.app.size
        if event.size != size:
            event.prevent_default().stop()
            self.post_message(Resize(size, size))

    @property
    def _update_timer(self) -> WholeFrames:  # type: ignore[override]
        """Resumed by Textual when something is to be laid out or painted."""
        return self

    def resume(self) -> None:
        if not self._turns_left:
            self._turns_left = _MOST_TURNS
            self._wait()

    def pause(self) -> None:
        """What is asked for comes all the same."""

    def _wait(self) -> None:
        if isinstance(driver := self.app._driver, SparingDriver) and driver.link.is_busy:
            asyncio.get_running_loop().call_later(_TAKEN_WITHIN_S, self._wait)
            return
        self._turns_left -= 1
        # Scrollbars are nobody's children, and what is not laid out yet is not in view.
        pumps = (self.app, *self.walk_children(with_self=True), *self._compositor.visible_widgets)
        if self._turns_left and any(pump.message_queue_size for pump in pumps):
            asyncio.get_running_loop().call_soon(self._wait)
            return
        try:
            self._on_timer_update()
        except Exception as error:
            self.app._handle_exception(error)

    def _on_timer_update(self) -> None:
        """Lay out or paint; called by Textual, too."""
        self._turns_left = 0
        # Places of what is not in view would be found anew, and nobody be told by the next layout.
        self._dirty_widgets.intersection_update(self._compositor.visible_widgets)
        may_draw = self.is_current and not self.app._batch_count
        if may_draw and self._layout_required:
            self._layout_required = False
            self.lay_out()
            return
        self._paints = may_draw
        self._dirty_widgets.add(self)
        super()._on_timer_update()
        if may_draw:
            self._paints = False
            self._dirty_widgets.discard(self)

    def lay_out(self) -> None:
        """Give every widget its place now."""
        self._refresh_layout()

    def _compositor_refresh(self) -> None:
        """Called by Textual after each layout, when nobody has heard of it yet, and to paint."""
        if self._paints:
            super()._compositor_refresh()
        else:
            # Nothing of it is dirty: it says that a frame is to come.
            self._dirty_widgets.add(self)
            self.check_idle()
