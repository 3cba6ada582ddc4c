"""The page: one file that holds all, in which what is data stays text. No browser is needed here."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from scsc_lab import metrics
from scsc_lab.analysis.field import Field, Setting
from scsc_lab.errors import InputError
from scsc_lab.report import comparison, tables
from scsc_lab.report.document import Bullets, Curves, Details, Document, Grid, Line, Maps, Paragraph, Picture, Section
from scsc_lab.report.render import html, plots

HOSTILE = "<script>alert(1)</script>\"'\n{{ 7*7 }} &amp; </script><!-- $x$ %{x}"
MILLION = 1_000_000
PNG = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII=")
"""A picture of one pixel."""

pytest.importorskip("jinja2", reason="the extra html is not installed")
pytest.importorskip("plotly", reason="the extra html is not installed")


def network(name: str, baseline: str, params: int, seconds: float | None = None, size: int = 224) -> dict[str, object]:
    row = {"table": "comparison", "model": name, "baseline": baseline, "resolution": [size, size], "params": params}
    row |= {"macs": 50 * params, "params_change": None, "macs_change": None, "threads": 1, "batch": 1}
    if seconds is not None:
        samples = [seconds * factor for factor in (0.9, 1.0, 1.0, 1.1)]
        row |= {"median_seconds": seconds, "samples_seconds": samples, "ratio": None, "dtype": "float32"}
        row |= {"device": "cpu", "device_name": "a processor", "compile": False, "verdict": None, "mode": "eval"}
    return row


def rows() -> list[dict[str, object]]:
    found = [
        network("plain", "plain", 20 * MILLION, 0.2),
        network(HOSTILE, "plain", 30 * MILLION, 0.1),
        network("third", "plain", 10 * MILLION, 0.4),
        network("small input", "small input", 5 * MILLION, size=96),
    ]
    for row in found[1:3]:
        row |= {"params_change": row["params"] / found[0]["params"] - 1, "ratio": 1.5, "ratio_low": 1.4}
        row |= {"macs_change": row["params_change"], "ratio_high": 1.6}
    return found


def field(model: str, weights: str, width: float) -> Field:
    setting = Setting(
        model, "stage4", "layer4", (32, 32), (15.5, 15.5), "linear", "abs", 1, "synthetic 1/f images",
        0, weights, 1, 0, 1, False, None, "nchw", (1, 1), None, False,
    )  # fmt: skip
    away = np.abs(np.indices((32, 32)) - 15.5).max(axis=0)
    return Field(setting, np.exp(-away / width)[None].astype(np.float32))


FIELDS = (field(HOSTILE, "random", 4.0), field(HOSTILE, "file", 9.0))
MAPS = Maps(FIELDS, ({0.5: (0.1, 0.4)}, {}))
CURVES = Curves(
    "epoch",
    tuple(
        Line(name, f"seed {seed}", measure, (1.0, 2.0), (seed + 1.0, None if seed else 9.0))
        for measure in ("training loss", HOSTILE)
        for name in (HOSTILE, "plain")
        for seed in (0, 1)
    ),
)


def page(own: list[dict[str, object]] | None = None) -> Document:
    def draw(options):
        raise AssertionError("pictures are given, not drawn")

    columns = [column for column in metrics.columns().values() if column.word in ("params", "macs", "latency")]
    table = comparison.wide_table(own or rows(), columns, ["A note with `code` & <b>."])
    drawn = (Picture("drawn", HOSTILE, draw), Picture("fields", "F", draw, MAPS))
    blocks = (Paragraph(HOSTILE), Grid(table, "networks"), *drawn)
    outer = Grid(replace(table, details=(replace(table, title="Within"),)), "outer")
    folded = Details(HOSTILE, (Bullets((HOSTILE, "two")), Grid(table, "again"), Picture("curves", "C", draw, CURVES)))
    sections = (Section(HOSTILE, blocks), Section("Rest", (outer, folded)))
    return Document(HOSTILE, (Paragraph("By `scsc-lab`."),), sections)


def written(own: list[dict[str, object]] | None = None) -> str:
    return html.document(page(own), metrics.columns(), metrics.notes, dict.fromkeys(("drawn", "fields", "curves"), PNG))


def data(text: str) -> dict[str, object]:
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)[1])


class Reader(HTMLParser):
    """Counts tags, and keeps the text of cells and what is loaded from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.loaded: list[str] = []
        self.cells: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.loaded += [value for key, value in attrs if key in ("src", "href", "srcset", "action")]
        if tag == "td" or dict(attrs).get("scope") == "row":
            self.cells.append("")

    def handle_data(self, data):
        if self.cells:
            self.cells[-1] += data.strip() if not self.cells[-1] else ""


def test_the_page_holds_all_and_loads_nothing():
    text = written()
    reader = Reader()
    reader.feed(text)
    assert len(text.encode()) < 6e6
    assert reader.loaded
    assert all(target.startswith(("#", "data:image/png;base64,")) for target in reader.loaded)
    assert text == written()


def test_what_is_data_stays_text():
    reader = Reader()
    text = written()
    reader.feed(text)
    assert reader.tags.count("script") == 3  # the data, Plotly, and the page's own
    shown = "<script>alert(1)</script>\"' {{ 7*7 }} &amp; </script><!-- $x$ %{x}"
    assert shown in reader.cells
    assert data(text)["plot"]["names"][1] == shown
    assert "<b>" not in text.partition("<body>")[2].partition('id="data"')[0]


def test_every_number_says_how_it_was_obtained():
    table = data(written())["tables"]["networks"]
    columns = {tuple(column["keys"]): column for column in table["columns"]}
    assert columns[("macs",)]["how"][0] == "MACs (G): less is better"
    assert any("multiply-accumulates" in line for line in columns[("macs",)]["how"])
    assert "as a fraction of that of the baseline" in columns[("macs_change",)]["how"][0]
    assert columns[("macs_change",)]["heading"] == "Δ MACs"
    assert table["settings"]["time"][0].startswith("input 224×224, batch 1, threads 1, dtype float32")
    assert table["settings"][columns[("macs",)]["kind"]][0] == "input 224×224, batch 1"
    assert [20 * MILLION] in table["raw"][0]


def test_changes_follow_the_chosen_baseline():
    table = data(written())["tables"]["networks"]
    chosen = next(one for one in table["baselines"] if one["label"] == "third, 224×224")
    columns = [column["keys"][0] for column in table["columns"]]
    params = chosen["cells"][str(columns.index("params_change"))]
    assert [cell[0] for cell in params] == ["+100.0%", "+200.0%", "", ""]  # the last has another input
    assert params[0][1] == pytest.approx(1.0)
    times = chosen["cells"][str(columns.index("ratio"))]
    assert times[0] == ["≈0.500", 0.5, None, None]  # a quotient: the two were not measured side by side
    own = next(one for one in table["baselines"] if one["label"] == "plain, 224×224")
    assert own["cells"][str(columns.index("ratio"))][2] == ["1.500 (1.400–1.600)", 1.5, 1.4, 1.6]


def test_plots_have_intervals_and_one_front_for_every_input():
    plot = data(written())["plot"]
    names = [measure["name"] for measure in plot["measures"]]
    assert names == ["parameters (M)", "MACs (G)", "time (ms)"]
    time = plot["measures"][2]
    assert time["values"] == [200.0, 100.0, 400.0, None]
    assert (time["low"][0], time["high"][0]) == (195.0, 205.0)
    assert plot["fronts"][0][2] == [[2, 0, 1], []]  # fewer parameters, longer times
    assert plot["fronts"][0][1] == [[2], [3]]
    assert plot["originals"] == [-1, -1, -1, -1]  # none was made of another


def test_fields_have_the_square_of_every_share_on_one_scale():
    maps = data(written())["behind"]["fields"]
    assert [one["trained"] for one in maps["fields"]] == [False, True]
    assert maps["fields"][0]["intervals"] == {"50": [0.1, 0.4]}
    for one, measured in zip(maps["fields"], FIELDS, strict=True):
        assert len(one["areas"]) == len(one["halves"]) == 99
        for share in (0.2, 0.5, 0.95):
            assert one["areas"][round(100 * share) - 1] == pytest.approx(
                measured.figures()[f"r{share:.0%}"[:-1]], rel=1e-5
            )
        levels = np.frombuffer(base64.b64decode(one["levels"]), np.uint8).reshape(one["shape"])
        low, high = maps["ends"]
        inside = (levels > 0) & (levels < 255)
        shown = low * (high / low) ** ((levels + 0.5) / 255)
        assert shown[inside] == pytest.approx(measured.drawn[inside], rel=0.05)


def test_maps_of_very_many_pixels_are_made_smaller(monkeypatch):
    monkeypatch.setattr("scsc_lab.report.render.plots._MOST_PIXELS", 600)
    (one, _) = data(written())["behind"]["fields"]["fields"]
    assert (one["step"], one["shape"]) == (2, [16, 16])


def test_hundreds_of_networks_stay_within_the_size():
    many = [network(f"n{index}", "n0", MILLION + index, 0.1 + index / 1e3) for index in range(500)]
    many = tables.with_changes(many, [tables.PARAMS, tables.MACS], 0)
    text = written(many)
    assert len(text.encode()) < 6e6
    assert 1 < len(data(text)["tables"]["networks"]["baselines"]) < 500


def test_no_baseline_gives_a_difference_to_a_network_that_was_trained_on_other_data():
    shared = {"status": "complete", "recipe": "pico", "epochs": 4, "train_images": 9, "test_images": 9}
    own = [network(name, baseline, MILLION) for name, baseline in (("a", "a"), ("b", "a"), ("c", "c"))]
    for at, (row, name) in enumerate(zip(own, ("navon", "navon", "faces"), strict=True)):
        row["runs"] = [{"seed": seed, "accuracy": 20.0 * (at + 1) + seed, "data": name, **shared} for seed in range(6)]
        row["accuracy_mean"] = 20.0 * (at + 1) + 2.5
    column = metrics.columns()["accuracy"]
    own = [*tables.with_changes(own[:2], [column], 0), *tables.with_changes(own[2:], [column], 0)]
    assert own[1]["accuracy_difference"] == 20
    assert "accuracy_difference" not in own[0]
    table = comparison.wide_table(own, [column])
    (chosen,) = [one for one in html._baselines(table, metrics.columns()) if one["label"].startswith("c,")]
    assert [cells[0] for cells in chosen["cells"].values() for cells in cells] == ["", "", ""]
    found = plots.networks(table, metrics.columns(), html.settings)
    assert found["sizes"] == ["224×224, navon", "224×224, navon", "224×224, faces"]  # each with a front of its own


def test_what_is_missing_is_named(monkeypatch):
    monkeypatch.setattr(html.importlib.util, "find_spec", lambda name: None if name == "plotly" else object())
    with pytest.raises(InputError, match=r"--html needs plotly: pip install 'scsc-lab\[html\]'"):
        html.check()
