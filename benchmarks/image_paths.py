"""How images reach a run: host memory while they are uploaded, and the speed of those left in their file.

`python -m benchmarks.image_paths [--gb 2] [--px 256] [--batch 128] [--rounds 9]`
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from numpy.lib.format import open_memmap

from tui_datasize.training.accelerator.interface import Accelerator
from tui_datasize.training.arrays import Indices
from tui_datasize.training.build import Images
from tui_datasize.training.reading import CHUNK_BYTES, ImageReader, upload

_BATCHES = 60
COPIED, READ, READ_AHEAD = "copied into new memory", "read when asked for", "read ahead by threads"


class AnonymousPeak:
    """The most anonymous memory (RssAnon) that this process gained while inside, in bytes."""

    def __enter__(self) -> AnonymousPeak:
        self._before = self._most = _anonymous_bytes()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    @property
    def gained_bytes(self) -> int:
        """Beyond what there was at the beginning."""
        return self._most - self._before

    def _look(self) -> None:
        while not self._done.wait(0.002):
            self._most = max(self._most, _anonymous_bytes())
        self._most = max(self._most, _anonymous_bytes())


def upload_peak(folder: Path, total_bytes: int, image_px: int) -> tuple[int, int]:
    """Upload synthetic images to a target that is no anonymous memory, as that of a device.

    Returns:
        Bytes of anonymous memory gained at most, and bytes allowed: 1.2 chunks, and as much as labels.
    """
    images = synthetic(folder, total_bytes, image_px)
    rows = np.random.default_rng(0).permutation(len(images))
    count = images.size
    target = torch.from_file(str(folder / "target"), shared=True, size=count, dtype=torch.uint8)
    with AnonymousPeak() as peak:
        upload(images, rows, target.view(images.shape))
    if not np.array_equal(target.view(images.shape)[:3].numpy(), images[rows[:3]]):
        raise ValueError("the upload holds other images than were asked for")
    return peak.gained_bytes, int(1.2 * CHUNK_BYTES) + 8 * len(rows)


def synthetic(folder: Path, total_bytes: int, image_px: int) -> Images:
    """A file of images of three channels, memory-mapped; every image differs from the next."""
    count = total_bytes // (3 * image_px**2)
    path = folder / "images.npy"
    written = open_memmap(path, mode="w+", dtype=np.uint8, shape=(count, 3, image_px, image_px))
    noise = np.random.default_rng(0).integers(0, 256, (3, image_px, image_px), np.uint8)
    for number in range(count):
        written[number] = noise + np.uint8(number % 256)
        written[number, 0, 0, :8] = np.frombuffer(np.int64(number).tobytes(), np.uint8)
    written.flush()
    images: Images = np.load(path, mmap_mode="r")
    return images


@dataclass(frozen=True, slots=True)
class Speed:
    """Images per second, and per second of all cores together."""

    per_s: float
    per_cpu_s: float


def speeds(images: Images, batch: int) -> dict[str, Speed]:
    """Speed from page cache by each way, while the host does nothing else.

    Those read ahead are what a GPU is given: here a CPU stands in for it, which needs no copy.
    """
    rng = np.random.default_rng(1)
    batches = [rng.permutation(len(images))[:batch] for _ in range(_BATCHES)]
    return {
        COPIED: _speed(lambda: _copy(images, batches), batch),
        READ: _speed(lambda: _read(images, batches, ahead=0), batch),
        READ_AHEAD: _speed(lambda: _read(images, batches, ahead=4), batch),
    }


def _speed(work: Callable[[], None], batch: int) -> Speed:
    started_s, started_cpu_s = time.perf_counter(), time.process_time()
    work()
    spent_s, spent_cpu_s = time.perf_counter() - started_s, time.process_time() - started_cpu_s
    return Speed(_BATCHES * batch / spent_s, _BATCHES * batch / spent_cpu_s)


def _copy(images: Images, batches: Sequence[Indices]) -> None:
    for rows in batches:
        torch.from_numpy(np.array(images[rows]))


def _read(images: Images, batches: Sequence[Indices], *, ahead: int) -> None:
    with mock.patch.object(Accelerator, "batches_ahead", ahead):
        reader = ImageReader(images, torch.device("cpu"))
    for number, rows in enumerate(batches):
        for coming in batches[number + ahead if number else 0 : number + ahead + 1]:
            reader.announce(coming)
        reader.read(rows)
    reader.close()


def _anonymous_bytes() -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("RssAnon:"))


def main() -> None:
    """Measure both and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--gb", type=float, default=2.0)
    parser.add_argument("--px", type=int, default=256)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=9)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        gained, allowed = upload_peak(Path(folder), int(asked.gb * 1e9), asked.px)
        print(f"upload of {asked.gb:g} GB: RssAnon +{gained / 2**20:.1f} MiB, allowed {allowed / 2**20:.1f}")
        # What is still being written to the disk would be measured with the first rounds.
        os.sync()
        images = np.load(Path(folder) / "images.npy", mmap_mode="r")[: 12 * asked.batch]
        rounds = [speeds(images, asked.batch) for _ in range(asked.rounds)]
    for way in (COPIED, READ, READ_AHEAD):
        speed = statistics.median(one[way].per_s for one in rounds)
        ratio = statistics.median(one[way].per_s / one[COPIED].per_s for one in rounds)
        of_cpu = statistics.median(one[way].per_cpu_s / one[COPIED].per_cpu_s for one in rounds)
        print(f"{way}: {speed:,.0f} images/s, {ratio:.2f}x; {of_cpu:.2f}x for each second of a core")


if __name__ == "__main__":
    main()
