"""Train size, seed and draw as the name of a run tells them, and counts as people write them.

A number belongs to the whole word directly before it: `n750`, `size=750`, `n_train=10,000`, `seed_101`. What
may be read in two ways is not read.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from tui_datasize.text import listed, plural

LARGEST_WHOLE = 2**53
SHARE_WORDS = frozenset({"pct", "percent", "perc", "pc", "p", "%"})
"""What is written behind a number that is a share of a data set."""
OF_ALL = "--size N with the images of the whole set"

_UNITS = {"": 1, "k": 10**3, "K": 10**3, "M": 10**6}
_FORMS = re.compile(
    r"(?P<grouped>\d{1,3}(?:,\d{3})+|\d{1,3}(?:['\u2019 \u00a0\u2009\u202f]\d{3})+|\d{1,3}(?:_000)+)"
    # One digit before the exponent: 500e3 may be 500 images and 3 epochs.
    r"|(?P<power>\d(?:\.\d+)?[eE]\+?\d{1,2})"
    r"|(?P<number>\d{1,16}(?:\.\d+)?)(?P<unit>[kKM]?)",
    re.ASCII,
)
_MAY_BE_SHARE = re.compile(r"0?\.\d+|1\.0{0,2}|\d(\.\d+)?[eE]-\d+", re.ASCII)
_EITHER = re.compile(r"\d{1,3}(?:\.\d{3})+", re.ASCII)


def count_of(text: str) -> int:
    """A whole number of at least 0, also one like 750.0, 10,000, 10_000, 19k, 1M or 1e4.

    Raises:
        ValueError: It is none, or may be either of two.

    >>> [count_of(text) for text in ("750", "750.0", "10,000", "19k", "2.5k", "1M", "1e4", "1.0e+04")]
    [750, 750, 10000, 19000, 2500, 1000000, 10000, 10000]
    >>> count_of("10 000"), count_of("1'000'000")
    (10000, 1000000)
    """
    if _EITHER.fullmatch(text):
        first, joined = text.partition(".")[0], text.replace(".", "")
        raise ValueError(f"{text!r} may be {int(first):,} or {int(joined):,}")
    found = _FORMS.fullmatch(text)
    if found is None:
        share = re.fullmatch(r"[\d.,]+ *([a-zA-Z%]+)", text, re.ASCII)
        if share and share[1].lower() in SHARE_WORDS:
            raise ValueError(f"{text!r} is a share, not a number of images")
        raise ValueError(f"{text!r} is not a whole number of 0 or more")
    if found["grouped"]:
        return int(re.sub(r"\D", "", found["grouped"]))
    number = float(found["power"] or found["number"]) * _UNITS[found["unit"] or ""]
    # 2.3k is 2300 although 2.3 * 1000 is a little less.
    nearest = round(number)
    if nearest > LARGEST_WHOLE or abs(number - nearest) > 1e-9 * max(1.0, number):
        raise ValueError(f"{text!r} is not a whole number of 0 or more")
    return nearest


def images_of(share: str, of_all: int, *, is_percent: bool) -> int:
    """Whole images that a share of a data set of `of_all` images is, also one written like 10%.

    Raises:
        ValueError: It is no share above 0 and at most 1, or makes no image.

    >>> images_of("0.1", 50_000, is_percent=False), images_of("12.5 %", 1000, is_percent=False)
    (5000, 125)
    """
    bare = text_before_percent(share)
    try:
        number = float(bare) / (100 if is_percent or bare != share.strip() else 1)
    except ValueError:
        number = math.nan
    if not 0 < number <= 1:
        expected = "0 to 100 %" if is_percent else "0 to 1"
        raise ValueError(f"{share!r} is no share of a data set, expected {expected}")
    if (found := round(number * of_all)) < 1:
        raise ValueError(f"{share!r} of {of_all:,} is not one image")
    return found


def may_be_share(text: str) -> bool:
    """Whether a size is written like a share of a data set, above 0 and at most 1.

    >>> [may_be_share(text) for text in ("0.1", "1.0", "1", "0", "750.0", "1e-1")]
    [True, True, False, False, False, True]
    """
    return bool(_MAY_BE_SHARE.fullmatch(text)) and float(text) > 0


def text_before_percent(text: str) -> str:
    """A number less its percent sign."""
    return text.strip().removesuffix("%").rstrip()


def whole(text: str) -> int:
    """A whole number of at least 0 that counts no images, also one written like 750.0."""
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not (0 <= number <= LARGEST_WHOLE and number.is_integer()):
        raise ValueError(f"{text!r} is not a whole number of 0 or more")
    return int(number)


TOLD_BY_NAMES = ("size", "seed", "draw")

_NAMES_TOLD = 3
"""Of several that are not clear."""


def spelt(**spellings: str) -> Mapping[str, str]:
    """What each spelling stands for; those of one meaning are given between commas."""
    return MappingProxyType({text: what for what, texts in spellings.items() for text in texts.split(", ")})


_WORDS = spelt(size="n, size", seed="s, seed", draw="d, draw")
_PHRASES = spelt(
    size="ntrain, trainsize, n train, num train, train n, train images, n images, num images, train size, "
    "training size, data size, dataset size, subset size, set size",
    draw="subset seed, draw seed, data seed, sample seed",
)
"""Two words that are one, before single ones."""
_OF_ELSE = frozenset(
    (
        *("batch", "bs", "block", "conv", "crop", "dev", "embed", "eval", "feature", "head", "hidden"),
        *("image", "images", "img", "input", "kernel", "layer", "model", "output", "patch", "pool", "queue"),
        *("sequence", "split", "step", "stride", "test", "tile", "token", "val", "valid", "validation"),
        *("vocab", "window"),
    )
)
"""Words before `n`, `size` and the like that make it the number of something else."""
_NOUNS = frozenset({"img", "imgs", "image", "images", "sample", "samples", "example", "examples"})
"""What may stand behind a number of images."""

_NUMBERED = re.compile(
    r"(?P<words>[A-Za-z]+(?:[_-][A-Za-z]+)*) *[=:_-]? *"
    r"(?P<number>\d+(?:[.,_]\d+)*(?:[eE]\+?\d{1,2}(?![\dA-Za-z]))?)(?P<tail>%|[A-Za-z]*)",
    re.ASCII,
)
_GOES_ON = re.compile(
    r"[' \u00a0\u202f]\d{3}(?!\d)|['^*.,\u00d7\u2013\u2026]\d|\.\.| ?[kKM%](?![A-Za-z])| (pct|percent)",
    re.ASCII,
)
"""What behind a number makes it another, or one of two."""
_RANGE = re.compile(r"-(?P<to>\d{1,5}(?:\.\d+)?[kKM]?)(?![\d-])", re.ASCII)
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")


class UnclearNameError(ValueError):
    """Names of runs tell a number in two ways, or none that is needed."""

    def __init__(self, what: str, fix: str, place: int = 0) -> None:
        super().__init__(f"{what}; {fix}")
        self.what, self.fix = what, fix
        self.place = place
        """Line in which the first such name stands; 0 where nothing tells it."""


def all_unclear(errors: Sequence[UnclearNameError]) -> UnclearNameError:
    """One error of several, at least one: the first are told, the others counted."""
    first, *others = {error.what: error for error in errors}.values()
    told = [f"line {one.place}: {one.what}" if one.place else one.what for one in others[: _NAMES_TOLD - 1]]
    more = len(others) - len(told)
    told += [f"and {plural(more, 'name')} more of such runs"] if more else []
    return UnclearNameError("; ".join([first.what, *told]), first.fix, first.place)


@dataclass(frozen=True, slots=True)
class _Candidate:
    field: str
    text: str
    """As it stands in the name, the word included."""
    value: int


def told_by_name(
    run: str, wanted: Collection[str] = TOLD_BY_NAMES, pattern: str = "", of_all: int | None = None
) -> dict[str, int]:
    r"""Size, seed and draw, as far as wanted, as the name of a run tells them, or of a file with its folders.

    A pattern has groups of these names, and takes the place of the words known. `of_all` is the number of
    images that a size in percent is a share of; without it, such a size is refused.

    Raises:
        UnclearNameError: A number may be read in two ways, or there is more than one candidate.

    >>> told_by_name("cifar-n750-s101"), told_by_name("img_size32_n=10,000_s1")
    ({'size': 750, 'seed': 101}, {'size': 10000, 'seed': 1})
    >>> told_by_name("n50pct_s1", of_all=3000)
    {'size': 1500, 'seed': 1}
    >>> told_by_name("resnet_frac500_x", pattern=r"frac(?P<size>\d+)")
    {'size': 500}
    """
    candidates = list(_by_pattern(run, wanted, pattern) if pattern else _by_words(run, wanted, of_all))
    found: dict[str, int] = {}
    for name in TOLD_BY_NAMES:
        values: dict[int, str] = {}
        for candidate in candidates:
            if candidate.field == name:
                values.setdefault(candidate.value, candidate.text)
        if len(values) > 1:
            texts = listed([repr(text) for text in values.values()])
            raise UnclearNameError(f"the {name} of run {run!r} may be given by {texts}", _WAY_OUT)
        found.update((name, value) for value in values)
    return found


_WAY_OUT = r"name the part meant, such as --run-pattern 'n(?P<size>\d+)_s(?P<seed>\d+)'"


def _by_pattern(run: str, wanted: Collection[str], pattern: str) -> Iterator[_Candidate]:
    for match in re.finditer(pattern, run, re.ASCII):
        for name, text in match.groupdict().items():
            if name not in wanted or not text:
                continue
            more = re.match(r"\d[\d.,]*|[.,]\d[\d.,]*|[kKM%](?![A-Za-z])", run[match.end(name) :], re.ASCII)
            if more:
                what = f"the run pattern takes {text!r} out of {text + more[0]!r} in run {run!r}"
                raise UnclearNameError(what, "let its groups take whole numbers")
            try:
                yield _Candidate(name, match[0].strip(), count_of(text))
            except ValueError as error:
                raise UnclearNameError(f"{error} (run {run!r})", _WAY_OUT) from None


def _by_words(run: str, wanted: Collection[str], of_all: int | None) -> Iterator[_Candidate]:
    at = known_to = 0
    while match := _NUMBERED.search(run, at):
        # The tail may be the word of the next number: n500s0.
        at = match.start("tail") if match["tail"] != "%" else match.end()
        # Within letters and digits only what follows a number that is known: hashes hold d3 too.
        is_inside = match.start() > 0 and run[match.start() - 1].isalnum() and match.start() != known_to
        name = _field(match["words"], is_inside)
        if name is None:
            continue
        known_to = at
        if name not in wanted:
            continue
        is_product = match["tail"] in ("x", "X") and run[match.end() : match.end() + 1].isdecimal()
        if name == "size" and not is_product:
            yield _Candidate(name, match[0].strip(), _size(match, run, of_all))
        if name == "size":
            continue
        number, tail = match["number"].partition("_")[0], match["tail"]
        if number.isdecimal() and (not tail or _field(tail, is_inside=False)):
            yield _Candidate(name, match[0].strip(), int(number))


def _field(words: str, is_inside: bool) -> str | None:
    parts = [part.lower() for part in _WORD.findall(words)]
    if not parts or (is_inside and len(parts) == 1):
        return None
    *before, last = parts
    if before and (phrase := _PHRASES.get(f"{before[-1]} {last}")):
        return None if before[:-1] and before[-2] in _OF_ELSE else phrase
    if last in _PHRASES:
        return _PHRASES[last]
    if before and (before[-1] in _OF_ELSE or (last == "size" and not words[: -len(last)].endswith("-"))):
        return None
    return _WORDS.get(last)


def _size(match: re.Match[str], run: str, of_all: int | None) -> int:
    number, tail, rest = match["number"], match["tail"], run[match.end() :]
    whole = f"{number}{tail}"
    try:
        _refuse_range(whole, rest)
        if tail in ("k", "K", "M") and not rest[:1].isalnum():
            return count_of(whole)
        if tail.lower() in SHARE_WORDS and of_all is not None:
            return images_of(number, of_all, is_percent=True)
        if tail.lower() in SHARE_WORDS:
            raise ValueError(f"{whole!r} is a share, not a number of images")
        is_clear = not tail or re.match(r"[=:_-]?\d", rest, re.ASCII) or tail.lower() in _NOUNS
        if not is_clear or _GOES_ON.match(tail + rest) or re.match(r"[eE][+-]?\d", tail + rest, re.ASCII):
            whole = re.split(r"[_/]", f"{number}{tail}{rest}")[0]
            raise ValueError(f"{whole!r} is not a number of images that is known")
        first, *groups = number.split("_")
        if not groups or set(groups) == {"000"}:
            return count_of(number)
        # 500_0 is the first run of size 500; 500_100 may be anything.
        if any(len(group) == 3 or (len(group) > 1 and not group.strip("0")) for group in groups):
            raise ValueError(f"{number!r} may be {first} or one number with its thousands apart")
        return count_of(first)
    except ValueError as error:
        whole_set = f", {OF_ALL}" if tail.lower() in SHARE_WORDS else ""
        what = f"{error} (run {run!r})"
        raise UnclearNameError(what, f"{_WAY_OUT}{whole_set}, or give --column size=COLUMN") from None


def _refuse_range(number: str, rest: str) -> None:
    to = _RANGE.match(rest)
    try:
        is_range = to is not None and count_of(to["to"]) > count_of(number)
    except ValueError:
        return
    if is_range and to is not None:
        raise ValueError(f"{number + to[0]!r} may be {number} or {to['to']}")
