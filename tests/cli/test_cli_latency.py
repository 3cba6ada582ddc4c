"""``scsc-lab latency``: what it prints, writes and refuses. Nothing is asserted about how long anything takes."""

from __future__ import annotations

import csv
import io
import json
import sys

import pytest
from onnx import TensorProto, helper

import scsc_lab
from scsc_lab import runtimes
from scsc_lab.cli import main
from scsc_lab.metrics import latency_notes
from scsc_lab.report.figures import latency as figure
from scsc_lab.report.latency import table as table_of
from scsc_lab.report.latency import title
from scsc_lab.settings import Settings, Timing

SHAPE = ("--resolution", "32", "--device", "cpu")
QUICK = (*SHAPE, "--pairs", "6", "--min-time", "0", "--max-time", "60", "--warm-up", "0.01")
NETWORKS = ("resnet_pico[depths=1,1,1,1]", "scsc_swin_pico[depths=1,1,1,1]")
WITHOUT = "swin_pico[depths=1,1,1,1]"
"""A network without a deploy form."""


@pytest.fixture
def run(capsys):
    def _run(*arguments):
        code = main(["latency", *arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return _run


def flat(text):
    return " ".join(text.split())


def test_two_networks_give_two_tables_with_settings_below(run):
    code, out, err = run(WITHOUT, NETWORKS[1], *QUICK)
    assert (code, err) == (0, "")
    assert out.startswith("cpu, 1 thread, float32, eager, batch 1, 32×32\n")
    assert f"Against {WITHOUT}" in out
    for words in (
        "median (ms)", "images/s", "peak (MB)", "samples", "Δ MACs", "Δ time", "95 % interval", "verdict",
        "bootstrap, 5,000 resamples", "within ±2 % of 1", "perf_counter_ns", "Warm-up", "torch", "p99 need 64, 130",
    ):  # fmt: skip
        assert words in flat(out)


def test_json_carries_samples_settings_and_comparison(run, tmp_path):
    file, plot = tmp_path / "latency.json", tmp_path / "latency.png"
    code, out, err = run(*NETWORKS, *QUICK, "--batch-sizes", "1,2", "--seed", "7", "-o", str(file), "--plot", str(plot))
    assert (code, out, err) == (0, "", f"figure: {plot}\n")
    document = json.loads(file.read_text())
    rows = document["rows"]
    assert [(row["batch"], bool(row["baseline"])) for row in rows] == [(1, False), (1, True), (2, False), (2, True)]
    for row in rows:
        assert row["median_seconds"] > 0
        assert row["iqr_seconds"] >= 0
        assert len(row["samples_seconds"]) == row["samples"] == 6
        assert (row["seed"], row["threads"], row["dtype"], row["device"]) == (7, 1, "float32", "cpu")
    assert rows[1]["ratio_low"] <= rows[1]["ratio"] <= rows[1]["ratio_high"]
    assert rows[1]["verdict"] in ("faster", "slower", "same", "inconclusive", "withheld")
    assert rows[1]["macs_ratio"] == pytest.approx(rows[1]["macs"] / rows[0]["macs"])
    assert (document["run"]["device"], document["run"]["seed"]) == ("cpu", 7)
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_csv_and_markdown_and_latex(run):
    code, out, _ = run(NETWORKS[0], *QUICK, "--format", "csv")
    assert code == 0
    [row] = csv.DictReader(io.StringIO(out))
    assert float(row["median_seconds"]) > 0
    assert len(json.loads(row["samples_seconds"])) == 6
    for name in ("markdown", "latex"):
        assert "median" in run(NETWORKS[0], *QUICK, "--format", name)[1]


def test_self_test_prints_the_noise_floor(run):
    code, out, _ = run(NETWORKS[0], *QUICK, "--self-test")
    assert code == 0
    assert "(again)" in out
    assert f"Noise floor of this machine, {NETWORKS[0]} at batch 1 against itself in 6 pairs: ±" in flat(out)
    assert "not known: too few pairs" in flat(run(NETWORKS[0], *QUICK, "--self-test", "--pairs", "3")[1])


def test_several_runtimes_have_tables_of_their_own_and_rows_that_say_which(run, tmp_path):
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    pytest.importorskip("onnxscript", reason="onnxscript is not installed")
    file = tmp_path / "rows.json"
    nets = (NETWORKS[0], "resnet_pico[depths=2,1,1,1]")
    code, out, err = run(*nets, *QUICK, "--runtime", "torch,onnxruntime", "-o", str(file))
    assert (code, out, err) == (0, "", "")
    rows = json.loads(file.read_text())["rows"]
    assert [row["runtime"] for row in rows] == ["torch"] * 2 + ["onnxruntime"] * 2
    assert [row["baseline"] for row in rows] == ["", nets[0]] * 2
    settings = Settings(timing=Timing(runtimes=("torch", "onnxruntime")))
    table = table_of(rows, latency_notes.detailed_notes(rows, settings))
    assert [detail.title for detail in table.details] == [
        f"Against {nets[0]}, in the same runtime",
        "Against the same in torch",
    ]
    assert {"runtime", "set-up (s)"} <= {column.heading for column in table.columns}
    notes = " ".join(table.details[-1].notes)
    for words in (
        "ONNX Runtime 1.",
        "provider CPUExecutionProvider",
        "Set-up: from the network",
        "compared with torch",
    ):
        assert words in notes
    assert title(rows).startswith("cpu, 1 thread, float32, torch and ONNX Runtime, batch 1")
    code, out, _ = run(nets[0], *QUICK, "--runtime", "onnxruntime", "--by", "operator")
    assert code == 0
    assert "Operators are the runtime's own, after its fusions" in flat(out)
    assert "MACs" not in out.partition("\n\n")[0]


@pytest.mark.parametrize("by", ["module", "stage"])
def test_breakdown(run, by):
    code, out, _ = run(NETWORKS[1], *QUICK, "--by", by, "--format", "json")
    rows = {row["name"]: row for row in json.loads(out)["rows"]}
    assert code == 0
    assert {"unexplained", "total", "layers.0" if by == "module" else "stage1"} <= set(rows)
    parts = [row for name, row in rows.items() if name != "total"]
    assert sum(row["median_seconds"] for row in parts) == pytest.approx(rows["total"]["median_seconds"])
    assert sum(row["macs"] for row in parts) == rows["total"]["macs"]
    assert sum(row["macs_share"] for row in parts) == pytest.approx(1)


def test_a_transplant_stands_behind_its_network(run):
    _, out, _ = run(NETWORKS[0], *QUICK, "--transplant", "--rule", "stages=4", "--format", "json")
    assert [row["model"] for row in json.loads(out)["rows"]] == [NETWORKS[0], f"{NETWORKS[0]} + SCSC[stages=4]"]


def test_settings_reach_the_rows(run):
    assert (Timing(max_seconds=0.5).least_seconds, Timing(max_seconds=0.5).warm_up_limit) == (0.5, 0.5)
    code, out, _ = run(
        NETWORKS[0], *QUICK, "--dtype", "float64", "--memory-format", "channels_last", "--threads", "2",
        "--train", "--batch-sizes", "2", "--resolution", "64", "--format", "json",
    )  # fmt: skip
    [row] = json.loads(out)["rows"]
    assert code == 0
    assert (row["dtype"], row["memory_format"], row["threads"], row["mode"], row["batch"], row["resolution"]) == (
        "float64", "channels_last", 2, "train", 2, [64, 64],
    )  # fmt: skip
    counted = scsc_lab.count(NETWORKS[0], 64, batch=2, train=True)
    assert (row["macs"], counted.backward_macs > 0) == (counted.macs, True)


def test_an_onnx_file_alone_was_compared_with_nothing(run, tmp_path):
    image, scores = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3, 32, 32]) for name in ("x", "y"))
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [image], [scores])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    (tmp_path / "net.onnx").write_bytes(model.SerializeToString())
    code, out, _ = run(str(tmp_path / "net.onnx"), *QUICK, "--runtime", "onnxruntime")
    assert code == 0
    assert "Set-up: from the network" in out
    assert "compared with torch" not in " ".join(out.split())


def test_a_network_of_your_own_file(run, tmp_path):
    file = tmp_path / "own.py"
    file.write_text("from torch import nn\ndef net():\n    return nn.Sequential(nn.Conv2d(4, 8, 3), nn.ReLU())\n")
    code, out, _ = run(f"{file}:net", *QUICK, "--channels", "4", "--format", "json")
    [row] = json.loads(out)["rows"]
    assert (code, row["macs"]) == (0, 30 * 30 * 8 * 4 * 9)
    assert row["repeats"] >= 1


def test_each_deploy_form_is_compared_with_its_own_ordinary_form(run):
    code, out, err = run(WITHOUT, *QUICK, "--deploy")
    assert (code, out) == (2, "")
    assert err.startswith(f"scsc-lab: {WITHOUT} (deploy): Swin has no deploy form")
    code, out, _ = run(WITHOUT, *NETWORKS, *QUICK, "--deploy", "--format", "json")
    rows = json.loads(out)["rows"]
    assert code == 0
    deployed = [f"{name} (deploy)" for name in NETWORKS]
    assert [row["model"] for row in rows] == [WITHOUT, NETWORKS[0], deployed[0], NETWORKS[1], deployed[1]]
    assert [row["form"] for row in rows] == ["ordinary", "ordinary", "deploy", "ordinary", "deploy"]
    assert [row["ordinary"] for row in rows] == ["", "", NETWORKS[0], "", NETWORKS[1]]
    assert rows[4]["ordinary_ratio_low"] <= rows[4]["ordinary_ratio"] <= rows[4]["ordinary_ratio_high"]
    assert rows[4]["macs"] == rows[3]["macs"]  # the definition's
    assert rows[4]["macs_ratio"] == rows[4]["macs"] / rows[0]["macs"]
    table = table_of(rows)
    assert "to ordinary" in [column.heading for part in (table, *table.details) for column in part.columns]
    assert {row["memory_format_asked"] for row in rows} == {"auto"}
    assert {row["memory_format"] for row in rows} <= {"contiguous", "channels_last"}


def row(**changes):
    """Return a row as the study makes it, of a measurement in which much went wrong."""
    found = {
        "model": "a", "batch": 1, "resolution": [32, 32], "device": "cpu", "device_name": "CPU", "processor": "CPU",
        "threads": 2, "dtype": "float32", "memory_format": "contiguous", "compile": False, "mode": "eval",
        "clock": "perf_counter_ns", "versions": {"torch": "2"}, "status": "complete", "baseline": "", "ratio": None,
        "ratio_low": None, "ratio_high": None, "verdict": None, "samples": 20, "drift": True, "drift_change": 0.1,
        "samples_seconds": [0.001 * n for n in range(1, 21)], "median_seconds": 0.0105,
        "outliers": [3], "repeats": 5, "warm_up_runs": 4, "warm_up_seconds": 1.0, "warm_up_settled": False,
        "peak_memory_method": "", "spread": 1.1, "load": 0.5, "cores": 2, "ordinary": "",
        "memory_format_asked": "contiguous", "torch_ratio": None, "runtime": "torch", "runtime_title": "torch",
    }  # fmt: skip
    return {**found, **changes}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "DRIFT: a changed by +10.0% from the first third of its samples to the last"),
        ({}, "Outliers, kept: 1 of 20 (a), 1 of 20 (b)."),
        ({}, "each sample repeats all of them: 5 times at batch 1."),
        ({}, "NOT SETTLED in the time limit: a, b"),
        ({"status": "cut short"}, "CUT SHORT"),
        ({"status": "out of memory", "warm_up_runs": 0, "samples": 0}, "Out of memory: not measured"),
        ({"spread": 1.25}, "BUSY MACHINE: a median is 1.25 times the fastest sample. Times"),
        ({"load": 3.17}, "BUSY MACHINE: the load is 3.2 on 2 cores. Times"),
        ({"spread": 1.5, "load": 9.0}, "BUSY MACHINE: a median is 1.50 times the fastest sample and the load is 9.0"),
        (
            {"memory_format_asked": "auto", "memory_format": "channels_last"},
            "tried by turns: contiguous a; channels-last b.",
        ),
    ],
)
def test_notes_say_what_is_odd(changes, words):
    rows = [row(memory_format_asked=changes.get("memory_format_asked", "contiguous")), row(model="b", **changes)]
    text = " ".join(latency_notes.detailed_notes(rows, Settings()))
    assert words in text
    assert ("BUSY" in text) == bool({"spread", "load"} & changes.keys())
    assert ("Layout" in text) == ("memory_format" in changes)


def test_notes_and_titles_of_one_network():
    text = " ".join(latency_notes.detailed_notes([row(warm_up_runs=0, spread=None, load=None)], Settings()))
    assert "Nothing was warmed up" in text
    assert "BUSY" not in text
    assert title([row(runtime="compile", runtime_title="torch.compile", mode="train", device="cuda:0")]) == (
        "cuda:0, float32, compiled, forward and backward, batch 1, 32×32"
    )


def test_notes_say_which_parts_are_not_steady():
    parts = [row(name="stage1", iqr_seconds=0.3, median_seconds=0.2), row(name="stage2", iqr_seconds=0.1)]
    parts[1]["median_seconds"] = 0.2
    parts += [row(name="unexplained", iqr_seconds=None, median_seconds=-0.1), row(name="total", iqr_seconds=9.0)]
    text = " ".join(latency_notes.detailed_notes(parts, Settings(), parts=True))
    assert "NOT STEADY: parts whose interquartile range exceeds their median: stage1 (a). Other" in text


def test_the_figure_has_a_strip_a_network_and_batch_size_with_a_caption():
    rows = [row(), row(model="b" * 50, ratio=1.4, ratio_low=1.39, ratio_high=1.41, baseline="a")]
    rows += [row(batch=8, samples_seconds=[], median_seconds=None, status="out of memory")]
    drawn = figure.draw(rows)
    (axis,) = drawn.axes
    captions = [text.get_text() for text in axis.texts]
    assert captions == ["10.50 ms", "10.50 ms: 1.400 × a (1.390–1.410)", "out of memory"]
    names = [label.get_text() for label in axis.get_yticklabels()]
    assert [name.splitlines()[-1] for name in names] == ["batch 1", "batch 1", "batch 8"]
    drawn.canvas.draw()
    for axis in drawn.axes:
        boxes = [text.get_window_extent() for text in axis.texts]
        assert all(not a.overlaps(b) for a in boxes for b in boxes if a is not b)
        assert all(box.x1 <= drawn.bbox.x1 for box in boxes)


def test_a_narrow_terminal_leaves_out_optional_columns_before_it_folds_numbers(monkeypatch, capsys):
    from scsc_lab.report.render import print_table

    measured = {"iqr_seconds": 0.001, "p90_seconds": None, "images_per_second": 95.2, "peak_memory_bytes": 10**8}
    rows = [row(**measured, macs=10**9), row(**measured, macs=10**9, batch=60_000, status="out of memory")]
    table = table_of(rows)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    for width, there in (("120", True), ("68", False)):
        monkeypatch.setenv("COLUMNS", width)
        print_table(table, sys.stdout)
        out = capsys.readouterr().out
        assert ("images/s" in out) is there
        assert "out of memory" in out
        assert "median (ms)" in out


def test_an_interrupt_prints_what_there_is_and_exits_with_130(run, monkeypatch):
    from scsc_lab.timing.rounds import Clock

    passes = []

    def interrupted(clock, run, repeats=1):
        passes.append(1)
        if len(passes) == 40:
            raise KeyboardInterrupt
        run()
        return 0.01 + 0.001 * (len(passes) % 3)

    monkeypatch.setattr(Clock, "time", interrupted)
    given = (*SHAPE, "--memory-format", "contiguous")
    code, out, _ = run(*NETWORKS, *given, "--pairs", "500", "--batch-sizes", "1,2")
    assert code == 130
    assert "CUT SHORT: interrupted; these are the rounds that were complete." in flat(out)
    assert "cut short" in out
    passes[:] = [1] * 8
    monkeypatch.setattr("scsc_lab.timing.ready._checked", lambda *_: 0.0)
    both = ("--runtime", "torch,onnxruntime", "--pairs", "500", "--format", "json")
    if runtimes.registry()["onnxruntime"].installed:  # what was measured in each of them is kept
        code, out, _ = run(NETWORKS[0], *given, *both)
        rows = json.loads(out)["rows"]
        assert (code, {row["status"] for row in rows}) == (130, {"cut short"})
        assert [row["samples"] > 0 for row in rows] == [True, True]
        assert len(rows[0]["samples_seconds"]) == len(rows[1]["samples_seconds"])
        assert rows[1]["torch_ratio"] > 0
    passes[:] = [1] * 38
    monkeypatch.setattr(Clock, "time", interrupted)
    assert main(["latency", NETWORKS[0], *given]) == 130
