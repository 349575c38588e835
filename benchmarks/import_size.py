"""What importing large tables takes: processor time and memory of the whole command.

`python -m benchmarks.import_size` imports a log of 100,000 rows of three metrics (1,000 runs), with decimal
points and with decimal commas, a table of 20,000 runs, and a table of 1 GiB whose rows are mostly a note.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

_EPOCHS = 100
_SEEDS = 20


def _log(rows: int, rng: random.Random) -> Iterator[str]:
    yield "n,seed,epoch,test_acc,test_loss,train_loss\n"
    for row in range(rows):
        run, epoch = divmod(row, _EPOCHS)
        size, seed = divmod(run, 10)
        yield f"{500 + 10 * size},{seed},{epoch},{rng.random():.6f},{rng.random():.6f},{rng.random():.6f}\n"


def _with_commas(rows: int, rng: random.Random) -> Iterator[str]:
    for line in _log(rows, rng):
        yield line.replace(",", ";").replace(".", ",")


def _runs(rows: int, rng: random.Random) -> Iterator[str]:
    yield "n,seed,test_acc\n"
    for row in range(rows):
        yield f"{500 + row // _SEEDS},{row % _SEEDS},{rng.random():.4f}\n"


def _notes(rows: int, rng: random.Random) -> Iterator[str]:
    yield "n,seed,epoch,test_acc,note\n"
    note = "".join(rng.choice("abcdefgh ") for _ in range(1_000))
    for row in range(rows):
        run, epoch = divmod(row, 10_000)
        yield f"{500 + run},0,{epoch},{rng.random():.4f},{note}\n"


_TABLES: Mapping[str, tuple[Callable[[int, random.Random], Iterator[str]], int]] = MappingProxyType(
    {
        "log": (_log, 100_000),
        "commas": (_with_commas, 100_000),
        "runs": (_runs, 20_000),
        "gigabyte": (_notes, 1_050_000),
    }
)


def main(argv: Sequence[str] | None = None) -> int:
    """Make each table, import it, and print what that took."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.import_size", description=__doc__)
    parser.add_argument("tables", nargs="*", choices=[*_TABLES, []], help="which ones (default: all)")
    chosen = parser.parse_args(argv).tables or [*_TABLES]
    for name in chosen:
        make, rows = _TABLES[name]
        with tempfile.TemporaryDirectory() as directory:
            file = Path(directory, "table.csv")
            with file.open("w") as stream:
                stream.writelines(make(rows, random.Random(0)))
            size = file.stat().st_size / 2**20
            command = [sys.executable, "-m", "tui_datasize", "import", "x", str(file), "--project", directory]
            process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
            _, status, used = os.wait4(process.pid, 0)
            cpu_s, peak = used.ru_utime + used.ru_stime, used.ru_maxrss / 2**10
            print(
                f"{name}: {rows:,} rows, {size:,.0f} MiB: {cpu_s:.1f} s, {peak:,.0f} MiB, exit {status}",
                flush=True,
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
