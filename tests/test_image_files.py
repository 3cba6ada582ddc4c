"""Image files: one reader, whose decoders follow suffixes, with the same pixels for every way of storing them."""

from __future__ import annotations

import io
import os
import warnings

import numpy as np
import pytest
from PIL import Image, features

from scsc_lab import InputError, image_files
from scsc_lab.image_files import centre, decode, list_images, read

GREY = np.arange(256, dtype=np.uint8).reshape(16, 16)
COLOURS = np.stack([GREY, GREY[::-1], GREY.T], axis=-1)


def test_wide_grey_has_the_pixels_of_its_8_bit_twin(tmp_path):
    wide = GREY.astype(np.uint16) * 257
    for suffix in ("png", "tif"):
        Image.fromarray(wide).save(tmp_path / f"a.{suffix}")
    (tmp_path / "a.pgm").write_bytes(b"P5 16 16 65535\n" + wide.astype(">u2").tobytes())
    Image.fromarray(65535 - wide).save(tmp_path / "inverted.tif", tiffinfo={262: 0})
    Image.fromarray(wide.astype(np.int32)).save(tmp_path / "integers.tif")
    Image.fromarray((GREY / 255).astype(np.float32)).save(tmp_path / "fractions.tif")
    paths = list_images(tmp_path).images
    assert len(paths) == 6
    for path in paths:
        assert np.array_equal(read(path, "L")[0], GREY), path.name
        assert np.array_equal(read(path), np.broadcast_to(GREY, (3, 16, 16))), path.name


@pytest.mark.parametrize("kind", [np.float32, np.int32])
@pytest.mark.parametrize("values", [GREY, GREY.astype(np.int64) * 65537, GREY.astype(int) - 1])
def test_unknown_ranges_are_refused(tmp_path, kind, values):
    Image.fromarray(values.astype(kind)).save(tmp_path / "a.tif")
    with pytest.raises(image_files.UnknownRangeError, match=r"a\.tif holds .* from -?\d.*: save it with 8 or 16 bits"):
        read(tmp_path / "a.tif")


@pytest.mark.parametrize("kind", [np.float32, np.int32])
def test_black_is_black_in_any_range(tmp_path, kind):
    Image.fromarray(np.zeros((4, 4), kind)).save(tmp_path / "a.tif")
    assert read(tmp_path / "a.tif").max() == 0


@pytest.mark.parametrize("transparency", [3, bytes([0, 128, 255])])
def test_a_palette_with_transparency_keeps_its_colours(tmp_path, transparency):
    opaque = Image.fromarray(COLOURS).quantize(8)
    opaque.save(tmp_path / "opaque.png")
    opaque.save(tmp_path / "a.png", transparency=transparency)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.array_equal(read(tmp_path / "a.png"), read(tmp_path / "opaque.png"))


@pytest.mark.parametrize(("background", "grey"), [("", 100), ("white", 178), ("black", 50)])
def test_a_background_stands_behind_transparent_pixels(tmp_path, background, grey):
    Image.new("RGBA", (3, 2), (100, 100, 100, 128)).save(tmp_path / "a.png")
    pixels = image_files.read(tmp_path / "a.png", background=background)
    assert pixels.shape == (3, 2, 3)
    assert np.abs(pixels.astype(int) - grey).max() <= 1
    assert (image_files.read(tmp_path / "a.png", "RGBA")[3] == 128).all()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"])
def test_every_mode_becomes_every_other(tmp_path, mode):
    path = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    Image.new(mode, (5, 4)).save(path)
    assert [read(path, wanted).shape for wanted in ("L", "RGB", "RGBA")] == [(1, 4, 5), (3, 4, 5), (4, 4, 5)]


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp"])
@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_images_are_upright(tmp_path, suffix, orientation):
    if suffix == ".webp" and not features.check("webp"):
        pytest.skip("Pillow without WebP")
    stored = Image.new("RGB", (40, 24))
    stored.paste((255, 255, 255), (0, 0, 40, 8))  # the first rows are bright
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a{suffix}"
    stored.save(path, exif=exif)
    turned = {3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_270, 8: Image.Transpose.ROTATE_90}[orientation]
    expected = np.asarray(stored.transpose(turned)).transpose(2, 0, 1)
    pixels = read(path)
    assert pixels.shape == expected.shape
    assert np.abs(pixels.astype(int) - expected).mean() < 8
    assert np.array_equal(read(path.read_bytes(), name="a row"), pixels)


def test_the_suffix_decides_the_decoder(tmp_path):
    (tmp_path / "z.png").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\nshowpage\n")
    Image.fromarray(COLOURS).save(tmp_path / "b.png")
    (tmp_path / "b.png").rename(tmp_path / "b.jpg")
    with pytest.raises(image_files.UnreadableError, match=r"z\.png is not a PNG file$"):
        read(tmp_path / "z.png")
    with pytest.raises(image_files.UnreadableError, match=r"b\.jpg is not a JPEG file but a PNG file"):
        read(tmp_path / "b.jpg")
    with pytest.raises(image_files.UnreadableError, match="a row is not an image"):
        read((tmp_path / "z.png").read_bytes(), name="a row")


@pytest.mark.parametrize("suffix", image_files.SUFFIXES)
def test_whatever_is_damaged_is_named(tmp_path, suffix):
    buffer = io.BytesIO()
    Image.fromarray(COLOURS).resize((64, 64)).save(buffer, format=image_files.FORMATS[suffix][0])
    path = tmp_path / f"a{suffix}"
    path.write_bytes(buffer.getvalue())
    assert decode(path).size == (64, 64)
    path.write_bytes(buffer.getvalue()[: len(buffer.getvalue()) // 2])
    with pytest.raises(image_files.UnreadableError, match=rf"a\{suffix} "):
        read(path)


def test_pixels_are_bounded_before_they_are_decoded(tmp_path, monkeypatch):
    Image.new("L", (64, 64)).save(tmp_path / "a.png")
    monkeypatch.setattr(image_files, "MOST_PIXELS", 1000)
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda *args: pytest.fail("decoded"))
    with pytest.raises(image_files.UnreadableError, match=r"a\.png has more than 1,000 pixels"):
        read(tmp_path / "a.png")
    monkeypatch.setattr(image_files, "MOST_PIXELS", 10**9)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(image_files.UnreadableError, match=r"a\.png has more than"):
        read(tmp_path / "a.png")


def test_files_that_are_images(tmp_path):
    for name in (
        "a.png",
        "deep/b.JPG",
        "deep/.ipynb_checkpoints/b-checkpoint.jpg",
        "._a.png",
        ".hidden/c.png",
        "n.txt",
    ):
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    folder, elsewhere = tmp_path / "data", tmp_path / "elsewhere"
    elsewhere.mkdir()
    for index in range(4):
        (elsewhere / f"{index}.png").write_bytes(b"")
    (folder / "linked").symlink_to(elsewhere)
    (folder / "again.png").symlink_to(folder / "a.png")
    (folder / "lost.png").symlink_to(tmp_path / "nothing.png")
    (folder / "deep" / "up").symlink_to(folder)
    os.mkfifo(folder / "pipe.png")
    listing = list_images(folder)
    assert len(listing.images) == 2 + 4
    assert listing.left_out == {".txt": 1, "hidden": 3, "linked twice": 2, "broken links": 1, "no plain files": 1}
    (note,) = image_files.describe_left_out(listing.left_out)
    assert note == "files left out: 1 .txt, 1 broken links, 3 hidden, 2 linked twice, 1 no plain files"
    assert image_files.describe_left_out({}) == ()


def test_a_folder_that_cannot_be_read(tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(InputError, match=f"cannot read {tmp_path}: Permission denied"):
        list_images(tmp_path)


@pytest.mark.parametrize("size", [(300, 200), (64, 48), (31, 97), (500, 20)])
@pytest.mark.parametrize("share", [0.875, 1.0])
def test_the_centre_is_that_of_the_resized_image(size, share):
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (*size[::-1], 3), dtype=np.uint8))
    scale = max(32 / size[1], 40 / size[0]) / share
    resized = picture.resize([max(round(side * scale), least) for side, least in zip(size, (40, 32), strict=True)], 3)
    left, top = (resized.width - 40) // 2, (resized.height - 32) // 2
    expected = np.asarray(resized.crop((left, top, left + 40, top + 32))).astype(int)
    found = np.asarray(centre(picture, (32, 40), share, Image.Resampling.BICUBIC)).astype(int)
    assert np.abs(found - expected).mean() < 0.5  # rounding between the two passes of a filter
