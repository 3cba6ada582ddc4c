"""Figures: at the width of a paper's column all is legible, inside the picture and apart from its neighbours."""

from __future__ import annotations

import io
import itertools
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.text import Text
from PIL import Image

from scsc_lab import InputError, metrics
from scsc_lab.analysis.field import Field, Setting
from scsc_lab.analysis.verification import Confusion
from scsc_lab.report import comparison, names, tables
from scsc_lab.report.figures import accuracy, erf, evaluation, forest, latency, scatter, style, sweep
from scsc_lab.report.names import shortened_apart
from scsc_lab.report.tables import Column
from scsc_lab.settings import Drawing
from scsc_lab.settings import texts as texts_of_values

NAMES = ("resnet50", "scsc_resnet50", "swin_tiny", "scsc_swin_tiny", "faceresnet", "scsc_faceresnet[kernels=3,9]")


def field(model: str, side: int = 32, images: int = 4, *, reach: float = 5.0, support: int | None = 8) -> Field:
    generator = np.random.default_rng(len(model))
    rows, columns = np.mgrid[:side, :side] - side / 2
    maps = np.exp(-np.hypot(rows, columns) / reach) * generator.uniform(0.5, 1.5, (images, side, side))
    maps = (maps / maps.sum((1, 2), keepdims=True)).astype(np.float32)
    allowed = np.maximum(abs(rows), abs(columns)) <= support if support is not None else None
    setting = Setting(
        model, "stage4", "layer4", (side, side), (side / 2, side / 2), "linear", "abs", images, "synthetic 1/f images",
        0, "random", 1, 0, 1, False, None, "nchw", (7, 7), None, False,
    )  # fmt: skip
    return Field(setting, maps, allowed)


def timed(model: str, batch: int = 1, baseline: str = "", side: int = 224) -> dict[str, object]:
    samples = np.random.default_rng(batch).lognormal(-2, 0.1, 30) * batch
    ratio = {"ratio": 1.798, "ratio_low": 1.781, "ratio_high": 1.806} if baseline else {"ratio": None}
    row = {"model": model, "batch": batch, "resolution": [side, side], "status": "complete", "baseline": baseline}
    row |= {"samples_seconds": samples.tolist(), "median_seconds": float(np.median(samples))}
    return {"ratio_low": None, "ratio_high": None, **row, **ratio}


def texts(figure):
    figure.draw_without_rendering()
    found = [text for text in figure.findobj(lambda one: hasattr(one, "get_fontsize")) if text.get_visible()]
    return [text for text in found if text.get_text().strip()]


FIELDS = [field(name) for name in NAMES]
ROWS = [timed(name, batch, "resnet50") for name in NAMES for batch in (1, 8)]
OPTIONS = (Drawing(width=3.3), Drawing(width=6.9), Drawing(), Drawing(titles=False))
FIGURES = [
    (draw, shown, replace(options, panels=panels))
    for options in OPTIONS
    for draw, shown, kinds in (
        (erf.draw, FIELDS[:1], ("both",)),
        (erf.draw, FIELDS[:2], ("maps", "both")),
        (erf.draw, FIELDS[:4], ("maps", "profiles")),
        (erf.draw, FIELDS, ("both",)),
        (erf.draw, [*FIELDS[:2], field(NAMES[4], 24)], ("both",)),
        (latency.draw, ROWS[:2], ("both",)),
        (latency.draw, [*ROWS[:4], timed("faceresnet", 1, "resnet50", 96)], ("both",)),
    )
    for panels in kinds
]


@pytest.mark.parametrize(("draw", "given", "options"), FIGURES)
def test_letters_are_large_enough_and_inside_the_picture(draw, given, options):
    figure = draw(given, options)
    shown = texts(figure)
    assert shown
    assert min(text.get_fontsize() for text in shown) >= 7
    box = figure.get_tightbbox()  # of all that is drawn, in inches
    assert min(box.x0, box.y0) >= -0.01
    assert box.x1 <= figure.get_figwidth() + 0.01
    assert box.y1 <= figure.get_figheight() + 0.01


@pytest.mark.parametrize(
    ("count", "width", "columns"), [(1, 3.3, 1), (2, 3.3, 2), (4, 3.3, 2), (4, 6.9, 4), (6, 6.9, 3), (3, 6.9, 3)]
)
def test_panels_stand_in_one_row_two_by_two_or_three_by_two(count, width, columns):
    assert erf.columns_of(count, width) == columns
    figure = erf.draw([field(name) for name in NAMES[:count]], Drawing(width=width, panels="maps"))
    lefts = {round(axis.get_position().x0, 3) for axis in figure.axes[:count]}
    assert len(lefts) == columns
    assert figure.get_figwidth() == width


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_any_number_of_confusions_is_drawn_with_one_scale(count):
    confusions = [Confusion.of(f"net{at}", "", ["a", "b", "b"], ["a", "b", "a"]) for at in range(count)]
    figure = evaluation.draw_confusions(confusions)
    assert [axis.get_title() for axis in figure.axes if axis.images] == [f"net{at}" for at in range(count)]
    assert figure.axes[-1].get_ylabel() == "share of the class (%)"


def test_what_panels_share_is_said_once_and_titles_can_go():
    fields = [field(name) for name in NAMES[:4]]
    shown = [text.get_text() for text in texts(erf.draw(fields))]
    assert sum("random weights" in text for text in shown) == 1
    assert [text for text in shown if text in NAMES[:4] and text == NAMES[1]]
    bare = [text.get_text() for text in texts(erf.draw(fields, Drawing(titles=False)))]
    assert not [text for text in bare if "random weights" in text]


def test_the_scale_is_that_of_the_data_and_says_where_it_clips():
    norm, _, extend = erf.scale([field("a"), field("b", reach=1.0)])
    pixels = np.concatenate([field("a").drawn.ravel(), field("b", reach=1.0).drawn.ravel()])
    assert pixels.min() < norm.vmin < np.quantile(pixels, 0.02) or norm.vmax / norm.vmin == pytest.approx(1e5)
    assert norm.vmax <= pixels.max()
    assert extend == "both"
    uniform = Field(field("a").setting, np.full((4, 32, 32), 1 / 1024, np.float32))
    assert erf.scale([uniform])[2] == "neither"
    assert erf.draw([uniform, field("b")])


def test_the_theoretical_field_is_drawn_where_it_does_not_cover_the_image():
    def named(one):
        return [text.get_text() for text in texts(erf.draw([one, one]))]

    assert "theoretical field" in named(field("a", support=8))
    assert "theoretical field" not in named(field("a", support=99))
    assert "theoretical field" not in named(field("a", support=None))


def test_a_palette_keeps_every_step_of_the_scale(tmp_path):
    style.save(erf.draw([field("a"), field("b")]), tmp_path / "a.png", palette=True)
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.mode == "P"
        colours = {tuple(colour) for colour in np.asarray(picture.convert("RGB")).reshape(-1, 3).tolist()}
    steps = np.rint(255 * style.colours_of_map()(np.arange(style.LEVELS))[:, :3]).astype(int)
    assert len({tuple(step) for step in steps.tolist()} & colours) == style.LEVELS


def test_profiles_rise_to_the_whole_and_their_intervals_hold_them():
    measured = [field("a", images=8), field("b", 24, images=8)]
    (axis,) = erf.draw(measured, Drawing(panels="profiles")).axes
    assert "sides of the input" in axis.get_xlabel()
    assert len(axis.lines) == len(axis.collections) == len(measured)
    assert "95 % interval" in [text.get_text() for text in axis.get_legend().get_texts()]
    for curve, band in zip(axis.lines, axis.collections, strict=True):
        assert curve.get_ydata()[-1] == pytest.approx(100)
        assert (np.diff(curve.get_ydata()) >= -1e-9).all()
        corners = band.get_paths()[0].vertices
        for x, y in zip(curve.get_xdata(), curve.get_ydata(), strict=True):
            ends = corners[np.isclose(corners[:, 1], y), 0]
            assert ends.min() <= x + 1e-9
            assert x - 1e-9 <= ends.max()


@pytest.mark.parametrize("panels", ["both", "profiles"])
def test_the_names_of_many_curves_stand_beside_them_inside_the_picture(panels):
    drawn = erf.draw([field(f"timm:convnext_tiny + large_kernel {at}") for at in range(11)], Drawing(panels=panels))
    axis = next(one for one in drawn.axes if one.get_legend() is not None)
    drawn.canvas.draw()
    names, whole = axis.get_legend().get_window_extent(), drawn.bbox
    assert names.x0 > axis.get_window_extent().x1
    assert names.x1 <= whole.x1 + 1
    assert names.y0 >= whole.y0 - 1


def test_rows_give_intervals_to_maps_that_carry_none_each_to_its_own_weights_and_stage():
    def bands(rows):
        condensed = [field(name).condensed() for name in NAMES[:2]]
        (axis,) = erf.draw(condensed, Drawing(panels="profiles"), rows).axes
        return [band.get_paths()[0].vertices for band in axis.collections]

    untrained = {"model": NAMES[0], "weights": "random", "r50_low": 0.2, "r50_high": 0.3}
    (alone,) = bands([untrained])
    (beside,) = bands([{**untrained, "weights": "file", "r50_low": 0.01}, untrained])
    assert np.array_equal(alone, beside)
    squares, masses = erf.squares(field(NAMES[0]))
    middle = squares.holding(masses, 0.5)
    at = np.interp([0.3, middle], squares.areas, squares.half_sides)
    assert alone[:, 0].max() == pytest.approx(squares.half_sides[-1] * at[0] / at[1])
    assert not bands([{**untrained, "weights": "file"}])
    assert not bands([{**untrained, "stage": "another"}])


def test_latency_has_names_at_the_axis_ratios_against_something_and_a_panel_an_input_size():
    rows = [timed("a"), timed("b", 1, "a"), timed("a", 8), timed("c", 1, "", 96)]
    figure = latency.draw(rows)
    assert len(figure.axes) == 2
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == [
        "a\nbatch 1",
        "b\nbatch 1",
        "a\nbatch 8",
    ]
    assert any("1.798 × a (1.781–1.806)" in text.get_text() for text in figure.axes[0].texts)
    samples = [points.get_offsets()[:, 1] for points in figure.axes[0].collections]
    boxes = [line.get_ydata()[0] for line in figure.axes[0].lines if line.get_linewidth() == 3.0]
    for heights, box in zip(samples, boxes, strict=True):
        assert heights.max() < box - 0.1


def test_a_transplants_ratio_is_to_what_its_name_begins_with():
    put_in = timed("timm:convnext_tiny + dilated_reparam", 1, "timm:convnext_tiny")
    figure = latency.draw([timed("timm:convnext_tiny"), put_in])
    assert any("1.798 × (1.781–1.806)" in text.get_text() for text in texts(figure))
    assert figure.get_tightbbox().x1 <= figure.get_figwidth() + 0.01


def test_widths():
    for text, inches in (("column", 3.3), ("page", 6.9), ("3.3in", 3.3), ("8.4cm", 8.4 / 2.54)):
        assert texts_of_values.width(text) == pytest.approx(inches)
    for text in ("", "3.3", "0in", "999in", "-3in", "wide", "3e5in"):
        with pytest.raises(InputError, match=r"inches|column, page"):
            texts_of_values.width(text)


@pytest.mark.parametrize("suffix", style.SUFFIXES)
def test_the_same_figure_gives_the_same_bytes(tmp_path, suffix):
    paths = [tmp_path / f"{name}{suffix}" for name in "ab"]
    for path in paths:
        style.save(latency.draw([timed("a"), timed("b", 1, "a")]), path)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert io.BytesIO(paths[0].read_bytes()).read(4)


def variant(study: str, name: str, change: float, **more: float) -> dict[str, object]:
    return {"model": "net", "study": study, "variant": name, "macs_change": change, "params_change": -change, **more}


STUDIES = [
    *(variant("groups", name, value) for name, value in (("full", 0.0), ("groups=1", 0.0024), ("groups=2", -0.01))),
    *(variant("stages", name, value) for name, value in (("full", 0.0), ("SCSC in no stage", 0.289))),
]


@pytest.mark.parametrize("width", [3.3, 6.9])
def test_studies_stand_on_one_scale_with_room_for_their_values(width):
    figure = forest.draw(STUDIES, [tables.PARAMS, tables.MACS], Drawing(width=width))
    figure.draw_without_rendering()
    box = figure.get_tightbbox()
    assert box.x0 >= -0.01
    assert box.x1 <= width + 0.01
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == [
        *("groups", "groups=1", "groups=2", "stages", "SCSC in no stage")
    ]
    assert figure.axes[0].get_xlabel().startswith("parameters")
    alone = forest.draw(STUDIES[:3], [tables.PARAMS, tables.MACS], Drawing(width=width), STUDIES)
    for one, other in zip(alone.axes, figure.axes, strict=True):
        assert one.get_xlim() == pytest.approx(other.get_xlim())


def test_trade_offs_are_arrows_and_a_front_of_one_point_has_no_legend():
    rows = [
        {"model": "a", "baseline": "a", "macs": 4e9, "user": 5.0},
        {"model": "scsc_a", "baseline": "a", "macs": 3e9, "user": 4.0},
    ]
    own = Column("user", "phone", unit="ms", scale=2.0, better="lower")
    figure = scatter.draw(rows, tables.MACS, own)
    (axis,) = figure.axes
    assert [text.get_text() for text in axis.get_legend().get_texts()] == ["baseline", "with SCSC"]
    assert [text for text in axis.texts if text.arrow_patch is not None and not text.get_text()]
    assert axis.lines[0].get_ydata() == pytest.approx([10.0])
    assert [line.get_markerfacecolor() == "white" for line in axis.lines[:2]] == [True, False]
    assert axis.get_ylabel() == "phone (ms), less is better"
    wanted = scatter.draw(rows, tables.MACS, replace(own, better="higher"))
    assert "Pareto front" in [text.get_text() for text in wanted.axes[0].get_legend().get_texts()]


def test_many_networks_against_one_are_a_forest_with_intervals_and_a_key():
    def changed(name, macs, time, points):
        row = {"model": f"net + {name}", "macs_change": macs, "accuracy_difference": points}
        row |= {"ratio": time, "ratio_low": time - 0.02, "ratio_high": time + 0.03}
        return row | {"difference_low": points - 4, "difference_high": points + 3}

    rows = [{"model": "net"}, changed("one", -0.3, 0.8, 9.0), changed("two", -0.2, 1.1, 2.0)]
    rows += [changed("three", -0.4, 0.7, -9.0), {"model": "net + untrained", "macs_change": -0.1}]
    columns = metrics.columns()
    figure = forest.draw_networks(rows, [columns["latency"], tables.MACS, columns["accuracy"]])
    time, _, accuracy = figure.axes
    assert [label.get_text() for label in time.get_yticklabels()] == ["one", "two", "three", "untrained"]
    assert time.get_title("left") == "0: net"
    spans = [list(line.get_xdata()) for line in time.lines if line.get_linewidth() == 1.6]
    assert spans == [pytest.approx(ends) for ends in ([-22, -17], [8, 13], [-32, -27])]
    colours = [line.get_color() for line in accuracy.lines if line.get_marker() == "o"]
    assert colours == [forest._BETTER, forest._OPEN, forest._WORSE]
    assert [text.get_text() for text in accuracy.texts][-1] == "–"  # not measured, and said so in the key
    assert {"better", "worse", "not measured"} <= {text.get_text() for text in figure.legends[0].get_texts()}


def test_studies_that_share_variants_are_one_and_small_changes_one_line():
    studies = {
        "kernels": {"full": 0.0, "kernels=3": 0.2, "kernels=3,5": 0.1},
        "scales": {"full": 0.0, "kernels=3": 0.2, "kernels=7": -0.3},
        "groups": {"full": 0.0, "groups=1": 0.001, "groups=2": 0.002},
    }
    rows = [variant(study, name, value) for study, changes in studies.items() for name, value in changes.items()]
    (axis,) = forest.draw(rows, [tables.MACS]).axes
    assert [label.get_text() for label in axis.get_yticklabels()] == [
        *("kernels and scales", "kernels=3", "kernels=3,5", "kernels=7", "groups", "groups=1, 2")
    ]
    assert [text.get_text() for text in axis.texts][-1] == "< 1"


def test_no_front_where_intervals_overlap():
    column = Column("x", "x", better="lower")
    rows = [{"x": 1.0, "y": 3.0, "y_low": 2.9, "y_high": 3.1}, {"x": 2.0, "y": 2.0, "y_low": 1.9, "y_high": 2.1}]
    assert comparison.front(rows, column, replace(column, key="y")) == [0, 1]
    seeds = [{"x": row["x"], "y_mean": row["y"], "y_deviation": 1.0, "seeds": 9} for row in rows]
    assert not comparison.front(seeds, column, replace(column, key="y_mean"))
    rows[1] |= {"y_high": 3.0}
    assert not comparison.front(rows, column, replace(column, key="y"))


def test_an_arrow_leads_only_from_an_original_to_its_variant():
    networks = (("a", 4e9), ("scsc_a", 3e9), ("a[depth=2]", 1e9), ("other", 2e9), ("a + SCSC", 5e9))
    rows = [
        {"model": name, "baseline": "a", "macs": macs, "params": 1e6 * at} for at, (name, macs) in enumerate(networks)
    ]
    (axis,) = scatter.draw(rows, tables.MACS, tables.PARAMS).axes
    arrows = [text.xy[0] for text in axis.texts if text.arrow_patch is not None and not text.get_text()]
    assert sorted(arrows) == [1.0, 3.0, 5.0]


def test_a_receptive_field_has_no_better_end_no_front_and_no_colour():
    column = metrics.columns()["erf"]
    rows = [
        {"model": name, "baseline": "a", "macs": macs, "r50": share, "r50_difference": share - 0.1}
        for name, macs, share in (("a", 4e9, 0.1), ("b", 3e9, 0.2), ("c", 2e9, 0.05))
    ]
    figure = scatter.draw(rows, tables.MACS, column)
    (axis,) = figure.axes
    assert axis.get_legend() is None
    assert "better" not in axis.get_ylabel()
    studied = [{**row, "study": "s", "variant": row["model"]} for row in rows]
    (panel,) = forest.draw(studied, [column]).axes
    dots = [line for line in panel.lines if line.get_marker() == "o"]
    assert {line.get_color() for line in dots} == {forest._NEUTRAL}


def test_names_in_a_script_that_no_font_has_are_reported_and_stay_text_in_svg(tmp_path, monkeypatch):
    from matplotlib import font_manager

    fonts = [entry for entry in font_manager.fontManager.ttflist if entry.name in ("DejaVu Sans", "Last Resort")]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", fonts)
    figure, axis = style.new(3, 2)
    axis.set_title("猫 net")
    with pytest.warns(UserWarning, match=r"a\.png: no installed font has 猫, drawn as boxes"):
        style.save(figure, tmp_path / "a.png")
    style.save(figure, tmp_path / "a.svg")
    assert "猫 net" in (tmp_path / "a.svg").read_text()


def settings_of_one_network(count: int) -> list[dict[str, object]]:
    labels = [f"scsc_net[stage1.kernels={at},13 stage2.kernels=3,11 groups=1 reduction=0.25]" for at in range(count)]
    return [
        {"table": "comparison", "model": label, "network": label, "baseline": "scsc_net"}
        for label in ("scsc_net", *labels)
    ]


def test_long_settings_have_numbers_that_a_table_explains_and_pictures_name_six():
    rows, key = names.numbered(settings_of_one_network(9))
    assert [row["model"] for row in rows] == ["scsc_net", *(f"scsc_net no. {at}" for at in range(1, 10))]
    assert key is not None
    assert [row["network"] for row in key.rows] == [row["network"] for row in rows[1:]]
    epoch = {"epoch": 1, "loss": 1.0, "accuracy": {"accuracy": 50.0}}
    curves = [{**row, "runs": [{"status": "complete", "curve": [epoch, {**epoch, "epoch": 2}]}]} for row in rows]
    for width in (3.3, 6.9):
        figure = accuracy.curves(curves, Drawing(width=width))
        figure.draw_without_rendering()
        shown = [text.get_text() for text in figure.legends[0].get_texts()]
        assert len(set(shown)) == len(shown) == names.MOST_LABELS
        assert figure.get_tightbbox().x0 >= -0.01  # the key is not cut


def test_a_backbone_has_one_hue_dashed_as_it_is_and_solid_with_a_module():
    rows = [{"model": name} for name in ("a", "scsc_a", "b", "b + SCSC", "b + pooling")]
    looks = style.looks(rows)
    assert [look.face == "white" for look in looks] == [True, False, True, False, False]
    assert [look.dashes == "-" for look in looks] == [False, True, False, True, False]
    assert looks[0].colour == looks[1].colour != looks[2].colour == looks[3].colour != looks[4].colour
    assert names.hues([{**rows[2], "hue": 7}]) == [7]  # that of the whole report


def test_no_leader_crosses_a_name():
    places = ((0.155, 8.8), (0.175, 17.6), (0.59, 18.6), (0.13, 17.0))
    rows = [
        {"model": name, "baseline": name.partition(" + ")[0], "macs": macs * 1e9, "x": y}
        for name, (macs, y) in zip(("Ours", "Ours + SCSC", "resnet18", "resnet18 + SCSC"), places, strict=True)
    ]
    figure = scatter.draw(rows, tables.MACS, Column("x", "time", unit="ms", better="lower"))
    figure.draw_without_rendering()
    written = [text for text in figure.axes[0].texts if text.get_text()]
    for text in (text for text in written if text.arrow_patch is not None):
        path = text.arrow_patch.get_path().interpolated(50).transformed(text.arrow_patch.get_transform())
        for other in (other for other in written if other is not text):
            box = Text.get_window_extent(other)
            assert not any(box.contains(*point) for point in path.vertices)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("scsc_swin_tiny[stage1.kernels={} stage2.kernels=11 stage3.kernels=7 stage4.kernels=3,5]", ("1", "11", "3,1")),
        ("scsc_swin_tiny[stage1.kernels=13 stage2.reduction={} stage3.reduction=0.5]", ("0.3", "0.35")),
        ("stages.2.blocks.{}.attention.projection.of.values.and.keys", range(12)),
        ("{}" + 60 * "x", (40 * "y" + "1" + 40 * "y", 40 * "y" + "2" + 40 * "y")),
        ("net{}", "ab"),
    ],
)
@pytest.mark.parametrize("longest", [24, 40])
def test_names_cut_to_fit_stay_apart(name, values, longest):
    whole = [name.format(value) for value in values]
    short = shortened_apart([*whole, "resnet50", whole[0]], longest)
    assert list(short) == [*whole, "resnet50"]
    assert len(set(short.values())) == len(short)
    assert max(map(len, short.values())) <= longest
    if "=" in name:
        assert all(short[line].endswith(str(value)) for line, value in zip(whole, values, strict=True))


def test_numbers_of_a_front_cover_nothing():
    front = [{"macs": 1e9 * (1 + 0.004 * (at % 7)), "params": 1e6 * (1 + 0.01 * (at // 7))} for at in range(20)]
    columns = metrics.columns()
    picture = sweep.draw_search(front, front, {"macs": 1.1e9, "params": 1.1e6}, columns["macs"], columns["params"])
    picture.draw_without_rendering()
    (axes,) = picture.axes
    places = [[columns[key].scale * row[key] for key in ("macs", "params")] for row in front]
    marks = axes.transData.transform(places)
    boxes = [text.get_window_extent() for text in axes.texts]
    assert boxes
    assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))
    assert not any(box.contains(*mark) for box in boxes for mark in marks)
