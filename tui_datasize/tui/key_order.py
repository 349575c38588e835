"""Keys come first: each acts on what the ones before it have opened, and waits for no other work."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections import deque
from concurrent.futures import Future
from functools import partial
from importlib import import_module
from time import monotonic
from typing import Any

from textual import events
from textual.app import App

_PATIENCE_S = 1.0
"""How long a key waits for the one before it, and for the dialog that it was typed for."""
_SOON_S = 0.005
COLLECTS_EVERY_S = 30.0
_COLLECTED_AFTER_S = 600.0
"""So long garbage may stay where somebody types all the time."""
_MOMENT_S = 0.5
_STILL_S = 5.0
"""Without a key for so long, nobody is likely to press one in the next moment."""
_LONG_S = 0.02


class OrderlyApp(App[None]):
    """Hands keys on one by one: those that come at once act in their order, on what is there by then."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._key: events.Key | None = None
        """The one that is under way."""
        self._keys_waiting: deque[events.Key] = deque()
        self._typed_s = 0.0
        self._collected_s = monotonic()

    async def until_nobody_types(self) -> None:
        """Wait until no key has come for a moment."""
        while self._key is not None or (left_s := self._typed_s + _MOMENT_S - monotonic()) > 0:
            await asyncio.sleep(_MOMENT_S if self._key else left_s)

    def collect_garbage(self) -> None:
        """Look for garbage while nobody types, or when nobody has for long."""
        now_s = monotonic()
        if now_s - self._typed_s < _STILL_S and now_s - self._collected_s < _COLLECTED_AFTER_S:
            return
        gc.collect()
        self._collected_s = monotonic()
        if self._collected_s - now_s > _LONG_S:
            self.keep_what_is_there()

    def keep_what_is_there(self) -> None:
        """Look for garbage among it no more: of 10,000 runs and the modules that takes 0.1 s."""
        # Where it is also looked for by itself, someone else keeps house.
        if not gc.isenabled():
            gc.freeze()

    async def on_event(self, event: events.Event) -> None:
        if not isinstance(event, events.Key):
            await super().on_event(event)
        elif event.is_forwarded:
            await super().on_event(event)
            await self._end_key(event)
        elif self._key is None:
            await self._begin_key(event)
        else:
            self._keys_waiting.append(event)

    def meant(self, event: events.Key) -> events.Key:
        """The key that one stands for."""
        return event

    async def _begin_key(self, event: events.Key) -> None:
        self._typed_s = monotonic()
        await self._ready_to_type()
        self._key = event = self.meant(event)
        target = self.focused or self.screen
        await super().on_event(event)
        if event.is_forwarded and target.call_later(self._look_after_key, event):
            # Whoever keeps it on its way here does not say so.
            self.set_timer(_PATIENCE_S, partial(self._end_key, event))
        else:
            await self._end_key(event)

    def _look_after_key(self, event: events.Key) -> None:
        """A field keeps what is written into it; other keys come back and are looked up in the bindings."""
        if event._stop_propagation:
            self.call_later(self._end_key, event)

    async def _end_key(self, event: events.Key) -> None:
        if event is self._key:
            self._key = None
            if self._keys_waiting:
                await self._begin_key(self._keys_waiting.popleft())

    async def _ready_to_type(self) -> None:
        """Wait until a screen that has just opened has a field to type into, or is there without one."""
        deadline_s = monotonic() + _PATIENCE_S
        while self.focused is None and monotonic() < deadline_s:
            if self.screen.is_mounted and not self.screen.focus_chain:
                return
            await asyncio.sleep(_SOON_S)


async def loaded(module: str) -> None:
    """Wait until what it imports is there, while keys are answered; who leaves meanwhile does not wait."""
    done: Future[object] = Future()

    def load() -> None:
        try:
            done.set_result(import_module(module))
        except Exception as error:
            done.set_exception(error)

    threading.Thread(target=load, name=f"importing {module}", daemon=True).start()
    await asyncio.wrap_future(done)
