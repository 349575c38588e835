"""Test images that look almost like a training image: saved anew, resized, a little brighter.

A perceptual hash finds the pairs to be compared, and their thumbnails decide. The hash says which of the 8x8
cells of the decoded image, in grey, are brighter than the median of them ("average hash"; Zauner,
"Implementation and Benchmarking of Perceptual Image Hash Functions", 2010).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

SIDE = 16
"""Of a thumbnail."""
_LUMA = (0.299, 0.587, 0.114)
"""Of red, green and blue in grey (ITU-R BT.601)."""
_CELLS = 8
_MOST_BITS = 8
"""In which the hashes of two likely images differ."""
_TURNS = range(0, 64, 8)
_WINDOW = 250
"""Neighbours on each side, in the order of the hashes turned so, that an image is compared with."""
_LEAST_CORRELATION = 0.99
_LEAST_DEVIATION = 4.0
"""Of the grey levels of a thumbnail: flat pictures are alike without being copies."""
_TESTS_AT_ONCE = 2_000

Thumbnails = NDArray[np.uint8]
Hashes = NDArray[np.uint64]
Rows = NDArray[np.int64]


def thumbnails(images: NDArray[np.uint8]) -> Thumbnails:
    """Grey means over a grid, shape (N, SIDE, SIDE), of images (N, C, H, W); of small ones cells repeat."""
    weights = _LUMA if images.shape[1] == len(_LUMA) else (1.0,)
    grey = np.zeros((len(images), *images.shape[2:]), np.float32)
    for channel, weight in enumerate(weights):
        grey += np.float32(weight) * images[:, channel]
    for axis in (1, 2):
        bounds = np.arange(SIDE) * grey.shape[axis] // SIDE
        lengths = np.maximum(np.diff(bounds, append=grey.shape[axis]), 1).astype(np.float32)
        grey = np.add.reduceat(grey, bounds, axis=axis) / lengths.reshape(-1, *(1,) * (2 - axis))
    small: Thumbnails = np.rint(grey).astype(np.uint8)
    return small


def find_twins(train: Thumbnails, test: Thumbnails) -> dict[int, int]:
    """By row of a training image that of the test image that it looks most like, if it looks like any.

    Pairs with the same pixels are among them.
    """
    found: dict[int, tuple[float, int]] = {}
    for rows, others in _likely(_hashes(train), _hashes(test)):
        alike = _correlations(train[rows], test[others])
        is_twin = alike >= _LEAST_CORRELATION
        pairs = (part[is_twin].tolist() for part in (rows, others, alike))
        for row, other, value in zip(*pairs, strict=True):
            found[row] = max(found.get(row, (0.0, 0)), (value, other))
    return {row: other for row, (_, other) in sorted(found.items())}


def _hashes(thumbs: Thumbnails) -> Hashes:
    cells = thumbs.reshape(-1, _CELLS, SIDE // _CELLS, _CELLS, SIDE // _CELLS).mean(axis=(2, 4))
    values = cells.reshape(len(thumbs), _CELLS**2)
    is_bright = values > np.median(values, axis=1, keepdims=True)
    return np.packbits(is_bright, axis=1).view(">u8").reshape(-1).astype(np.uint64)


def _likely(train: Hashes, test: Hashes) -> Iterator[tuple[Rows, Rows]]:
    """Pairs of rows whose hashes differ in few bits."""
    window = np.arange(-_WINDOW, _WINDOW)
    for bits in _TURNS:
        turned, asked = (_turned(hashes, bits) for hashes in (train, test))
        order = np.argsort(turned, kind="stable")
        places = np.searchsorted(turned[order], asked)
        for start in range(0, len(test), _TESTS_AT_ONCE):
            near = places[start : start + _TESTS_AT_ONCE, None] + window
            tested, column = np.nonzero((near >= 0) & (near < len(train)))
            rows, others = order[near[tested, column]], tested + start
            is_likely = np.bitwise_count(train[rows] ^ test[others]) <= _MOST_BITS
            yield rows[is_likely], others[is_likely]


def _turned(hashes: Hashes, bits: int) -> Hashes:
    """The hashes, turned left."""
    return hashes if not bits else (hashes << np.uint64(bits)) | (hashes >> np.uint64(64 - bits))


def _correlations(some: Thumbnails, others: Thumbnails) -> NDArray[np.float32]:
    """Of pairs of thumbnails, shape (N,); 0 where one is flat."""
    one, other = (part.reshape(len(part), SIDE**2).astype(np.float32) for part in (some, others))
    one, other = (values - values.mean(axis=1, keepdims=True) for values in (one, other))
    deviations = [np.sqrt((values**2).mean(axis=1)) for values in (one, other)]
    products = (one * other).mean(axis=1) / np.maximum(deviations[0] * deviations[1], 1e-6)
    alike: NDArray[np.float32] = np.where(np.minimum(*deviations) >= _LEAST_DEVIATION, products, 0)
    return alike
