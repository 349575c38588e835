"""What the names of columns, tags and folders say, in the ways that the usual trainers write them."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from tui_datasize.runlog.importing.names import spelt

TRAIN, VALIDATION, TEST = "train", "validation", "test"


SPLIT_WORDS = spelt(
    train="train, training, tr, trn",
    validation="val, valid, validation, dev, eval, evaluation",
    test="test, testing, tst",
)
"""Keras writes val_, fastai valid_, the Hugging Face trainer and timm eval_, Ultralytics val/."""

_SCORES = spelt(
    accuracy="accuracy, acc, top1, top 1, acc1, acc 1, prec1, prec 1, accuracy score, accuracy top1, "
    "accuracy top 1, acc top1, top1 accuracy, top1 acc, top 1 accuracy, top 1 acc, categorical accuracy, "
    "sparse categorical accuracy, binary accuracy",
    top5="top5, top 5, acc5, acc 5, prec5, prec 5, accuracy top5, accuracy top 5, acc top5, top5 accuracy, "
    "top5 acc, top 5 accuracy, top 5 acc",
    loss="loss, cross entropy, crossentropy, cross entropy loss, ce loss, nll, nll loss",
    f1_macro="f1 macro, macro f1, f1 score macro, macro f1 score",
    balanced_accuracy="balanced accuracy, balanced acc, balanced accuracy score",
    worst_class_accuracy="worst class accuracy, worst class acc",
    auroc="auroc, auc, roc auc, auc roc, roc auc score",
    ece="ece, expected calibration error",
    margin_correct="margin correct",
    margin_wrong="margin wrong",
    wall_s="wall s",
)
_ERRORS = spelt(
    accuracy="err, error, error rate, err rate, err1, err 1, error1, top1 err, misclassification rate, "
    "top1 error, top 1 err, top 1 error, classification error",
    top5="err5, err 5, error5, top5 err, top5 error, top 5 err, top 5 error",
)
"""Shares that the metric is 1 minus."""

_ULTRALYTICS = spelt(accuracy="metrics/accuracy_top1", top5="metrics/accuracy_top5")
"""Of the validation split, though no word says so."""
_NO_MATTER = frozenset({"epoch", "final", "last", "metric", "metrics", "summary"})
"""Words that change nothing: Lightning adds _epoch to what it logs per step too, Keras puts epoch_ before."""
_PERCENT = frozenset({"percent", "percentage", "pct", "perc"})
_SHARES = frozenset({"fraction", "frac", "share", "ratio", "proportion"})
_OF_DATA = frozenset(
    {"of", "the", "n", "train", "training", "data", "dataset", "set", "subset", "images", "size"}
)
_PREFIX = re.compile(r"^(params|param|config|hparams|hparam|summary|metrics)[./]", re.IGNORECASE)
"""What MLflow, Ray and Weights & Biases put before the names of columns in tables of runs."""
_USUAL = re.compile(r"(?!\s*-)[\w\s.,:;/\\|()\[\]{}%#@\"'*\u2191\u2193-]*", re.ASCII)
"""What names of metrics are written with; a delta, a sigma or a sign before them makes another of it."""
_WORD = re.compile(r"[A-Z]?[a-z]+\d*|[A-Z]+(?![a-z])\d*|\d+")


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a column or tag holds."""

    score: str
    """One of `SCORES`, or `wall_s`."""
    split: str = ""
    """TRAIN, VALIDATION, TEST, another word that a person gave, or empty: the row, folder or file tells."""
    is_error: bool = False
    is_percent: bool = False
    """Whether the name says so."""
    is_step: bool = False
    """Whether it is of one step, where the trainer also writes the epoch's."""
    is_told: bool = False
    """Whether a person says so."""


def plain(name: str) -> str:
    """A column's name as fields know it.

    >>> plain("Train Size"), plain("params.n_train"), plain("_step")
    ('train_size', 'n_train', 'step')
    """
    return re.sub(r"[^a-z0-9]+", "_", _PREFIX.sub("", name.strip()).lower()).strip("_")


def meaning_of(name: str, test_word: str = "") -> Meaning | None:
    """The score that a name stands for, None where a word is unknown; `test_word` too is the test split.

    >>> meaning_of("val/acc") == Meaning("accuracy", VALIDATION)
    True
    >>> meaning_of("Test error (%)") == Meaning("accuracy", TEST, is_error=True, is_percent=True)
    True
    >>> meaning_of("weighted_accuracy"), meaning_of("best_val_acc"), meaning_of("val_test_acc")
    (None, None, None)
    """
    if not _USUAL.fullmatch(name):
        return None
    if name.strip() in _ULTRALYTICS:
        return Meaning(_ULTRALYTICS[name.strip()], VALIDATION)
    bare = _PREFIX.sub("", name.strip()).removesuffix("/dataloader_idx_0")
    words = [word.lower() for word in _WORD.findall(bare)]
    is_step = len(words) > 1 and words[-1] == "step"
    known = {test_word: test_word, **SPLIT_WORDS}
    splits = {known[word] for word in words if word in known}
    rest = words[: len(words) - is_step]
    score = " ".join(w for w in rest if w not in known and w not in _NO_MATTER and w not in _PERCENT)
    found = _SCORES.get(score) or _ERRORS.get(score)
    if found is None or len(splits) > 1:
        return None
    is_percent = "%" in name or not _PERCENT.isdisjoint(words)
    return Meaning(found, next(iter(splits), ""), score in _ERRORS, is_percent, is_step)


def numbers_columns(name: str, header: Collection[str]) -> bool:
    """Whether a column is one of several that a number tells apart: of repeats, not of the best k answers.

    >>> header = ["acc_1", "acc_2", "acc1", "acc5", "top2"]
    >>> [numbers_columns(name, header) for name in ("acc_1", "acc1", "top2")]
    [True, False, False]
    """
    found = re.fullmatch(r"(.*?[^\d@.])\d+", name.strip(), re.ASCII)
    if found is None or re.search(r"top[ _-]?$", found[1], re.IGNORECASE):
        return False
    return f"{found[1]}2" in header and any(f"{found[1]}{other}" in header for other in (0, 1, 3))


def counts_something_else(name: str) -> bool:
    """Whether a column of sizes is of shares or of thousands by its name.

    >>> [counts_something_else(n) for n in ("n (%)", "Fraction", "n_train (k)", "n_train", "k_shot")]
    [True, True, True, False, False]
    """
    in_units = re.search(r"[(\[ _]([kKM]|thousands?|millions?)[)\]]?$", name.strip())
    return in_units is not None or is_share(name)


def is_share(name: str) -> bool:
    """Whether a column of sizes is of shares of a data set by its name."""
    return is_in_percent(name) or not _SHARES.isdisjoint(word.lower() for word in _WORD.findall(name))


def is_share_of_data(name: str) -> bool:
    """Whether the name of a column says nothing else.

    >>> [is_share_of_data(n) for n in ("Fraction", "train %", "data_frac", "dropout_ratio", "GPU %", "n")]
    [True, True, True, False, False, False]
    """
    rest = {word.lower() for word in _WORD.findall(name)} - _OF_DATA - (_SHARES - {"ratio"}) - _PERCENT
    return not rest and is_share(name)


def is_in_percent(name: str) -> bool:
    """Whether the name of a column says that it is in percent."""
    return "%" in name or not _PERCENT.isdisjoint(word.lower() for word in _WORD.findall(name))


def split_of(word: str, test_word: str = "") -> str | None:
    """The split that a value of a column `split` names; None where it names none."""
    text = word.strip().lower()
    return SPLIT_WORDS.get(text) or (text if test_word and text == test_word.lower() else None)


def folder_split(folder: str, test_word: str = "") -> tuple[str, str]:
    """The run that a folder belongs to, and the split that its name tells.

    >>> folder_split("logs/n500_s0/validation"), folder_split("logs/n500_s0/acc_train")
    (('logs/n500_s0', 'validation'), ('logs/n500_s0', 'train'))
    >>> folder_split("logs/n500_s0"), folder_split("logs/n500_s0_val")
    (('logs/n500_s0', ''), ('logs/n500_s0', 'validation'))
    """
    above, _, last = folder.rpartition("/")
    head, mark, tail = re.fullmatch(r"(.*?)([_.-]?)([^_.-]*)", last).groups()  # type: ignore[union-attr]
    split = split_of(tail, test_word)
    if split is None:
        return folder, ""
    # add_scalars makes a folder of the tag and the name of each line.
    is_tag = not head or (bool(mark) and meaning_of(head) is not None)
    return (above if is_tag else f"{above}/{head}".lstrip("/")), split
