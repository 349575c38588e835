"""Generated images: the bound of what makes them, what decides them, and that such runs go on bit for bit."""

from __future__ import annotations

import math
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image
from scipy.integrate import quad
from scipy.stats import norm

from tests.training.conftest import QueueRun
from tests.training.graph_trainers import equal, make, on_recordings
from tests.training.helpers import evaluations, read_rows, small_spec, train, train_until, weights
from tests.training.pack_runs import Died, die
from tui_datasize.errors import DataError, RunFailedError
from tui_datasize.experiments.budget import total_updates
from tui_datasize.experiments.spec import (
    AugmentationSpec,
    Budget,
    ClassSplit,
    LabelNoise,
    RunSpec,
    SubsetSpec,
)
from tui_datasize.experiments.synthetic import Synthetic
from tui_datasize.experiments.unlabelled import Unlabelled
from tui_datasize.files import read_object
from tui_datasize.runlog.claim import RunOutcome, read_exit
from tui_datasize.runlog.collect import read_metrics
from tui_datasize.runlog.paths import RunPaths
from tui_datasize.runlog.schema import TIME_COLUMNS
from tui_datasize.training import checkpoint
from tui_datasize.training import prepare as prepare_module
from tui_datasize.training.arrays import ImageSplit, LoadedDataset
from tui_datasize.training.build import hash_images
from tui_datasize.training.engine import Beside, Trainer
from tui_datasize.training.placement import has_room
from tui_datasize.training.stop import StopRequest
from tui_datasize.training.synthetic import generator as generator_module
from tui_datasize.training.synthetic.autoencoder import Autoencoder, bound, divergence, log_likelihood
from tui_datasize.training.synthetic.generator import Generator, sample
from tui_datasize.training.synthetic.images import generated_images
from tui_datasize.training.task import make_task

CPU = torch.device("cpu")
CVAE = Synthetic("cvae", latent=4, hidden=16, epochs=8, lr=0.01)


def spec_of(**changes: object) -> RunSpec:
    values = {"budget": Budget("updates", 12), "evaluations": 3, "synthetic": CVAE}
    return small_spec(**{**values, **changes})


def generator_of(spec: RunSpec, digits: LoadedDataset) -> Generator:
    return Generator(spec, digits, make_task(spec, digits).subset, CPU, has_room)


def told(paths: RunPaths) -> pl.DataFrame:
    """All rows but those of updates, as readers have them, without what two equal runs may differ in."""
    rows, _ = read_metrics([paths])
    return rows.filter(pl.col("event") != "train").drop("run_id", *TIME_COLUMNS)


def generator_rows(paths: RunPaths) -> pl.DataFrame:
    return told(paths).filter(event="generator").select("epoch", "elbo", "divergence")


def test_the_divergence_is_that_of_two_gaussians() -> None:
    """Against the integral of q ln(q / p), one dimension at a time."""
    mean, deviation = np.array([[0.3, -1.2, 0.0]]), np.array([[0.7, 1.5, 1.0]])

    def of_one(m: float, s: float) -> float:
        q, p = norm(m, s), norm(0, 1)
        return quad(lambda z: q.pdf(z) * (q.logpdf(z) - p.logpdf(z)), m - 12 * s, m + 12 * s)[0]

    expected = sum(of_one(m, s) for m, s in zip(mean[0], deviation[0], strict=True))
    found = divergence(torch.from_numpy(mean), torch.from_numpy(2 * np.log(deviation)))
    assert float(found) == pytest.approx(expected, rel=1e-8)
    assert float(divergence(torch.zeros((1, 5)), torch.zeros((1, 5)))) == 0


def test_likelihoods_are_their_definitions() -> None:
    numbers = np.random.default_rng(0)
    pixels, logits = numbers.random((3, 1, 2, 2)), numbers.normal(0, 2, (3, 1, 2, 2))
    p = 1 / (1 + np.exp(-logits))
    bernoulli = (pixels * np.log(p) + (1 - pixels) * np.log(1 - p)).sum(axis=(1, 2, 3))
    spread = math.sqrt(((pixels - p) ** 2).mean())
    gaussian = norm(p, spread).logpdf(pixels).sum(axis=(1, 2, 3))
    given = torch.from_numpy(pixels), torch.from_numpy(logits)
    assert log_likelihood("bernoulli", *given).numpy() == pytest.approx(bernoulli, rel=1e-10)
    assert log_likelihood("gaussian", *given).numpy() == pytest.approx(gaussian, rel=1e-10)


def test_the_bound_is_below_what_it_bounds_and_meets_it_where_the_posterior_is_exact() -> None:
    """With one latent number ln p(x | y) is an integral; a decoder that ignores z makes q = p(z) exact."""
    rule = Synthetic("cvae", latent=1, hidden=4)
    model = Autoencoder(rule, (1, 2, 2), 3, torch.Generator().manual_seed(3)).double()
    pixels, labels = torch.tensor([[[[0.0, 1.0], [1.0, 0.0]]]]).double(), torch.tensor([1])

    def evidence() -> float:
        def joint(z: float) -> float:
            logits = model.decode(torch.tensor([[z]]).double(), labels)
            return norm.pdf(z) * math.exp(float(log_likelihood("bernoulli", pixels, logits).detach()))

        return math.log(quad(joint, -9, 9)[0])

    noise = torch.randn((20_000, 1), generator=torch.Generator().manual_seed(1)).double()
    likelihood, apart = bound(model, rule, pixels.expand(20_000, -1, -1, -1), labels.expand(20_000), noise)
    assert (likelihood.mean() - apart.mean()).item() < evidence() - 1e-3
    with torch.no_grad():
        model.encoder[-1].weight.zero_(), model.encoder[-1].bias.zero_()
        model.decoder[0].weight[:, 0] = 0
    likelihood, apart = bound(model, rule, pixels, labels, noise[:1])
    assert (likelihood - apart).item() == pytest.approx(evidence(), rel=1e-6)


def test_an_epoch_is_its_updates_written_out(digits: LoadedDataset) -> None:
    """Two epochs by plain torch: order, noise, loss with beta, AdamW, and the means that are told."""
    spec = spec_of(synthetic=replace(CVAE, beta=2.0), train_size=40)
    own, by_hand = generator_of(spec, digits), generator_of(spec, digits)
    optimizer = torch.optim.AdamW(by_hand.model.parameters(), lr=0.01, weight_decay=0)
    for epoch in (1, 2):
        likelihoods, apart = [], []
        # 40 images in batches of 16.
        for update in range(3 * epoch - 2, 3 * epoch + 1):
            images, labels = by_hand._images.batch(by_hand._feed.next(update))
            noise = torch.randn((16, 4), generator=by_hand._noise)
            mean, log_variance = by_hand.model.encode(images / 255, labels)
            logits = by_hand.model.decode(mean + torch.exp(log_variance / 2) * noise, labels)
            each = torch.distributions.Normal(mean, torch.exp(log_variance / 2))
            kl = torch.distributions.kl_divergence(each, torch.distributions.Normal(0.0, 1.0)).sum() / 16
            cross = torch.nn.functional.binary_cross_entropy(logits.sigmoid(), images / 255, reduction="sum")
            optimizer.zero_grad()
            (cross / 16 + 2 * kl).backward()
            optimizer.step()
            likelihoods.append(-cross.item() / 16)
            apart.append(kl.item())
        read = own.train_epoch()
        assert read.divergence == pytest.approx(np.mean(apart), rel=1e-4)
        assert read.elbo == pytest.approx(np.mean(likelihoods) - np.mean(apart), rel=1e-5)
    for one, other in zip(own.model.parameters(), by_hand.model.parameters(), strict=True):
        assert torch.allclose(one, other, atol=1e-5)


def test_what_is_learned_can_be_seen(digits: LoadedDataset) -> None:
    """After some passes an image of a class is nearer to that class's mean than to that of the others."""
    spec = spec_of(synthetic=Synthetic("cvae", latent=8, hidden=64, epochs=60, lr=3e-3), train_size=300)
    generator = generator_of(spec, digits)
    bounds = [generator.train_epoch().elbo for _ in range(60)]
    assert bounds[-1] > bounds[0] + 5
    made = sample(generator, spec, dict.fromkeys(range(10), 20), digits)
    assert made.labels.tolist() == sorted([*range(10)] * 20)
    train = digits.train
    means = np.stack([np.asarray(train.images)[train.labels == label].mean(axis=0) for label in range(10)])
    distances = ((made.images[:, None].astype(float) - means[None]) ** 2).sum(axis=(2, 3, 4))
    assert (distances.argmin(axis=1) == made.labels).mean() > 0.8


@pytest.mark.parametrize("changes", [{}, {"subset": SubsetSpec("random", imbalance=4.0)}, {"train_size": 11}])
def test_classes_are_those_of_the_images_trained_on(changes: dict, queue_run: QueueRun) -> None:
    """In proportion, whatever the balance of the subset; a class of one image is a class, too."""
    spec = spec_of(validation=0.1, synthetic=replace(CVAE, ratio=3.0, epochs=2), **changes)
    session = prepare_module.prepare(queue_run(spec), 1, prepare_module.Shared(), print)
    trainer, count = session.trainer, spec.trained_images
    labels = trainer.subset.labels
    assert len(trainer.measured) == count
    assert len(labels) == 4 * count
    counted, made = (torch.bincount(part, minlength=10) for part in (labels[:count], labels[count:]))
    assert torch.equal(made, 3 * counted)


def test_only_the_images_trained_on_decide_what_is_generated(
    queue_run: QueueRun, digits: LoadedDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Noise in all other images and labels, held out and test ones among them: the same bits of the run."""
    spec = spec_of(subset=SubsetSpec("random"), train_size=60, validation=0.2, label_noise=LabelNoise(0.1))
    task = make_task(spec, digits)
    trained = task.subset[~task.is_held_out]
    numbers = np.random.default_rng(0)

    def noisy(split: ImageSplit, kept: np.ndarray) -> ImageSplit:
        images, labels = (part.copy() for part in (np.asarray(split.images), split.labels))
        others = np.setdiff1d(np.arange(len(labels)), kept)
        images[others] = numbers.integers(0, 256, images[others].shape, dtype=np.uint8)
        labels[others] = numbers.integers(0, 10, len(others))
        return ImageSplit(images, labels, hash_images(images))

    # Which labels are wrong follows from all labels: those given are the same.
    lied = replace(digits, train=noisy(digits.train, trained), test=noisy(digits.test, np.arange(0)))
    given = task.dataset.train.labels
    monkeypatch.setattr("tui_datasize.training.task.noisy_labels", lambda *_: given)
    whole, disturbed = queue_run(spec), queue_run(spec)
    undisturbed = train(whole)
    monkeypatch.setattr(prepare_module, "load_dataset", lambda *_: lied)
    monkeypatch.setattr("tui_datasize.training.task._held_out", lambda *_: task.is_held_out)
    other = train(disturbed)
    assert torch.equal(weights(other), weights(undisturbed))
    assert whole.generated.read_bytes() == disturbed.generated.read_bytes()
    assert generator_rows(whole).equals(generator_rows(disturbed))
    assert not torch.equal(other.trainer.measured.images, other._validation.images[: len(trained)])
    assert evaluations(whole) != evaluations(disturbed)


def test_batches_are_of_both_and_what_is_measured_is_of_real_ones(
    queue_run: QueueRun, digits: LoadedDataset
) -> None:
    spec = spec_of(train_size=30, augmentation=AugmentationSpec(crop_padding_px=1, rotation_deg=10))
    session = prepare_module.prepare(paths := queue_run(spec), 1, prepare_module.Shared(), print)
    plain = replace(spec, synthetic=Synthetic())
    assert total_updates(spec) == total_updates(plain)
    seen = torch.cat([session.trainer._next_rows() for _ in range(12)]).bincount(minlength=60)
    # 192 draws of 60 images, three whole passes and a part of one.
    assert set(seen.tolist()) == {3, 4}
    session.run(StopRequest())
    subset = make_task(spec, digits).subset
    real = prepare_module.prepare(queue_run(plain), 1, prepare_module.Shared(), print)
    assert torch.equal(session.trainer.measured.images, real.trainer.subset.images)
    measured = pl.read_parquet(paths.per_class).filter(split="train", evaluation="last")
    assert measured["images"].to_list() == np.bincount(digits.train.labels[subset], minlength=10).tolist()
    assert pl.read_parquet(paths.subset)["index"].to_list() == subset.tolist()
    noted = read_object(paths.provenance)
    assert noted["generated_images"] == 30
    assert noted["generator_s"] > 0
    assert noted["train_images_device_bytes"] == 30 * 64
    spent = [(row["event"], row["wall_s"]) for row in read_rows(paths)]
    assert spent == sorted(spent, key=lambda one: one[1])
    assert max(wall_s for event, wall_s in spent if event == "generator") == noted["generator_s"]


KINDS = {
    "cvae": {},
    "refit": {"refit": True, "validation": 0.2, "train_size": 60},
    "beside others": {"unlabelled": Unlabelled("fixmatch", ratio=2, threshold=0.13)},
    "half the classes": {"classes": ClassSplit("target"), "ema_decay": 0.8},
    "gaussian": {"synthetic": replace(CVAE, likelihood="gaussian", ratio=0.5)},
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_that_goes_on_is_the_undisturbed_one_bit_for_bit(kind: str, queue_run: QueueRun) -> None:
    spec = spec_of(augmentation=AugmentationSpec(crop_padding_px=1, mixup=0.4), **KINDS[kind])
    whole, broken = queue_run(spec), queue_run(spec)
    undisturbed = train(whole)
    train_until(broken, 5)
    resumed = train(broken)
    assert resumed.has_resumed
    assert evaluations(broken) == evaluations(whole)
    assert equal(undisturbed.trainer.state_dict(), resumed.trainer.state_dict())
    # The generator was not trained anew.
    assert broken.metrics.read_bytes().count(b'"generator"') == spec.synthetic.epochs


@pytest.mark.parametrize("died_in", ["epoch", "row", "checkpoint", "images", "sheet"])
def test_a_run_that_died_while_it_generated_is_the_undisturbed_one_bit_for_bit(
    died_in: str, queue_run: QueueRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, broken = queue_run(spec_of()), queue_run(spec_of())
    undisturbed = train(whole)
    epochs = []
    train_epoch, save = Generator.train_epoch, checkpoint.save

    def epoch_and_die(self: Generator):
        if died_in == "epoch" and self.epoch == 5:
            die()
        epochs.append(self.epoch)
        return train_epoch(self)

    def save_and_die(path: Path, *rest: object) -> None:
        if died_in == "row" and len(epochs) == 5:
            die()
        save(path, *rest)
        if died_in == "checkpoint" and len(epochs) == 5:
            die()

    with monkeypatch.context() as patch:
        patch.setattr(generator_module, "_SAVE_INTERVAL_S", 0.0)
        patch.setattr(Generator, "train_epoch", epoch_and_die)
        patch.setattr(checkpoint, "save", save_and_die)
        where = "tui_datasize.training.synthetic.images"
        if died_in == "images":
            patch.setattr(f"{where}.sample", lambda *_: die())
        if died_in == "sheet":
            patch.setattr(f"{where}.draw_sheet", lambda *_: die())
        with pytest.raises(Died):
            prepare_module.prepare(broken, 1, prepare_module.Shared(), print)
    # A row that is torn, as a kill may leave one.
    with broken.metrics.open("ab") as file:
        file.write(b'{"event": "gener')
    resumed = train(broken)
    # One that was not saved is made, and told, again.
    assert broken.metrics.read_bytes().count(b'"generator"') == 8 + (died_in == "row")
    assert told(broken).equals(told(whole))
    assert generator_rows(whole)["epoch"].to_list() == [*range(1, 9)]
    assert equal(undisturbed.trainer.state_dict(), resumed.trainer.state_dict())
    assert broken.generated.read_bytes() == whole.generated.read_bytes()


def test_another_generator_begins_another_run(queue_run: QueueRun, digits: LoadedDataset) -> None:
    """What generated the images is gone or damaged: it is trained anew, and the run goes on."""
    whole, broken = queue_run(spec_of()), queue_run(spec_of())
    undisturbed = train(whole)
    train_until(broken, 5)
    broken.generator.write_bytes(b"no weights")
    resumed = train(broken)
    assert resumed.has_resumed
    assert torch.equal(weights(resumed), weights(undisturbed))


def test_images_that_stay_in_their_file_and_recorded_updates_are_learned_alike(
    queue_run: QueueRun, digits: LoadedDataset
) -> None:
    spec = spec_of(augmentation=AugmentationSpec())
    task = make_task(spec, digits)
    found = generated_images(queue_run(spec), spec, task, digits, Path(), CPU, has_room)
    there = generated_images(queue_run(spec), spec, task, digits, Path(), CPU, lambda *_: False)
    assert there.digest == found.digest
    plain, mapped, recorded = (
        Trainer(spec, digits, task.subset, CPU, beside=Beside(generated=found.images), **options)
        for options in ({}, {"room": lambda *_: False}, {"capture": on_recordings})
    )
    for one in (plain, mapped, recorded):
        make(one, 12)
    assert recorded.replayed == 9
    assert plain.subset.device_bytes == 2 * 50 * 64
    assert mapped.subset.device_bytes == 0
    assert equal(plain.state_dict(), mapped.state_dict())
    assert equal(plain.state_dict(), recorded.state_dict())
    for one, other in zip(plain.measured.batches(7), mapped.measured.batches(7), strict=True):
        assert equal([*one], [*other])


def test_a_bound_that_is_no_number_is_told(queue_run: QueueRun) -> None:
    spec = spec_of(synthetic=replace(CVAE, lr=1e30))
    with pytest.raises(RunFailedError, match=r"bound is no number at epoch \d+; use a smaller synthetic.lr"):
        train(queue_run(spec))


def test_a_worker_that_is_killed_with_signal_9_goes_on_bit_for_bit(queue_run: QueueRun) -> None:
    """Real processes: one dies while the generator is trained, the next once an update is on record."""
    spec = spec_of(synthetic=replace(CVAE, epochs=100), budget=Budget("updates", 500))
    whole, broken = queue_run(spec), queue_run(spec)
    train(whole)
    worker = [sys.executable, "-m", "tui_datasize.training", str(broken.directory)]
    for event in (b'"generator"', b'"train"'):
        process = subprocess.Popen(worker, stdout=subprocess.DEVNULL)
        while not (broken.metrics.exists() and event in broken.metrics.read_bytes()):
            with suppress(subprocess.TimeoutExpired):
                pytest.fail(f"ended with {process.wait(0.02)}")
        process.kill()
        process.wait()
        assert read_exit(broken) is None
    subprocess.run(worker, check=True, stdout=subprocess.DEVNULL)
    assert read_exit(broken).outcome is RunOutcome.SUCCEEDED
    assert told(broken).equals(told(whole))
    assert broken.generated.read_bytes() == whole.generated.read_bytes()
    one, other = (torch.load(paths.checkpoint, weights_only=True) for paths in (whole, broken))
    assert equal(one["state"]["trainer"], other["state"]["trainer"])


@pytest.fixture
def folder(tmp_path: Path, digits: LoadedDataset) -> Path:
    """Twelve images of each class, changed so much that none is like a real one."""
    root = tmp_path / "made"
    numbers = np.random.default_rng(0)
    for label, name in enumerate(digits.class_names):
        (root / name).mkdir(parents=True)
        rows = np.flatnonzero(digits.train.labels == label)[:12]
        for place, pixels in enumerate(np.asarray(digits.train.images)[rows, 0]):
            noise = numbers.integers(0, 120, pixels.shape)
            Image.fromarray((pixels // 2 + noise).astype(np.uint8)).save(root / name / f"{place:02}.png")
    return root


def from_folder(folder: Path, **changes: object) -> RunSpec:
    return spec_of(synthetic=Synthetic(source=f"imagefolder:{folder}"), **changes)


def test_images_of_a_folder_are_drawn_by_class_and_nested(
    folder: Path, queue_run: QueueRun, digits: LoadedDataset
) -> None:
    small, large = (
        prepare_module.prepare(paths, 1, prepare_module.Shared(), print).trainer.subset
        for paths in (queue_run(from_folder(folder, train_size=size)) for size in (30, 100))
    )
    labels = small.labels
    assert torch.equal(labels[:30].bincount(minlength=10), labels[30:].bincount(minlength=10))
    of_folder = {np.asarray(Image.open(file)).tobytes(): file.parent.name for file in folder.rglob("*.png")}
    drawn = [
        {
            (one.numpy().tobytes(), int(label))
            for one, label in zip(split.images[n:], split.labels[n:], strict=True)
        }
        for split, n in ((small, 30), (large, 100))
    ]
    assert drawn[0] < drawn[1]
    assert all(of_folder[pixels] == digits.class_names[label] for pixels, label in drawn[1])
    spec = from_folder(folder)
    whole, broken = queue_run(spec), queue_run(spec)
    undisturbed = train(whole)
    train_until(broken, 5)
    assert torch.equal(weights(train(broken)), weights(undisturbed))
    assert whole.generated.is_file()
    assert not whole.generator.exists()
    # Other images begin another run.
    train_until(other := queue_run(spec), 5)
    for file in folder.rglob("0*.png"):
        Image.fromarray(255 - np.asarray(Image.open(file))).save(file)
    assert not prepare_module.prepare(other, 2, prepare_module.Shared(), print).has_resumed


def test_too_few_are_told_and_larger_ones_are_made_smaller(
    folder: Path, queue_run: QueueRun, capsys: pytest.CaptureFixture[str]
) -> None:
    for file in folder.rglob("*.png"):
        Image.open(file).resize((20, 20)).save(file)
    paths = queue_run(from_folder(folder, train_size=150))
    session = prepare_module.prepare(paths, 1, prepare_module.Shared(), print)
    count = read_object(paths.provenance)["generated_images"]
    assert len(session.trainer.subset) == 150 + count
    assert 0 < read_object(paths.provenance)["generated_missing"] == 150 - count
    assert f"{count} of 150 generated images are there" in capsys.readouterr().out


def test_test_images_those_held_out_and_their_like_are_left_out(
    folder: Path, queue_run: QueueRun, digits: LoadedDataset, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = from_folder(folder, train_size=60, validation=0.2)
    task = make_task(spec, digits)
    held_out = task.subset[task.is_held_out]
    for split, rows in ((digits.test, np.arange(5)), (digits.train, held_out)):
        for row in rows:
            at = folder / digits.class_names[split.labels[row]]
            Image.fromarray(np.asarray(split.images)[row, 0]).save(at / f"copy{len(split.labels)}-{row}.png")
    # A little darker: the audit's measure of what looks alike.
    like = np.asarray(digits.test.images)[7, 0]
    file = folder / digits.class_names[digits.test.labels[7]] / "like.png"
    Image.fromarray((like * 0.95).astype(np.uint8)).save(file)
    session = prepare_module.prepare(paths := queue_run(spec), 1, prepare_module.Shared(), print)
    left_out = read_object(paths.provenance)["generated_left_out"]
    assert left_out == 5 + len(held_out) + 1
    assert f"{left_out} of {120 + left_out} generated images are left out" in capsys.readouterr().out
    learned = {image.numpy().tobytes() for image in session.trainer.subset.images[48:]}
    of_test = {image.tobytes() for image in np.asarray(digits.test.images)}
    assert not learned & (of_test | {np.asarray(Image.open(file)).tobytes()})


def test_no_real_image_passes_as_generated(
    folder: Path, queue_run: QueueRun, digits: LoadedDataset, tmp_path: Path
) -> None:
    """One outside the subset would be a label more; so are further test images, and what is like these."""
    spec = from_folder(folder, train_size=60, validation=0.2, tests=(("far", f"imagefolder:{tmp_path}/far"),))
    task = make_task(spec, digits)
    images = np.asarray(digits.train.images)[:, 0]
    outside = np.setdiff1d(np.arange(len(images)), task.subset)[:7]
    held_out, *learned = task.subset[task.is_held_out][0], *task.subset[~task.is_held_out][:2]
    far = tmp_path / "far" / digits.class_names[digits.train.labels[outside[0]]]
    far.mkdir(parents=True)
    Image.fromarray(further := images[outside[0]].T.copy()).save(far / "further.png")
    like = [(one * 0.95).astype(np.uint8) for one in (further, images[held_out])]
    labels = [outside[0], outside[0], held_out, *outside, *learned]
    pictures = [further, *like, *images[outside], *images[learned]]
    for number, (row, pixels) in enumerate(zip(labels, pictures, strict=True)):
        at = folder / digits.class_names[digits.train.labels[row]]
        Image.fromarray(pixels).save(at / f"real{number}.png")
    session = prepare_module.prepare(paths := queue_run(spec), 1, prepare_module.Shared(), print)
    assert read_object(paths.provenance)["generated_left_out"] == len(pictures) == 12
    drawn = {image.numpy().tobytes() for image in session.trainer.subset.images[48:]}
    assert not drawn & {pixels.tobytes() for pixels in pictures}


def test_a_class_without_images_is_named(folder: Path, queue_run: QueueRun, digits: LoadedDataset) -> None:
    for file in (folder / "3").glob("*.png"):
        file.unlink()
    Image.fromarray(np.asarray(digits.test.images)[digits.test.labels == 3][0, 0]).save(
        folder / "3" / "a.png"
    )
    with pytest.raises(DataError, match=r"class 3 is left .*: all 1 are images of the data set itself"):
        train(queue_run(from_folder(folder)))
    (folder / "3" / "a.png").unlink()
    (folder / "3").rmdir()
    with pytest.raises(DataError, match="has no images of class 3; put some there"):
        train(queue_run(from_folder(folder)))
    (folder / "3").mkdir()
    (folder / "4").rename(folder / "four")
    with pytest.raises(DataError, match="has classes that the data set has not: four"):
        train(queue_run(from_folder(folder)))
