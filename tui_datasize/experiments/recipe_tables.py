"""Reading the tables of a recipe: budget, optimiser, schedule, augmentation, transfer and the rest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from tui_datasize.errors import ConfigError
from tui_datasize.experiments.architectures import MODELS, model_info
from tui_datasize.experiments.augmentation import AugmentationSpec
from tui_datasize.experiments.schedule import (
    SCHEDULE_UNITS,
    SCHEDULES,
    ScheduleName,
    ScheduleSpec,
    ScheduleUnit,
)
from tui_datasize.experiments.spec import (
    AVERAGES,
    BUDGET_UNITS,
    CLASS_HALVES,
    MEASURED,
    OPTIMIZERS,
    Budget,
    BudgetUnit,
    ClassSplit,
    LabelNoise,
    ModelSpec,
    OptimizerSpec,
    OptionValue,
    Protocol,
)
from tui_datasize.experiments.toml_table import MOST_WHOLE, Table, is_number, is_whole

_MODEL_NAMES = (*MODELS, "torchvision:NAME")
MOST_AMOUNT: Mapping[BudgetUnit, int] = MappingProxyType(
    {"updates": 10**9, "samples": 10**12, "epochs": 10**6}
)
"""Of a budget; years of any machine."""
MOST_EVALUATIONS = 100_000
MOST_BATCH = 1_000_000
MOST_PX = 10_000


@dataclass(frozen=True, slots=True)
class TransferRecipe:
    """A transfer as the file has it: from an experiment or a run that is looked up for each cell."""

    origin: str
    layers: int | None
    freeze: bool


def named_table(table: Table, key: str, *, default: str = "", short: str = "name") -> Table:
    """A table with a name; `model = "cnn3"` is short for `model = { name = "cnn3" }`."""
    value = table.take(key, {})
    values = {short: value} if isinstance(value, str) else value
    if default and isinstance(values, Mapping) and short not in values:
        values = {short: default, **values}
    return table.nested(key, values)


def read_model(table: Table) -> ModelSpec:
    """`model`: a name of the catalogue, and options that differ from its defaults."""
    if not table.has("model"):
        raise table.error("model", f"a model, one of {', '.join(_MODEL_NAMES)}")
    model = named_table(table, "model")
    name = model.text("name")
    info = model_info(name)
    if info is None:
        raise model.error("name", f"one of {', '.join(_MODEL_NAMES)}")
    options: dict[str, OptionValue] = {}
    for key, default in info.options.items():
        value = _read_option(model, key, default, info.ranges.get(key))
        expected = info.expected.get(key)
        if expected and not expected.holds(value):
            raise model.error(key, expected.words)
        if value != default:
            options[key] = value
    model.finish()
    return ModelSpec(name, MappingProxyType(options))


def _read_option(
    model: Table, key: str, default: OptionValue, bounds: tuple[float, float] | None
) -> OptionValue:
    if isinstance(default, bool):
        return model.boolean(key, default)
    if isinstance(default, str):
        return model.text(key, default)
    value = model.take(key, default)
    fits = is_whole(value) if isinstance(default, int) else is_number(value)
    kind = "a whole number" if isinstance(default, int) else "a number"
    low, high = bounds or (float("-inf"), float("inf"))
    if not fits or not low <= value <= high:
        raise model.error(key, f"{kind} from {low:g} to {high:g}")
    return type(default)(value)


def read_budget(table: Table) -> Budget:
    """`budget`: exactly one of updates, samples and epochs."""
    table.refuse_unknown(set(BUDGET_UNITS))
    given = [unit for unit in BUDGET_UNITS if table.has(unit)]
    if len(given) != 1:
        found = ", ".join(given) or "none"
        raise ConfigError(
            f"expected exactly one of {', '.join(BUDGET_UNITS)}, got {found}", where=table.where()
        )
    (unit,) = given
    most = MOST_AMOUNT[unit]
    amount = (
        table.number(unit, above=0, at_most=most)
        if unit == "epochs"
        else table.integer(unit, least=1, most=most)
    )
    table.finish()
    return Budget(unit, amount)


def read_optimizer(table: Table) -> OptimizerSpec:
    """`optimizer`: a name and its settings."""
    defaults = OptimizerSpec()
    name = table.choice("name", OPTIMIZERS, defaults.name)
    optimizer = OptimizerSpec(
        name=name,
        lr=table.number("lr", defaults.lr, above=0),
        weight_decay=table.number("weight_decay", defaults.weight_decay),
        momentum=table.number("momentum", defaults.momentum),
        nesterov=table.boolean("nesterov", defaults.nesterov),
    )
    if name != "sgd" and (table.has("momentum") or table.has("nesterov")):
        raise ConfigError("momentum and nesterov belong to sgd", where=table.where())
    if optimizer.momentum >= 1:
        raise table.error("momentum", "a number from 0 to below 1")
    if optimizer.nesterov and not optimizer.momentum:
        raise ConfigError("nesterov needs a momentum above 0", where=table.where())
    table.finish()
    return optimizer


def read_evaluations(table: Table) -> int | None:
    """`evaluate`: how many times; None where it is not said."""
    times = table.integer("times", least=1, most=MOST_EVALUATIONS) if table.has("times") else None
    table.finish()
    return times


_SCHEDULE_KEYS: Mapping[ScheduleName, tuple[str, ...]] = MappingProxyType(
    {
        "constant": (),
        "step": ("step", "gamma"),
        "multistep": ("milestones", "gamma"),
        "cosine": ("floor",),
    }
)


_LONGEST: Mapping[ScheduleUnit, float] = MappingProxyType(
    {"fraction": 1.0, "updates": MOST_AMOUNT["updates"]}
)


def _length(table: Table, key: str, unit: ScheduleUnit, default: int | None = None) -> float:
    """A share of the budget, or whole updates; above 0 unless it may be left out."""
    if unit == "updates":
        return float(
            table.integer(key, default, least=1 if default is None else 0, most=MOST_AMOUNT["updates"])
        )
    return table.number(key, default, above=0 if default is None else None, at_most=1)


def read_schedule(table: Table) -> ScheduleSpec:
    """`schedule`: its shape, and lengths in fractions of the budget or in updates."""
    defaults = ScheduleSpec()
    name = table.choice("name", SCHEDULES, defaults.name)
    unit = table.choice("unit", SCHEDULE_UNITS, defaults.unit)
    table.refuse_unknown({"name", "unit", "warmup", "warmup_start", *_SCHEDULE_KEYS[name]})
    milestones = (
        tuple(table.numbers("milestones", whole=unit == "updates", at_most=_LONGEST[unit]))
        if name == "multistep"
        else ()
    )
    if list(milestones) != sorted(milestones):
        raise table.error("milestones", "numbers in ascending order")
    return ScheduleSpec(
        name=name,
        unit=unit,
        step=_length(table, "step", unit) if name == "step" else 0.0,
        milestones=milestones,
        gamma=table.number("gamma", defaults.gamma, above=0, at_most=1),
        warmup=_length(table, "warmup", unit, 0),
        warmup_start=table.number("warmup_start", 0.0, at_most=1),
        floor=table.number("floor", 0.0, at_most=1),
    )


_AUGMENTATION_BOUNDS: Mapping[str, float] = MappingProxyType(
    {
        "resized_crop": 1,
        "flip": 1,
        "rotation_deg": 180,
        "brightness": 1,
        "contrast": 1,
        "saturation": 1,
        "sharpness": 1,
        "random_erasing": 1,
        "mixup": 100,
        "cutmix": 100,
    }
)


def read_augmentation(table: Table) -> AugmentationSpec:
    """`augmentation`: what is switched on; `"none"` is short for nothing."""
    defaults = AugmentationSpec()
    augmentation = AugmentationSpec(
        **{key: table.number(key, 0.0, at_most=most) for key, most in _AUGMENTATION_BOUNDS.items()},
        crop_px=table.integer("crop_px", 0, most=MOST_PX),
        crop_padding_px=table.integer("crop_padding_px", 0, most=MOST_PX),
        trivial_augment=table.boolean("trivial_augment", False),
        repeats=table.integer("repeats", defaults.repeats, least=1, most=MOST_BATCH),
    )
    if augmentation.resized_crop and not augmentation.crop_px:
        raise ConfigError("resized_crop needs crop_px, the side it is resized to", where=table.where())
    if augmentation.crop_padding_px and augmentation.crop_px:
        raise ConfigError("crop_padding_px and crop_px exclude each other", where=table.where())
    table.finish()
    return augmentation


def read_classes(table: Table) -> ClassSplit:
    """`classes`: all, or a half of them."""
    classes = ClassSplit(table.choice("half", CLASS_HALVES, "all"), table.integer("seed", 0))
    if classes.half == "all" and table.has("seed"):
        raise ConfigError("a split seed needs half = source or target", where=table.where())
    table.finish()
    return classes


def read_label_noise(table: Table) -> LabelNoise:
    """`label_noise`: a fraction, and what classes become where not any other alike."""
    fraction = table.number("fraction", below=1)
    confusion = table.table("confusion")
    rows = [
        (label, str(becomes), float(weight))
        for label in sorted(confusion.take_all())
        for becomes, weight in _weights(confusion, label)
    ]
    table.finish()
    return LabelNoise(fraction, tuple(rows))


def _weights(confusion: Table, label: str) -> list[tuple[str, float]]:
    """What a class becomes: one class, or several with weights."""
    value = confusion.take(label)
    if isinstance(value, str):
        return [(value, 1.0)]
    table = confusion.table(label)
    return [(becomes, table.number(becomes, above=0, at_most=1e9)) for becomes in sorted(table.take_all())]


def read_transfer(table: Table) -> TransferRecipe:
    """`transfer`: from which run or experiment, how many layers, and whether they are frozen."""
    origin = table.text("from")
    layers = table.take("layers", "all")
    if layers != "all" and not (is_whole(layers) and 1 <= layers <= MOST_WHOLE):
        raise table.error("layers", 'a whole number of at least 1, or "all"')
    transfer = TransferRecipe(
        origin, None if layers == "all" else int(layers), table.boolean("freeze", False)
    )
    table.finish()
    return transfer


def read_protocol(table: Table) -> Protocol:
    """`protocol`: how batches are counted and what is measured."""
    defaults = Protocol()
    protocol = Protocol(
        measured=table.choice("measured", MEASURED, defaults.measured),
        f1=table.choice("f1", AVERAGES, defaults.f1),
        partial_batches=table.boolean("partial_batches", defaults.partial_batches),
    )
    table.finish()
    return protocol
