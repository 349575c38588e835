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
        """Let it be as it was."""
        subprocess.run(["umount", "-l", str(directory)], check=True)
        self._mounted.remove(directory)

    def take_away(self, directory: Path) -> Path:
        """Have a bare directory in place of one, and return where a copy of what it holds is mounted."""
        copy, bare = (directory.with_name(f"{directory.name}-{what}") for what in ("copy", "bare"))
        self.mount(copy)
        subprocess.run(["cp", "-a", f"{directory}/.", copy], check=True)
        bare.mkdir()
        # Not unmounted: below a frozen one is one that could be written for a moment.
        self.bring(bare, directory)
        return copy

    def bring(self, source: Path, directory: Path) -> None:
        """Mount one in place of another."""
        subprocess.run(_mount("--bind", source, directory), check=True)
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
