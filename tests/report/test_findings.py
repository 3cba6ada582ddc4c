"""Findings about many networks against one baseline: a row a question, and every answer below."""

from __future__ import annotations

import pytest

from scsc_lab import metrics
from scsc_lab.report import compose, findings
from scsc_lab.report.document import Details, Grid, Picture
from scsc_lab.settings import Drawing


def rows(others):
    """Return a report's rows: networks against one, of fewer and fewer MACs, the last ones slower."""
    usual = {"table": "comparison", "resolution": [64, 64], "batch": 1, "baseline": "net", "model": "net"}
    usual |= {"macs": 100, "median_seconds": 0.01}
    run = {"table": "run", "columns": sorted(metrics.columns()), "command": "x", "seed": 0, "time": "now"}
    found = [
        {**run, "versions": {}, "device": "cpu", "machine": {"processor": "CPU", "cores": 2, "system": "Linux"}},
        usual,
    ]
    for at in range(others):
        ratio = 0.5 + 0.25 * at
        ends = {"ratio": ratio, "ratio_low": ratio - 0.05, "ratio_high": ratio + 0.05}
        own = {"model": f"net + m{at}", "macs": 90 - at, "macs_change": -0.1 - at / 100}
        found.append({**usual, **own, **ends, "verdict": "same" if ratio == 1 else "other"})
    return found


def said(others, tmp_path):
    made = compose.document(rows(others), "x", metrics.columns(), lambda *_: [], tmp_path)
    return made.sections[0].blocks[0].blocks


def test_many_against_one_have_one_row_a_question_and_every_answer_below(tmp_path):
    grid, folded = said(5, tmp_path)
    assert isinstance(grid, Grid)
    assert isinstance(folded, Details)
    by_question = {row["question"]: (row["answer"], row["figure"]) for row in grid.table.rows}
    assert by_question == {
        "each of 5 against net: does it cost fewer MACs?": ("yes 5", "m4 −14.0% … m0 −10.0%"),
        "each of 5 against net: is it faster?": (
            "yes 2, no 2, no difference 1",
            "m0 0.500 × (0.450–0.550) … m4 1.500 × (1.450–1.550)",
        ),
    }
    (every,) = folded.blocks
    assert isinstance(every, Grid)
    assert len(every.table.rows) == 10
    answers = [row["answer"] for row in every.table.rows if row["question"].endswith("faster?")]
    assert answers == ["yes", "yes", "no difference", "no", "no"]
    assert len({every.name, grid.name}) == 2


def test_one_of_many_that_has_a_number_has_its_own_row(tmp_path):
    timed = ("ratio", "ratio_low", "ratio_high")
    given = [
        {key: value for key, value in row.items() if key not in timed or row["model"] == "net + m0"} for row in rows(5)
    ]
    made = compose.document(given, "x", metrics.columns(), lambda *_: [], tmp_path)
    asked = {row["question"]: row["answer"] for row in made.sections[0].blocks[0].blocks[0].table.rows}
    assert asked == {"each of 5 against net: does it cost fewer MACs?": "yes 5", "net + m0: is it faster?": "yes"}


def test_an_interval_of_next_to_nothing_is_no_difference(tmp_path):
    column, change = metrics.columns()["erf"], metrics.columns()["erf"].change
    keys = change.column.key
    for ends, answer in (
        ((0.0, 0.0, 0.0), "no difference"),
        ((0.0, -0.1, 0.1), "inconclusive"),
        ((0.2, 0.1, 0.3), "larger"),
        ((-0.2, -0.3, -0.1), "smaller"),
    ):
        pair = [{"model": "a", "baseline": "a", "r50": 0.2}, {"model": "b", "baseline": "a", "r50": 0.2}]
        pair[1] |= dict(zip(keys, ends, strict=True))
        (found,) = findings.findings_table((), pair, [column]).rows
        assert found["answer"] == answer


@pytest.mark.parametrize(("change", "panels"), [(1e-8, 0), (0.05, 1)])
def test_a_forest_has_a_panel_only_for_what_differs(change, panels, tmp_path):
    keys = metrics.columns()["erf"].change.column.key
    given = [
        {**row, "r50": 0.2, **dict.fromkeys(keys, change if row["model"] == "net + m0" else 0.0)}
        if "model" in row
        else row
        for row in rows(5)
    ]
    made = compose.document(given, "x", metrics.columns(), lambda *_: [], tmp_path)
    (forest,) = (block for block in made.blocks() if isinstance(block, Picture) and block.name == "changes_of_net")
    labels = [axis.get_xlabel() for axis in forest.draw(Drawing()).axes]
    assert sum(label.startswith("r(50%)") for label in labels) == panels


@pytest.mark.parametrize("others", [1, 3])
def test_few_have_a_row_each(others, tmp_path):
    (grid,) = said(others, tmp_path)
    assert isinstance(grid, Grid)
    assert len(grid.table.rows) == 2 * others


@pytest.mark.parametrize(("seeds", "moment"), [(1, " at this initialisation"), (3, "")])
def test_a_field_of_one_draw_is_asked_about_for_that_draw_alone(seeds, moment):
    column = metrics.columns()["erf"]
    base = {"model": "a", "baseline": "a", "resolution": [64, 64], "weights": "random", "initialisations": seeds}
    change = {"r50_difference": 0.1, "r50_difference_low": 0.05, "r50_difference_high": 0.15}
    pair = [{**base, "r50": 0.1}, {**base, **change, "model": "b", "r50": 0.2}]
    (row,) = findings.findings_table([], pair, [column]).rows
    assert row["question"] == f"b: how does its receptive field change{moment}?"
