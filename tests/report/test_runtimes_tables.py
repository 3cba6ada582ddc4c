"""Networks in each runtime, from rows alone: tables, findings and the figure, in a report and at a terminal."""

from __future__ import annotations

import re

import pytest

from scsc_lab import metrics
from scsc_lab.report import comparison, compose, findings
from scsc_lab.report.document import Grid, Picture
from scsc_lab.report.figures import ratios, style
from scsc_lab.report.render import markdown

SERIES = [column for column in metrics.columns().values() if column.series in ("torch", "ONNX Runtime")]
NAMES = ("resnet50", "scsc_resnet50", "swin_tiny", "scsc_swin_tiny")


def row(model, baseline, macs, ratio_torch=None, ratio_onnx=None, **more):
    """Return a row as the metric makes it, of a network timed in torch and in ONNX Runtime."""
    found = {"table": "comparison", "model": model, "baseline": baseline, "macs": macs, "resolution": [224, 224]}
    found |= {"runtimes": ["torch", "onnxruntime"], "macs_change": None, "params": 10, "params_change": None}
    for prefix, ratio, seconds in (("", ratio_torch, 0.1), ("onnxruntime_", ratio_onnx, 0.05)):
        found |= {f"{prefix}median_seconds": seconds * (ratio or 1.0), f"{prefix}verdict": ratio and "slower"}
        found |= {
            f"{prefix}ratio{end}": ratio and ratio * by for end, by in (("", 1.0), ("_low", 0.97), ("_high", 1.03))
        }
    found |= {f"onnxruntime_torch_ratio{end}": by for end, by in (("", 0.5), ("_low", 0.48), ("_high", 0.53))}
    return {**found, **more}


@pytest.fixture
def rows():
    return [
        row("resnet50", "resnet50", 4.0e9),
        row("scsc_resnet50", "resnet50", 4.5e9, 1.5, 1.7),
        row("swin_tiny", "swin_tiny", 4.5e9),
        row("scsc_swin_tiny", "swin_tiny", 3.3e9, 0.78, 0.65),
    ]


@pytest.fixture
def fused():
    ordinary = {"form": "deploy", "ordinary": "scsc_resnet50", "table": "deploy"}
    return [row("scsc_resnet50 (deploy)", "resnet50", 4.5e9, 1.4, 1.69, **ordinary)]


def document(rows, fused, folder):
    run = {"table": "run", "command": "scsc-lab report", "seed": 0, "time": "now", "versions": {}, "device": "cpu"}
    run |= {"machine": {"processor": "CPU", "cores": 2, "system": "Linux"}}
    return compose.document([run, *rows, *fused], "ours", metrics.columns(), lambda *_: [], folder)


def test_a_report_has_the_table_of_networks_and_runtimes_and_its_figure(rows, fused, tmp_path):
    found = document(rows, fused, tmp_path)
    blocks = {block.name: block for block in found.blocks() if isinstance(block, (Grid, Picture))}
    assert "time_over_macs_in_runtimes" in blocks
    text = re.sub(r" +", " ", markdown.document(found))
    section = text.partition("## In each runtime")[2].partition("\n## ")[0]
    assert "| model | torch (ms) | ×, 95% | ONNX Runtime (ms) | ×, 95% |" in section
    assert "| scsc_resnet50 (deploy) | 140.0 | 1.400 (1.358–1.442) | 84.50 | 1.690 (1.639–1.741) |" in section
    assert "| swin_tiny | 0.500 (0.480–0.530) |" in section
    assert "Time over that of the same network in torch" in section
    networks = text.partition("## Networks, side by side")[2].partition("\n## ")[0]
    assert "time ×, 95%" in networks
    assert "ONNX Runtime (ms)" not in networks
    assert "(deploy)" not in networks


def test_rows_of_torch_alone_have_no_such_section(rows, tmp_path):
    old = [{key: value for key, value in one.items() if "onnxruntime" not in key and key != "runtimes"} for one in rows]
    assert "In each runtime" not in markdown.document(document(old, [], tmp_path))


def test_findings_ask_whether_it_is_faster_there(rows):
    found = {one["question"]: one for one in findings.findings_table([], rows, SERIES).rows}
    asked = found["scsc_swin_tiny: is it faster in ONNX Runtime?"]
    assert (asked["answer"], asked["evidence"]) == ("yes", "In each runtime")
    assert asked["figure"] == "0.650 × (0.630–0.670); 50.00 → 32.50 ms"
    assert found["scsc_resnet50: is it faster in ONNX Runtime?"]["answer"] == "no"
    same = [{**one, "onnxruntime_verdict": "same"} for one in rows]
    found = {one["question"]: one["answer"] for one in findings.findings_table([], same, SERIES).rows}
    assert found["scsc_swin_tiny: is it faster in ONNX Runtime?"] == "no difference"
    assert found["scsc_swin_tiny: is it faster?"] == "yes"


def test_a_terminal_has_a_row_a_network_and_runtime(rows):
    table = comparison.comparison_table(rows, [metrics.columns()["macs"], *SERIES], ["Note."])
    assert [column.heading for column in table.columns] == ["model", "MACs (G)", "time (ms)"]
    last = table.details[-1]
    assert [column.heading for column in last.columns] == ["model", "in", "ms", "× baseline, 95%", "× torch, 95%"]
    assert last.cells()[3] == ["scsc_resnet50", "ONNX Runtime", "85.00", "1.700 (1.649–1.751)", "0.500 (0.480–0.530)"]
    assert last.notes == ("Note.",)
    assert table.raw == tuple(rows)
    alone = comparison.comparison_table(
        [{key: value for key, value in one.items() if key != "median_seconds"} for one in rows], SERIES
    )
    assert alone.title == "Input 224×224, In each runtime"


def test_the_figure_has_a_mark_a_runtime_and_names_what_it_names_once(rows, fused):
    networks = [*rows[:2], *fused, *rows[2:]]
    drawn = ratios.draw(networks, SERIES)
    (axis,) = drawn.axes
    assert [text.get_text() for text in axis.texts] == ["scsc_resnet50", "scsc_swin_tiny"]
    assert [text.get_text() for text in drawn.legends[0].texts] == ["torch", "ONNX Runtime", "deploy form"]
    marks = [line for line in axis.lines if line.get_marker() not in ("", "None", None) and len(line.get_xdata())]
    assert [(round(float(line.get_xdata()[0]), 3), line.get_ydata()[0]) for line in marks] == [
        (1.125, 1.5), (1.125, 1.7), (1.125, 1.4), (1.125, 1.69), (0.733, 0.78), (0.733, 0.65),
    ]  # fmt: skip
    assert len({line.get_marker() for line in marks}) == 2
    assert axis.get_xlim() == axis.get_ylim()
    assert drawn.get_figwidth() == style.COLUMN_INCHES
    drawn.canvas.draw()
    boxes = [text.get_window_extent() for text in axis.texts]
    assert not boxes[0].overlaps(boxes[1])
    assert all(drawn.bbox.x0 <= box.x0 and box.x1 <= drawn.bbox.x1 for box in boxes)


@pytest.mark.parametrize("lacking", [{"macs": None}, {"ratio": None, "onnxruntime_ratio": None}])
def test_what_lacks_a_ratio_is_not_drawn(rows, lacking):
    changed = [rows[0], {**rows[1], **lacking}]
    assert ratios.points(changed[1], changed, SERIES) == []
