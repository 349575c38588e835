"""The frozen description of one run, and the identity that follows from it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from types import MappingProxyType
from typing import Any, Literal, TypeAlias, cast, get_args

SCHEMA_VERSION = 1

OptionValue: TypeAlias = bool | int | float | str
Strategy: TypeAlias = Literal["stratified", "balanced", "random", "first"]
BudgetUnit: TypeAlias = Literal["updates", "samples", "epochs"]
OptimizerName: TypeAlias = Literal["adamw", "sgd"]

STRATEGIES: tuple[Strategy, ...] = get_args(Strategy)
BUDGET_UNITS: tuple[BudgetUnit, ...] = get_args(BudgetUnit)
OPTIMIZERS: tuple[OptimizerName, ...] = get_args(OptimizerName)

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
    evaluations: int = 12
    """Number of evaluations, spread evenly over the updates; the last stands at the end."""

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
            TypeError: A nested table has a key that this version does not know.
        """
        known = {f.name for f in fields(cls)}
        values = {key: value for key, value in data.items() if key in known}
        values["model"] = ModelSpec(data["model"]["name"], MappingProxyType(dict(data["model"]["options"])))
        values["budget"] = Budget(**data["budget"])
        values["subset"] = SubsetSpec(**data.get("subset", {}))
        values["optimizer"] = OptimizerSpec(**data.get("optimizer", {}))
        return cls(**values)


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    return value


def _without_defaults(value: Any) -> Any:
    """Nested dictionary of the fields that have no default or differ from it, numbers normalised."""
    if is_dataclass(value):
        kept = {}
        for f in fields(value):
            inner = getattr(value, f.name)
            if inner != f.default:
                kept[f.name] = _without_defaults(inner)
        return kept
    if isinstance(value, Mapping):
        return {key: _without_defaults(inner) for key, inner in value.items()}
    # 1 and 1.0 are one learning rate; True is not 1.
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value
