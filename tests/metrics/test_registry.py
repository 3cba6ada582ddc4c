"""The registry: a metric is one file, and stands wherever metrics do: tables, ablations, plots, JSON and help."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import extended

from scsc_lab import metrics

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


def test_a_metric_is_one_file(tmp_path):
    networks = "resnet18 resnet34 --with layers"
    commands = [
        f"compare {networks},macs --plot macs,layers",
        f"compare {networks} --format json",
        "ablate scsc_swin_pico[depths=1,1,1,1] --study components --with layers --figures figures",
        "compare --help",
        "ablate --help",
        "compare resnet18 --with layer",
    ]
    ends = extended.run("scsc_lab.metrics", "layers.py", METRIC, tmp_path, commands)
    assert [code for code, *_ in ends] == [0, 0, 0, 0, 0, 2], ends
    compared, document, ablated, *helps, _ = (out for _, out, _ in ends)
    for words in ("layers (hundreds)", "Δ layers", "Layers: modules that hold parameters."):
        assert words in compared
    assert (tmp_path / "compare_macs_layers.png").read_bytes().startswith(b"\x89PNG")
    rows = json.loads(document)["rows"]
    assert [row["layers"] for row in rows] == [41, 73]
    assert rows[1]["layers_difference"] == 32
    assert "Δ layers" in ablated
    assert (tmp_path / "figures" / "ablation_components.png").exists()
    assert all("layers" in text for text in helps)
    (complaint,) = ends[-1][2].splitlines()
    assert "did you mean layers" in complaint


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


def test_no_command_and_no_table_names_a_metric():
    """What compares, ablates and draws reads the registry: the keys of no metric stand in its code."""
    package = Path(metrics.__file__).parents[1]
    keys = {column.key for metric in metrics.registry().values() for column in metric.columns}
    for place in ("experiments/compare.py", "report/comparison.py"):
        text = (package / place).read_text()
        named = {key for key in keys - {"params", "macs", "activations", "bytes"} if f'"{key}"' in text}
        assert not named, f"{place} names {named}"
