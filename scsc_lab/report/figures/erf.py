"""The figure of effective receptive fields: a map a network and stage, all on one scale, and their radial profiles."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from scsc_lab import units
from scsc_lab.analysis.field import Field
from scsc_lab.analysis.profiles import radial_density
from scsc_lab.report.figures import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_DECADES = 4
"""Decades that the scale shows below its largest value."""

_PER_ROW = 4
_TITLE_POINTS = 6
_LEVELS = 64
"""Colours of the scale: enough for the eye, few enough for small files."""

_SQUARES = (("r50", "-", "r(50 %)"), ("r95", "--", "r(95 %)"))
_SQUARE_COLOUR, _THEORY_COLOUR, _CENTRE_COLOUR = "white", "#56B4E9", "#56B4E9"


def draw(measured: Sequence[Field]) -> Figure:
    """Return a figure with one panel a field and, where there are several, their radial profiles in one plot.

    The scale is the contribution of a pixel over the mean of its map (1: uniform), or RepLKNet's log map; the squares
    are those of r(50 %) and r(95 %), the cross is the unit's true centre, the dotted outline its theoretical field.
    """
    place = _Places.of(measured)
    figure = style.blank(place.width, place.height)
    norm, label = _scale(measured)
    with style.applied():
        for index, field in enumerate(measured):
            panel = figure.add_axes(place.panel(index))
            image = _panel(panel, field, norm, place.characters)
            if index % place.columns and place.alike:
                panel.set_yticklabels([])
            if index % place.columns:
                panel.set_ylabel("")
            if index + place.columns < len(measured) and place.alike:
                panel.set_xticklabels([])
                panel.set_xlabel("")
        bar = figure.colorbar(image, cax=figure.add_axes(place.scale))
        bar.ax.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        bar.set_label(label, fontsize=6.5)
        bar.ax.tick_params(labelsize=6)
        if len(measured) > 1:
            _profiles(figure.add_axes(place.profiles), measured)
        _legend(figure, measured)
    return figure


@dataclass(frozen=True)
class _Places:
    """Where everything stands, in inches from the figure's lower left corner."""

    count: int
    columns: int
    width: float
    side: float
    gap: float
    alike: bool

    LEFT, RIGHT, TITLE, LABELS, LEGEND, PROFILES = 0.45, 0.72, 0.44, 0.34, 0.22, 1.55

    @classmethod
    def of(cls, measured: Sequence[Field]) -> _Places:
        columns = min(len(measured), _PER_ROW)
        width = style.COLUMN_INCHES if columns < 3 else style.PAGE_INCHES
        alike = len({field.setting.resolution for field in measured}) == 1
        gap = 0.19 if alike else 0.36
        side = (width - cls.LEFT - cls.RIGHT - gap * (columns - 1)) / columns
        return cls(len(measured), columns, width, side, gap, alike)

    @property
    def rows(self) -> int:
        return math.ceil(self.count / self.columns)

    @property
    def characters(self) -> int:
        """Characters of a title's line that fit above a panel."""
        return int((self.side + self.gap) * 72 / (_TITLE_POINTS * 0.56))

    @property
    def row_height(self) -> float:
        return self.side + self.TITLE + (0.06 if self.alike else self.LABELS)

    @property
    def below(self) -> float:
        """Height under the panels' tick labels."""
        return self.LEGEND + (self.PROFILES + self.LABELS + 0.08 if self.count > 1 else 0.0)

    @property
    def height(self) -> float:
        return self.below + self.LABELS + self.rows * self.row_height

    @property
    def scale(self) -> tuple[float, float, float, float]:
        bottom = self.below + self.LABELS
        height = self.rows * self.row_height - self.TITLE - (0.0 if self.alike else self.LABELS)
        return self._share(self.width - self.RIGHT + 0.08, bottom, 0.09, height)

    @property
    def profiles(self) -> tuple[float, float, float, float]:
        return self._share(self.LEFT, self.LEGEND + self.LABELS, self.width - self.LEFT - 0.08, self.PROFILES)

    def panel(self, index: int) -> tuple[float, float, float, float]:
        row, column = divmod(index, self.columns)
        bottom = self.below + self.LABELS + (self.rows - 1 - row) * self.row_height
        return self._share(self.LEFT + column * (self.side + self.gap), bottom, self.side, self.side)

    def _share(self, left: float, bottom: float, width: float, height: float) -> tuple[float, float, float, float]:
        return left / self.width, bottom / self.height, width / self.width, height / self.height


def _scale(measured: Sequence[Field]) -> tuple[Any, str]:
    """Return the one scale of all panels, and what it shows."""
    from matplotlib.colors import LogNorm, Normalize

    if all(field.setting.method == "replknet" for field in measured):
        return Normalize(0.0, 1.0), "log10(A + 1) / largest"
    largest = max(float(np.quantile(field.drawn, 0.9999)) for field in measured)
    return LogNorm(largest / 10**_DECADES, largest, clip=True), "contribution / mean (1: uniform)"


def _panel(panel: Any, field: Field, norm: Any, characters: int) -> Any:
    setting = field.setting
    height, width = setting.resolution
    image = panel.imshow(
        np.maximum(field.drawn, norm.vmin if norm.vmin > 0 else 0.0),
        norm=norm,
        cmap=style.colours_of_map(_LEVELS),
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
    if setting.theoretical is not None:
        _outline(panel, *_theoretical(field), _THEORY_COLOUR, ":")
    panel.plot(setting.centre[1], setting.centre[0], "+", color=_CENTRE_COLOUR, markersize=5, markeredgewidth=0.8)
    panel.set_xlim(-0.5, width - 0.5)
    panel.set_ylim(height - 0.5, -0.5)
    panel.set_xticks(_ticks(width), [str(tick) for tick in _ticks(width)])
    panel.set_yticks(_ticks(height), [str(tick) for tick in _ticks(height)])
    panel.tick_params(labelsize=6)
    panel.set_xlabel("x (pixels)", fontsize=6.5, labelpad=1)
    panel.set_ylabel("y (pixels)", fontsize=6.5, labelpad=1)
    panel.set_title(_title(field, characters), fontsize=_TITLE_POINTS, pad=3)
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
    return "\n".join(part for line in lines for part in textwrap.wrap(style.name(line, 200), width))


def _theoretical(field: Field) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return middle and half sides of the theoretical field, as far as it is inside the image."""
    middle, half = [], []
    for side, length, centre in zip(
        field.setting.resolution, field.setting.theoretical or (0, 0), field.setting.centre, strict=True
    ):
        low, high = max(centre - length / 2, 0.0), min(centre + length / 2, side - 1.0)
        if length >= side:
            low, high = 0.0, side - 1.0
        middle.append((low + high) / 2)
        half.append((high - low) / 2)
    return (middle[0], middle[1]), (half[0], half[1])


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
    if any(field.setting.theoretical is not None for field in measured):
        handles.append(Line2D([], [], color=_THEORY_COLOUR, linewidth=1.0, linestyle=":", label="theoretical field"))
    figure.legend(handles=handles, loc="lower center", ncols=len(handles), fontsize=6, handlelength=1.6, frameon=False)


def _profiles(panel: Any, measured: Sequence[Field]) -> None:
    """Draw the density of each field at each distance from its centre."""
    for index, field in enumerate(measured):
        setting = field.setting
        density = radial_density(field.drawn, setting.centre)
        reach = min(setting.resolution) // 2
        name = style.name(f"{setting.model} {setting.stage}" if _several_stages(measured) else setting.model)
        panel.plot(
            np.arange(reach),
            density[:reach],
            color=style.COLOURS[index % len(style.COLOURS)],
            linestyle=("-", "--", "-.", ":")[index // len(style.COLOURS) % 4],
            linewidth=0.9,
            label=name,
        )
    panel.axhline(1.0, color="0.6", linewidth=0.5)
    panel.set_yscale("log")
    style.plain_log(panel.yaxis)
    panel.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    top = panel.get_ylim()[1]
    panel.set_ylim(max(panel.get_ylim()[0], top / 10**_DECADES / 10), top)
    panel.set_xlabel("distance from the true centre (pixels)", fontsize=6.5, labelpad=1)
    panel.set_ylabel("contribution / mean", fontsize=6.5, labelpad=1)
    panel.tick_params(labelsize=6)
    panel.legend(fontsize=6, ncols=1 + len(measured) // 5, loc="upper right")


def _several_stages(measured: Sequence[Field]) -> bool:
    return len({field.setting.stage for field in measured}) > 1 or len({f.setting.model for f in measured}) == 1
