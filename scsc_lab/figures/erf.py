"""The figure of effective receptive fields: a map a network and stage, all on one scale, and their radial profiles."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from scsc_lab import units
from scsc_lab.analysis.field import Field
from scsc_lab.analysis.profiles import radial_density
from scsc_lab.figures import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_DECADES = 4
"""Decades that the scale shows below its largest value."""

_PER_ROW = 4
_SQUARES = (("r50", "-", "r(50 %)"), ("r95", "--", "r(95 %)"))
_SQUARE_COLOUR, _THEORY_COLOUR, _CENTRE_COLOUR = "white", "#56B4E9", "#56B4E9"


def draw(measured: Sequence[Field]) -> Figure:
    """Return a figure with one panel a field and, where there are several, their radial profiles in one plot.

    The scale is the contribution of a pixel over the mean of its map (1: uniform), or RepLKNet's log map; the squares
    are those of r(50 %) and r(95 %), the cross is the unit's true centre, the dotted outline its theoretical field.
    """
    columns = min(len(measured), _PER_ROW)
    rows = math.ceil(len(measured) / _PER_ROW)
    if len(measured) == 1:
        figure, panel = style.new(style.COLUMN_INCHES, 3.3)
        shown = [panel]
        below = None
    else:
        width = style.COLUMN_INCHES if columns == 2 else style.PAGE_INCHES
        panel_inches = width / columns
        heights = [*[panel_inches + 0.62] * rows, 1.9]
        mosaic = [[f"p{row * columns + column}" for column in range(columns)] for row in range(rows)]
        mosaic.append(["profiles"] * columns)
        figure, found = style.mosaic(width, sum(heights), mosaic, height_ratios=heights)
        shown = [found[f"p{index}"] for index in range(rows * columns)]
        below = found["profiles"]
        for panel in shown[len(measured) :]:
            panel.set_axis_off()
    norm, label = _scale(measured)
    for index, field in enumerate(measured):
        image = _panel(shown[index], field, norm, narrow=columns > 1)
        if index % columns:
            shown[index].set_ylabel("")
    tall = len(measured) == 1
    bar = figure.colorbar(image, ax=shown, shrink=0.7 if tall else 0.75, aspect=25, pad=0.02, location="right")
    bar.ax.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    bar.set_label(label, fontsize=7)
    bar.ax.tick_params(labelsize=6)
    _legend(figure, measured)
    if below is not None:
        _profiles(below, measured)
    return figure


def _scale(measured: Sequence[Field]) -> tuple[Any, str]:
    """Return the one scale of all panels, and what it shows."""
    from matplotlib.colors import LogNorm, Normalize

    if all(field.setting.method == "replknet" for field in measured):
        return Normalize(0.0, 1.0), "log10(A + 1) / largest"
    largest = max(float(np.quantile(field.drawn, 0.9999)) for field in measured)
    return LogNorm(largest / 10**_DECADES, largest, clip=True), "contribution / mean (1: uniform)"


def _panel(panel: Any, field: Field, norm: Any, *, narrow: bool) -> Any:
    setting = field.setting
    height, width = setting.resolution
    image = panel.imshow(
        np.maximum(field.drawn, norm.vmin if norm.vmin > 0 else 0.0),
        norm=norm,
        cmap=style.MAP,
        interpolation="nearest",
        rasterized=True,
    )
    figures = field.figures()
    row, column = setting.centre
    if setting.method == "replknet":
        row, column = float(height // 2), float(width // 2)
    for key, line, _ in _SQUARES:
        share = figures[key]
        if share is not None:
            _outline(panel, (row, column), _half_side(share, (height, width), (row, column)), _SQUARE_COLOUR, line)
    if field.support is not None:
        rows, columns = (np.nonzero(field.support.any(axis=axis))[0] for axis in (1, 0))
        if len(rows) < height or len(columns) < width:
            sides = setting.theoretical or (0, 0)
            _outline(panel, setting.centre, (sides[0] / 2, sides[1] / 2), _THEORY_COLOUR, ":")
    panel.plot(setting.centre[1], setting.centre[0], "+", color=_CENTRE_COLOUR, markersize=5, markeredgewidth=0.8)
    panel.set_xlim(-0.5, width - 0.5)
    panel.set_ylim(height - 0.5, -0.5)
    panel.set_xticks(_ticks(width), [str(tick) for tick in _ticks(width)])
    panel.set_yticks(_ticks(height), [str(tick) for tick in _ticks(height)])
    panel.tick_params(labelsize=6)
    panel.set_xlabel("x (pixels)", fontsize=7)
    panel.set_ylabel("y (pixels)", fontsize=7)
    panel.set_title(_title(field, 27 if narrow else 60), fontsize=6 if narrow else 7)
    return image


def _title(field: Field, width: int) -> str:
    setting = field.setting
    weights = f"{setting.weights} weights" if setting.weights != "as given" else "weights as given"
    seeds = f", {setting.seeds} seeds" if setting.seeds > 1 else ""
    lines = [
        f"{setting.model}, {setting.stage}",
        f"{units.size(setting.resolution)}, {weights}{seeds}",
        field.images_as_text,
    ]
    return "\n".join(part for line in lines for part in textwrap.wrap(line, width))


def _ticks(side: int) -> list[int]:
    """Return first, middle and last pixel of a side, and the quarters where there is room."""
    return [0, side // 2, side - 1] if side > 1 else [0]


def _half_side(share: float, shape: tuple[int, int], centre: tuple[float, float]) -> tuple[float, float]:
    """Return half the side of the square around a centre that covers a share of an image."""
    from scsc_lab.analysis.profiles import Squares

    squares = Squares.around(shape, centre)
    half = float(np.interp(share, squares.areas, squares.half_sides))
    return half, half


def _outline(panel: Any, centre: tuple[float, float], half: tuple[float, float], colour: str, line: Any) -> None:
    (row, column), (down, right) = centre, half
    xs = [column - right, column + right, column + right, column - right, column - right]
    ys = [row - down, row - down, row + down, row + down, row - down]
    panel.plot(xs, ys, color=colour, linewidth=0.8, linestyle=line)


def _legend(figure: Any, measured: Sequence[Field]) -> None:
    from matplotlib.lines import Line2D

    lines: Any = [(line, name) for _, line, name in _SQUARES]
    handles = [Line2D([], [], color="0.35", linewidth=0.8, linestyle=line, label=name) for line, name in lines]
    handles.append(
        Line2D([], [], color=_CENTRE_COLOUR, marker="+", linestyle="none", markersize=5, label="true centre")
    )
    inside = [field for field in measured if field.support is not None and not field.support.all()]
    if inside:
        handles.append(Line2D([], [], color=_THEORY_COLOUR, linewidth=0.9, linestyle=":", label="theoretical field"))
    figure.legend(
        handles=handles, loc="outside lower center", ncols=len(handles), fontsize=6, handlelength=1.6, frameon=False
    )


def _profiles(panel: Any, measured: Sequence[Field]) -> None:
    """Draw the density of each field at each distance from its centre."""
    for index, field in enumerate(measured):
        setting = field.setting
        density = radial_density(field.drawn, setting.centre)
        reach = min(setting.resolution) // 2
        name = f"{setting.model} {setting.stage}" if _several_stages(measured) else setting.model
        panel.plot(
            np.arange(reach),
            density[:reach],
            color=style.COLOURS[index % len(style.COLOURS)],
            linestyle=("-", "--", "-.", ":")[index // len(style.COLOURS) % 4],
            label=name,
        )
    panel.axhline(1.0, color="0.6", linewidth=0.5)
    panel.set_yscale("log")
    top = panel.get_ylim()[1]
    panel.set_ylim(max(panel.get_ylim()[0], top / 10**_DECADES / 10), top)
    panel.set_xlabel("distance from the true centre (pixels)", fontsize=7)
    panel.set_ylabel("contribution / mean", fontsize=7)
    panel.tick_params(labelsize=6)
    panel.legend(fontsize=6, ncols=1 + len(measured) // 5)


def _several_stages(measured: Sequence[Field]) -> bool:
    return len({field.setting.stage for field in measured}) > 1 or len({f.setting.model for f in measured}) == 1
