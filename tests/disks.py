"""File systems small enough to be filled, for tests of what happens then."""

from __future__ import annotations

import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest

_OPTIONS = "mode=777,size="
_SIZE = "2m"
_BLOCKS_BYTES = (65536, 1)


class SmallDisk:
    """File systems that are gone after the test; where none may be mounted it is skipped."""

    def __init__(self) -> None:
        self._mounted: list[Path] = []

    def mount(self, directory: Path, size: str = _SIZE) -> None:
        """Mount one at a directory, which is made if it is missing."""
        directory.mkdir(parents=True, exist_ok=True)
        if subprocess.run(
            _mount("-t", "tmpfs", "-o", _OPTIONS + size, "datasize-test", directory)
        ).returncode:
            pytest.skip("this user may not mount a file system")
        self._mounted.append(directory)

    def remount(self, directory: Path, mode: str) -> None:
        """Make one "ro" or "rw"."""
        subprocess.run(_mount("-o", f"remount,{mode},{_OPTIONS}{_SIZE}", directory), check=True)

    def freeze(self, directory: Path) -> None:
        """Let nothing below a directory be opened for writing; what is open for it stays so."""
        with tempfile.TemporaryDirectory() as aside:
            # Nobody opens a file there before it is read-only.
            if subprocess.run(_mount("--bind", directory, aside)).returncode:
                pytest.skip("this user may not mount a file system")
            try:
                subprocess.run(_mount("-o", "remount,bind,ro", aside), check=True)
                subprocess.run(_mount("--bind", aside, directory), check=True)
                self._mounted.append(directory)
            finally:
                subprocess.run(["umount", aside], check=True)

    def thaw(self, directory: Path) -> None:
        """Unmount what was mounted there last."""
        subprocess.run(["umount", "-l", str(directory)], check=True)
        self._mounted.remove(directory)

    def take_away(self, directory: Path) -> Path:
        """Unmount one, whatever is open there, and return where a copy of what it holds is mounted."""
        copy = directory.with_name(f"{directory.name}-copy")
        self.mount(copy)
        subprocess.run(["cp", "-a", f"{directory}/.", copy], check=True)
        while directory in self._mounted:
            self.thaw(directory)
        return copy

    def bring(self, copy: Path, directory: Path) -> None:
        """Mount a copy where what it was taken from was."""
        subprocess.run(_mount("--bind", copy, directory), check=True)
        self._mounted.append(directory)

    def fill(self, directory: Path) -> Path:
        """Take all that is left of one, and return the file to remove."""
        ballast = directory / "ballast"
        with ballast.open("ab", buffering=0) as file:
            for size_bytes in _BLOCKS_BYTES:
                with suppress(OSError):
                    while True:
                        file.write(b"x" * size_bytes)
        return ballast

    def close(self) -> None:
        """Unmount all; what still has files open there keeps them."""
        for directory in reversed(self._mounted):
            subprocess.run(["umount", "-l", str(directory)], check=True)


def _mount(*arguments: str | Path) -> list[str]:
    return ["mount", *map(str, arguments)]
