"""How images reach a run: host memory while they are uploaded to a device.

`python -m benchmarks.image_paths [--gb 2] [--px 256]`
"""

from __future__ import annotations

import argparse
import tempfile
import threading
from pathlib import Path

import numpy as np
import torch
from numpy.lib.format import open_memmap

from tui_datasize.training.chunks import Images
from tui_datasize.training.reading import CHUNK_BYTES, upload


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


def _anonymous_bytes() -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("RssAnon:"))


def main() -> None:
    """Measure it and print a line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--gb", type=float, default=2.0)
    parser.add_argument("--px", type=int, default=256)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        gained, allowed = upload_peak(Path(folder), int(asked.gb * 1e9), asked.px)
        print(f"upload of {asked.gb:g} GB: RssAnon +{gained / 2**20:.1f} MiB, allowed {allowed / 2**20:.1f}")


if __name__ == "__main__":
    main()
