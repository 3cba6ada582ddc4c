"""Data sets: drawn ones are keyed and varied; read ones say what is wrong before anything is trained."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from scsc_lab import InputError
from scsc_lab.training.data import registry
from scsc_lab.training.data.choices import chosen, divided
from scsc_lab.training.draws import Purpose, generator


def test_draws_are_keyed():
    keys = [(0, Purpose.ORDER, 0, 0), (1, Purpose.ORDER, 0, 0), (0, Purpose.SPLIT, 0, 0), (0, Purpose.ORDER, 1, 0)]
    keys.append((0, Purpose.ORDER, 0, 1))
    values = [generator(*key).random() for key in keys]
    assert len(set(values)) == len(values)
    assert values == [generator(*key).random() for key in keys]


@pytest.mark.parametrize("name", ["navon", "faces"])
def test_drawn_data_is_keyed_by_seed_and_index(name):
    small, larger, other = (
        registry.load(name, seed, train_images=count, test_images=count) for seed, count in ((0, 40), (0, 60), (1, 40))
    )
    assert np.array_equal(small.train.images, larger.train.images[:40])  # however many there are
    assert np.array_equal(small.train.labels, larger.train.labels[:40])
    assert not np.array_equal(small.train.images, other.train.images)
    assert not np.array_equal(small.train.images, small.test.images)
    assert small.train.images.shape == (40, 3, 64, 64)
    assert small.size == (64, 64)


def test_navon_draws_every_letter_at_both_levels():
    data = registry.load("navon", 0, train_images=500, test_images=10)
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
    data = registry.load("faces", 0, train_images=400, test_images=400)
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
        registry.load("navn", 0)
    with pytest.raises(InputError, match="unknown data 'imagefolder:'"):
        registry.load("imagefolder:", 0)


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
    data = registry.load(f"imagefolder:{folder}", 0)
    assert data.tasks[0].classes == ("cat", "dog")
    assert data.train.labels[:, 0].tolist() == [0] * 6 + [1] * 6
    assert len(data.test.labels) == 6
    assert data.train.image(7).shape == (3, 11, 12)
    assert data.train.image(7).mean() > 150 > data.train.image(1).mean()


def test_an_image_folder_is_divided_stratified_and_by_the_seed(folder):
    splits = [registry.load(f"imagefolder:{folder / 'train'}", seed, split=0.34) for seed in (0, 0, 1)]
    assert [np.bincount(data.test.labels[:, 0]).tolist() for data in splits] == [[2, 2]] * 3
    train, test, again, other = (
        {split.name(index) for index in range(len(split.labels))}
        for split in (splits[0].train, splits[0].test, splits[1].test, splits[2].test)
    )
    assert not train & test
    assert test == again != other
    few = registry.load(f"imagefolder:{folder}", 0, train_images=4, test_images=2)
    assert np.bincount(few.train.labels[:, 0]).tolist() == [2, 2]


def test_unreadable_files_are_named_or_left_out(folder):
    (folder / "train" / "dog" / "3.png").write_bytes(b"not an image")
    with pytest.raises(InputError, match=r"unreadable: .*dog/3\.png is no PNG file\. --skip-unreadable"):
        registry.load(f"imagefolder:{folder}", 0)
    data = registry.load(f"imagefolder:{folder}", 0, skip_unreadable=True)
    assert len(data.train.labels) == 11
    assert data.notes == ("1 unreadable files were left out",)


def test_what_is_wrong_with_a_folder_is_said(folder, tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        registry.load("imagefolder:/nowhere", 0)
    with pytest.raises(InputError, match=r"no folder train or val: .*--split"):
        registry.load(f"imagefolder:{folder / 'train'}", 0)
    with pytest.raises(InputError, match="there are 12 training images, not 13"):
        registry.load(f"imagefolder:{folder}", 0, train_images=13)
    (folder / "val" / "bird").mkdir()
    with pytest.raises(InputError, match="has no images"):
        registry.load(f"imagefolder:{folder}", 0)
    Pillow.new("RGB", (4, 4)).save(folder / "val" / "bird" / "0.png")
    with pytest.raises(InputError, match="differ: bird"):
        registry.load(f"imagefolder:{folder}", 0)
    alone = tmp_path / "alone" / "cat"
    alone.mkdir(parents=True)
    for index in range(4):
        Pillow.new("RGB", (4, 4)).save(alone / f"{index}.png")
    with pytest.raises(InputError, match="one class, cat"):
        registry.load(f"imagefolder:{alone.parent}", 0, split=0.5)


def test_hugging_face_data(folder, tmp_path):
    datasets = pytest.importorskip("datasets")
    data = registry.load(f"hf:{folder}", 0)
    assert data.tasks[0].classes == ("cat", "dog")
    assert (len(data.train.labels), len(data.test.labels)) == (12, 6)
    loaded = datasets.load_dataset("imagefolder", data_dir=str(folder))
    parquet = tmp_path / "parquet"
    parquet.mkdir()
    for split in ("train", "validation"):
        rows = loaded[split].cast_column("image", datasets.Image(decode=False))
        embedded = [
            {"image": {"bytes": Path(row["image"]["path"]).read_bytes()}, "label": row["label"]} for row in rows
        ]
        datasets.Dataset.from_list(embedded, rows.features).to_parquet(str(parquet / f"{split}-0.parquet"))
    again = registry.load(f"hf:{parquet}", 0)
    assert again.tasks == data.tasks
    assert np.array_equal(again.train.labels, data.train.labels)
    assert np.array_equal(again.train.image(7), data.train.image(7))
    with pytest.raises(InputError, match="cannot be loaded"):
        registry.load(f"hf:{tmp_path / 'nothing'}", 0)


def test_choices_are_stratified():
    labels = np.repeat([0, 1, 2], [60, 30, 10])
    found = chosen(labels, 20, np.random.default_rng(0), "training")
    assert np.bincount(labels[found]).tolist() == [12, 6, 2]
    train, test = divided(labels, 0.2, np.random.default_rng(0))
    assert np.bincount(labels[test]).tolist() == [12, 6, 2]
    assert sorted([*train, *test]) == list(range(100))
    with pytest.raises(InputError, match="two images of every class"):
        divided(np.array([0, 0, 1]), 0.5, np.random.default_rng(0))
    with pytest.raises(InputError, match="--split 1"):
        divided(labels, 1.0, np.random.default_rng(0))
