"""Any classification model of torchvision, or of timm where there is one, drawing from the run's streams."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, TypeAlias, cast

import torch
from torch import nn
from torchvision import models, ops

from tui_datasize.errors import DataError
from tui_datasize.experiments.architectures import TIMM, TORCHVISION
from tui_datasize.training.models.parts import Blueprint, Dropout, Unit, initialise, starts_layer

Layer: TypeAlias = nn.Conv2d | nn.Linear


def library_model(plan: Blueprint) -> nn.Module:
    """A model of a library with its own first weights, or trained ones where `weights` names them.

    Grey images are taken by summing the first convolution over its colours, which computes what the
    whole network would on three equal channels.

    Raises DataError: the weights cannot be had, or the images do not suit the model.
    """
    channels = plan.image_shape[0]
    if channels not in (1, 3):
        raise DataError(f"model {plan.name} expects images of 1 or 3 channels, got {channels}")
    # The library fills its layers from the process-wide generator.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(torch.randint(2**63 - 1, (), generator=plan.initialisation)))
        is_of_timm = plan.name.startswith(TIMM)
        model = _from_timm(plan) if is_of_timm else _from_torchvision(plan, _special_options(plan))
    # One classifier is left: those half-way give training a second and third output.
    for name in ("aux1", "aux2", "AuxLogits"):
        if hasattr(model, name):
            setattr(model, name, None)
            model.aux_logits = False  # type: ignore[assignment]
    if plan.options["weights"] and not is_of_timm:
        _replace_classifier(model, plan)
    if channels == 1:
        first = next(layer for _, layer in _layers(model) if isinstance(layer, nn.Conv2d))
        first.in_channels = 1
        first.weight = nn.Parameter(first.weight.detach().sum(dim=1, keepdim=True))
    _take_stream(model, plan.dropout)
    return model


def _from_torchvision(plan: Blueprint, options: dict[str, Any]) -> nn.Module:
    name, weights = plan.name.removeprefix(TORCHVISION), str(plan.options["weights"])
    try:
        if weights:
            # Without classes: trained weights fit their own number alone.
            return cast(nn.Module, models.get_model(name, weights=weights, progress=False, **options))
        return cast(nn.Module, models.get_model(name, weights=None, num_classes=plan.classes, **options))
    except OSError as error:
        raise DataError(
            f"weights {weights} of {plan.name} cannot be had ({error})",
            fix=f"put the file into {torch.hub.get_dir()}/checkpoints, or connect once",
        ) from error
    except (KeyError, ValueError, RuntimeError, AssertionError) as error:
        raise _unsuitable(plan, error, name, weights) from error


def _from_timm(plan: Blueprint) -> nn.Module:
    try:
        from timm import create_model
        from timm.models import load_state_dict
    except ImportError as error:
        fix = "pip install 'datasize-tui[timm]'"
        raise DataError(f"model {plan.name} needs the package timm ({error})", fix=fix) from None
    make = partial(create_model, plan.name.removeprefix(TIMM), pretrained=False, num_classes=plan.classes)
    try:
        try:
            model: nn.Module = make(img_size=plan.image_shape[1:])
        except TypeError:
            # Convolutions take images of any size.
            model = make()
    except (RuntimeError, ValueError, AssertionError, TypeError) as error:
        fix = "take a name of timm.list_models(), and set input_px of the model to a size that it takes"
        raise DataError(f"model {plan.name} cannot be built ({error})", fix=fix) from error
    if not (file := str(plan.options["weights"])):
        return model
    try:
        found = load_state_dict(str(Path(file).expanduser()), device="cpu", weights_only=True)
    # Whatever the readers of two formats raise.
    except Exception as error:
        raise DataError(f"weights of {plan.name} cannot be read ({error})", where=file) from error
    classifier = next(name for name, part in model.named_modules() if part is model.get_classifier())  # type: ignore[operator]
    own = {name: value for name, value in model.state_dict().items() if not name.startswith(f"{classifier}.")}
    unfit = [name for name, value in own.items() if name not in found or found[name].shape != value.shape]
    if unfit:
        fix = "name a file that timm saved of this model"
        raise DataError(
            f"weights do not suit {plan.name}: {unfit[0]} is missing or of another shape", where=file, fix=fix
        )
    model.load_state_dict({name: found[name] for name in own}, strict=False)
    return model


def _unsuitable(plan: Blueprint, error: Exception, name: str, weights: str) -> DataError:
    known = [weight.name for weight in models.get_model_weights(name)]
    if weights and weights not in (*known, "DEFAULT"):
        return DataError(
            f"model {plan.name} has no weights {weights!r}", fix=f"known are DEFAULT, {', '.join(known)}"
        )
    _, height, width = plan.image_shape
    return DataError(
        f"model {plan.name} cannot be built for images of {width}x{height} pixels ({error})",
        fix="set input_px of the model, or image_px of the experiment, to a size that it takes",
    )


def _special_options(plan: Blueprint) -> dict[str, Any]:
    """What some models must be told of their input or their first weights."""
    architecture, trained = plan.name.removeprefix(TORCHVISION), bool(plan.options["weights"])
    _, height, width = plan.image_shape
    if architecture.startswith("vit_"):
        return {"image_size": height}
    if architecture.startswith("maxvit"):
        return {"input_size": (height, width)}
    if architecture in ("googlenet", "inception_v3") and not trained:
        return {"init_weights": True}
    return {}


def _replace_classifier(model: nn.Module, plan: Blueprint) -> None:
    name, old = _layers(model)[-1]
    # A classifier by convolution, as SqueezeNet's, is one of 1x1.
    new: Layer = (
        nn.Linear(old.in_features, plan.classes)
        if isinstance(old, nn.Linear)
        else nn.Conv2d(old.in_channels, plan.classes, kernel_size=1)
    )
    initialise(new, plan.initialisation)
    _put(model, name, new)


def _take_stream(model: nn.Module, generator: torch.Generator) -> None:
    """Replace what draws from the process-wide generator by what draws from the run's stream."""
    units: dict[type[nn.Module], Unit] = {nn.Dropout: "value", nn.Dropout2d: "channel"}
    for name, module in list(model.named_modules()):
        if isinstance(module, ops.StochasticDepth):
            unit: Unit = "image" if module.mode == "row" else "batch"
            _put(model, name, Dropout(module.p, generator, unit))
        # One that drops nothing draws nothing, and models of timm ask it for its probability.
        elif type(module) in units and module.p:
            _put(model, name, Dropout(cast(nn.Dropout, module).p, generator, units[type(module)]))


def _layers(model: nn.Module) -> list[tuple[str, Layer]]:
    return [(name, cast(Layer, module)) for name, module in model.named_modules() if starts_layer(module)]


def _put(model: nn.Module, name: str, new: nn.Module) -> None:
    parent, _, attribute = name.rpartition(".")
    setattr(model.get_submodule(parent), attribute, new)
