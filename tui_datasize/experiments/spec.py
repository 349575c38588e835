"""The frozen description of one run, and the identity that follows from it."""

from __future__ import annotations

import hashlib
import json
import re
import reprlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from functools import cache
from types import MappingProxyType, UnionType
from typing import Any, Literal, TypeAlias, Union, cast, get_args, get_origin, get_type_hints

from tui_datasize.experiments.augmentation import AugmentationSpec
from tui_datasize.experiments.schedule import ScheduleSpec

SCHEMA_VERSION = 1
DEFAULT_EVALUATIONS = 12

OptionValue: TypeAlias = bool | int | float | str
Strategy: TypeAlias = Literal["stratified", "balanced", "random", "first"]
BudgetUnit: TypeAlias = Literal["updates", "samples", "epochs"]
OptimizerName: TypeAlias = Literal["adamw", "sgd"]
ClassHalf: TypeAlias = Literal["all", "source", "target"]
Precision: TypeAlias = Literal["auto", "fp32", "tf32", "bf16"]
Measured: TypeAlias = Literal["full", "last-batch"]
Average: TypeAlias = Literal["macro", "micro"]

STRATEGIES: tuple[Strategy, ...] = get_args(Strategy)
BUDGET_UNITS: tuple[BudgetUnit, ...] = get_args(BudgetUnit)
OPTIMIZERS: tuple[OptimizerName, ...] = get_args(OptimizerName)
CLASS_HALVES: tuple[ClassHalf, ...] = get_args(ClassHalf)
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
MEASURED: tuple[Measured, ...] = get_args(Measured)
AVERAGES: tuple[Average, ...] = get_args(Average)

NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A model of the catalogue and the options that differ from its defaults."""

    name: str
    options: Mapping[str, OptionValue] = field(default_factory=lambda: MappingProxyType({}))

    def __hash__(self) -> int:
        return hash((self.name, tuple(sorted(self.options.items()))))

    def __str__(self) -> str:
        inner = ",".join(f"{key}={value}" for key, value in sorted(self.options.items()))
        return f"{self.name}({inner})" if inner else self.name


@dataclass(frozen=True, slots=True)
class SubsetSpec:
    """Which `train_size` images are drawn.

    `balanced` draws equally many images of every class; `first` takes the first rows of the file.
    """

    strategy: Strategy = "stratified"
    nested: bool = True
    """Whether a smaller subset of one draw is contained in every larger one."""
    seed: int = 0
    """The subset seed: independent of the training seed."""
    imbalance: float = 1.0
    """Images of the commonest class over those of the rarest, falling exponentially between them in
    an order of the classes that the subset seed draws (Cui et al. 2019); 1 keeps the strategy's ratios."""


@dataclass(frozen=True, slots=True)
class Budget:
    """How long a run trains, in one of three units."""

    unit: BudgetUnit
    amount: float
    """Updates and samples are whole numbers; epochs may be fractional."""


@dataclass(frozen=True, slots=True)
class OptimizerSpec:
    """An optimiser and its settings; `momentum` and `nesterov` are read by SGD alone."""

    name: OptimizerName = "adamw"
    lr: float = 1e-3
    weight_decay: float = 0.0
    momentum: float = 0.0
    nesterov: bool = False


@dataclass(frozen=True, slots=True)
class ClassSplit:
    """Which classes a run sees: all, or one of two disjoint random halves, labels counted anew from 0."""

    half: ClassHalf = "all"
    seed: int = 0
    """The split seed: which classes are in which half."""


@dataclass(frozen=True, slots=True)
class LabelNoise:
    """Wrong training labels; the test labels stay as they are."""

    fraction: float = 0.0
    """Share of all training images whose label is replaced, in [0, 1); a subset carries its own part."""
    confusion: tuple[tuple[str, str, float], ...] = ()
    """(class, class it becomes, weight); empty for any other class alike (symmetric noise)."""


@dataclass(frozen=True, slots=True)
class Transfer:
    """What a run takes over from a finished one."""

    source: str
    """Id of the run whose last weights are taken."""
    layers: int | None
    """The first so many weight layers; None for all but the classifier."""
    freeze: bool
    """Whether the layers taken stay as they are."""

    @property
    def condition(self) -> str:
        """FTall, S3T, ... as the transfer study names them: S frozen, FT trained further.

        >>> Transfer("x", None, freeze=False).condition, Transfer("x", 3, freeze=True).condition
        ('FTall', 'S3T')
        """
        layers = "all" if self.layers is None else self.layers
        return f"S{layers}T" if self.freeze else f"FT{layers}"


@dataclass(frozen=True, slots=True)
class Protocol:
    """How a run counts batches and measures; the defaults are the sound way, the others are as published."""

    measured: Measured = "full"
    """Whole splits, or only the last mini-batch of a pass, as the EMNIST study's code did."""
    f1: Average = "macro"
    """What the column `f1_macro` holds; micro-averaged F1 equals accuracy."""
    partial_batches: bool = False
    """Whether each epoch ends with a smaller batch; otherwise batches are drawn across epoch ends."""


@dataclass(frozen=True, slots=True)
class RunSpec:
    """One frozen cell of a sweep: everything that decides the numbers a run produces.

    The fields without a default are always part of the identity; the others only where they
    differ from schema version 1, so that a field added later renames no finished run. A field
    added after version 1 must therefore carry the default that means "as before".
    """

    experiment: str
    dataset: str
    """A name of the catalogue, or `imagefolder:` and an absolute path."""
    model: ModelSpec
    train_size: int
    seed: int
    """Training seed: initialisation, batch order, dropout and augmentation."""
    budget: Budget
    subset: SubsetSpec = SubsetSpec()
    batch_size: int = 64
    optimizer: OptimizerSpec = OptimizerSpec()
    clip_grad_norm: float | None = None
    """Largest global gradient norm; None leaves gradients as they are."""
    evaluations: int = DEFAULT_EVALUATIONS
    """Number of evaluations, spread evenly over the updates; the last stands at the end."""
    classes: ClassSplit = ClassSplit()
    label_noise: LabelNoise = LabelNoise()
    image_px: int = 0
    """Side to which images are resized and centre-cropped when they are decoded; 0: as they are."""
    augmentation: AugmentationSpec = AugmentationSpec()
    schedule: ScheduleSpec = ScheduleSpec()
    label_smoothing: float = 0.0
    """Share of each training target that is spread over all classes, in [0, 1)."""
    ema_decay: float | None = None
    """Decay per update of the average of weights that is evaluated; None evaluates the weights themselves."""
    precision: Precision = "auto"
    """Of products and convolutions; auto is fp32 on a CPU and tf32 on a GPU."""
    transfer: Transfer | None = None
    protocol: Protocol = Protocol()
    imported: str = ""
    """Digest of the metric rows of a run that was trained elsewhere; empty for one that is trained here."""

    @property
    def sources(self) -> tuple[str, ...]:
        """Ids of the runs that must have succeeded before this one starts."""
        return (self.transfer.source,) if self.transfer else ()

    @property
    def condition(self) -> str:
        """What is taken over from another run; base where the run starts from scratch."""
        return self.transfer.condition if self.transfer else "base"

    @property
    def is_as_published(self) -> bool:
        """Whether the run repeats on purpose what a study's code did other than its text."""
        return self.protocol != Protocol() or bool(self.model.options.get("published"))

    @property
    def run_id(self) -> str:
        """Experiment, size, draw and seed in clear, then a short hash of all typed values."""
        clear = f"{self.experiment}-n{self.train_size}-d{self.subset.seed}-s{self.seed}"
        return f"{clear}-{self.fingerprint()}"

    def fingerprint(self) -> str:
        """Eight hexadecimal digits that change whenever a value of the run changes."""
        canonical = json.dumps(_without_defaults(self), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:8]

    def to_dict(self) -> dict[str, Any]:
        """Plain nested dictionary, for `spec.json`."""
        return cast(dict[str, Any], _plain(self))

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> RunSpec:
        """Read a specification of any schema version; missing fields take their defaults.

        Raises:
            KeyError: A field without a default is missing.
            TypeError: A value has another type than its field, or a nested table a key that this version
                does not know.
        """
        table: Any = cls
        values = {name: data[name] for name, _ in _fields_of(table) if name in data}
        values["model"] = ModelSpec(data["model"]["name"], MappingProxyType(dict(data["model"]["options"])))
        _check_types(values["model"])
        for key, kind in _NESTED.items():
            if isinstance(values.get(key), Mapping):
                values[key] = kind(**{name: _hashable(value) for name, value in values[key].items()})
                _check_types(values[key])
        spec = cls(**values)
        _check_types(spec)
        return spec


_NESTED: Mapping[str, type[Any]] = MappingProxyType(
    {
        "budget": Budget,
        "subset": SubsetSpec,
        "optimizer": OptimizerSpec,
        "classes": ClassSplit,
        "label_noise": LabelNoise,
        "augmentation": AugmentationSpec,
        "schedule": ScheduleSpec,
        "transfer": Transfer,
        "protocol": Protocol,
    }
)
"""The fields of `RunSpec` that are tables of their own, beside the model."""


def _hashable(value: Any) -> Any:
    """Lists of a JSON document as the tuples they were."""
    return tuple(_hashable(inner) for inner in value) if isinstance(value, list) else value


def table_words(table: Any) -> str:
    """The fields of a nested table that differ from their defaults; empty where none does.

    >>> table_words(AugmentationSpec(flip=0.5, crop_padding_px=4))
    'crop_padding_px=4 flip=0.5'
    >>> table_words(ClassSplit("source"))
    'half=source'
    """
    given = [(f.name, getattr(table, f.name)) for f in fields(table) if getattr(table, f.name) != f.default]
    return " ".join(f"{name}={value}" for name, value in given)


def _check_types(table: Any) -> None:
    for name, kinds in _types_of(table.__class__):
        value = getattr(table, name)
        if value.__class__ not in kinds:
            raise TypeError(f"{name} has a value of the wrong type: {reprlib.repr(value)}")


@cache
def _types_of(table: Any) -> tuple[tuple[str, frozenset[type[Any]]], ...]:
    """The types that each field of a table may have; those within a sequence are anybody's guess."""
    hints = get_type_hints(table)
    return tuple((name, frozenset(_types_in(hints[name]))) for name, _ in _fields_of(table))


def _types_in(hint: Any) -> Iterator[type[Any]]:
    origin = get_origin(hint)
    if origin in (Union, UnionType):
        for member in get_args(hint):
            yield from _types_in(member)
    elif origin is Literal:
        yield from (value.__class__ for value in get_args(hint))
    elif origin is Mapping:
        yield MappingProxyType
    else:
        yield origin or hint
        if hint is float:
            yield int


@cache
def _fields_of(kind: Any) -> tuple[tuple[str, Any], ...]:
    """Names and defaults of the fields of a table; none of anything else.

    Looked up for every value of every run: `fields` itself takes most of the time of queueing thousands.
    """
    return tuple((f.name, f.default) for f in fields(kind)) if is_dataclass(kind) else ()


def _plain(value: Any) -> Any:
    if named := _fields_of(value.__class__):
        return {name: _plain(getattr(value, name)) for name, _ in named}
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, tuple):
        return [_plain(inner) for inner in value]
    return value


def _without_defaults(value: Any) -> Any:
    """Nested dictionary of the fields that have no default or differ from it, numbers normalised."""
    if named := _fields_of(value.__class__):
        given = ((name, getattr(value, name), default) for name, default in named)
        return {name: _without_defaults(inner) for name, inner, default in given if inner != default}
    if isinstance(value, Mapping):
        return {key: _without_defaults(inner) for key, inner in value.items()}
    if isinstance(value, tuple):
        return [_without_defaults(inner) for inner in value]
    # 1 and 1.0 are one learning rate; True is not 1.
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value
