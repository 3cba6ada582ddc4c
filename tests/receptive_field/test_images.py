"""Images: the draw from folders, evaluation preprocessing, and the spectrum of synthetic ones."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from scsc_lab.errors import InputError
from scsc_lab.receptive_field.images import drawn, from_folder, synthetic

PLAIN = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0), 0)


def picture(path, value, size=(40, 30), mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, value).save(path)


@pytest.fixture
def folder(tmp_path):
    for name, value in (("cats", 10), ("dogs", 100), ("fish", 200)):
        for index in range(6):
            picture(tmp_path / name / f"{index}.png", (value + index,) * 3)
    return tmp_path


def test_the_draw_is_even_and_seeded(folder):
    found = from_folder(folder, 6, (16, 16), *PLAIN).pixels[:, 0, 0, 0] * 255
    assert sorted(np.rint(found) // 50) == [0, 0, 2, 2, 4, 4]
    assert np.array_equal(from_folder(folder, 6, (16, 16), *PLAIN).pixels[:, 0, 0, 0] * 255, found)
    other = from_folder(folder, 6, (16, 16), (0.0,) * 3, (1.0,) * 3, 1).pixels[:, 0, 0, 0] * 255
    assert not np.array_equal(other, found)


def test_what_is_no_image_is_skipped_and_counted(tmp_path):
    picture(tmp_path / "good.jpg", (255, 0, 0))
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "good.jpg").read_bytes()[:200])
    (tmp_path / "notes.txt").write_text("words")
    (tmp_path / ".hidden").write_text("words")
    found = from_folder(tmp_path, 8, (16, 16), *PLAIN)
    assert len(found.pixels) == 1
    assert found.left_out == {".txt": 1, "hidden": 1, "unreadable .jpg": 1, "unreadable .png": 1}


def test_preprocessing_resizes_crops_and_normalises(tmp_path):
    values = np.zeros((64, 128, 3), dtype=np.uint8)
    values[:, 32:96] = 255  # the centre of a wide picture
    Image.fromarray(values).save(tmp_path / "wide.png")
    (pixels,) = from_folder(tmp_path, 1, (32, 32), (0.5, 0.5, 0.5), (0.25, 0.5, 1.0), 0).pixels
    assert pixels.shape == (3, 32, 32)
    assert [float(channel.mean()) for channel in pixels] == pytest.approx([2.0, 1.0, 0.5], rel=1e-3)
    assert from_folder(tmp_path, 1, (8, 12), (0.5,), (0.5,), 0).pixels.shape == (1, 1, 8, 12)  # a network for grey


def test_folders_without_images(tmp_path):
    with pytest.raises(InputError, match="no images in"):
        from_folder(tmp_path, 1, (8, 8), *PLAIN)
    with pytest.raises(InputError, match="no folder"):
        from_folder(tmp_path / "nowhere", 1, (8, 8), *PLAIN)
    with pytest.raises(InputError, match="takes 7 channels"):
        from_folder(tmp_path, 1, (8, 8), (0.5,) * 7, (0.5,) * 7, 0)


def test_synthetic_images_have_a_natural_spectrum():
    found = synthetic(16, (128, 128), *PLAIN)
    power = (np.abs(np.fft.fft2(found.pixels[:, 0])) ** 2).mean(0)
    frequency = np.rint(128 * np.hypot(*np.meshgrid(np.fft.fftfreq(128), np.fft.fftfreq(128))))
    radial = [power[frequency == f].mean() for f in range(2, 40)]
    slope = np.polyfit(np.log(range(2, 40)), np.log(radial), 1)[0]
    assert slope == pytest.approx(-2.0, abs=0.2)
    assert "synthetic 1/f" in found.kind
    assert found.pixels.min() >= 0
    assert found.pixels.max() <= 1


def test_a_synthetic_image_depends_on_seed_and_number_alone():
    assert np.array_equal(synthetic(2, (16, 16), *PLAIN).pixels, synthetic(5, (16, 16), *PLAIN).pixels[:2])
    assert not np.array_equal(synthetic(1, (16, 16), *PLAIN[:2], 1).pixels, synthetic(1, (16, 16), *PLAIN).pixels)


def test_a_long_thin_image_takes_no_more_memory_than_it_has(tmp_path, monkeypatch):
    values = np.linspace(0, 255, 60_000).astype(np.uint8)[:, None]
    Image.fromarray(values).save(tmp_path / "thin.png")
    largest = 0

    def resized(picture, size, *rest):
        nonlocal largest
        largest = max(largest, size[0] * size[1])
        return original(picture, size, *rest)

    original = Image.Image.resize
    monkeypatch.setattr(Image.Image, "resize", resized)
    (pixels,) = from_folder(tmp_path, 1, (224, 224), *PLAIN).pixels
    assert largest == 224 * 224
    assert pixels.shape == (3, 224, 224)
    assert float(pixels.mean()) == pytest.approx(0.5, abs=0.01)  # the middle of the gradient


def test_pixels_of_no_known_range_are_refused_by_name(tmp_path):
    Image.fromarray(np.full((20, 20), 9, dtype=np.float32)).save(tmp_path / "a.tif")
    message = "a.tif holds floating-point numbers from 9 to 9; black and white are known for"
    with pytest.raises(InputError, match=message):
        from_folder(tmp_path, 1, (16, 16), *PLAIN)


def test_the_order_and_the_key_of_images_depend_on_what_they_show(tmp_path):
    plain, other = (drawn(None, 5, (16, 16), mean, (0.5,) * 3, 0) for mean in ((0.0,) * 3, (0.5,) * 3))
    assert plain.key == other.key
    assert np.allclose(plain.pixels, other.pixels + 1.0, atol=1e-6)
    assert drawn(None, 5, (16, 16), (0.0,) * 3, (0.5,) * 3, 1).key != plain.key
