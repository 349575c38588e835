"""Run ids as they were when they were frozen: what was queued once is found again for ever."""

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from tui_datasize.experiments import sweep
from tui_datasize.experiments.catalogue import DATASETS, DatasetInfo
from tui_datasize.experiments.load import load_project
from tui_datasize.experiments.sweep import plan_runs

SHIPPED = Path(__file__).parents[2] / "experiments.toml"

EVERY_KEY = """
[experiments.origin]
dataset = "cifar10"
model = { name = "cnn3", width = 16 }
sizes = [5000]
budget = { epochs = 2.5 }
classes = { half = "target", seed = 5 }

[experiments.every-key]
dataset = "cifar10"
model = { name = "cnn3", width = 16 }
sizes = [1000, 2000]
seeds = { count = 2, step = 101 }
subset = { strategy = "random", nested = false, seeds = [0, 3] }
budget = { epochs = 2.5 }
batch_size = 48
clip_grad_norm = 2
evaluate = { times = 3 }
label_smoothing = 0.1
ema_decay = 0.99
precision = "bf16"
classes = { half = "source", seed = 5 }
imbalance = 10
[experiments.every-key.optimizer]
name = "sgd"
lr = 1
weight_decay = 5e-4
momentum = 0.9
nesterov = true
[experiments.every-key.schedule]
name = "multistep"
unit = "updates"
milestones = [10, 20]
gamma = 0.5
warmup = 4
warmup_start = 0.25
[experiments.every-key.augmentation]
crop_px = 28
resized_crop = 0.5
flip = 0.5
rotation_deg = 15
brightness = 0.1
contrast = 0.2
saturation = 0.3
sharpness = 0.4
trivial_augment = true
random_erasing = 0.1
mixup = 0.2
cutmix = 1
[experiments.every-key.label_noise]
fraction = 0.2
confusion = { cat = "dog", truck = { automobile = 3, ship = 1 } }
[experiments.every-key.transfer]
from = "origin"
layers = 2
freeze = true
[experiments.every-key.protocol]
measured = "last-batch"
f1 = "micro"
partial_batches = true
[experiments.every-key.sweep]
schedule = [
  "constant", "cosine", { name = "step", step = 0.25, gamma = 0.9 },
  { name = "cosine", warmup = 0.1, floor = 0.01 },
]
augmentation = ["none", { crop_padding_px = 4 }]
"optimizer.lr" = [0.1, 1]

[experiments.folder]
dataset = "imagefolder:photos"
model = { name = "torchvision:resnet18", input_px = 64 }
per_class = [10, 20]
budget = { updates = 30 }
image_px = 48
augmentation = { repeats = 4 }
"""

FROZEN_EVERY_KEY = {
    "origin": (1, "origin-n5000-d0-s0-6960a8f7", "d01e9e8ad2db8e64"),
    "every-key": (128, "every-key-n1000-d0-s0-064bee46", "006e6e9387ff78f4"),
    "folder": (2, "folder-n400-d0-s0-79851e15", "55e1646ae0704390"),
}
FROZEN_SHIPPED = {
    "digits": (36, "digits-n40-d0-s0-287436bd", "3ee6ed78610a0c13"),
    "mnist10k": (21, "mnist10k-n100-d0-s0-fd5f4514", "3656922f3f9f50a3"),
    "letters": (110, "letters-n750-d0-s0-44edc76f", "c6ad8f5bea3837bb"),
    "letters-as-published": (110, "letters-as-published-n750-d0-s0-09e2fc9a", "cd2b57781f31cedb"),
    "letters-augmented": (198, "letters-augmented-n750-d0-s0-63ad78a7", "86b659221996d6ee"),
    "imagenet-mobilenet": (24, "imagenet-mobilenet-n2000-d0-s0-2bf3b053", "126e5ef8e5548255"),
    "imagenet-resnet50": (16, "imagenet-resnet50-n2000-d0-s0-06ca176e", "2fcf7e1fafc0bccc"),
    "imagenet-subsets": (6, "imagenet-subsets-n2000-d0-s0-b2d9d910", "c14871dd58ccb2ba"),
    "transfer-source": (6, "transfer-source-n50000-d0-s0-8cfbf641", "7e8877a63823c657"),
    "transfer-tiny-imagenet": (324, "transfer-tiny-imagenet-n5000-d0-s0-a458a8e4", "bc926532dd0d2f5e"),
    "depth-cifar10": (27, "depth-cifar10-n12500-d0-s0-f218be87", "32cb304a896d63eb"),
    "depth-fashion": (27, "depth-fashion-n15000-d0-s0-471d5d3d", "e48cfa51ac9a0833"),
    "noise-cifar10": (60, "noise-cifar10-n3125-d0-s0-d17b58bb", "7c0d6e4da796e32a"),
    "letters-smoke": (16, "letters-smoke-n750-d0-s0-1cece1d0", "e2cb1e89718fbb51"),
    "letters-as-published-smoke": (16, "letters-as-published-smoke-n750-d0-s0-49abc52c", "5d389e725108e77c"),
    "letters-augmented-smoke": (8, "letters-augmented-smoke-n100-d0-s0-761c3d0c", "89257722dd4cd7d8"),
    "imagenet-mobilenet-smoke": (3, "imagenet-mobilenet-smoke-n2000-d0-s0-3bf99be6", "a5b0647ed7e0a088"),
    "imagenet-resnet50-smoke": (2, "imagenet-resnet50-smoke-n2000-d0-s0-066be53e", "13cf2059d8fce7b3"),
    "imagenet-subsets-smoke": (6, "imagenet-subsets-smoke-n2000-d0-s0-ce665512", "9316506c55d2bdfe"),
    "transfer-source-smoke": (2, "transfer-source-smoke-n10000-d0-s0-6af58821", "7fa5881bd6521bdf"),
    "transfer-tiny-imagenet-smoke": (
        36,
        "transfer-tiny-imagenet-smoke-n400-d0-s0-6e3ec1ba",
        "6a24f7a84e6b04c1",
    ),
    "depth-cifar10-smoke": (3, "depth-cifar10-smoke-n5000-d0-s0-1d4f47d8", "644a95c115dc76c5"),
    "depth-fashion-smoke": (3, "depth-fashion-smoke-n2000-d0-s0-735806da", "0ad6d7871585c52f"),
    "noise-cifar10-smoke": (4, "noise-cifar10-smoke-n2500-d0-s0-1d6120d6", "52ce17e885334b2f"),
    "imbalance-cifar10-smoke": (3, "imbalance-cifar10-smoke-n2500-d0-s0-ca2b8859", "b8147df984722bbc"),
    "levers-mnist10k-source": (5, "levers-mnist10k-source-n20000-d0-s101-303fadf3", "967d62aee725942f"),
    "levers-mnist10k": (3060, "levers-mnist10k-n50-d1-s101-129667fa", "50652179a2e37078"),
    "levers-mnist10k-source-cpu": (
        5,
        "levers-mnist10k-source-cpu-n20000-d0-s101-aa7e2368",
        "ec6e8769aee3aab2",
    ),
    "levers-mnist10k-rotation-cpu": (
        5,
        "levers-mnist10k-rotation-cpu-n20000-d0-s101-22eac3e7",
        "57ec22360941eb08",
    ),
    "levers-mnist10k-cpu": (900, "levers-mnist10k-cpu-n50-d1-s101-0e81defa", "249a7f0b05d94495"),
    "levers-cifar10-source": (5, "levers-cifar10-source-n25000-d0-s101-dda68eee", "a7d0ed637b2fa568"),
    "levers-cifar10": (1080, "levers-cifar10-n250-d1-s101-9f1305ed", "7142036ba8473e0a"),
    "levers-mnist10k-source-smoke": (
        3,
        "levers-mnist10k-source-smoke-n20000-d0-s101-5b1fae68",
        "003e6c46d5216a5c",
    ),
    "levers-mnist10k-smoke": (432, "levers-mnist10k-smoke-n50-d1-s101-039a5367", "e171419d289bed23"),
    "levers-cifar10-source-smoke": (
        3,
        "levers-cifar10-source-smoke-n20000-d0-s101-73c701dd",
        "55b95a6686d26361",
    ),
    "levers-cifar10-smoke": (72, "levers-cifar10-smoke-n250-d1-s101-a4a6fd5c", "46e7a34618c439ce"),
}

FROZEN_BY_RULES_2 = {
    "mnist10k": (21, "mnist10k-n100-d0-s0-c973cfa8", "f5cc0b5c10e59bed"),
    "imagenet-mobilenet": (24, "imagenet-mobilenet-n2000-d0-s0-11d3e4bb", "1c91da118b093077"),
    "imagenet-resnet50": (16, "imagenet-resnet50-n2000-d0-s0-fc432c96", "2b18ec6ff5fe3a61"),
    "imagenet-subsets": (6, "imagenet-subsets-n2000-d0-s0-21f7da51", "f821b3fd3a673edc"),
    "letters-smoke": (16, "letters-smoke-n750-d0-s0-915ae737", "b723e64bc0f4620c"),
    "letters-as-published-smoke": (16, "letters-as-published-smoke-n750-d0-s0-7674d92b", "14c5fe75d1c15d2e"),
    "letters-augmented-smoke": (8, "letters-augmented-smoke-n100-d0-s0-1fe6dd52", "6b1f4516966d724f"),
    "imagenet-mobilenet-smoke": (3, "imagenet-mobilenet-smoke-n2000-d0-s0-ad4c6ccb", "eaef6e3dfef4dd9a"),
    "imagenet-resnet50-smoke": (2, "imagenet-resnet50-smoke-n2000-d0-s0-37d591d5", "33db78330c5b0f16"),
    "imagenet-subsets-smoke": (6, "imagenet-subsets-smoke-n2000-d0-s0-fdc720c6", "886bb9986fcef023"),
    "transfer-source-smoke": (2, "transfer-source-smoke-n10000-d0-s0-e237a699", "1095e71379ec0e66"),
    "transfer-tiny-imagenet-smoke": (
        36,
        "transfer-tiny-imagenet-smoke-n400-d0-s0-2a7e6364",
        "6ad61351cade2975",
    ),
    "depth-cifar10-smoke": (3, "depth-cifar10-smoke-n5000-d0-s0-1d690193", "176361c4f862a2bd"),
    "depth-fashion-smoke": (3, "depth-fashion-smoke-n2000-d0-s0-7c5f4a4a", "b2f1c8387a7beb5f"),
    "noise-cifar10-smoke": (4, "noise-cifar10-smoke-n2500-d0-s0-49b1a53c", "745abf8a11be4641"),
    "imbalance-cifar10-smoke": (3, "imbalance-cifar10-smoke-n2500-d0-s0-9d2b7d8e", "521b2c905444e915"),
    "levers-mnist10k-source": (5, "levers-mnist10k-source-n20000-d0-s101-528513f7", "d2dd2fa7ac59bb8d"),
    "levers-mnist10k": (3060, "levers-mnist10k-n50-d1-s101-8edf622f", "5c86f39c5f327199"),
    "levers-mnist10k-source-cpu": (
        5,
        "levers-mnist10k-source-cpu-n20000-d0-s101-17b1111d",
        "d466f43adfcd1b20",
    ),
    "levers-mnist10k-rotation-cpu": (
        5,
        "levers-mnist10k-rotation-cpu-n20000-d0-s101-7230eb03",
        "d9095b59f1a6d122",
    ),
    "levers-mnist10k-cpu": (900, "levers-mnist10k-cpu-n50-d1-s101-849a1a4a", "f82355c6c1a7a481"),
    "levers-mnist10k-source-smoke": (
        3,
        "levers-mnist10k-source-smoke-n20000-d0-s101-9d5a57b3",
        "34e3d9c76f740f9d",
    ),
    "levers-mnist10k-smoke": (432, "levers-mnist10k-smoke-n50-d1-s101-95d8c180", "014d2fc4f03e58a9"),
    "levers-cifar10-source-smoke": (
        3,
        "levers-cifar10-source-smoke-n20000-d0-s101-0c366c31",
        "75559ecb7123c112",
    ),
    "levers-cifar10-smoke": (72, "levers-cifar10-smoke-n250-d1-s101-6b6aec54", "02c4627e2818ece1"),
    "unlabelled-mnist10k-cpu": (120, "unlabelled-mnist10k-cpu-n50-d1-s101-79de2836", "d591cfe65ed92226"),
    "synthetic-mnist10k": (225, "synthetic-mnist10k-n50-d1-s101-ef209049", "ab4ec2b774816592"),
    "synthetic-mnist10k-cpu": (180, "synthetic-mnist10k-cpu-n50-d1-s101-123cb0b5", "b7dda6afda76184c"),
    "unlabelled-cifar10-cpu": (40, "unlabelled-cifar10-cpu-n250-d1-s101-983aac99", "cc8f76eb1b0262ce"),
    "pretrain-cifar10-rotation-cpu": (
        5,
        "pretrain-cifar10-rotation-cpu-n10000-d0-s101-fc25db05",
        "629692bc43fceb7a",
    ),
    "pretrain-cifar10-cpu": (135, "pretrain-cifar10-cpu-n250-d1-s101-07d224ad", "eff4ac79539bddf5"),
}
"""Those over image folders, which are read by other rules since; `image_rules = 1` has the ids above."""
FOLDER_BY_RULES_2 = (2, "folder-n400-d0-s0-61646a5c", "48317e748696f0b4")


@pytest.fixture
def frozen(monkeypatch):
    """By experiment of a file: how many runs, the id of the first and a digest of all, as they are queued."""

    def info(name, _data_dir, _reading):
        return DATASETS.get(name) or DatasetInfo(
            name, name, (1000,) * 40, (100,) * 40, 0, 0, "", is_files=True
        )

    def summary(file, rules):
        project = load_project(file, environment={})
        read = {name: replace(one, image_rules=rules) for name, one in project.experiments.items()}
        project = replace(project, experiments=read)
        ids = {
            name: [run.run_id for run in plan_runs(experiment, project)]
            for name, experiment in project.experiments.items()
        }
        digest = lambda one: hashlib.sha256("\n".join(one).encode()).hexdigest()[:16]  # noqa: E731
        return {name: (len(one), one[0], digest(one)) for name, one in ids.items()}

    monkeypatch.setattr(sweep, "dataset_info", info)
    # Folders beside a data set are not here either.
    monkeypatch.setattr(sweep, "wrong_files", lambda *_, **__: ())
    return summary


@pytest.mark.parametrize("rules", [1, 2])
def test_the_shipped_experiments_keep_their_ids(frozen, rules):
    newest = FROZEN_BY_RULES_2 if rules == 2 else {}
    assert frozen(SHIPPED, rules).items() >= (FROZEN_SHIPPED | newest).items()


@pytest.mark.parametrize("rules", [1, 2])
def test_a_sweep_of_every_key_keeps_its_ids(frozen, tmp_path, rules):
    file = tmp_path / "experiments.toml"
    file.write_text(EVERY_KEY)
    newest = {"folder": FOLDER_BY_RULES_2} if rules == 2 else {}
    assert frozen(file, rules) == FROZEN_EVERY_KEY | newest
