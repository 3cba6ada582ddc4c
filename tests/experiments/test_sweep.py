"""Sweeps: one experiment over a setting, exponents and crossings from its rows, and the command."""

from __future__ import annotations

import json

import pytest

from scsc_lab.cli import main
from scsc_lab.errors import InputError
from scsc_lab.experiments import runner, sweep
from scsc_lab.metrics.size import counted
from scsc_lab.networks.network import Network
from scsc_lab.report import sweep as shown
from scsc_lab.report.figures import sweep as figures
from scsc_lab.report.tables import MACS, PARAMS
from scsc_lab.settings import Settings, Timing

PICO = [Network.read("swin_pico"), Network.read("scsc_swin_pico")]
QUICK = Settings(timing=Timing(pairs=2, min_seconds=0, max_seconds=0.05, warm_up_seconds=0))


def rows_of(text, words=("macs",), networks=PICO, settings=QUICK):
    experiment = sweep.experiment(networks, words, sweep.over(text), settings)
    return runner.run([experiment]).results[0].rows


def test_each_value_is_one_group_beside_the_first_network():
    rows = rows_of("resolution=64,128")
    assert [(row["variant"], row["model"], row["baseline"]) for row in rows] == [
        (value, model, "swin_pico") for value in ("64", "128") for model in ("swin_pico", "scsc_swin_pico")
    ]
    assert [row["resolution"] for row in rows] == [[64, 64], [64, 64], [128, 128], [128, 128]]
    assert rows[2]["macs"] > rows[0]["macs"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("batch=1,3", lambda network, value: counted(network, int(value)).macs),
        ("mlp_ratio=2,4", lambda network, value: counted(network.changed({"mlp_ratio": value})).macs),
        ("depth=0.5,1", lambda network, value: counted(sweep.at(network, "depth", value)).macs),
    ],
)
def test_settings_and_keys_are_gone_over(text, expected):
    for row in rows_of(text):
        assert row["macs"] == expected(Network.read(row["model"]), row["variant"])


@pytest.mark.parametrize("name", ["swin_pico", "scsc_swin_pico", "resnet_pico", "scsc_resnet_pico"])
def test_width_and_depth_are_factors_of_the_catalogs_networks(name):
    network = Network.read(name)
    assert sweep.at(network, "width", "1").spec == sweep.at(network, "depth", "1").spec == network.spec
    assert counted(sweep.at(network, "width", "2")).params > 3 * counted(network).params
    assert counted(sweep.at(network, "depth", "2")).params > 1.5 * counted(network).params


def test_times_are_taken_at_the_value():
    rows = rows_of("batch=1,2", ("latency",), PICO[:1])
    assert [(row["variant"], row["batch"]) for row in rows] == [("1", 1), ("2", 2)]
    assert all(row["median_seconds"] > 0 for row in rows)


def made_up(sides=(64, 128, 256, 512), faster_from=150):
    rows = []
    for side in sides:
        names = {"variant": str(side), "baseline": "a"}
        rows.append({**names, "model": "a", "macs": 7 * side**2, "params": 5})
        macs = 7 * side**2 * (side / faster_from) ** -0.5
        rows.append({**names, "model": "b", "macs": macs, "params": 4, "macs_change": macs / (7 * side**2) - 1})
    return rows


def test_exponents_and_crossings_of_known_curves():
    curves = {(curve.model, curve.column.word): curve for curve in shown.curves(made_up(), [MACS, PARAMS])}
    assert curves["a", "macs"].power.exponent == pytest.approx(2)
    assert curves["b", "macs"].power.exponent == pytest.approx(1.5)
    assert curves["a", "params"].power.exponent == pytest.approx(0)
    ((model, baseline, _, crossing),) = shown.crossings(made_up(), [MACS])
    assert (model, baseline, crossing.x) == ("b", "a", pytest.approx(150))
    table = shown.sweep_table(made_up(), [MACS], "resolution", ["note"])
    assert "b has fewer macs than a above resolution 150 px." in table.details[0].notes
    assert any(row.get("exponent") for row in table.raw)


def test_axes_are_logarithmic_where_powers_fit():
    assert figures.draw(made_up(), MACS, "resolution").axes[0].get_yscale() == "log"
    bent = [{**row, "macs": row["macs"] + (10**7 if row["variant"] == "128" else 0)} for row in made_up()]
    assert figures.draw(bent, MACS, "resolution").axes[0].get_yscale() == "linear"
    words = [{**row, "variant": f"k{row['variant']}"} for row in made_up()]
    assert figures.draw(words, MACS, "kernels").axes[0].get_xticklabels()[0].get_text() == "k64"


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ("resolution", "write KEY=VALUES"),
        ("resolution=64", "at least two"),
        ("resolution=64,big", "write a side"),
        ("batch=0,1", "whole numbers from 1 up"),
        ("batch=1,²", "whole numbers from 1 up"),
        ("width=1,1.0", "at least two"),
        ("dtype=float32,float12", "one of float32"),
        ("resolution=512..128:64", "^--over resolution=512..128:64: a range is FIRST..LAST:STEP"),
    ],
)
def test_mistakes_in_what_to_go_over(text, mistake):
    with pytest.raises(InputError, match=mistake):
        sweep.over(text)


def test_the_command_writes_a_table_and_a_figure_per_column(capsys, tmp_path):
    words = "sweep swin_pico scsc_swin_pico --over resolution=64..128:32 --with macs,params --format json --figures"
    assert main([*words.split(), str(tmp_path)]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    exponents = {(row["model"], row["column"]): row["exponent"] for row in rows if "exponent" in row}
    assert 1.5 < exponents["scsc_swin_pico", "MACs"] < 2.5
    assert sorted(path.name for path in tmp_path.iterdir()) == ["macs.png", "params.png"]
