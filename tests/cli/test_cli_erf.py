"""``scsc-lab erf``: its figure, its table, its files, and mistakes as one line."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from scsc_lab.cli import main

SMALL = ("--resolution", "64", "--samples", "2", "--seeds", "1")


@pytest.fixture
def run(capsys, monkeypatch, tmp_path):
    """Return a function that runs a command in an empty folder and returns its exit code, output and complaint."""
    monkeypatch.chdir(tmp_path)

    def _run(*arguments):
        code = main(["erf", *arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return _run


def test_a_figure_and_a_table(run, tmp_path):
    code, out, err = run("resnet18", "--model", "scsc_faceresnet", *SMALL)
    assert (code, err) == (0, "")
    assert out.splitlines()[0] == "figure: erf_resnet18_scsc_faceresnet.png"
    assert max(map(len, out.splitlines())) <= 80
    flat = " ".join(out.split())
    for words in ("r(20 %)", "r/t at 50 %", "radius of 95 %", "Luo's size", "theoretical", "filled", "truncation"):
        assert words in flat
    assert "Input 64×64, 2 synthetic 1/f images, random weights; linear map, absolute gradients, 1 thread." in flat
    with Image.open(tmp_path / "erf_resnet18_scsc_faceresnet.png") as picture:
        assert picture.width == 990  # a column of 3.3 inches


def test_rows_carry_settings_and_intervals(run):
    more = ("--stage", "3", "--stage", "stage4", "--samples", "6")
    code, out, err = run("resnet18", *SMALL, *more, "-o", "a.svg", "--format", "json")
    assert (code, err) == (0, "figure: a.svg\n")
    rows = json.loads(out)["rows"]
    assert [row["stage"] for row in rows] == ["stage3", "stage4"]
    for row in rows:
        assert row["model"] == "resnet18"
        assert row["r50_low"] <= row["r50"] <= row["r50_high"]
        assert row["r50_over_t"] == pytest.approx(row["r50"] / 0.5)
        assert (row["weights"], row["images"], row["image_kind"]) == ("random", 6, "synthetic 1/f images")
        assert row["theoretical_pixels"] == [64, 64]
        assert 0 <= row["filled"] <= 1


def test_saved_maps_are_drawn_again_without_torch(run, tmp_path):
    _, first, _ = run("resnet18", *SMALL, "--stage", "2", "--stage", "3", "--save", "maps.npz", "-o", "a.png")
    code = (
        "import sys; from scsc_lab.cli import main; main(['erf', '--from', 'maps.npz', '-o', 'b.png']); "
        "print('torch' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path).stdout
    assert out.splitlines()[-1] == "False"
    assert out.splitlines()[1:-1] == first.splitlines()[1:]
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_a_folder_of_images(run, tmp_path):
    for index in range(3):
        values = np.random.default_rng(index).integers(0, 255, (40, 50, 3)).astype(np.uint8)
        (tmp_path / "photos").mkdir(exist_ok=True)
        Image.fromarray(values).save(tmp_path / "photos" / f"{index}.png")
    (tmp_path / "photos" / "broken.jpg").write_text("broken")
    code, out, _ = run("resnet18", "--resolution", "64", "--images", "photos", "--samples", "9", "--table", "t.md")
    assert code == 0
    assert out == "figure: erf_resnet18.png\n"
    assert "3 images of photos (1 unreadable .jpg left out)" in (tmp_path / "t.md").read_text()


def test_the_backend_of_a_notebook_is_not_needed(tmp_path):
    code = "from scsc_lab.cli import main; raise SystemExit(main('erf resnet18 --resolution 32 --samples 1'.split()))"
    backend = {**os.environ, "MPLBACKEND": "module://no_such_package.backend_inline"}
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path, env=backend, capture_output=True)
    assert (tmp_path / "erf_resnet18.png").exists()


def test_random_weights_are_those_of_three_seeds_unless_told(run):
    code, out, _ = run("resnet18", "--resolution", "32", "--samples", "6", "-o", "a.png")
    assert code == 0
    flat = " ".join(out.split())
    assert "random weights of 3 seeds" in flat
    assert "95 % intervals are over images, and over initialisations" in flat


def test_methods_and_seeds(run):
    code, out, _ = run("resnet18", *SMALL, "--method", "replknet", "-o", "a.pdf")
    assert code == 0
    assert "RepLKNet's log map" in " ".join(out.split())
    code, out, _ = run("resnet18", *SMALL, "--seeds", "2", "--contribution", "signed", "-o", "a.png")
    assert code == 0
    assert "random weights of 2 seeds; linear map, signed gradients" in " ".join(out.split())
    assert "r(50 %) of each seed" in out


def test_transplant_measures_both(run):
    _, out, _ = run("resnet18", *SMALL, "--transplant", "--rule", "kernels=3,5", "-o", "a.png", "--format", "csv")
    assert [line.split(",")[0] for line in out.splitlines()[1:]] == ["resnet18", '"resnet18 + SCSC[kernels=3']


def test_few_images_have_no_intervals_and_say_so(run):
    code, out, _ = run("resnet18", *SMALL, "-o", "a.png")
    assert code == 0
    assert "resnet18 stage4: no intervals, which take 6 images; there are 2." in " ".join(out.split())
