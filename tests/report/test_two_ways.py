"""Where a report holds the paper's network and a transplant of one backbone, it says why they differ."""

from __future__ import annotations

import pytest

from scsc_lab import metrics
from scsc_lab.report import compose, fields, method, sections

RUN = {"table": "run", "columns": ["macs", "latency", "erf"], "command": "x", "versions": {}}
RUN |= {"machine": {"processor": "CPU", "cores": 2}}


def networks(macs: float) -> list[dict[str, object]]:
    base = {"table": "comparison", "model": "swin", "baseline": "swin", "resolution": [64, 64], "macs": 1e9}
    changes = {"scsc_swin": (-0.26, 0.8), "swin + SCSC": (macs, 0.85)}
    return [base] + [
        {**base, "model": name, "macs_change": change, "ratio": ratio, "ratio_low": ratio, "ratio_high": ratio}
        for name, (change, ratio) in changes.items()
    ]


@pytest.mark.parametrize(("macs", "reason"), [(-0.263, "cost the same MACs"), (-0.4, "networks of different cost")])
def test_both_rows_stand_together_with_the_cause(macs, reason):
    random = [
        {"table": "field", "model": name, "weights": "random", "r50": share, "resolution": [64, 64]}
        for name, share in (("swin", 0.02), ("scsc_swin", 0.24), ("swin + SCSC", 0.018))
    ]
    document = compose.document([RUN, *networks(macs), *random], "name", metrics.columns(), lambda *_: [], None)
    (section,) = [section for section in document.sections if section.title == method.TITLE]
    paragraph, grid = section.blocks
    assert reason in paragraph.text
    assert "r(50%) of 24.0%" in paragraph.text
    assert "At random weights" in paragraph.text
    assert [row["model"] for row in grid.table.rows] == ["scsc_swin", "swin + SCSC"]


def test_one_of_the_two_alone_has_no_such_section():
    assert not method.section(networks(-0.4)[:2], [])
    assert not method.section([*networks(-0.4)[:2], {**networks(-0.4)[2], "resolution": [96, 96]}], [])


def test_the_trained_field_stands_beside_that_at_random_weights():
    rows = [{"model": "a", "weights": "random", "r50": 0.14}, {"model": "a", "weights": fields.TRAINED, "r50": 0.27}]
    assert fields.on_weights(rows).endswith("Training moves r(50%) of a from 14.0% to 27.0%.")
    assert fields.on_weights(rows[:1]).endswith("No trained field is among these rows.")
    assert not fields.on_weights(rows[1:])


def test_fields_that_do_not_differ_have_no_picture(tmp_path):
    row = {"weights": "random", "resolution": [8, 8], "map_file": "none.npz", "stage": "last"}
    row |= dict.fromkeys(("r20", "r30", "r50", "r95", "r99"), 0.5)
    names = ["net", *(f"net + {name}" for name in "abcdefgh")]
    section = sections.fields_section(
        [{**row, "model": name} for name in names],
        [{"model": name, "baseline": "net", "resolution": [8, 8]} for name in names],
        tmp_path,
    )
    text = " ".join(getattr(block, "text", "") for block in section.blocks)
    assert "The 9 fields of net and its variants differ by less than 0.1 points" in text
