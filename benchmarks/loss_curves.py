"""Learning curves of cross-entropy, from real trainings: none of the public ones has any.

`python -m benchmarks.loss_curves FOLDER` trains four classifiers of scikit-learn, `RUNS` times at each size,
on samples drawn anew, of its digits and of mnist10k, cifar10 and tiny-imagenet-40 (zip files of image folders
below FOLDER), all as 8 x 8 pixels, and writes `loss_curves.parquet`: what `benchmarks.extrapolation` measures
forecasts of cross-entropy on.
"""

from __future__ import annotations

import argparse
import io
import math
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray
from PIL import Image
from sklearn.base import ClassifierMixin
from sklearn.datasets import load_digits
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier

from benchmarks.public_curves import LOSS_FILE
from tui_datasize.stats.laws import Floats

RUNS, TESTED, PIXELS = 3, 600, 8
FOLDERS = ("mnist10k", "cifar10", "tiny-imagenet-40")
SIZES = tuple(math.ceil(2 ** (k / 2) - 1e-9) for k in range(10, 22))
SMOOTHING = 0.01
"""Share of even odds mixed into a prediction: a forest is sure of what all of its few trees say."""


def learners(seed: int) -> dict[str, ClassifierMixin]:
    """What is trained."""
    return {
        "logistic regression": LogisticRegression(max_iter=100),
        "linear discriminant": LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto"),
        "perceptron, 32 units": MLPClassifier((32,), max_iter=40, random_state=seed),
        "forest of 30 trees": RandomForestClassifier(30, random_state=seed),
    }


def images(name: str, folder: Path) -> tuple[Floats, NDArray[np.int64]]:
    """Pixels in [0, 1], shape (n, features), and classes, shape (n,), in random order."""
    if name == "digits":
        pixels, classes = load_digits(return_X_y=True)
        return pixels / 16, classes
    with zipfile.ZipFile(folder / f"{name}.zip") as archive:
        files = [file for file in archive.namelist() if "/train/" in f"/{file}" and not file.endswith("/")]
        drawn = np.random.default_rng(0).permutation(len(files))[: SIZES[-1] + TESTED]
        chosen = [files[place] for place in drawn]
        mode = "L" if name == "mnist10k" else "RGB"
        pixels = np.stack([_small(archive.read(file), mode) for file in chosen])
    return pixels, np.unique([Path(file).parent.name for file in chosen], return_inverse=True)[1]


def _small(content: bytes, mode: str) -> Floats:
    image = Image.open(io.BytesIO(content)).convert(mode).resize((PIXELS, PIXELS), Image.Resampling.BOX)
    return np.asarray(image, float).ravel() / 255


def losses(name: str, folder: Path) -> Iterator[dict[str, object]]:
    """Cross-entropy on the test images, for each learner, size and run."""
    pixels, classes = images(name, folder)
    n_classes = classes.max() + 1
    test, pool = slice(0, TESTED), np.arange(TESTED, len(classes))
    for run in range(RUNS):
        order = np.random.default_rng(run).permutation(pool)
        for size in SIZES:
            if size > len(order):
                break
            part = order[:size]
            for learner, model in learners(run).items():
                model.fit(pixels[part], classes[part])
                odds = np.full((TESTED, n_classes), SMOOTHING / n_classes)
                odds[:, model.classes_] += (1 - SMOOTHING) * model.predict_proba(pixels[test])
                loss = -np.log(odds[np.arange(TESTED), classes[test]]).mean()
                yield {"data": name, "learner": learner, "train_size": size, "run": run, "loss": loss}


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, and write the means."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.loss_curves", description=__doc__)
    parser.add_argument("folder", type=Path, help="folder of the zip files of images")
    folder = parser.parse_args(arguments).folder
    warnings.simplefilter("ignore")
    rows: list[dict[str, object]] = []
    for name in ("digits", *FOLDERS):
        rows += losses(name, folder)
        print(name, len(rows), flush=True)
    curves = pl.DataFrame(rows).group_by("data", "learner", "train_size", maintain_order=True)
    stderr = pl.col("loss").std() / math.sqrt(RUNS)
    means = curves.agg(stderr.alias("stderr"), pl.col("loss").mean())
    means.sort("data", "learner", "train_size").write_parquet(LOSS_FILE)


if __name__ == "__main__":
    main()
