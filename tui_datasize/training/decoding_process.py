"""A process that decodes image files into the arrays of a data set, one chunk per line on its input.

It ends when its input does, so that none outlives the worker it serves, however that one ends.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from tui_datasize.errors import DataError
from tui_datasize.training.chunks import Chunk, Filled, Images, SplitArrays, SplitName
from tui_datasize.training.decode import AnotherSizeError, Form, decode_file

_NICENESS = 10
"""Decoding takes what trainings leave of the processor."""


class BadImages(Exception):  # noqa: N818 - collected, and told at the end of a pass
    """Images of a chunk that cannot be decoded."""

    def __init__(self, errors: Sequence[DataError]) -> None:
        self.errors = tuple(errors)
        super().__init__(f"{len(self.errors)} bad images")


def read_files(files: Sequence[str], form: Form) -> Images:
    """Decode files, shape (N, C, H, W).

    Raises:
        BadImages: Some cannot be decoded; all of the others were tried.
        AnotherSizeError: They have different sizes, and the form does not resize.
    """
    images = np.empty((len(files), form.channels, form.height_px, form.width_px), dtype=np.uint8)
    errors = []
    for image, file in zip(images, files, strict=True):
        try:
            image[...] = decode_file(file, form)
        except AnotherSizeError:
            raise
        except DataError as error:
            errors.append(error)
    if errors:
        raise BadImages(errors)
    return images


def question(chunk: Chunk, files: Sequence[str]) -> str:
    """The line that asks for a chunk."""
    return json.dumps({"chunk": asdict(chunk), "files": list(files)}) + "\n"


def understand(answer: str) -> Filled:
    """What a line that a process answered says.

    Raises:
        BadImages: It could not decode some images.
        DataError: The images cannot be taken together.
        OSError: It met this error.
    """
    said = json.loads(answer)
    if "bad" in said:
        raise BadImages([DataError(what, where=where, fix=fix) for what, where, fix in said["bad"]])
    if "refused" in said:
        what, where, fix = said["refused"]
        raise DataError(what, where=where, fix=fix)
    if "errno" in said:
        raise OSError(said["errno"], os.strerror(said["errno"]), said["file"])
    return Filled(Chunk(**said["chunk"]), tuple(map(tuple, said["counts"])))


def main(folder: Path, form: Form) -> None:
    """Answer the questions on standard input until it ends."""
    os.nice(_NICENESS)
    # Control-C reaches the whole group: the worker decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    arrays = cache(lambda split: SplitArrays.open(folder, split))
    for line in sys.stdin:
        asked = json.loads(line)
        answer = _answer(Chunk(**asked["chunk"]), asked["files"], form, arrays)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def _answer(
    chunk: Chunk, files: Sequence[str], form: Form, arrays: Callable[[SplitName], SplitArrays]
) -> Mapping[str, Any]:
    try:
        return asdict(arrays(chunk.split).fill(chunk, lambda *_: read_files(files, form)))
    except BadImages as bad:
        return {"bad": [(error.what, error.where, error.fix) for error in bad.errors]}
    except DataError as error:
        return {"refused": (error.what, error.where, error.fix)}
    except OSError as error:
        return {"errno": error.errno or 0, "file": str(error.filename or chunk.split)}


if __name__ == "__main__":
    # The worker was killed: what this process has filled since is checked by the next one.
    with contextlib.suppress(BrokenPipeError):
        main(Path(sys.argv[1]), Form(**json.loads(sys.argv[2])))
        sys.exit()
    # Nobody is left to flush for.
    os._exit(1)
