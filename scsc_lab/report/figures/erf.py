"""The figure of effective receptive fields: a map per network and stage, all on one scale, and their profiles."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from scsc_lab import units
from scsc_lab.analysis import SHARES, key
from scsc_lab.analysis.field import Field
from scsc_lab.analysis.figures_of_merit import Array, Squares
from scsc_lab.records import Row
from scsc_lab.report.figures import style
from scsc_lab.report.names import MOST_LABELS, labelled, shortened, shortened_apart
from scsc_lab.settings import Drawing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST_DECADES = 5
"""Decades that the scale shows at most, so that what is next to nothing does not take its colours."""

_TAIL = 0.01
"""Share of the pixels that may be darker than the scale."""

_MOST_INSIDE = 6
"""Most profiles whose names fit into the plot; more names are to the right of it."""

_WIDE_INCHES, _WIDER_INCHES, _TALL_INCHES = 5.0, 6.0, 2.2
_MARGIN_INCHES, _PROFILES_INCHES, _LINE_INCHES = 1.25, 1.95, 0.14
_SQUARES = (("r50", "-", "r(50 %)"), ("r95", "--", "r(95 %)"))
_SQUARE_COLOUR, _THEORY_COLOUR, _CENTRE_COLOUR = "white", "#56B4E9", "#56B4E9"


def draw(measured: Sequence[Field], options: Drawing = style.PLAIN, rows: Sequence[Row] = ()) -> Figure:
    """Return a figure with one panel per field and, where there are several, their profiles in one plot.

    The scale is the contribution of a pixel over the mean of its map (1: uniform), or RepLKNet's log map; an arrow at
    an end of it says that some pixels lie beyond. The squares are those of r(50 %) and r(95 %), the cross is the unit's
    true centre; the dotted outline is its theoretical field, where that does not cover the image.

    Args:
        measured: the fields.
        options: width, titles and panels.
        rows: rows with the intervals of ``r(t)``, for fields whose maps carry none.
    """
    only_profiles = options.panels == "profiles"
    narrow = len(measured) < 3 or (only_profiles and len(measured) <= _MOST_INSIDE)
    width = options.width or (style.COLUMN_INCHES if narrow else style.PAGE_INCHES)
    named_beside = len(measured) > _MOST_INSIDE and width > _WIDER_INCHES
    names_height = _LINE_INCHES * (MOST_LABELS + 3) if named_beside else 0.0
    if only_profiles:
        figure, axes = style.new(width, max(0.62 * width, names_height))
        with style.applied():
            _draw_profiles(axes, measured, rows, named_beside=named_beside)
        return figure
    columns = columns_of(len(measured), width)
    bands = math.ceil(len(measured) / columns)
    side = (width - _MARGIN_INCHES) / columns
    shared, titles = _texts(measured)
    heading = textwrap.wrap(shared, int(width * 72 / (style.POINTS * 0.52))) if options.titles else []
    titles = ["\n".join(textwrap.wrap(title, max(int(side * 72 / (style.POINTS * 0.58)), 8))) for title in titles]
    title_height = _LINE_INCHES * (1 + max(title.count("\n") for title in titles))
    between = 0.1 if _are_alike(measured) else 0.24
    maps_height = bands * (side + title_height + between) + 0.42 + _LINE_INCHES * len(heading)
    legend_rows = 1 if width > _WIDE_INCHES or not any(map(_theory_shown, measured)) else 2
    both = options.panels == "both" and len(measured) > 1
    heights = [maps_height, *([max(_PROFILES_INCHES, names_height)] if both else [])]
    figure = style.figure(width, sum(heights) + 0.19 * legend_rows)
    with style.applied():
        parts = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
        _draw_maps(parts[0], measured, titles, bands, columns)
        if heading:
            parts[0].suptitle("\n".join(heading), fontsize=style.POINTS)
        if both:
            _draw_profiles(parts[1].subplots(), measured, rows, named_beside=named_beside)
        _legend(figure, measured, legend_rows)
    return figure


def _draw_maps(part: Any, measured: Sequence[Field], titles: Sequence[str], bands: int, columns: int) -> None:
    """Draw every map in a grid, with one scale beside it."""
    axes = part.subplots(bands, columns, squeeze=False)
    norm, label, extend = scale(measured)
    for number, (panel, field, title) in enumerate(zip(axes.flat, measured, titles, strict=False)):
        image = _panel(panel, field, norm)
        panel.set_title(title, fontsize=style.POINTS, pad=3)
        if number % columns == 0:
            panel.set_ylabel("y (pixels)")
        elif _are_alike(measured):
            panel.set_yticklabels([])
        if number + columns >= len(measured):
            panel.set_xlabel("x (pixels)")
        elif _are_alike(measured):
            panel.set_xticklabels([])
    for panel in axes.flat[len(measured) :]:
        panel.set_axis_off()
    bar = part.colorbar(image, ax=axes, extend=extend, extendfrac=0.04, aspect=14 * bands, pad=0.02)
    bar.ax.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    bar.ax.minorticks_off()
    bar.set_label(label if part.bbox.height > _TALL_INCHES * part.figure.dpi else label.partition(" (")[0])


def columns_of(count: int, width: float) -> int:
    """Return how many panels stand side by side: two at most in a narrow figure; else four, of six three by two."""
    if width <= _WIDE_INCHES:
        return min(count, 2)
    return 3 if count in (5, 6) else min(count, 4)


def _texts(measured: Sequence[Field]) -> tuple[str, list[str]]:
    """Return the facts that hold for all fields, as one line, and the others of each."""
    each = [facts(field) for field in measured]
    if len(measured) == 1:
        return ", ".join(filter(None, each[0][1:])), [each[0][0]]
    shared = [fact for fact, *rest in zip(*each, strict=True) if all(text == fact for text in rest)]
    return ", ".join(filter(None, shared)), [
        ", ".join(f for f in of_field if f and f not in shared) for of_field in each
    ]


def facts(field: Field) -> list[str]:
    """Return what a field was measured on, one fact each: network, stage, input, weights, initialisations, images."""
    setting = field.setting
    weights = f"{setting.weights} weights"
    seeds = f"{setting.seeds} initialisations" if setting.seeds > 1 else ""
    texts = [setting.model, setting.stage, units.size(setting.resolution), weights, seeds, field.images_as_text]
    return [shortened(text, 80) for text in texts]


def panel(field: Field, axes: Any = None) -> Any:
    """Draw the map of a field with its squares, centre and theoretical field; return the axes, new ones by default."""
    if axes is None:
        _, axes = style.new(style.COLUMN_INCHES, style.COLUMN_INCHES)
    with style.applied():
        _panel(axes, field, scale([field])[0])
        axes.set_title(", ".join(facts(field)[:2]), fontsize=style.POINTS, pad=3)
        axes.set(xlabel="x (pixels)", ylabel="y (pixels)")
    return axes


def compared(measured: Sequence[Field], axes: Any = None) -> Any:
    """Draw the profiles of some fields in one plot; return the axes, by default those of a new figure."""
    if axes is None:
        _, axes = style.new(style.COLUMN_INCHES, 0.62 * style.COLUMN_INCHES)
    with style.applied():
        _draw_profiles(axes, measured, [])
    return axes


def scale(measured: Sequence[Field]) -> tuple[Any, str, str]:
    """Return the one scale of all panels, its label, and the ends beyond which pixels lie."""
    from matplotlib.colors import LogNorm, Normalize

    if all(field.setting.method == "replknet" for field in measured):
        return Normalize(0.0, 1.0), "log10(A + 1) / largest", "neither"
    pixels = np.concatenate([field.drawn.ravel() for field in measured])
    largest = float(np.quantile(pixels, 0.9999))
    least = max(float(np.quantile(pixels, _TAIL)), largest / 10**_MOST_DECADES)
    ends = {(False, False): "neither", (True, False): "min", (False, True): "max", (True, True): "both"}
    clipped = (bool((pixels < least).any()), bool((pixels > largest).any()))
    return LogNorm(least, largest), "contribution / mean (1: uniform)", ends[clipped]


def _panel(panel: Any, field: Field, norm: Any) -> Any:
    setting = field.setting
    height, width = setting.resolution
    look = {"cmap": style.colours_of_map(), "interpolation": "nearest", "rasterized": True}
    image = panel.imshow(np.maximum(field.drawn, norm.vmin / 2), norm=norm, **look)
    figures = field.figures()
    around, _ = squares(field)
    row, column = around.centre
    for name, line, _ in _SQUARES:
        share = figures[name]
        if share is not None:
            half = float(np.interp(share, around.areas, around.half_sides))
            xs = [column - half, column + half, column + half, column - half, column - half]
            ys = [row - half, row - half, row + half, row + half, row - half]
            panel.plot(xs, ys, color=_SQUARE_COLOUR, linewidth=0.8, linestyle=line, path_effects=style.halo())
    if _theory_shown(field):
        outline = panel.contour(field.support, levels=[0.5], colors=[_THEORY_COLOUR], linewidths=0.9, linestyles=":")
        outline.set_path_effects(style.halo())
    centre = {"markersize": 5, "markeredgewidth": 0.9, "path_effects": style.halo()}
    panel.plot(setting.centre[1], setting.centre[0], "+", color=_CENTRE_COLOUR, **centre)
    panel.set_xlim(-0.5, width - 0.5)
    panel.set_ylim(height - 0.5, -0.5)
    for axis, side in ((panel.xaxis, width), (panel.yaxis, height)):
        ticks = [0, side // 2, side - 1] if side > 1 else [0]
        axis.set_ticks(ticks, [str(tick) for tick in ticks])
    for label, place in zip(panel.get_xticklabels(), ("left", "center", "right"), strict=False):
        label.set_horizontalalignment(place)  # so that neighbours' labels keep apart
    return image


def squares(field: Field) -> tuple[Squares, Array]:
    """Return the squares whose areas are a field's ``r(t)``, and the mass inside each."""
    (height, width), is_log = field.setting.resolution, field.setting.method == "replknet"
    centre = (float(height // 2), float(width // 2)) if is_log else field.setting.centre
    around = Squares.around((height, width), centre)
    return around, around.masses(field.drawn if is_log else field.map)


def _theory_shown(field: Field) -> bool:
    return field.support is not None and bool(field.support.any()) and not bool(field.support.all())


def _legend(figure: Any, measured: Sequence[Field], rows: int) -> None:
    from matplotlib.lines import Line2D

    squares: Any = [{"color": "0.35", "linewidth": 0.9, "linestyle": line, "label": name} for _, line, name in _SQUARES]
    cross = {"color": _CENTRE_COLOUR, "marker": "+", "linestyle": "none", "markersize": 5, "label": "true centre"}
    theory = {"color": _THEORY_COLOUR, "linewidth": 1.0, "linestyle": ":", "label": "theoretical field"}
    looks = [*squares, cross, *([theory] if any(map(_theory_shown, measured)) else [])]
    handles = [Line2D([], [], **look) for look in looks]
    place = {"loc": "outside lower center", "borderaxespad": 0.1, "handlelength": 2.0}
    figure.legend(handles=handles, ncols=math.ceil(len(handles) / rows), **place)


def _draw_profiles(panel: Any, measured: Sequence[Field], rows: Sequence[Row], *, named_beside: bool = False) -> None:
    """Draw one curve per field: the mass within the centred square of each half side, in its 95 % interval as a band.

    The interval is that of ``r(t)`` at each share of the tables, and interpolated relative to the curve in between.
    """
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    banded = False
    alike = _are_alike(measured)
    networks = [{**_row_of(field, rows), "model": field.setting.model} for field in measured]
    with_names = labelled(networks)
    looks = dict(zip(with_names, style.looks([networks[at] for at in with_names]), strict=True))
    for index, (field, name) in enumerate(zip(measured, names(measured), strict=True)):
        setting = field.setting
        unit = 1.0 if alike else 1.0 / min(setting.resolution)
        around = Squares.around(setting.resolution, setting.centre)
        masses = around.masses(field.map)
        parts = masses / masses[-1]
        if index not in with_names:
            panel.plot(around.half_sides * unit, 100 * parts, color="0.8", linewidth=0.8, zorder=1)
            continue
        look = looks[index]
        low, high = _band(field.row() if len(field.maps) > 1 else _row_of(field, rows), around, masses, parts)
        if low is not None:
            panel.fill_betweenx(100 * parts, low * unit, high * unit, color=look.colour, alpha=0.2, linewidth=0)
            banded = True
        panel.plot(around.half_sides * unit, 100 * parts, label=name, zorder=2, **look.line)
    panel.set_xlim(left=0)
    panel.set(ylim=(0, 100), yticks=[0, 25, 50, 75, 100], ylabel="mass inside (%)")
    panel.grid(axis="y", color="0.9", linewidth=0.5)
    panel.set_axisbelow(True)
    panel.set_xlabel(f"half side of the centred square ({'pixels' if alike else 'sides of the input'})")
    handles = [line for line in panel.lines if not line.get_label().startswith("_")]
    if len(with_names) < len(measured):
        handles.append(Line2D([], [], color="0.8", linewidth=0.8, label=f"{len(measured) - len(with_names)} others"))
    handles += [Patch(color="0.85", label="95 % interval")] if banded else []
    beside_panel = {"loc": "upper left", "bbox_to_anchor": (1.02, 1.03), "borderaxespad": 0.0}
    panel.legend(handles=handles, handlelength=3.2, **(beside_panel if named_beside else {"loc": "best"}))


def _row_of(field: Field, rows: Sequence[Row]) -> Row:
    """Return the row of a field: of its network and stage, with its weights."""
    keys = ("model", "stage", "weights")
    return next((row for row in rows if all(row.get(key) in (None, getattr(field.setting, key)) for key in keys)), {})


def _band(row: Row, around: Squares, masses: Array, parts: Array) -> tuple[Any, ...]:
    """Return the half sides at both ends of the interval for every part of the mass, or twice None."""
    ends = {share: [row.get(f"{key(share)}{end}") for end in ("_low", "_high")] for share in SHARES}
    intervals = {share: interval for share, interval in ends.items() if None not in interval}
    if not intervals:
        return None, None
    areas = [around.holding(masses, share) for share in intervals]
    middles = np.interp(areas, around.areas, around.half_sides)
    low, high = (np.interp(areas, around.areas, around.half_sides) for areas in zip(*intervals.values(), strict=True))
    relative = (np.interp(parts, list(intervals), sides / middles) for sides in (low, high))
    return tuple(np.maximum.accumulate(around.half_sides * factor) for factor in relative)  # a band has no hooks


def _are_alike(measured: Sequence[Field]) -> bool:
    """Return whether all fields are of one input size."""
    return len({field.setting.resolution for field in measured}) == 1


def names(measured: Sequence[Field]) -> list[str]:
    """Return what fields are called among each other: the network, with stage and weights where these differ."""
    settings = [field.setting for field in measured]
    keys = [key for key in ("model", "stage") if len({getattr(setting, key) for setting in settings}) > 1] or ["model"]
    texts = [" ".join(str(getattr(setting, name)) for name in keys) for setting in settings]
    weights = ["untrained" if setting.weights == "random" else "trained" for setting in settings]
    if len(set(weights)) > 1:
        texts = [f"{text}, {whose}" for text, whose in zip(texts, weights, strict=True)]
    short = shortened_apart(texts)
    return [short[text] for text in texts]
