"""Updates and evaluations of every model and option on a card of shapes: one device, and no waiting."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any, Literal, get_args, get_origin, get_type_hints

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import DynamicOutputShapeException

from tests.fakes import fake_spec
from tests.training.graph_trainers import evaluate
from tests.training.lazy_gpu import LAZY, DevicesMixedError, HostWaitsError, LazyGpu
from tests.training.small_library import DEEP, SMALL, WHOLE, input_px, kind_of, kinds, make_small
from tui_datasize.experiments.architectures import MODELS
from tui_datasize.experiments.spec import CHOSEN, Budget, ModelSpec, RunSpec, Transfer
from tui_datasize.experiments.synthetic import Synthetic
from tui_datasize.training.arrays import ImageSplit, LoadedDataset
from tui_datasize.training.engine import Batch, Beside, Trainer
from tui_datasize.training.models.parts import Dropout
from tui_datasize.training.packs.implementations import IMPLEMENTATIONS
from tui_datasize.training.placement import has_room, nowhere
from tui_datasize.training.synthetic.generator import Generator
from tui_datasize.training.transfer import SourceWeights

Settings = Mapping[str, Any]
"""Values of `RunSpec` by the names of its fields, those of its tables behind a dot."""

SGD = {"optimizer.name": "sgd"}
OPTIONS: Mapping[str, Settings] = {
    "batch_size": {"batch_size": 7},
    "optimizer.name=sgd": SGD,
    "optimizer.lr": {"optimizer.lr": 0.1},
    "optimizer.weight_decay": {"optimizer.weight_decay": 0.1},
    "optimizer.momentum": {**SGD, "optimizer.momentum": 0.9},
    "optimizer.nesterov": {**SGD, "optimizer.momentum": 0.9, "optimizer.nesterov": True},
    "clip_grad_norm": {"clip_grad_norm": 1.0},
    "augmentation.resized_crop": {"augmentation.resized_crop": 0.3, "augmentation.crop_px": 12},
    "augmentation.crop_px": {"augmentation.crop_px": 12},
    "augmentation.crop_padding_px": {"augmentation.crop_padding_px": 2},
    "augmentation.flip": {"augmentation.flip": 0.5},
    "augmentation.rotation_deg": {"augmentation.rotation_deg": 20.0},
    "augmentation.brightness": {"augmentation.brightness": 0.3},
    "augmentation.contrast": {"augmentation.contrast": 0.3},
    "augmentation.saturation": {"augmentation.saturation": 0.3},
    "augmentation.sharpness": {"augmentation.sharpness": 0.3},
    "augmentation.grey": {"augmentation.grey": 0.3},
    "augmentation.trivial_augment": {"augmentation.trivial_augment": True},
    "augmentation.random_erasing": {"augmentation.random_erasing": 0.3},
    "augmentation.mixup": {"augmentation.mixup": 0.4},
    "augmentation.cutmix": {"augmentation.cutmix": 1.0},
    "augmentation.repeats": {"augmentation.repeats": 3},
    "schedule.name=step": {"schedule.name": "step", "schedule.step": 0.2},
    "schedule.name=multistep": {"schedule.name": "multistep", "schedule.milestones": (0.3, 0.6)},
    "schedule.name=cosine": {"schedule.name": "cosine"},
    "schedule.warmup": {"schedule.warmup": 0.2},
    "label_smoothing": {"label_smoothing": 0.1},
    "ema_decay": {"ema_decay": 0.9},
    "unlabelled.method=fixmatch": {"unlabelled.method": "fixmatch"},
    "unlabelled.method=pseudo-label": {"unlabelled.method": "pseudo-label"},
    "unlabelled.method=mean-teacher": {"unlabelled.method": "mean-teacher", "ema_decay": 0.9},
    "task.name=rotation": {"task.name": "rotation"},
    "task.name=simclr": {"task.name": "simclr", "augmentation.crop_padding_px": 2},
    "transfer": {"transfer": Transfer("source", 1, freeze=False)},
    "transfer.freeze": {"transfer": Transfer("source", None, freeze=True)},
    "protocol.measured=last-batch": {"protocol.measured": "last-batch"},
    "protocol.partial_batches": {"protocol.partial_batches": True, "budget": Budget("epochs", 3)},
}
"""What changes the work of the card, one at a time."""

OF_THE_HOST = {
    *("experiment", "dataset", "train_size", "seed", "budget.unit=epochs", "budget.unit=samples"),
    *("budget.amount", "subset.strategy=balanced", "subset.strategy=first", "subset.strategy=random"),
    *("subset.nested", "subset.seed", "subset.imbalance", "evaluations", "classes.half=source"),
    *("subset.path", *(f"subset.strategy={strategy}" for strategy in CHOSEN)),
    *("classes.half=target", "classes.seed", "label_noise.fraction", "label_noise.confusion", "image_px"),
    *("images.rules", "images.background", "images.split", "images.split_seed"),
    *("images.on_bad_image=skip", "images.most_megapixels"),
    *("imported", "protocol.f1=micro", "transfer.source", "transfer.layers", "model.name", "model.options"),
    *("budget.unit=updates", "schedule.unit=updates", "schedule.step", "schedule.milestones"),
    *("schedule.gamma", "schedule.warmup_start", "schedule.floor"),
    *("validation", "stop.patience", "refit", "tests"),
    *("unlabelled.ratio", "unlabelled.threshold", "unlabelled.weight", "unlabelled.ramp"),
    *("unlabelled.source", "subset.features", "task.temperature", "task.projection"),
    *("transfer.task=rotation", "transfer.task=simclr"),
}
"""What decides which images there are, how many updates, what the rate is, or what is written."""

ELSEWHERE = {
    *("precision=fp32", "precision=tf32", "precision=bf16"),
    *(f"synthetic.{name}" for name in ("model=cvae", "source", "ratio", "latent", "hidden", "epochs", "lr")),
    *("synthetic.beta", "synthetic.likelihood=gaussian"),
}
"""Autocast knows no such card: the strict stand-in has them. A generator is tried by itself."""

MODEL_OPTIONS: Mapping[str, ModelSpec] = {
    "cnn3": ModelSpec("cnn3"),
    "cnn3, all": ModelSpec("cnn3", {"dropout": 0.25, "width": 4, "published": True}),
    "mlp": ModelSpec("mlp"),
    "mlp, all": ModelSpec("mlp", {"hidden": 8, "layers": 3, "dropout": 0.5}),
    "resnet": ModelSpec("resnet"),
    "resnet, all": ModelSpec(
        "resnet", {"depth": 8, "shortcuts": False, "width": 4, "input_px": 20, "input_channels": 3}
    ),
    "alexnet": ModelSpec("alexnet", {"input_px": 64}),
    "alexnet, all": ModelSpec(
        "alexnet",
        {
            **{"input_px": 64, "width": 8, "dropout": 0.25, "initialisation": "kaiming-normal"},
            "input_channels": 3,
        },
    ),
}
"""Each at its defaults, as far as small images let them, and with all of its options changed."""

MLP = ModelSpec("mlp", {"dropout": 0.5})

WAITS = {"readings": 1, "a block of logits": 2}
"""Losses and norms of the updates before; logits and labels of a pass."""


def images(count: int, side_px: int = 16) -> ImageSplit:
    numbers = np.random.default_rng(count)
    return ImageSplit(
        numbers.integers(0, 256, (count, 3, side_px, side_px), dtype=np.uint8),
        np.arange(count) % 5,
        np.zeros(count, dtype=np.uint64),
    )


DATA = LoadedDataset("made", images(20), images(10), tuple("abcde"), (0.5,) * 3, (0.2,) * 3, "0" * 16)


@pytest.fixture
def gpu(monkeypatch):
    lazy = LazyGpu(monkeypatch)
    with lazy.active():
        yield lazy


def spec_of(settings: Settings, model: ModelSpec = MLP) -> RunSpec:
    spec = fake_spec(model=model, train_size=20, batch_size=8, budget=Budget("updates", 40))
    for name, value in settings.items():
        table, _, inner = name.rpartition(".")
        changed = replace(getattr(spec, table), **{inner: value}) if table else value
        spec = replace(spec, **{table or name: changed})
    return spec


def trainer_of(spec: RunSpec, **changes: Any) -> Trainer:
    source = None
    if spec.transfer:
        plain = Trainer(replace(spec, transfer=None), DATA, np.arange(20), torch.device("cpu"))
        source = SourceWeights(spec.transfer, plain.model.state_dict(), "source")
    rest = DATA.train if spec.unlabelled.is_rest else None
    return Trainer(spec, DATA, np.arange(20), LAZY, source, beside=Beside(rest), **changes)


def train(gpu: LazyGpu, trainer: Trainer, *, again: bool = False) -> None:
    """An update and an evaluation, and perhaps another update."""
    with gpu.updating():
        trainer.step()
    gpu.waits = 0
    assert len(trainer.read().losses) == 1
    assert gpu.waits == WAITS["readings"]
    evaluate(trainer)
    assert gpu.waits == sum(WAITS.values())
    if again:
        with gpu.updating():
            trainer.step()
    assert all(one.device == LAZY for one in trainer.evaluated_model.state_dict().values())


def named(table: Any, before: str = "") -> Iterator[str]:
    """The fields of a table and of those within it; those of a few words with each but the default."""
    hints = get_type_hints(table)
    for field in fields(table):
        name, hint = before + field.name, hints[field.name]
        inner = next((kind for kind in (hint, *get_args(hint)) if is_dataclass(kind)), None)
        if get_origin(hint) is Literal:
            yield from (f"{name}={word}" for word in get_args(hint) if word != field.default)
        elif inner is None or type(None) in get_args(hint):
            yield name
        if inner is not None:
            yield from named(inner, f"{name}.")


def test_every_option_of_a_run_is_tried_or_said_to_be_of_the_host():
    assert sorted(named(RunSpec)) == sorted([*OPTIONS, *OF_THE_HOST, *ELSEWHERE])
    for name, info in MODELS.items():
        assert set(info.options) == set(MODEL_OPTIONS[f"{name}, all"].options)
        assert name in MODEL_OPTIONS
    assert kinds() == {kind_of(name) for name in (*SMALL, *WHOLE, *DEEP)}


@pytest.mark.parametrize("model", MODEL_OPTIONS.values(), ids=MODEL_OPTIONS)
def test_each_model_stays_on_the_card_and_waits_for_nothing(model, gpu):
    train(gpu, trainer_of(spec_of({}, model)))


ALIKE = (
    *("efficientnet_b0", "maxvit_t", "mobilenet_v2", "regnet_y_400mf", "resnet50", "shufflenet_v2_x0_5"),
    *("squeezenet1_1", "vgg11_bn"),
)
"""Made of what others are made of: convolutions, normalisation, depth and attention that is dropped."""


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.exhaustive] * (name in ALIKE)) for name in (*SMALL, *WHOLE)],
)
def test_each_model_of_the_library_stays_on_the_card_and_waits_for_nothing(name, gpu, monkeypatch):
    make_small(monkeypatch)
    model = ModelSpec(f"torchvision:{name}", {"input_px": input_px(name)})
    train(gpu, trainer_of(spec_of({}, model)))


def exclusive(*names: str) -> Sequence[Settings]:
    return ({}, *(OPTIONS[name] for name in names))


CHOICES: Mapping[str, Sequence[Any]] = {
    "model": [MLP, MODEL_OPTIONS["cnn3, all"], MODEL_OPTIONS["resnet, all"]],
    "room": [has_room, nowhere],
    "optimizer": exclusive("optimizer.nesterov"),
    "schedule": exclusive("schedule.name=cosine"),
    "transfer": exclusive("transfer", "transfer.freeze"),
    **{
        name: exclusive(name)
        for name in OPTIONS
        if name.partition(".")[0] not in ("batch_size", "optimizer", "schedule", "task", "transfer")
    },
}


ALONE = [
    name for name, settings in OPTIONS.items() if not any(settings in given for given in CHOICES.values())
]
"""Options that no row of all others has."""


@pytest.mark.parametrize("settings", [OPTIONS[name] for name in ALONE], ids=ALONE)
def test_each_option_stays_on_the_card_and_waits_for_nothing(settings, gpu):
    train(gpu, trainer_of(spec_of(settings)), again=True)


@pytest.mark.parametrize(
    ("model", "way"), [("cnn3, all", "side by side"), ("cnn3, all", "fused"), ("resnet, all", "fused")]
)
def test_packs_stay_on_the_card_and_wait_for_nothing(model, way, gpu):
    spec = spec_of({"ema_decay": 0.9, "augmentation.cutmix": 1.0}, MODEL_OPTIONS[model])
    lanes = [trainer_of(replace(spec, seed=seed)) for seed in range(2)]
    together = IMPLEMENTATIONS[way](lanes)
    for making in ([0, 1], [1]):
        with gpu.updating():
            together.step(making)
    evaluate(lanes[0])
    assert [lane.update for lane in lanes] == [1, 2]
    assert all(value.device == LAZY for lane in lanes for value in lane.model.state_dict().values())


ROWS = 10
"""Three models with three ways to transfer make nine; in ten there is place for all the others."""


def in_pairs() -> Iterator[Mapping[str, Any]]:
    """Choices so that each two of them meet: columns with each value as often as the others, drawn."""
    numbers = random.Random(0)
    columns: dict[str, list[int]] = {}
    for name in sorted(CHOICES, key=lambda name: -len(CHOICES[name])):
        column = [row % len(CHOICES[name]) for row in range(ROWS)]
        while not all(all_meet(column, other) for other in columns.values()):
            numbers.shuffle(column)
        columns[name] = column
    for row in range(ROWS):
        yield {name: CHOICES[name][column[row]] for name, column in columns.items()}


def all_meet(column: Sequence[int], other: Sequence[int]) -> bool:
    return len({*zip(column, other, strict=True)}) == len({*column}) * len({*other})


@pytest.mark.parametrize("row", list(in_pairs()))
def test_options_two_by_two_stay_on_the_card_and_wait_for_nothing(row, gpu):
    settings = {
        key: value
        for name, given in row.items()
        if name not in ("model", "room")
        for key, value in given.items()
    }
    train(gpu, trainer_of(spec_of(settings, row["model"]), room=row["room"]))


def spoiled(monkeypatch: pytest.MonkeyPatch, spoil: Any) -> Trainer:
    """A trainer in whose updates something is done to the inputs."""
    trainer = trainer_of(spec_of({}))
    batch = trainer._batch
    monkeypatch.setattr(trainer, "_batch", lambda rows: spoil(batch(rows)))
    return trainer


def times(number: Any) -> Any:
    return lambda batch: Batch(batch.inputs * number(batch.inputs), batch.targets)


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (times(lambda inputs: inputs.mean().item()), HostWaitsError),
        (times(lambda inputs: float(inputs.flatten()[0])), HostWaitsError),
        (times(lambda inputs: inputs.flatten()[:2].tolist()[0]), HostWaitsError),
        (times(lambda inputs: 1 if (inputs > 0).any() else 2), HostWaitsError),
        (times(lambda inputs: inputs.mean().cpu()), HostWaitsError),
        (times(lambda inputs: torch.tensor([2.0]).to(inputs.device)), HostWaitsError),
        (times(lambda inputs: torch.tensor([2.0], device=inputs.device)), HostWaitsError),
        (times(lambda inputs: inputs[inputs > 0].mean()), DynamicOutputShapeException),
        (times(lambda inputs: inputs.nonzero().sum()), DynamicOutputShapeException),
        (times(lambda inputs: torch.ones(inputs.shape)), DevicesMixedError),
        (times(lambda _inputs: torch.ones(1)), DevicesMixedError),
        (times(lambda inputs: torch.rand_like(inputs, generator=torch.Generator())), DevicesMixedError),
        (
            times(lambda inputs: torch.empty_like(inputs).uniform_(generator=torch.Generator())),
            DevicesMixedError,
        ),
    ],
)
def test_an_update_that_waits_or_mixes_devices_is_seen(spoil, told, gpu, monkeypatch):
    trainer = spoiled(monkeypatch, spoil)
    with gpu.updating(), pytest.raises(told):
        trainer.step()


def test_what_is_drawn_on_the_card_comes_from_a_generator_of_the_card(gpu):
    trainer = trainer_of(spec_of({}))
    for module in trainer.model.modules():
        if isinstance(module, Dropout):
            module.generator = torch.Generator()
    with gpu.updating(), pytest.raises(ValueError, match="expected a generator of lazy"):
        trainer.step()


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
def test_a_generator_stays_on_the_card_and_waits_at_the_end_of_an_epoch_alone(likelihood, gpu):
    spec = replace(spec_of({}), synthetic=Synthetic("cvae", likelihood=likelihood, epochs=2))
    generator = Generator(spec, DATA, np.arange(20), LAZY, has_room)
    for update in (1, 2):
        with gpu.updating():
            assert generator._learn(update).shape == (2,)
    assert all(one.device == LAZY for one in generator.model.state_dict().values())
