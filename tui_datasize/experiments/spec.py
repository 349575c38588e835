"""The frozen description of one run, and the identity that follows from it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, is_dataclass, replace
from types import MappingProxyType
from typing import Any, Literal, TypeAlias, cast, get_args

from tui_datasize.experiments.augmentation import MOST_BATCH, MOST_PX, AugmentationSpec
from tui_datasize.experiments.images.reading import ImageReading
from tui_datasize.experiments.keys import key, kinds_of, of_key
from tui_datasize.experiments.plain_values import check_types, fields_of, hashable, to_plain, without_defaults
from tui_datasize.experiments.pretext import LearningTask, TaskName
from tui_datasize.experiments.schedule import ScheduleSpec
from tui_datasize.experiments.synthetic import Synthetic
from tui_datasize.experiments.unlabelled import Unlabelled

SCHEMA_VERSION = 1
DEFAULT_EVALUATIONS = 12
CELL = re.compile(r"-n(?P<size>\d{1,19})-d(?P<draw>\d{1,19})-s(?P<seed>\d{1,19})-[0-9a-f]{8}$")
"""The end of a run id: which train size, draw and seed it has."""

Confusion: TypeAlias = tuple[tuple[str, str, float], ...]
"""(class, class it becomes, weight); empty for any other class alike (symmetric noise)."""
TestSets: TypeAlias = tuple[tuple[str, str], ...]
"""(name, data set), in the order of their names."""
OptionValue: TypeAlias = bool | int | float | str
Drawn: TypeAlias = Literal["stratified", "balanced", "random", "first"]
Strategy: TypeAlias = Literal[Drawn, "margin", "entropy", "k-center", "badge", "typiclust"]
BudgetUnit: TypeAlias = Literal["updates", "samples", "epochs"]
ClassHalf: TypeAlias = Literal["all", "source", "target"]
Precision: TypeAlias = Literal["auto", "fp32", "tf32", "bf16"]
Measured: TypeAlias = Literal["full", "last-batch"]
Average: TypeAlias = Literal["macro", "micro"]
Split: TypeAlias = Literal["train", "validation", "test"]

MOST_AMOUNT: Mapping[BudgetUnit, int] = MappingProxyType(
    {"updates": 10**9, "samples": 10**12, "epochs": 10**6}
)
"""Of a budget; years of any machine."""
MOST_EVALUATIONS = 100_000
CHOSEN: tuple[Strategy, ...] = get_args(Strategy)[len(get_args(Drawn)) :]
"""Strategies by which the model of the run before chooses, along a path; the others draw."""
UNSEEN: tuple[Strategy, ...] = ("random", "first")
"""Strategies that look at no label."""
IN_FEATURES: tuple[Strategy, ...] = ("k-center", "typiclust")
"""Strategies that choose by where images lie among others, in whatever network's features."""
NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def held_out_of(images: int, validation: float) -> int:
    """How many of some images are held out to choose by: a share of them below 1, or so many."""
    return round(validation * images) if validation < 1 else int(validation)


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
    imbalance: float = key(
        1.0,
        "images of the commonest class over those of the rarest, falling exponentially between them in an "
        "order of the classes that the subset seed draws (Cui et al. 2019); 1 keeps the ratios of the "
        "strategy. Not with per_class or balanced",
        at_least=1,
    )
    path: tuple[int, ...] = ()
    """Of a strategy that chooses, the train sizes at which it does, ascending, the run's own the last."""
    features: str = ""
    """Id of the run whose network, trained without labels, sees the images for a strategy; empty for the run
    before. Of a recipe the experiment, which `Sources` resolves."""

    def up_to(self, train_size: int) -> SubsetSpec:
        """With no more of a path than decides which images there are at a size."""
        path = (step for step in self.path if step <= train_size and self.strategy in CHOSEN)
        return replace(self, path=tuple(path))

    @property
    def of_recipe(self) -> SubsetSpec:
        """What runs of one recipe have in common, whatever their sizes and draws."""
        return replace(self, seed=0, path=())


@dataclass(frozen=True, slots=True)
class Budget:
    """How long a run trains, in one of three units."""

    unit: BudgetUnit
    amount: float
    """Updates and samples are whole numbers; epochs may be fractional."""


@dataclass(frozen=True, slots=True)
class OptimizerSpec:
    """An optimiser and its settings; `momentum` and `nesterov` are read by SGD alone."""

    name: Literal["adamw", "sgd"] = key("adamw", "rule of the updates", column="optimizer")
    lr: float = key(1e-3, "learning rate, the largest of the schedule", above=0, column="lr")
    weight_decay: float = key(0.0, "weight decay", column="weight_decay")
    momentum: float = key(0.0, "momentum", below=1, only_for=("sgd",))
    nesterov: bool = key(False, "whether the momentum is Nesterov's", only_for=("sgd",))


@dataclass(frozen=True, slots=True)
class ClassSplit:
    """Which classes a run sees: all, or one of two disjoint random halves, labels counted anew from 0."""

    half: ClassHalf = key("all", "which classes")
    seed: int = key(0, "the split seed: which classes are in which half", only_for=("source", "target"))


@dataclass(frozen=True, slots=True)
class LabelNoise:
    """Wrong training labels; the test labels stay as they are."""

    fraction: float = key(
        0.0,
        "share of the labels of the whole training set that is wrong; a subset carries its own part",
        below=1,
        is_required=True,
        column="label_noise",
    )
    confusion: Confusion = key(
        (),
        "what classes become where not any other class alike, by their names: { cat = 'dog', truck = "
        "{ automobile = 3, ship = 1 } }",
    )


@dataclass(frozen=True, slots=True)
class Stopping:
    """When a run ends before its budget; by default never."""

    patience: int = key(
        0,
        "evaluations in a row without a better one on the images held out, after which training ends",
        at_least=1,
        at_most=MOST_EVALUATIONS,
        is_required=True,
    )


@dataclass(frozen=True, slots=True)
class Transfer:
    """What a run takes over from a finished one."""

    source: str = field(
        metadata=of_key("an experiment, or the id of one run, whose last weights are taken", name="from")
    )
    """Id of a run; of a recipe what the file says, which `Sources` resolves."""
    layers: int | None = field(
        metadata=of_key(
            "the first so many weight layers; all leaves out the classifier", at_least=1, none="all"
        )
    )
    """None for all but the classifier."""
    freeze: bool = field(metadata=of_key("whether the layers taken stay as they are"))
    task: TaskName = "classification"
    """What the source learned, as `Sources` finds it."""

    @property
    def condition(self) -> str:
        """FTall, S3T, ... as the transfer study names them: S frozen, FT trained further.

        >>> Transfer("x", None, freeze=False).condition, Transfer("x", 3, freeze=True).condition
        ('FTall', 'S3T')
        >>> Transfer("x", None, freeze=True, task="rotation").condition
        'rotation-SallT'
        """
        layers = "all" if self.layers is None else self.layers
        learned = "" if self.task == "classification" else f"{self.task}-"
        return f"{learned}S{layers}T" if self.freeze else f"{learned}FT{layers}"


@dataclass(frozen=True, slots=True)
class Protocol:
    """How a run counts batches and measures; the defaults are the sound way, the others are as published."""

    measured: Measured = key("full", "whole splits, or only the last mini-batch of a pass")
    f1: Average = key("macro", "what f1_macro holds; micro-averaged F1 equals accuracy")
    partial_batches: bool = key(
        False, "whether each epoch ends with a smaller batch; otherwise batches are drawn across epoch ends"
    )


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
    model: ModelSpec = field(
        metadata=of_key("a name, or a table with its options", short="name", column=None)
    )
    train_size: int
    seed: int
    """Training seed: initialisation, batch order, dropout and augmentation."""
    budget: Budget = field(
        metadata=of_key(
            "how long a run trains, in one of samples, updates and epochs; the first two are the same at "
            "every size",
            column=None,
        )
    )
    batch_size: int = key(
        64,
        "images of an update; batches are drawn across epoch ends, so that every one is full",
        at_least=1,
        at_most=MOST_BATCH,
    )
    optimizer: OptimizerSpec = key(OptimizerSpec(), "rule of the updates", short="name", column=None)
    clip_grad_norm: float | None = key(None, "largest global norm of the gradients", above=0, column=None)
    evaluations: int = key(
        DEFAULT_EVALUATIONS,
        "evaluations of the whole test set and the whole subset, evenly over the updates; no more than there "
        "are of them, unless the default stands or the budget is in epochs, where small sizes make few",
        at_least=1,
        at_most=MOST_EVALUATIONS,
        name="evaluate.times",
        column=None,
    )
    schedule: ScheduleSpec = key(ScheduleSpec(), "how the learning rate changes", short="name")
    augmentation: AugmentationSpec = key(
        AugmentationSpec(),
        "random changes of training images, in the order of its keys; each image has parameters of its own, "
        "drawn from the run's own stream",
        none="none",
    )
    label_smoothing: float = key(0.0, "share of each target that is spread over all classes", below=1)
    ema_decay: float | None = key(
        None,
        "decay per update of an average of the weights, which then is what is evaluated",
        above=0,
        below=1,
        column=None,
    )
    label_noise: LabelNoise = key(
        LabelNoise(), "wrong training labels; those of the test stay right", short="fraction", column=None
    )
    subset: SubsetSpec = SubsetSpec()
    classes: ClassSplit = key(
        ClassSplit(), "all classes, or one of two disjoint random halves of them", short="half"
    )
    validation: float = key(
        0.0,
        "images of the subset that are held out of training, by their classes: a share below 1, or how many. "
        "The weights kept as the best are those that do best on them, not on the test images; a size still "
        "counts all images with labels",
        at_most=10**9,
        expected="a share below 1, or a whole number of images",
        # 1.0 is all of them, and 1 is one.
        holds=lambda held_out: held_out < 1 or isinstance(held_out, int),
    )
    stop: Stopping = key(
        Stopping(), "end early, by the images held out", short="patience", none="none", column="stop"
    )
    refit: bool = key(
        False,
        "whether a run then trains anew on all images of its subset, for as many updates as the best weights "
        "had; its last evaluation is of these",
    )
    image_px: int = key(
        0,
        "side to which images of a folder are resized and centre-cropped when they are decoded; 0 takes them "
        "as they are, all of one size",
        at_most=MOST_PX,
        column=None,
    )
    images: ImageReading = ImageReading()
    precision: Precision = key(
        "auto", "of products and convolutions; auto is fp32 on a CPU and tf32 on a GPU", column=None
    )
    transfer: Transfer | None = key(
        None,
        "take the weights of a finished run over: of an experiment, the run with the same model that saw the "
        "other half of the classes, the same seed and draw where there is one, the most images. The "
        "classifier always starts anew; missing sources are queued too, and waited for. Tables name the "
        "condition: base (none), FTall (all but the classifier taken, all trained), S3T (the first three "
        "taken and frozen), FT3 (taken and trained)",
        none="none",
        column=None,
    )
    protocol: Protocol = key(
        Protocol(),
        "what the EMNIST study's code did, to compare with; such runs carry the mark 'as published' in "
        "every table",
        column=None,
    )
    tests: TestSets = key(
        (),
        "further test sets by names of your own, { sketch = 'imagefolder:PATH' }: data sets, or folders "
        "of CLASS/, test/CLASS/ or val/CLASS/, with classes of this one; their images are measured on at "
        "each evaluation, and nothing else",
        column=None,
    )
    unlabelled: Unlabelled = key(
        Unlabelled(),
        "learn from images without labels, too; the images held out are none of them",
        short="method",
        none="none",
    )
    task: LearningTask = key(
        LearningTask(),
        "what is learned; a run without labels is no point on a learning curve: transfer and subset.features "
        "begin with it",
        short="name",
        column=None,
    )
    synthetic: Synthetic = key(
        Synthetic(),
        "learn from generated images, too; a size counts the real ones alone, and so does what is measured "
        "of the subset",
        short="model",
        none="none",
    )
    imported: str = ""
    """Digest of the metric rows of a run that was trained elsewhere; empty for one that is trained here."""

    @property
    def sources(self) -> tuple[str, ...]:
        """Ids of the runs that must have succeeded before this one starts."""
        before = self.before
        return (*self.named_sources, *([before.run_id] if before else ()))

    @property
    def named_sources(self) -> tuple[str, ...]:
        """Those whose weights are taken or whose network sees the images; of a recipe what the file says."""
        return (*filter(None, (self.transfer.source if self.transfer else "", self.subset.features)),)

    @property
    def before(self) -> RunSpec | None:
        """The run before on the path, whose model chooses what this one adds; None of a first one."""
        path = self.subset.path[:-1]
        return replace(self, train_size=path[-1], subset=replace(self.subset, path=path)) if path else None

    @property
    def held_out(self) -> int:
        """Images of the subset to choose by, which are not trained on."""
        return held_out_of(self.train_size, self.validation)

    @property
    def trained_images(self) -> int:
        """The other images of the subset: those of an epoch."""
        return self.train_size - self.held_out

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
        canonical = json.dumps(without_defaults(self), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:8]

    def to_dict(self) -> dict[str, Any]:
        return cast(dict[str, Any], to_plain(self))

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> RunSpec:
        """Read a specification of any schema version; missing fields take their defaults.

        Raises KeyError: a field without a default is missing.
        Raises TypeError: a value has another type than its field, or a nested table a key that this version
            does not know.
        """
        table: Any = cls
        values = {name: hashable(data[name]) for name, _ in fields_of(table) if name in data}
        values["model"] = ModelSpec(data["model"]["name"], MappingProxyType(dict(data["model"]["options"])))
        check_types(values["model"])
        for name, (kind, *_) in kinds_of(table).items():
            if is_dataclass(kind) and isinstance(inner := values.get(name), Mapping):
                nested: Any = kind
                values[name] = nested(**{word: hashable(value) for word, value in inner.items()})
                check_types(values[name])
        spec = cls(**values)
        check_types(spec)
        return spec
