"""Data sets in their real formats, the cache of decoded arrays, and what goes wrong with them."""

from __future__ import annotations

import gzip
import hashlib
import io
import pickle
import struct
import subprocess
import sys
import threading
import urllib.request
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
from PIL import Image

from tui_datasize.errors import DataError
from tui_datasize.experiments.catalogue import DATASETS
from tui_datasize.experiments.images.reading import ImageReading
from tui_datasize.training import datasets
from tui_datasize.training.arrays import cached
from tui_datasize.training.build import DatasetSource, SplitSource
from tui_datasize.training.datasets import SOURCES, load_dataset

PIXELS = np.random.default_rng(0).integers(0, 256, (60, 28, 28), dtype=np.uint8)
COLOURS = np.random.default_rng(1).integers(0, 256, (60, 3, 32, 32), dtype=np.uint8)


def idx_images(images):
    return struct.pack(">IIII", 2051, *images.shape) + images.tobytes()


def idx_labels(labels):
    return struct.pack(">II", 2049, len(labels)) + bytes(labels)


def md5(path):
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*_args, **_kwargs):
        raise URLError("no network here")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)


@pytest.fixture
def web_server(tmp_path):
    """A folder served over HTTP on this machine: (folder, url)."""
    folder = tmp_path / "served"
    folder.mkdir()
    handler = partial(SimpleHTTPRequestHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield folder, f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


def test_the_table_and_the_catalogue_name_the_same_data_sets():
    assert SOURCES.keys() == DATASETS.keys()


def test_digits_are_split_and_counted_as_the_catalogue_says(digits):
    info = DATASETS["digits"]
    assert digits.train.images.shape == (info.train_images, 1, 8, 8)
    assert digits.test.images.shape == (info.test_images, 1, 8, 8)
    assert digits.train.images.dtype == np.uint8
    assert digits.train.images.max() == 255
    assert np.bincount(digits.train.labels).min() == info.smallest_class
    ratio = np.bincount(digits.test.labels) / np.bincount(digits.train.labels)
    assert np.allclose(ratio, info.test_images / info.train_images, atol=0.01)
    # Runs of before are of the same images.
    assert digits.fingerprint == "3e32b4efd2845a0c"


def test_statistics_are_those_of_the_whole_training_set(digits):
    scaled = np.asarray(digits.train.images) / 255
    assert digits.mean == pytest.approx([scaled.mean()])
    assert digits.std == pytest.approx([scaled.std()])


def test_hashes_tell_equal_images_from_different_ones(digits):
    images = np.concatenate([digits.train.images, digits.test.images])
    hashes = np.concatenate([digits.train.hashes, digits.test.hashes])
    distinct_images = {image.tobytes() for image in images}
    assert len(set(hashes.tolist())) == len(distinct_images)
    expected = hashlib.blake2b(images[0].tobytes(), digest_size=8).digest()
    assert int(hashes[0]) == int.from_bytes(expected, "little")


def test_a_worker_that_finds_the_arrays_imports_no_decoder(digits_dir):
    code = (
        "import sys; from pathlib import Path; from tui_datasize.training.datasets import load_dataset;"
        f"load_dataset('digits', Path({str(digits_dir)!r}));"
        "print([m for m in ('sklearn', 'PIL', 'torchvision', 'torch') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_arrays_are_built_once_by_processes_that_come_together(tmp_path):
    built = []
    together = threading.Barrier(4)

    def source():
        built.append(threading.get_ident())
        split = SplitSource.of_array(PIXELS[:, None], np.zeros(60, dtype=np.int64))
        return DatasetSource(split, split, ("all",))

    def worker():
        together.wait()
        loaded.append(cached("x", tmp_path / "arrays" / "x", source))

    loaded = []
    threads = [threading.Thread(target=worker) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(built) == 1
    assert len({dataset.fingerprint for dataset in loaded}) == 1


def test_a_build_that_fails_leaves_nothing_behind(tmp_path):
    def source():
        split = SplitSource.of_array(PIXELS[:, None], np.zeros(60, dtype=np.int64))

        def read(_start, _stop):
            raise DataError("broken")

        return DatasetSource(split, SplitSource(split.shape, split.labels, read), ("all",))

    with pytest.raises(DataError, match="broken"):
        cached("x", tmp_path / "x", source)
    assert [path.name for path in tmp_path.iterdir()] == [".x.lock"]


def test_damaged_arrays_are_named(tmp_path):
    split = SplitSource.of_array(PIXELS[:, None], np.zeros(60, dtype=np.int64))
    directory = tmp_path / "x"
    cached("x", directory, lambda: DatasetSource(split, split, ("all",)))
    images = directory / "train_images.npy"
    images.write_bytes(images.read_bytes()[:500])
    with pytest.raises(DataError, match=rf"{directory}: .*damaged.*delete this folder"):
        cached("x", directory, lambda: DatasetSource(split, split, ("all",)))


def test_the_fingerprint_changes_with_one_pixel_and_with_one_label(tmp_path):
    labels = np.arange(60) % 3
    brighter, relabelled = PIXELS.copy(), labels.copy()
    brighter[17, 3, 3] ^= 1
    relabelled[5] = 0

    def fingerprint(name, images, labels):
        split = SplitSource.of_array(images[:, None], labels)
        return cached("x", tmp_path / name, lambda: DatasetSource(split, split, ("a", "b", "c"))).fingerprint

    plain = fingerprint("plain", PIXELS, labels)
    assert plain == fingerprint("again", PIXELS, labels)
    assert plain != fingerprint("brighter", brighter, labels)
    assert plain != fingerprint("relabelled", PIXELS, relabelled)


def test_a_channel_that_is_the_same_everywhere_divides_by_one(tmp_path):
    images = COLOURS.copy()
    images[:, 1] = 51
    split = SplitSource.of_array(images, np.zeros(60, dtype=np.int64))
    dataset = cached("x", tmp_path / "x", lambda: DatasetSource(split, split, ("all",)))
    assert dataset.mean[1] == pytest.approx(0.2)
    assert dataset.std[1] == 1.0


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist", "kmnist"])
def test_mnist_is_downloaded_once_in_its_own_format(name, tmp_path, web_server, monkeypatch):
    import torchvision.datasets as library

    served, url = web_server
    kinds = {"mnist": library.MNIST, "fashion-mnist": library.FashionMNIST, "kmnist": library.KMNIST}
    kind = kinds[name]
    labels = [i % 10 for i in range(60)]
    files = {
        "train-images-idx3-ubyte.gz": idx_images(PIXELS[:40]),
        "train-labels-idx1-ubyte.gz": idx_labels(labels[:40]),
        "t10k-images-idx3-ubyte.gz": idx_images(PIXELS[40:]),
        "t10k-labels-idx1-ubyte.gz": idx_labels(labels[40:]),
    }
    for file, content in files.items():
        (served / file).write_bytes(gzip.compress(content))
    monkeypatch.setattr(kind, "mirrors", [url])
    monkeypatch.setattr(kind, "resources", [(file, md5(served / file)) for file in files])

    dataset = load_dataset(name, tmp_path / "data")
    assert np.array_equal(dataset.train.images[:, 0], PIXELS[:40])
    assert np.array_equal(dataset.test.images[:, 0], PIXELS[40:])
    assert dataset.test.labels.tolist() == labels[40:]
    assert len(dataset.class_names) == 10

    monkeypatch.setattr(kind, "mirrors", ["http://127.0.0.1:9/"])
    assert load_dataset(name, tmp_path / "data").fingerprint == dataset.fingerprint


def test_emnist_is_turned_upright_and_counts_labels_from_zero(tmp_path, monkeypatch, no_network):
    from torchvision.datasets import EMNIST

    raw = tmp_path / "EMNIST" / "raw"
    raw.mkdir(parents=True)
    labels = [1 + i % 26 for i in range(60)]
    with zipfile.ZipFile(raw / "gzip.zip", "w") as archive:
        for split, part in (("train", slice(0, 40)), ("test", slice(40, 60))):
            prefix = f"gzip/emnist-letters-{split}"
            images = gzip.compress(idx_images(PIXELS[part]))
            archive.writestr(f"{prefix}-images-idx3-ubyte.gz", images)
            archive.writestr(f"{prefix}-labels-idx1-ubyte.gz", gzip.compress(idx_labels(labels[part])))
    monkeypatch.setattr(EMNIST, "md5", md5(raw / "gzip.zip"))

    dataset = load_dataset("emnist-letters", tmp_path)
    assert np.array_equal(dataset.train.images[0, 0], PIXELS[0].T)
    assert dataset.train.labels.tolist() == [label - 1 for label in labels[:40]]
    assert dataset.class_names == tuple("abcdefghijklmnopqrstuvwxyz")
    assert (dataset.mean, dataset.std) == ((0.1736,), (0.3248,))


def test_cifar10_is_read_from_its_pickles(tmp_path, monkeypatch, no_network):
    from torchvision.datasets import CIFAR10

    folder = tmp_path / CIFAR10.base_folder
    folder.mkdir()
    names = [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]
    for i, name in enumerate(names):
        rows = COLOURS[10 * i : 10 * i + 10].reshape(10, -1)
        (folder / name).write_bytes(pickle.dumps({"data": rows, "labels": list(range(10))}))
    classes = [f"class {i}" for i in range(10)]
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": classes}))
    sums = [[name, md5(folder / name)] for name in names]
    monkeypatch.setattr(CIFAR10, "train_list", sums[:5])
    monkeypatch.setattr(CIFAR10, "test_list", sums[5:])
    monkeypatch.setattr(CIFAR10, "meta", CIFAR10.meta | {"md5": md5(folder / "batches.meta")})

    dataset = load_dataset("cifar10", tmp_path)
    assert np.array_equal(dataset.train.images, COLOURS[:50])
    assert np.array_equal(dataset.test.images, COLOURS[50:])
    assert dataset.class_names == tuple(classes)
    assert len(dataset.mean) == 3


def test_cifar100_is_read_by_its_fine_labels(tmp_path, monkeypatch, no_network):
    from torchvision.datasets import CIFAR100

    folder = tmp_path / CIFAR100.base_folder
    folder.mkdir()
    fine = [99, *range(49)]
    for name, part in (("train", slice(0, 50)), ("test", slice(50, 60))):
        rows = COLOURS[part].reshape(-1, 3072)
        labels = fine[: len(rows)]
        content = {"data": rows, "fine_labels": labels, "coarse_labels": [0] * len(rows)}
        (folder / name).write_bytes(pickle.dumps(content))
    classes = [f"fine {i}" for i in range(100)]
    (folder / "meta").write_bytes(pickle.dumps({"fine_label_names": classes}))
    monkeypatch.setattr(CIFAR100, "train_list", [["train", md5(folder / "train")]])
    monkeypatch.setattr(CIFAR100, "test_list", [["test", md5(folder / "test")]])
    monkeypatch.setattr(CIFAR100, "meta", CIFAR100.meta | {"md5": md5(folder / "meta")})

    dataset = load_dataset("cifar100", tmp_path)
    assert np.array_equal(dataset.train.images, COLOURS[:50])
    assert dataset.train.labels.tolist() == fine
    assert dataset.class_names == tuple(classes)


def tiny_imagenet_archive(folder: Path) -> Path:
    """Two classes in the layout of Stanford's archive, one training image grey."""
    archive = folder / "tiny-imagenet-200.zip"
    with zipfile.ZipFile(archive, "w") as file:

        def write(name, pixels):
            buffer = io.BytesIO()
            Image.fromarray(pixels).save(buffer, format="PNG")
            file.writestr(f"tiny-imagenet-200/{name}", buffer.getvalue())

        colours = COLOURS.transpose(0, 2, 3, 1)
        for label, wnid in enumerate(("n01443537", "n02099601")):
            file.writestr(f"tiny-imagenet-200/train/{wnid}/{wnid}_boxes.txt", "")
            write(f"train/{wnid}/images/{wnid}_0.JPEG", colours[label])
        write("train/n01443537/images/n01443537_1.JPEG", colours[0, :, :, 0].copy())
        rows = ["val_0.JPEG\tn02099601\t0\t32\t44\t62", "val_1.JPEG\tn01443537\t0\t0\t63\t63"]
        file.writestr("tiny-imagenet-200/val/val_annotations.txt", "\n".join(rows) + "\n")
        for i in range(2):
            write(f"val/images/val_{i}.JPEG", colours[10 + i])
        write("test/images/test_0.JPEG", colours[20])
    return archive


def test_tiny_imagenet_is_fetched_and_its_validation_images_are_for_testing(
    tmp_path, web_server, monkeypatch
):
    served, url = web_server
    archive = tiny_imagenet_archive(served)
    monkeypatch.setattr(datasets, "TINY_IMAGENET_URL", f"{url}{archive.name}")
    monkeypatch.setattr(datasets, "TINY_IMAGENET_MD5", md5(archive))
    data = tmp_path / "data"
    data.mkdir()
    dataset = load_dataset("tiny-imagenet", data)
    assert dataset.class_names == ("n01443537", "n02099601")
    assert dataset.train.labels.tolist() == [0, 0, 1]
    assert np.array_equal(dataset.train.images[0], COLOURS[0])
    assert np.array_equal(dataset.train.images[1], np.repeat(COLOURS[:1, 0], 3, axis=0))
    assert dataset.test.labels.tolist() == [0, 1]
    assert np.array_equal(dataset.test.images, COLOURS[[11, 10]])
    assert load_dataset("tiny-imagenet", data, 16).image_shape == (3, 16, 16)


def test_a_tiny_imagenet_that_is_not_whole_names_what_is_missing(tmp_path):
    (tmp_path / "tiny-imagenet-200" / "train" / "n01443537").mkdir(parents=True)
    with pytest.raises(DataError, match=r"train/n01443537/images: not as the archive has it.*unpack"):
        load_dataset("tiny-imagenet", tmp_path)


def test_image_px_is_for_files(tmp_path):
    with pytest.raises(DataError, match="image_px resizes image files, digits has none"):
        load_dataset("digits", tmp_path, 16)


@pytest.mark.parametrize("name", [name for name in DATASETS if name != "digits"])
def test_a_missing_data_set_is_one_line_that_says_how_to_get_it(name, tmp_path, no_network):
    with pytest.raises(DataError) as caught:
        load_dataset(name, tmp_path)
    line = caught.value.line
    assert "\n" not in line
    for part in (name, str(tmp_path), "no network here", "http"):
        assert part in line


def test_an_unknown_name_lists_the_known_ones(tmp_path):
    with pytest.raises(DataError, match=r"unknown data set 'minst'.*mnist"):
        load_dataset("minst", tmp_path)


def save_folder(root: Path, images, *, mode="L", suffix=".png") -> Path:
    """Three images of each of two classes for training, two for testing."""
    for split, count in (("train", 3), ("val", 2)):
        for label, name in enumerate(("cat", "dog")):
            folder = root / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                Image.fromarray(images[10 * label + i]).convert(mode).save(folder / f"{i}{suffix}")
    return root


def test_grey_folders_keep_one_channel(tmp_path):
    root = save_folder(tmp_path / "pets", PIXELS)
    dataset = load_dataset(f"imagefolder:{root}", tmp_path / "data")
    assert np.array_equal(dataset.train.images[:, 0], PIXELS[[0, 1, 2, 10, 11, 12]])
    assert dataset.train.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert dataset.test.labels.tolist() == [0, 0, 1, 1]
    assert dataset.class_names == ("cat", "dog")


def test_one_colour_image_makes_the_folder_rgb(tmp_path):
    root = save_folder(tmp_path / "pets", PIXELS)
    Image.fromarray(COLOURS[0].transpose(1, 2, 0)[:28, :28].copy()).save(root / "train" / "cat" / "1.png")
    dataset = load_dataset("imagefolder:pets", tmp_path)
    assert dataset.image_shape == (3, 28, 28)
    assert np.array_equal(dataset.train.images[1], COLOURS[0][:, :28, :28])
    assert np.array_equal(dataset.train.images[0], np.repeat(PIXELS[:1], 3, axis=0))


def test_a_changed_folder_is_decoded_again(tmp_path):
    root = save_folder(tmp_path / "pets", PIXELS)
    before = load_dataset("imagefolder:pets", tmp_path)
    Image.fromarray(PIXELS[50]).save(root / "train" / "dog" / "new.png")
    after = load_dataset("imagefolder:pets", tmp_path)
    assert (len(before.train.labels), len(after.train.labels)) == (6, 7)
    assert before.fingerprint != after.fingerprint


@pytest.mark.parametrize("content", [b"", b"no image at all", None], ids=["empty", "text", "truncated"])
def test_an_image_that_cannot_be_decoded_is_named(content, tmp_path):
    root = save_folder(tmp_path / "pets", PIXELS)
    broken = root / "train" / "dog" / "1.png"
    broken.write_bytes(broken.read_bytes()[:-40] if content is None else content)
    with pytest.raises(DataError, match=r"cannot be decoded") as caught:
        load_dataset(f"imagefolder:{root}", tmp_path / "data")
    assert caught.value.where == str(broken)
    assert "\n" not in caught.value.line


def test_images_of_different_sizes_are_named(tmp_path):
    root = save_folder(tmp_path / "pets", PIXELS)
    odd = root / "val" / "cat" / "1.png"
    Image.fromarray(PIXELS[0][:20]).save(odd)
    with pytest.raises(DataError, match=r"28x20 pixels.*28x28") as caught:
        load_dataset(f"imagefolder:{root}", tmp_path / "data")
    assert caught.value.where == str(odd)


def test_sixteen_bit_images_are_refused_by_the_first_rules(tmp_path):
    root = save_folder(tmp_path / "pets", PIXELS)
    deep = root / "train" / "cat" / "0.png"
    Image.fromarray(PIXELS[0].astype(np.uint16) * 257).save(deep)
    with pytest.raises(DataError, match="8 bits") as caught:
        load_dataset(f"imagefolder:{root}", tmp_path / "data", 0, ImageReading())
    assert caught.value.where == str(deep)
