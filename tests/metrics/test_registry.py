"""The registry: a metric is one file, and stands wherever metrics do: tables, ablations, plots, JSON and help."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from scsc_lab import InputError, metrics

METRIC = '''
"""Layers: the modules of a network that hold parameters themselves."""

from scsc_lab.metrics import Metric
from scsc_lab.report.tables import Change, Column


def measure(networks, settings, progress):
    from scsc_lab.models.build import empty

    found = []
    for network in networks:
        progress(f"counting the layers of {network}")
        modules = empty(network).modules()
        found.append({"layers": sum(any(True for _ in one.parameters(recurse=False)) for one in modules)})
    return found


METRIC = Metric(
    name="layers",
    columns=(
        Column(
            "layers",
            "layers (hundreds)",
            word="layers",
            scale=0.01,
            better="higher",
            change=Change(Column("layers_difference", "Δ layers"), "difference"),
        ),
    ),
    measure=measure,
    configure=lambda settings: None,
    notes=lambda rows: ["Layers: modules that hold parameters."],
)
'''


@pytest.fixture
def run(tmp_path):
    """Return what runs the command line with one more file among the metrics."""
    folder = tmp_path / "more"
    folder.mkdir()
    (folder / "layers.py").write_text(METRIC)
    code = (
        "import sys, scsc_lab.metrics as metrics; metrics.__path__.append(sys.argv[1]); "
        "from scsc_lab.cli import main; sys.exit(main(sys.argv[2:]))"
    )

    def run_(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", code, str(folder), *arguments]
        environment = {**os.environ, "COLUMNS": "200"}
        return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment)

    return run_


def test_a_metric_is_one_file(run, tmp_path):
    compared = run("compare", "resnet18", "resnet34", "--with", "layers,macs", "--plot", "macs,layers")
    assert compared.returncode == 0, compared.stderr
    for told in ("layers (hundreds)", "Δ layers", "Layers: modules that hold parameters."):
        assert told in compared.stdout
    assert (tmp_path / "compare_macs_layers.png").read_bytes().startswith(b"\x89PNG")

    rows = json.loads(run("compare", "resnet18", "resnet34", "--with", "layers", "--format", "json").stdout)["rows"]
    assert [row["layers"] for row in rows] == [41, 73]
    assert rows[1]["layers_difference"] == 32

    ablated = run("ablate", "scsc_swin", "--study", "components", "--with", "layers", "--figures", "figures")
    assert ablated.returncode == 0, ablated.stderr
    assert "Δ layers" in ablated.stdout
    assert (tmp_path / "figures" / "ablation_components.png").exists()

    for command in ("compare", "ablate"):
        assert "layers" in run(command, "--help").stdout
    wrong = run("compare", "resnet18", "--with", "layer")
    assert (wrong.returncode, wrong.stderr.count("\n")) == (2, 1)
    assert "did you mean layers" in wrong.stderr


def test_each_file_of_the_folder_is_a_metric_or_nothing():
    registry = metrics.registry()
    assert set(registry) >= {"size", "latency", "erf", "published"}
    words = metrics.column_names()
    assert len(words) == len(set(words))
    for name, metric in registry.items():
        assert metric.name == name
        assert all(column.word and column.heading for column in metric.columns)


def test_registering_costs_no_torch():
    code = "import sys, scsc_lab.metrics as m; m.notes([], m.column_names()); print('torch' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "False"


def test_unknown_words_are_named():
    with pytest.raises(InputError, match=r"unknown column 'mac': one of .*; did you mean macs"):
        metrics.chosen(["mac"])


def test_no_command_and_no_table_names_a_metric():
    """What compares, ablates and draws reads the registry: the keys of no metric stand in its code."""
    package = Path(metrics.__file__).parents[1]
    keys = {column.key for metric in metrics.registry().values() for column in metric.columns}
    for place in ("experiments/compare.py", "report/comparison.py"):
        text = (package / place).read_text()
        named = {key for key in keys - {"params", "macs", "activations", "bytes"} if f'"{key}"' in text}
        assert not named, f"{place} names {named}"
