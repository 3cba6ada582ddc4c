"""Rows as DataFrames: what is cut from one knows the same columns, and says what it lacks."""

from __future__ import annotations

import pickle

import pandas
import pytest

from scsc_lab import InputError
from scsc_lab.report import frames, tables

ROWS = [
    {"model": name, "baseline": "a", "resolution": [8, 8], "params": size, "macs": 2 * size, "params_change": change}
    for name, size, change in (("a", 10**6, None), ("b", 2 * 10**6, 1.0), ("c", 5 * 10**5, -0.5))
]
VARIANTS = [{**row, "study": "width", "variant": row["model"]} for row in ROWS]


def test_a_frame_becomes_latex_and_keeps_what_it_knows():
    frame = frames.Comparison.of(ROWS, (tables.PARAMS, tables.MACS), ("Counted.",))
    text = frame.to_latex(label="tab:x")
    assert r"b & 2.000 (+100.0\%) & 0.004000 \\" in text
    assert r"c & 0.5000 ($-$50.0\%) & 0.001000 \\" in text
    assert "Counted." in text
    fewer = frame[frame["params"] < 1.5e6]
    assert isinstance(fewer, frames.Comparison)
    assert r"c & 0.5000" in fewer.to_latex()
    assert "b &" not in fewer.to_latex()
    assert pickle.loads(pickle.dumps(frame)).to_latex() == frame.to_latex()


def test_a_subset_of_a_frame_is_written_as_pandas_writes_it():
    frame = frames.Comparison.of(ROWS, (tables.PARAMS, tables.MACS))
    plain = pandas.DataFrame({"params": [row["params"] for row in ROWS]})
    assert frame[["params"]].to_latex() == plain.to_latex()
    assert frame[["params"]].to_latex(index=False) == plain.to_latex(index=False)
    assert r"\begin{tabular}" in frame[frame["params"] < 0].to_latex()
    assert frame.groupby("resolution")["params"].max().to_dict() == {(8, 8): 2 * 10**6}


def test_a_frame_draws_two_columns_on_the_axes_given():
    from matplotlib.figure import Figure

    frame = frames.Comparison.of(ROWS, (tables.PARAMS, tables.MACS))
    ax = Figure().subplots()
    assert frame.plot(ax=ax) is ax
    assert (ax.get_xlabel().partition(" (")[0], ax.get_ylabel().partition(" (")[0]) == ("parameters", "MACs")
    assert {text.get_text() for text in ax.texts} >= {"a", "b", "c"}
    with pytest.raises(InputError, match="'latency': not among the columns"):
        frame.plot("latency")
    with pytest.raises(InputError, match="two columns are needed"):
        frames.Comparison.of(ROWS, (tables.PARAMS,)).plot()


def test_changes_of_an_ablation_are_never_against_another_variant():
    from matplotlib.figure import Figure

    frame = frames.Ablation.of(VARIANTS, (tables.PARAMS, tables.MACS))
    ax = frame.plot(ax=Figure().subplots())
    assert [label.get_text() for label in ax.get_yticklabels()] == ["b", "c"]
    assert {text.get_text() for text in ax.texts} == {"+100.0", "−50.0"}
    assert ax.get_xlabel().endswith("(change in %)")
    assert r"c & 0.5000 & $-$50.0\%" in frame.to_latex()
    with pytest.raises(InputError, match="the full network of width is missing"):
        frame.iloc[1:].to_latex()
