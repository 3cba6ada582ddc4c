"""Data sets: drawn ones are keyed and varied; read ones say what is wrong before anything is trained."""

from __future__ import annotations

import io
import os
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as Pillow

from scsc_lab import InputError, image_files
from scsc_lab.training.augmentation import draw_crop
from scsc_lab.training.data import Data, InMemory, Task, encoded, registry
from scsc_lab.training.data.reading import Request, chosen, divided, validation
from scsc_lab.training.draws import Purpose, generator
from scsc_lab.training.plan import Input, Plan
from scsc_lab.training.recipes import RECIPES
from scsc_lab.training.run import prepared


def test_draws_are_keyed():
    keys = [(0, Purpose.ORDER, 0, 0), (1, Purpose.ORDER, 0, 0), (0, Purpose.SPLIT, 0, 0), (0, Purpose.ORDER, 1, 0)]
    keys.append((0, Purpose.ORDER, 0, 1))
    values = [generator(*key).random() for key in keys]
    assert len(set(values)) == len(values)
    assert values == [generator(*key).random() for key in keys]


@pytest.mark.parametrize("name", ["navon", "faces"])
def test_drawn_data_is_keyed_by_seed_and_index_and_drawn_once(name):
    requests = [Request(seed, train_images=count, test_images=count) for seed, count in ((0, 40), (0, 60), (1, 40))]
    small, larger, other = (registry.load(name, request) for request in requests)
    assert registry.load(name, requests[2]) is other
    assert np.array_equal(small.train.images, larger.train.images[:40])  # however many there are
    assert np.array_equal(small.train.labels, larger.train.labels[:40])
    assert not np.array_equal(small.train.images, other.train.images)
    assert not np.array_equal(small.train.images, small.test.images)
    assert small.train.images.shape == (40, 3, 64, 64)
    assert small.size == (64, 64)


def test_navon_draws_every_letter_at_both_levels():
    data = registry.load("navon", Request(0, train_images=500, test_images=10))
    assert [task.name for task in data.tasks] == ["global", "local"]
    assert data.outputs == 20
    counts = [np.bincount(column, minlength=10) for column in data.train.labels.T]
    assert min(map(min, counts)) > 25
    assert abs(np.corrcoef(data.train.labels.T)[0, 1]) < 0.15  # the one tells nothing about the other


def test_navon_shows_the_small_letter_on_the_large_ones_grid(monkeypatch):
    from scsc_lab.training.data import navon

    for key in ("CLUTTER", "DROPPED", "NOISE"):
        monkeypatch.setattr(navon, key, (0, 0))
    monkeypatch.setattr(navon, "HIDDEN", 0)
    image, (large, small) = navon.draw(generator(3, Purpose.TRAIN_IMAGE))
    ink = image[0].astype(float) - image[0].min(axis=0)  # the ground has one shade a column, without noise
    rows, columns = (np.flatnonzero((ink > 30).any(axis=axis)) for axis in (1, 0))
    top, left = rows[0], columns[0]  # no letter here is without ink in its first row and column
    for row in range(7):
        for column in range(5):
            y, x = top + 8 * row, left + 8 * column
            expected = navon.glyph(small) & navon.glyph(large)[row, column]
            assert np.array_equal(ink[y : y + 7, x : x + 5] > 30, expected)


def test_faces_of_one_identity_are_nearer_than_others():
    data = registry.load("faces", Request(0, train_images=400, test_images=400))
    assert data.open_set
    assert np.bincount(data.train.labels[:, 0]).tolist() == [20] * 20
    assert np.bincount(data.test.labels[:, 0]).tolist() == [10] * 40
    centre = data.test.images[:, :, 20:44, 20:44].mean(axis=(2, 3))  # the tone of the skin alone tells something
    tone = centre / centre.sum(axis=1, keepdims=True)
    same = data.test.labels == data.test.labels.T
    distance = np.linalg.norm(tone[:, None] - tone[None], axis=2)
    assert distance[same & ~np.eye(400, dtype=bool)].mean() < 0.8 * distance[~same].mean()


def test_unknown_data():
    with pytest.raises(InputError, match=r"unknown data 'navn'; did you mean navon"):
        registry.load("navn", Request(0))
    with pytest.raises(InputError, match="unknown data 'imagefolder:'"):
        registry.load("imagefolder:", Request(0))


@pytest.fixture
def folder(tmp_path):
    random = np.random.default_rng(0)
    for split, count in (("train", 6), ("val", 3)):
        for label, name in enumerate(("cat", "dog")):
            for index in range(count):
                path = tmp_path / split / name / f"{index}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                shade = random.integers(0, 256, (10 + index, 12, 3), dtype=np.uint8) // 2 + 127 * label
                Pillow.fromarray(shade).save(path)
    return tmp_path


def test_an_image_folder(folder):
    data = registry.load(f"imagefolder:{folder}", Request(0))
    assert data.tasks[0].classes == ("cat", "dog")
    assert data.train.labels[:, 0].tolist() == [0] * 6 + [1] * 6
    assert len(data.test.labels) == 6
    assert data.train.image(7).shape == (3, 11, 12)
    assert data.train.image(7).mean() > 150 > data.train.image(1).mean()


def test_an_image_folder_is_divided_stratified_and_by_the_seed(folder):
    splits = [registry.load(f"imagefolder:{folder / 'train'}", Request(seed, split=0.34)) for seed in (0, 0, 1)]
    assert [np.bincount(data.test.labels[:, 0]).tolist() for data in splits] == [[2, 2]] * 3
    train, test, again, other = (
        {split.name(index) for index in range(len(split.labels))}
        for split in (splits[0].train, splits[0].test, splits[1].test, splits[2].test)
    )
    assert not train & test
    assert test == again != other
    few = registry.load(f"imagefolder:{folder}", Request(0, train_images=4, test_images=2))
    assert np.bincount(few.train.labels[:, 0]).tolist() == [2, 2]
    for index in range(5):
        (folder / "train" / "dog" / f"{index}.png").unlink()
    with pytest.raises(InputError, match="two images of every class"):
        registry.load(f"imagefolder:{folder / 'train'}", Request(0, split=0.5))


def test_data_without_a_training_split_is_evaluated(folder):
    flat = registry.load(f"imagefolder:{folder / 'val'}", Request(evaluated=True))
    test = registry.load(f"imagefolder:{folder}", Request(evaluated=True, train_images=500))
    (folder / "train").rename(folder / ".train")
    alone = registry.load(f"imagefolder:{folder}", Request(evaluated=True))
    for data in (flat, test, alone):
        assert (len(data.train.labels), data.test.labels[:, 0].tolist()) == (0, [0] * 3 + [1] * 3)
        assert Path(data.test.name(3)) == folder / "val" / "dog" / "0.png"
    identities = registry.load(f"imagefolder:{folder / 'val'}", Request(evaluated=True, identities=True))
    assert identities.open_set


@pytest.mark.parametrize("labels", [("dog", "cat"), ("1", "0")])
def test_a_table_of_images(folder, labels):
    files = [f"{split}/{kind}/{at}.png" for split in ("train", "val") for kind in ("dog", "cat") for at in range(3)]
    names = dict(zip(("dog", "cat"), labels, strict=True))
    lines = [f"{file},{names[Path(file).parent.name]},{file.split('/')[0]}" for file in files]
    table = folder / "table.csv"
    table.write_text("\n".join(["\ufefffile,label,split", *lines]))
    data = registry.load(f"csv:{table}", Request())
    assert data.tasks[0].classes == tuple(sorted(labels))
    assert data.train.labels[:, 0].tolist() == data.test.labels[:, 0].tolist() == [1] * 3 + [0] * 3
    assert np.array_equal(data.test.image(4), image_files.read(folder / "val" / "cat" / "1.png"))
    table.write_text("\n".join(["picture,kind", *(line.rpartition(",")[0] for line in lines)]))
    named = Request(image_column="picture", label_column="kind")
    assert len(registry.load(f"csv:{table}", replace(named, split=0.25)).test.labels) == 4
    assert len(registry.load(f"csv:{table}", replace(named, evaluated=True)).test.labels) == 12
    for request, message in (
        (Request(), "none of the columns image, path, .*: name one of picture, kind by --image-column"),
        (replace(named, label_column="sort"), "no column 'sort': name one of picture, kind by --label-column"),
        (named, "has no split validation or val .* divide one with --split 0.2"),
    ):
        with pytest.raises(InputError, match=message):
            registry.load(f"csv:{table}", request)
    for content, message in (
        ("file,label", "has no rows"),
        ("file,label\na.png,\nb.png,x\nc.png,y", "1 rows have no label, the first is row 0"),
        ("file,label\n,x\nb.png,y", "1 rows have no image, the first is row 0"),
        ("file,label\na.png,x\nb.png,y", "a.png is not a file"),
        ("file,label,split\na.png,x,dev", "'dev' in the column split: one of train, validation"),
        ("file,label\na.png", "1 rows have no label"),
        ("file,label\na.png,0\nb.png,NaN\nc.png,null", "2 rows have no label, the first is row 1"),
        ("file,label\na.png,0\nb.png,-1\nc.png,1\nd.png,-1", "2 rows have a label that is no class, row 1 has '-1'"),
        ("file,label\na.png,0.0\nb.png,1.0", "2 rows have a label that is no class, row 0 has '0.0'"),
        ("file,label\na.png,0\nb.png,1e0", "1 rows have a label that is no class, row 1 has '1e0'"),
        ("file,label,split\na.png,0,train\nb.png,1,train\nc.png,2,val", "1 of 3 have labels outside 0 to 1"),
        ("file,label,split\na.png,x,train\nb.png,y,train\nc.png,z,val", "label that is no class, row 2 has 'z'"),
    ):
        table.write_text(content)
        with pytest.raises(InputError, match=message):
            registry.load(f"csv:{table}", Request(evaluated=True))


def test_a_network_for_grey_sees_grey(folder):
    plan = Plan(data=f"imagefolder:{folder}", recipe=replace(RECIPES["pico"], batch_size=2))
    colour, grey = (prepared(plan, Input((8, 8), channels=channels), 0) for channels in (3, 1))
    (images, _), (luminance, _) = next(colour.test()), next(grey.test())
    assert luminance.shape == (2, 1, 8, 8)
    expected = (images * torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)).sum(1, keepdim=True)
    assert (luminance - expected).abs().max() <= 1
    assert grey.preparation.mean == pytest.approx([sum(colour.preparation.mean) / 3])
    with pytest.raises(InputError, match="it takes 4 channels, and images have three, or one for grey"):
        prepared(plan, Input((8, 8), channels=4), 0)


def test_a_folder_with_splits_of_its_own_is_not_taken_for_two_classes(folder, tmp_path):
    data = registry.load(f"imagefolder:{folder}", Request(0, split=0.34))
    assert data.tasks[0].classes == ("cat", "dog")
    assert (len(data.train.labels), len(data.test.labels)) == (8, 4)
    assert data.notes == ("--split divides the other images: the split val is not used",)
    vehicles = tmp_path / "vehicles"
    for name in ("car", "train"):  # a class may be called train
        (vehicles / name).mkdir(parents=True)
        for index in range(4):
            Pillow.new("RGB", (4, 4)).save(vehicles / name / f"{index}.png")
    assert registry.load(f"imagefolder:{vehicles}", Request(split=0.5)).tasks[0].classes == ("car", "train")


def test_identities_of_the_test_are_others(folder):
    for old, new in (("cat", "ann"), ("dog", "bob")):
        (folder / "val" / old).rename(folder / "val" / new)
    with pytest.raises(InputError, match="the classes of train and val differ: ann, bob, cat, dog"):
        registry.load(f"imagefolder:{folder}", Request())
    data = registry.load(f"imagefolder:{folder}", Request(identities=True))
    assert (data.open_set, data.tasks[0].classes) == (True, ("cat", "dog"))
    assert set(data.train.labels[:, 0]) == {0, 1}
    assert len(set(data.test.labels[:, 0])) == 2
    plan = Plan(data=f"imagefolder:{folder}", recipe=RECIPES["pico"], task="verification")
    assert prepared(plan, Input((8, 8)), 0).data.tasks == data.tasks
    judged = registry.load(f"imagefolder:{folder}", Request(identities=True, evaluated=True))
    assert (judged.tasks[0].classes, set(judged.test.labels[:, 0])) == (("ann", "bob"), {0, 1})
    with pytest.raises(InputError, match="--split divides images, and verification tests other identities"):
        registry.load(f"imagefolder:{folder / 'train'}", Request(identities=True, split=0.5))


def test_unreadable_files_are_named_or_left_out(folder):
    (folder / "train" / "dog" / "3.png").write_bytes(b"not an image")
    with pytest.raises(InputError, match=r"unreadable: .*dog/3\.png is not a PNG file\. --skip-unreadable"):
        registry.load(f"imagefolder:{folder}", Request(0))
    data = registry.load(f"imagefolder:{folder}", Request(0, skip_unreadable=True))
    assert len(data.train.labels) == 11
    assert data.notes == ("1 unreadable files were left out",)


def test_what_is_wrong_with_a_folder_is_said(folder, tmp_path):
    def refuse(message, place=folder, **request):
        with pytest.raises(InputError, match=message):
            registry.load(f"imagefolder:{place}", Request(0, **request))

    refuse("no such folder", "/nowhere")
    refuse(r"no folder train or val: .*--split", folder / "train")
    refuse("there are 12 training images, not 13", train_images=13)
    refuse("--split 1", folder / "train", split=1.0)
    (folder / "val" / "bird").mkdir()
    refuse("has no images")
    (folder / "val" / "bird" / "0.png").symlink_to(folder / "val" / "cat" / "0.png")
    refuse(r"bird/0.png and .*cat/0.png are one file in two classes")
    (folder / "val" / "bird" / "0.png").unlink()
    Pillow.new("RGB", (4, 4)).save(folder / "val" / "bird" / "0.png")
    refuse("differ: bird")
    (tmp_path / "alone").mkdir()
    (folder / "train" / "cat").rename(tmp_path / "alone" / "cat")
    refuse("one class, cat", tmp_path / "alone", split=0.5)


def test_hugging_face_data(folder, tmp_path):
    datasets = pytest.importorskip("datasets")

    def load(place, **request):
        return registry.load(f"hf:{tmp_path / place}", Request(0, **request))

    data = registry.load(f"hf:{folder}", Request(0))
    assert data.tasks[0].classes == ("cat", "dog")
    assert (len(data.train.labels), len(data.test.labels)) == (12, 6)
    loaded = datasets.load_dataset("imagefolder", data_dir=str(folder))
    (tmp_path / "parquet").mkdir()
    for split in ("train", "validation"):
        rows = loaded[split].cast_column("image", datasets.Image(decode=False))
        images = [{"bytes": Path(row["image"]["path"]).read_bytes()} for row in rows]
        embedded = [{"image": image, "label": row["label"]} for image, row in zip(images, rows, strict=True)]
        table = datasets.Dataset.from_list(embedded, rows.features)
        table.to_parquet(str(tmp_path / "parquet" / f"{split}-0.parquet"))
    again = load("parquet")
    assert again.tasks == data.tasks
    assert np.array_equal(again.train.labels, data.train.labels)
    assert np.array_equal(again.train.image(7), data.train.image(7))
    (tmp_path / "parquet" / "notes.txt").write_text("words")
    assert load("parquet").notes == ("files left out: 1 .txt",)
    loaded.save_to_disk(str(tmp_path / "saved"))
    assert len(load("saved").train.labels) == 12
    loaded["validation"].save_to_disk(str(tmp_path / "alone"))
    assert len(load("alone", evaluated=True).test.labels) == 6
    for place, request, message in (
        ("nothing", {}, "cannot be loaded"),
        ("saved", {"label_column": "kind"}, "no column of labels 'kind': name one of image, label by --label-column"),
        ("alone", {}, r"divide one with --split 0\.2"),
    ):
        with pytest.raises(InputError, match=message):
            load(place, **request)


def test_choices_are_stratified():
    labels = np.repeat([0, 1, 2], [60, 30, 10])
    indices = chosen(labels, 20, np.random.default_rng(0), "training")
    train, test = divided(labels, 0.2, np.random.default_rng(0))
    assert np.bincount(labels[indices]).tolist() == np.bincount(labels[test]).tolist() == [12, 6, 2]
    assert sorted([*train, *test]) == list(range(100))


@pytest.mark.parametrize("label", [-1, 2, 10**9])
@pytest.mark.parametrize("split", ["train", "test"])
def test_labels_that_are_no_class_are_refused(split, label):
    images, labels = np.zeros((6, 3, 4, 4), np.uint8), np.array([[0], [1]] * 3)
    wrong = labels.copy()
    wrong[[1, 4]] = label
    splits = {"train": InMemory(images, labels), "test": InMemory(images, labels), split: InMemory(images, wrong)}
    with pytest.raises(InputError, match=f"2 of 6 have labels outside 0 to 1, the first is image 1 with {label}"):
        Data("some", (Task("", ("a", "b")),), **splits)


def test_each_image_is_decoded_once_for_all_runs(folder, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    decoded = []
    original = image_files.decode
    monkeypatch.setattr(image_files, "decode", lambda *args, **more: decoded.append(args) or original(*args, **more))
    for seed in range(3):
        registry.load(f"imagefolder:{folder}", Request(seed))
        encoded._decodable.clear()  # as another process
    assert len(decoded) == 18
    path = folder / "train" / "cat" / "0.png"
    path.write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"cat/0\.png is not a PNG file"):
        registry.load(f"imagefolder:{folder}", Request(0))
    assert len(decoded) == 19


def test_files_left_out_are_counted(folder):
    (folder / "train" / "cat" / "notes.txt").write_text("words")
    copy = folder / "train" / "cat" / ".ipynb_checkpoints"
    copy.mkdir()
    (folder / "val" / ".ipynb_checkpoints").mkdir()
    (copy / "0-checkpoint.png").write_bytes((folder / "train" / "cat" / "0.png").read_bytes())
    (folder / "val" / "cat" / "same.png").symlink_to(folder / "train" / "cat" / "0.png")
    data = registry.load(f"imagefolder:{folder}", Request(0))
    assert len(data.train.labels) == 12
    assert data.notes == (
        "1 test images are links to training images, or the reverse",
        "files left out: 1 .txt, 2 hidden",
    )


class Hub:
    """A stand-in for ``datasets``: rows in memory."""

    class Image:
        def __init__(self, decode=True):
            assert not decode, "datasets must not decode"

    class ClassLabel:
        def __init__(self, names):
            self.names = names

    class config:  # noqa: N801
        HF_DATASETS_CACHE = "/nowhere"

    class Rows:
        def __init__(self, images, labels, label):
            self.features = {"image": object.__new__(Hub.Image), "label": label}
            self.images, self.labels = images, labels

        def cast_column(self, column, feature):
            return self

        def __getitem__(self, key):
            return self.labels if key == "label" else {"image": self.images[key], "label": self.labels[key]}

    def __init__(self, **splits):
        self.splits = splits

    def load_dataset(self, *words, **more):
        return self.splits


def encoded_image(shade):
    buffer = io.BytesIO()
    Pillow.new("RGB", (4, 4), (shade,) * 3).save(buffer, format="png")
    return {"bytes": buffer.getvalue(), "path": None}


@pytest.fixture
def hub(monkeypatch):
    def load(train, test, names=None, images=None, **more):
        label = Hub.ClassLabel(names) if names else None
        rows = [images or [encoded_image(index) for index in range(len(labels))] for labels in (train, test)]
        splits = {
            name: Hub.Rows(own, labels, label)
            for name, own, labels in zip(("train", "test"), rows, (train, test), strict=True)
        }
        monkeypatch.setitem(sys.modules, "datasets", Hub(**splits))
        return registry.load("hf:some", Request(**more))

    return load


def test_labels_of_rows(hub):
    assert hub([0, 1, 2, 2], [0, 1]).tasks[0].classes == ("0", "1", "2")  # the test lacks the last class
    assert hub(["dog", "cat"], ["cat"]).tasks[0].classes == ("cat", "dog")
    assert hub(["dog", "cat"], ["cat"]).test.labels.tolist() == [[0]]
    assert hub([0, 1], [1], names=["a", "b"]).train.image(1).max() == 1
    assert hub(["dog", "cat"], ["eve", "bob"], identities=True).tasks[0].classes == ("cat", "dog")
    assert hub([0, 1], [2, 3], identities=True, evaluated=True).tasks[0].classes == ("2", "3")
    for train, test, names, words in (
        ([0, 1], [-1, -1, 0], None, "test images: 2 of 3 have labels outside 0 to 1, the first is image 0 with -1"),
        ([0, 1, -1], [0], ["a", "b"], "train images: 1 of 3 have labels outside 0 to 1"),
        ([0, 1], [2], None, "test images: 1 of 1 have labels outside 0 to 1"),
        ([0, None, None], [0], ["a", "b"], "hf:some: train: 2 rows have no label, the first is row 1"),
        ([0, 10**9], [0], None, "labels must be below 100,000, row 1 has 1000000000"),
        (["a", "b"], ["c"], None, "hf:some: test: 1 rows have a label that is no class, row 0 has 'c'"),
        ([0, "b"], [0], None, "labels must be whole numbers or texts, row 1 has 'b'"),
        ([-1, -1], [-1], None, "labels must be whole numbers from 0, all 2 rows have negative ones"),
        ([0.5, 1.0], [0], None, "labels must be whole numbers or texts, row 0 has 0.5"),
        ([0, 2**70], [0], ["a", "b"], "1 rows have a label that is no class, row 1"),
    ):
        with pytest.raises(InputError, match=words):
            hub(train, test, names)


def test_rows_are_bytes_or_files_of_the_folder(hub, tmp_path):
    outside = tmp_path / "outside.png"
    Pillow.new("RGB", (4, 4)).save(outside)
    os.mkfifo(tmp_path / "pipe.png")
    unreadable = [
        (None, "has no image"),
        ({"bytes": None, "path": None}, "has no image"),
        ({"bytes": None, "path": str(outside)}, r"names '.*outside\.png', which is not a file in"),
        *(
            ({"bytes": None, "path": path}, "which is not a file in")
            for path in (
                "../outside.png",
                str(tmp_path / "pipe.png"),
                "https://example.org/a.png",
                "a\0.png",
                "a" * 5000,
            )
        ),
        ({"bytes": encoded_image(0)["bytes"][:45], "path": None}, "cannot be decoded"),
        ({"bytes": b"%!PS-Adobe-3.0", "path": "a.png"}, "is not an image"),
    ]
    for image, message in unreadable:
        images = [encoded_image(0), image, encoded_image(2), encoded_image(3)]
        with pytest.raises(InputError, match=f"row 1 of train of hf:some .*{message}"):
            hub([0, 1, 0, 1], [0, 1, 0, 1], images=images)
        data = hub([0, 1, 0, 1], [0, 1, 0, 1], images=images, skip_unreadable=True)
        assert data.notes == ("2 unreadable rows were left out",)
        assert [data.train.image(index).max() for index in range(len(data.train.labels))] == [0, 2, 3]


def test_crops_are_torchvisions(monkeypatch):
    transforms = pytest.importorskip("torchvision.transforms.v2")
    for height, width in ((20, 20), (30, 100), (100, 20), (5, 400), (1, 1)):
        ratios = []
        for index in range(60):
            left, top, w, h = draw_crop(height, width, generator(0, Purpose.AUGMENTATION, 0, index))
            assert 0 <= left <= width - w
            assert 0 <= top <= height - h
            ratios.append(w / h)
        slack = 2 / min(height, width)  # sides are whole pixels
        assert min(ratios) >= 3 / 4 - slack
        assert max(ratios) <= 4 / 3 + slack
    original = transforms.RandomResizedCrop(8, scale=(2.0, 3.0))  # no draw fits: always the fallback
    monkeypatch.setattr("scsc_lab.training.augmentation.LEAST_AREA", 2.0)
    monkeypatch.setattr("scsc_lab.training.augmentation.MOST_AREA", 3.0)
    for height, width in ((30, 100), (100, 30), (30, 35), (7, 50), (41, 30)):
        found = original.make_params([torch.zeros(3, height, width)])
        crop = draw_crop(height, width, generator(0, Purpose.AUGMENTATION))
        assert crop == (found["left"], found["top"], found["width"], found["height"])


def test_validation_is_held_out_of_the_training_images():
    data = registry.load("navon", Request(0, train_images=200, test_images=10))
    held = validation(data, 0.2, generator(0, Purpose.VALIDATION))
    assert (held.tasks, held.size) == (data.tasks, data.size)
    assert 35 <= len(held.test.labels) <= 45
    images = [[split.image(at).tobytes() for at in range(len(split.labels))] for split in (held.train, held.test)]
    assert sorted(images[0] + images[1]) == sorted(image.tobytes() for image in data.train.images)
    for split in (held.train, held.test):
        assert [data.train.labels[index].tolist() for index in split.indices] == split.labels.tolist()
    counts = np.bincount(data.train.labels[:, 0], minlength=10), np.bincount(held.test.labels[:, 0], minlength=10)
    assert np.abs(0.2 * counts[0] - counts[1]).max() <= 0.5
    again = validation(data, 0.2, generator(0, Purpose.VALIDATION))
    assert np.array_equal(again.test.indices, held.test.indices)


def test_validation_of_an_open_set_holds_out_identities():
    data = registry.load("faces", Request(0, train_images=200, test_images=10))
    held = validation(data, 0.2, generator(0, Purpose.VALIDATION))
    assert len(held.tasks[0].classes) == 8
    assert sorted(set(held.train.labels[:, 0].tolist())) == list(range(8))
    assert len(set(held.test.labels[:, 0].tolist())) == 2
    names = {data.tasks[0].classes[label] for label in held.test.labels[:, 0]}
    assert not names & set(held.tasks[0].classes)
    for label, index in zip(held.train.labels[:, 0], held.train.indices, strict=True):
        assert held.tasks[0].classes[label] == data.tasks[0].classes[data.train.labels[index, 0]]
