"""Runs a module under a wall clock that jumps by days at every look: `... wild_clock MODULE ARGUMENTS`.

As after a suspend, a correction of a wrong date, or by a time server; the monotonic clock goes on evenly.
"""

from __future__ import annotations

import datetime
import itertools
import runpy
import sys
import time

_JUMPS_DAYS = itertools.cycle((0, 3, -2, 400, -400))
_DAY_S = 86400.0
_REAL = datetime.datetime


class WildDatetime(datetime.datetime):
    """A `datetime` whose present is not to be relied on."""

    @classmethod
    def now(cls, tz: datetime.tzinfo | None = None) -> WildDatetime:
        return super().now(tz) + datetime.timedelta(days=next(_JUMPS_DAYS))


def main() -> None:
    real = time.time
    time.time = lambda: real() + _DAY_S * next(_JUMPS_DAYS)  # type: ignore[assignment]
    # Of modules that are there already as well.
    for module in [*sys.modules.values()]:
        if getattr(module, "datetime", None) is _REAL:
            vars(module)["datetime"] = WildDatetime
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
