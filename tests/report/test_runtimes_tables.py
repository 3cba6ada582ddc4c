"""Networks in each runtime, from rows alone: the table, findings and the figure, in a report and at a terminal."""

from __future__ import annotations

import re

import pytest

from scsc_lab import metrics
from scsc_lab.report import comparison, compose, findings, latency
from scsc_lab.report.document import Grid, Picture
from scsc_lab.report.figures import latency as figures
from scsc_lab.report.figures import style
from scsc_lab.report.render import markdown

TIMES = [metrics.columns()[word] for word in ("latency", "latency_onnxruntime")]


def row(model, baseline, macs, ratio_torch=None, ratio_onnx=None, **more):
    """Return the row of a network that was timed in torch and in ONNX Runtime."""
    timings = []
    for runtime, title, ratio, seconds in (
        ("torch", "torch", ratio_torch, 0.1),
        ("onnxruntime", "ONNX Runtime", ratio_onnx, 0.05),
    ):
        timing = {"runtime": runtime, "runtime_title": title, "status": "complete", "device": "cpu", "batch": 1}
        timing |= {"median_seconds": seconds * (ratio or 1.0), "verdict": ratio and "slower", "delta": 0.02}
        timing |= {f"ratio{end}": ratio and ratio * by for end, by in (("", 1.0), ("_low", 0.97), ("_high", 1.03))}
        if runtime != "torch":
            timing |= {f"torch_ratio{end}": by for end, by in (("", 0.5), ("_low", 0.48), ("_high", 0.53))}
        timing |= {"dtype": "float32", "threads": 1, "mode": "eval", "device_name": "CPU"}
        timings.append({**timing, "memory_format": "contiguous", "memory_format_asked": "auto"})
    own = {"table": "comparison", "model": model, "baseline": baseline, "macs": macs, "resolution": [224, 224]}
    return {**own, "macs_change": None, "params": 10, "params_change": None, **latency.pivoted(timings), **more}


@pytest.fixture
def rows():
    return [
        row("resnet50", "resnet50", 4.0e9),
        row("scsc_resnet50", "resnet50", 4.5e9, 1.5, 1.7),
        row("swin_tiny", "swin_tiny", 4.5e9),
        row("scsc_swin_tiny", "swin_tiny", 3.3e9, 0.78, 0.65),
    ]


@pytest.fixture
def deployed():
    ordinary = {"form": "deploy", "ordinary": "scsc_resnet50", "table": "deploy"}
    return [row("scsc_resnet50 (deploy)", "resnet50", 4.5e9, 1.4, 1.69, **ordinary)]


def document(rows, deployed, folder):
    run = {"table": "run", "command": "scsc-lab report", "seed": 0, "time": "now", "versions": {}, "device": "cpu"}
    run |= {
        "columns": ["macs", "latency", "latency_onnxruntime"],
        "machine": {"processor": "CPU", "cores": 2, "system": "Linux"},
    }
    return compose.document([run, *rows, *deployed], "ours", metrics.columns(), lambda *_: [], folder)


def test_a_report_has_the_table_of_networks_and_runtimes_and_its_figure(rows, deployed, tmp_path):
    found = document(rows, deployed, tmp_path)
    assert "time_against_macs_in_runtimes" in {b.name for b in found.blocks() if isinstance(b, (Grid, Picture))}
    text = re.sub(r" +", " ", markdown.document(found))
    section = text.partition("## In each runtime")[2].partition("\n## ")[0]
    assert "| scsc_resnet50 (deploy) | ONNX Runtime | 84.50 | 1.690 (1.639–1.741) | 0.500 (0.480–0.530) |" in section
    assert "| swin_tiny | ONNX Runtime | 50.00 | | 0.500 (0.480–0.530) |" in section
    assert "within ±2 % of 1" in section
    networks = text.partition("## Networks, side by side")[2].partition("\n## ")[0]
    assert "time ×, 95%" in networks
    assert "ONNX Runtime" not in networks
    assert "(deploy)" not in networks


def test_rows_of_torch_alone_have_no_such_section(rows, tmp_path):
    old = [{key: value for key, value in one.items() if "onnxruntime" not in key and key != "runtimes"} for one in rows]
    assert "In each runtime" not in markdown.document(document(old, [], tmp_path))


def test_findings_ask_whether_it_is_faster_there(rows):
    found = {one["question"]: one for one in findings.findings_table([], rows, TIMES).rows}
    asked = found["scsc_swin_tiny: is it faster in ONNX Runtime?"]
    assert (asked["answer"], asked["evidence"]) == ("yes", "In each runtime")
    assert asked["figure"] == "0.650 × (0.630–0.670); 50.00 → 32.50 ms"
    assert found["scsc_resnet50: is it faster in ONNX Runtime?"]["answer"] == "no"
    same = [{**one, "onnxruntime_verdict": "same"} for one in rows]
    found = {one["question"]: one["answer"] for one in findings.findings_table([], same, TIMES).rows}
    assert found["scsc_swin_tiny: is it faster in ONNX Runtime?"] == "no difference"
    assert found["scsc_swin_tiny: is it faster?"] == "yes"


def test_a_terminal_has_a_row_per_network_and_runtime(rows):
    table = comparison.comparison_table(rows, [metrics.columns()["macs"], *TIMES], ["Note."])
    assert [column.heading for column in table.columns] == ["model", "MACs (G)", "time (ms)"]
    assert table.raw == tuple(rows)
    times = table.details[-1]
    headings = ["model", "runtime", "median (ms)", "× baseline, 95 %", "× torch, 95 %", "verdict"]
    assert [column.heading for column in times.columns] == headings
    assert times.cells()[3][1:5] == ["ONNX Runtime", "85.00", "1.700 (1.649–1.751)", "0.500 (0.480–0.530)"]
    assert times.notes == ("Note.",)
    only_elsewhere = [{key: value for key, value in one.items() if key != "median_seconds"} for one in rows]
    assert comparison.comparison_table(only_elsewhere, TIMES).title == "In each runtime"


def test_the_figure_has_a_mark_per_runtime_and_names_each_network_once(rows, deployed):
    drawn = figures.draw_ratios(latency.timings_of([*rows[:2], *deployed, *rows[2:]]))
    (axis,) = drawn.axes
    assert [text.get_text() for text in axis.texts] == ["scsc_resnet50", "scsc_swin_tiny"]
    assert [text.get_text() for text in drawn.legends[0].texts] == ["torch", "ONNX Runtime", "deploy form"]
    marks = [line for line in axis.lines if line.get_marker() not in ("", "None", None) and len(line.get_xdata())]
    assert {(round(float(line.get_xdata()[0]), 3), line.get_ydata()[0]) for line in marks} == {
        (1.125, 1.5), (1.125, 1.7), (1.125, 1.4), (1.125, 1.69), (0.733, 0.78), (0.733, 0.65),
    }  # fmt: skip
    assert len({line.get_marker() for line in marks}) == 2
    assert axis.get_xlim() == axis.get_ylim()
    assert drawn.get_figwidth() == style.COLUMN_INCHES
    drawn.canvas.draw()
    boxes = [text.get_window_extent() for text in axis.texts]
    assert not boxes[0].overlaps(boxes[1])
    assert all(drawn.bbox.x0 <= box.x0 and box.x1 <= drawn.bbox.x1 for box in boxes)


@pytest.mark.parametrize("lacking", [{"macs": None}, {"ratio": None, "onnxruntime_ratio": None}])
def test_what_lacks_a_ratio_is_not_drawn(rows, lacking):
    timings = latency.timings_of([rows[0], {**rows[1], **lacking}])
    assert figures.points(timings) == []
