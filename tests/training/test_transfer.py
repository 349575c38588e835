"""Weights of one run in another: which are taken, which stay as they are, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from torch import nn

from tests.training.helpers import evaluations, small_spec, train, train_until
from tui_datasize.errors import DataError
from tui_datasize.experiments.spec import SCHEMA_VERSION, ModelSpec, Transfer
from tui_datasize.runlog.paths import ProjectPaths, RunPaths
from tui_datasize.training.models.parts import weight_layers
from tui_datasize.training.prepare import Shared, prepare
from tui_datasize.training.stop import StopRequest
from tui_datasize.training.transfer import SourceWeights, other_run, read_source, take_over

TINY = ModelSpec("resnet", {"depth": 8, "width": 4})


def source_spec(**changes):
    return small_spec(**({"experiment": "source", "model": TINY, "seed": 1, "evaluations": 1} | changes))


def target_spec(source, layers, *, freeze, **changes):
    transfer = Transfer(source.run_id, layers, freeze)
    return small_spec(**({"experiment": "target", "model": TINY, "transfer": transfer} | changes))


@pytest.fixture
def queue(tmp_path, worker_environment):
    """Write run directories into one project."""

    def write(spec):
        paths = ProjectPaths(tmp_path).run(spec.experiment, spec.run_id)
        paths.directory.mkdir(parents=True)
        document = {"schema_version": SCHEMA_VERSION, "run_id": spec.run_id, "spec": spec.to_dict()}
        paths.spec.write_text(json.dumps(document), encoding="utf-8")
        return paths

    return write


@pytest.fixture
def source(queue):
    """A finished run, its specification and its last state."""
    spec = source_spec()
    return spec, train(queue(spec)).trainer.model.state_dict()


def taken_keys(model, count):
    names = {name for layer in weight_layers(model)[:count] for name, _ in layer}
    return [key for key in model.state_dict() if key.rpartition(".")[0] in names]


def test_frozen_layers_stay_bit_equal_and_the_others_are_trained(queue, source):
    spec, weights = source
    paths = queue(target_spec(spec, 3, freeze=True))
    session = prepare(paths, 1, Shared(), print)
    model = session.trainer.model
    started = {key: value.clone() for key, value in model.state_dict().items()}
    session.run(StopRequest())
    ended = model.state_dict()
    frozen = taken_keys(model, 3)
    # Three layers: convolution, and weight, bias, mean, variance and count of its normalisation.
    assert len(frozen) == 3 * 6
    assert all(torch.equal(ended[key], weights[key]) for key in frozen)
    others = [key for key in ended if key not in frozen]
    assert all(not torch.equal(ended[key], started[key]) for key in others)
    assert all(
        not torch.equal(started[key], weights[key])
        for key in others
        if key.endswith("weight") and started[key].dim() > 1
    )
    facts = json.loads(paths.provenance.read_bytes())
    assert facts["parameters"] - facts["trainable_parameters"] == sum(
        weights[key].numel() for key in frozen if key.endswith(("weight", "bias"))
    )
    assert facts["flops_per_image"] > 0


def test_all_layers_but_the_classifier_are_taken_and_trained_further(queue, source):
    spec, weights = source
    session = prepare(queue(target_spec(spec, None, freeze=False)), 1, Shared(), print)
    model = session.trainer.model
    taken = taken_keys(model, 7)
    assert all(torch.equal(model.state_dict()[key], weights[key]) for key in taken)
    assert not torch.equal(model.classifier.weight, weights["classifier.weight"])
    session.run(StopRequest())
    assert not any(torch.equal(model.state_dict()[key], weights[key]) for key in taken)


def test_a_resumed_run_with_frozen_layers_continues_the_same_curve(queue, source):
    spec, weights = source
    calm = target_spec(spec, 2, freeze=True)
    disturbed = replace(calm, experiment="disturbed")
    curve, other = queue(calm), queue(disturbed)
    train(curve)
    train_until(other, 23)
    session = train(other)
    assert evaluations(other) == evaluations(curve)
    assert all(
        torch.equal(session.trainer.model.state_dict()[key], weights[key])
        for key in taken_keys(session.trainer.model, 2)
    )


def test_averaged_weights_are_taken_where_the_source_was_measured_with_them(queue):
    spec = source_spec(ema_decay=0.9)
    trainer = train(queue(spec)).trainer
    paths = queue(target_spec(spec, None, freeze=False))
    taken = prepare(paths, 1, Shared(), print).trainer.model.state_dict()["stem.0.weight"]
    assert torch.equal(taken, trainer.evaluated_model.state_dict()["stem.0.weight"])
    assert not torch.equal(taken, trainer.model.state_dict()["stem.0.weight"])


def test_a_source_without_its_checkpoint_is_told_in_one_line(queue, source, tmp_path):
    spec, _ = source
    paths = queue(target_spec(spec, 1, freeze=True))
    checkpoint = ProjectPaths(tmp_path).run("source", spec.run_id).checkpoint
    checkpoint.write_bytes(b"torn")
    with pytest.raises(
        DataError, match=rf"does not fit: .*; delete it; `datasize-tui retry {paths.run_id}` "
    ):
        prepare(paths, 1, Shared(), print)
    checkpoint.unlink()
    told = rf"runs/source/\S+: the source run has no checkpoint.*`datasize-tui retry {paths.run_id}` trains "
    with pytest.raises(DataError, match=told):
        prepare(paths, 1, Shared(), print)


def test_a_source_that_is_not_finished_or_not_there_is_refused(queue):
    spec = source_spec()
    target = target_spec(spec, 1, freeze=True)
    paths = queue(target)
    with pytest.raises(DataError, match=f"the source run {spec.run_id} is not in this project"):
        read_source(paths, target)
    train_until(queue(spec), 11)
    with pytest.raises(DataError, match="is at update 11 of 40"):
        read_source(paths, target)


def test_a_source_of_another_architecture_is_refused(queue, source):
    spec, _ = source
    plain = ModelSpec("resnet", {"depth": 8, "width": 4, "shortcuts": False})
    target = target_spec(spec, 1, freeze=True, model=plain)
    with pytest.raises(
        DataError, match=r"weights of resnet\(depth=8,width=4\) do not fit resnet\(depth=8,shortcuts=False"
    ):
        read_source(queue(target), target)


def network():
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 3))


def test_too_many_layers_and_other_shapes_are_refused():
    values = network().state_dict()
    with pytest.raises(DataError, match=r"cannot take over 2 layers: the model has 2.*at most 1"):
        take_over(network(), SourceWeights(Transfer("x", 2, freeze=True), values, "there"))
    values["0.weight"] = torch.zeros(2, 3, 3, 3)
    with pytest.raises(
        DataError, match=r"there: .*0\.weight has shape \(2, 3, 3, 3\), expected \(2, 1, 3, 3\)"
    ):
        take_over(network(), SourceWeights(Transfer("x", 1, freeze=True), values, "there"))


@pytest.mark.parametrize("freeze", [True, False])
def test_frozen_normalisations_use_their_statistics_in_training_too(freeze):
    model = network()
    take_over(model, SourceWeights(Transfer("x", 1, freeze), network().state_dict(), "there"))
    model.train()
    model(torch.randn(4, 1, 4, 4))
    assert torch.equal(model[1].running_mean, torch.zeros(2)) == freeze
    assert [p.requires_grad for p in model.parameters()] == [not freeze] * 4 + [True] * 2


def test_a_source_is_found_in_whatever_directory_a_cluster_shares(tmp_path):
    for name in ("base/base-1", "transfer/transfer-1"):
        (tmp_path / "shared" / name).mkdir(parents=True)
    found = other_run(RunPaths(tmp_path / "shared" / "transfer" / "transfer-1"), "base-1")
    assert found.directory == tmp_path / "shared" / "base" / "base-1"
