"""The figure of effective receptive fields: a map a network and stage, all on one scale, and their profiles."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from scsc_lab import units
from scsc_lab.analysis.field import Field
from scsc_lab.analysis.profiles import Array, Squares
from scsc_lab.records import Row
from scsc_lab.report.figures import profiles, style
from scsc_lab.settings import Drawing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST_DECADES = 5
"""Decades that the scale shows at most, so that what is next to nothing does not take its colours."""

_TAIL = 0.01
"""Share of the pixels that may be darker than the scale."""

_MOST_INSIDE = 6
"""Profiles whose names stand in the plot; those of more stand beside it."""

_WIDE_INCHES = 5.0
_WIDER_INCHES = 6.0
_TALL_INCHES = 1.6
_LINE_INCHES = 0.14
_SQUARES = (("r50", "-", "r(50 %)"), ("r95", "--", "r(95 %)"))
_SQUARE_COLOUR, _THEORY_COLOUR, _CENTRE_COLOUR = "white", "#56B4E9", "#56B4E9"


def draw(measured: Sequence[Field], options: Drawing = style.PLAIN, rows: Sequence[Row] = ()) -> Figure:
    """Return a figure with one panel a field and, where there are several, their profiles in one plot.

    The scale is the contribution of a pixel over the mean of its map (1: uniform), or RepLKNet's log map; an arrow at
    an end of it says that some pixels lie beyond. The squares are those of r(50 %) and r(95 %), the cross is the unit's
    true centre; the dotted outline is its theoretical field, where that does not cover the image.

    Args:
        measured: the fields.
        options: width, titles, and whether ``maps``, ``profiles`` or ``both`` are shown.
        rows: rows with the intervals of ``r(t)``, for fields whose maps carry none.
    """
    both = options.panels == "both" and len(measured) > 1
    place = _Places.of(measured, options, maps=options.panels != "profiles", profiles=both)
    if options.panels == "profiles":
        height = _LINE_INCHES * (len(measured) + 2) if place.beside else 0.0
        figure, panel = style.new(place.width, max(0.62 * place.width, height))
        with style.applied():
            profiles.draw(panel, measured, names(measured), rows, beside=place.beside)
        if place.beside:
            panel.set_position((0.1, 0.15, 0.48, 0.8))
        return figure
    figure = style.blank(place.width, place.height)
    with style.applied():
        norm, label, extend = scale(measured)
        for index, (field, title) in enumerate(zip(measured, place.titles, strict=True)):
            panel = figure.add_axes(place.panel(index))
            image = _panel(panel, field, norm)
            panel.set_title(title, fontsize=style.POINTS, pad=3)
            if index % place.columns:
                panel.set_yticklabels([] if place.alike else panel.get_yticklabels())
            else:
                panel.set_ylabel("y (pixels)")
            if index + place.columns < len(measured) and place.alike:
                panel.set_xticklabels([])
            if index + place.columns >= len(measured):
                panel.set_xlabel("x (pixels)")
        bar = figure.colorbar(image, cax=figure.add_axes(place.scale), extend=extend, extendfrac=0.04)
        bar.ax.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        bar.ax.minorticks_off()
        bar.set_label(label if place.side * place.rows > _TALL_INCHES else label.partition(" (")[0])
        if both:
            below = figure.add_axes(place.profiles)
            profiles.draw(below, measured, names(measured), rows, beside=place.beside)
        _legend(figure, measured, place)
        if place.heading:
            figure.text(0.5, 1 - 0.05 / place.height, place.heading, ha="center", va="top", fontsize=style.POINTS)
    return figure


@dataclass(frozen=True)
class _Places:
    """Where everything stands, in inches from the figure's lower left corner; ``heading`` is what all panels share."""

    count: int
    columns: int
    width: float
    alike: bool
    heading: str
    titles: tuple[str, ...]
    below: bool
    legend_rows: int

    LEFT, RIGHT, LABELS, PROFILES, LEGEND = 0.46, 0.66, 0.34, 1.5, 0.17

    @classmethod
    def of(cls, measured: Sequence[Field], options: Drawing, *, maps: bool, profiles: bool) -> _Places:
        narrow = len(measured) < 3 or not (maps or len(measured) > _MOST_INSIDE)
        width = options.width or (style.COLUMN_INCHES if narrow else style.PAGE_INCHES)
        columns = columns_of(len(measured), width)
        alike = len({field.setting.resolution for field in measured}) == 1
        shared, own = _texts(measured)
        heading = "\n".join(textwrap.wrap(shared, int(width * 72 / (style.POINTS * 0.52)))) if options.titles else ""
        side = (width - cls.LEFT - cls.RIGHT) / columns
        letters = max(int(side * 72 / (style.POINTS * 0.58)), 8)
        titles = tuple("\n".join(textwrap.wrap(text, letters)) for text in own)
        return cls(
            len(measured),
            columns,
            width,
            alike,
            heading,
            titles,
            profiles,
            1 if width > _WIDE_INCHES or not any(map(_theory_shown, measured)) else 2,
        )

    @property
    def gap(self) -> float:
        return 0.14 if self.alike else 0.36

    @property
    def side(self) -> float:
        return (self.width - self.LEFT - self.RIGHT - self.gap * (self.columns - 1)) / self.columns

    @property
    def between(self) -> float:
        return 0.06 if self.alike else self.LABELS - 0.12

    @property
    def rows(self) -> int:
        return math.ceil(self.count / self.columns)

    @property
    def title(self) -> float:
        return 0.06 + _LINE_INCHES * max(title.count("\n") + 1 for title in self.titles)

    @property
    def row_height(self) -> float:
        return self.side + self.title + self.between

    @property
    def foot(self) -> float:
        """Height under the panels' tick labels."""
        return 0.05 + self.LEGEND * self.legend_rows + (self.curves + self.LABELS + 0.14 if self.below else 0.0)

    @property
    def curves(self) -> float:
        """Height of the profiles, and of their names where these stand beside them."""
        return max(self.PROFILES, _LINE_INCHES * (self.count + 1) if self.beside else 0.0)

    @property
    def beside(self) -> bool:
        """Whether the profiles' names stand beside them: they are many, and there is room."""
        return self.count > _MOST_INSIDE and self.width > _WIDER_INCHES

    @property
    def height(self) -> float:
        lines = self.heading.count("\n") + 1 if self.heading else 0
        return self.foot + self.LABELS + self.rows * self.row_height - self.between + _LINE_INCHES * lines + 0.04

    @property
    def scale(self) -> tuple[float, float, float, float]:
        height = (self.rows - 1) * self.row_height + self.side
        return self._share(self.width - self.RIGHT + 0.08, self.foot + self.LABELS, 0.09, height)

    @property
    def profiles(self) -> tuple[float, float, float, float]:
        bottom = 0.05 + self.LEGEND * self.legend_rows + self.LABELS
        beside = 0.46 * self.width if self.beside else 0.08
        return self._share(self.LEFT, bottom, self.width - self.LEFT - beside, self.curves)

    def panel(self, index: int) -> tuple[float, float, float, float]:
        row, column = divmod(index, self.columns)
        bottom = self.foot + self.LABELS + (self.rows - 1 - row) * self.row_height
        return self._share(self.LEFT + column * (self.side + self.gap), bottom, self.side, self.side)

    def _share(self, left: float, bottom: float, width: float, height: float) -> tuple[float, float, float, float]:
        return left / self.width, bottom / self.height, width / self.width, height / self.height


def columns_of(count: int, width: float) -> int:
    """Return how many panels stand side by side: two at most in a narrow figure; else four, of six three by two."""
    if width <= _WIDE_INCHES:
        return min(count, 2)
    return 3 if count in (5, 6) else min(count, 4)


def _texts(measured: Sequence[Field]) -> tuple[str, list[str]]:
    """Return what holds for all fields, as one line, and what is left to say of each."""
    said = [facts(field) for field in measured]
    shared = [fact for index, fact in enumerate(said[0]) if len({one[index] for one in said}) == 1]
    own = [", ".join(fact for fact in one if fact and fact not in shared) for one in said]
    if len(measured) == 1:
        return ", ".join(fact for fact in shared[1:] if fact), [said[0][0]]
    return ", ".join(fact for fact in shared if fact), own


def facts(field: Field) -> list[str]:
    """Return what a field was measured on, one fact each: network, stage, input, weights, initialisations, images."""
    setting = field.setting
    weights = f"{setting.weights} weights" if setting.weights != "as given" else "weights as given"
    seeds = f"{setting.seeds} initialisations" if setting.seeds > 1 else ""
    said = [setting.model, setting.stage, units.size(setting.resolution), weights, seeds, field.images_as_text]
    return [style.name(fact, 80) for fact in said]


def names(measured: Sequence[Field]) -> list[str]:
    """Return what fields are called among each other: the network, with stage and weights where these differ."""
    settings = [field.setting for field in measured]
    parts = [key for key in ("model", "stage") if len({getattr(own, key) for own in settings}) > 1] or ["model"]
    said = [" ".join(str(getattr(own, part)) for part in parts) for own in settings]
    if len({own.weights == "random" for own in settings}) > 1:
        said = [
            f"{text}, {'untrained' if own.weights == 'random' else 'trained'}"
            for text, own in zip(said, settings, strict=True)
        ]
    return [style.name(text) for text in said]


def panel(field: Field, axes: Any = None) -> Any:
    """Draw the map of one field with its squares, its centre and its theoretical field, and return the axes.

    Args:
        field: the field.
        axes: matplotlib's axes to draw on. Default: those of a new figure, one column wide.
    """
    if axes is None:
        _, axes = style.new(style.COLUMN_INCHES, style.COLUMN_INCHES)
    with style.applied():
        _panel(axes, field, scale([field])[0])
        axes.set_title(", ".join(facts(field)[:2]), fontsize=style.POINTS, pad=3)
        axes.set_xlabel("x (pixels)")
        axes.set_ylabel("y (pixels)")
    return axes


def compared(measured: Sequence[Field], axes: Any = None) -> Any:
    """Draw the profiles of some fields in one plot, and return the axes.

    Args:
        measured: the fields.
        axes: matplotlib's axes to draw on. Default: those of a new figure, one column wide.
    """
    if axes is None:
        _, axes = style.new(style.COLUMN_INCHES, 0.62 * style.COLUMN_INCHES)
    with style.applied():
        profiles.draw(axes, measured, names(measured), [])
    return axes


def scale(measured: Sequence[Field]) -> tuple[Any, str, str]:
    """Return the one scale of all panels, what it shows, and at which ends pixels lie beyond it."""
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
    image = panel.imshow(
        np.maximum(field.drawn, norm.vmin / 2),
        norm=norm,
        cmap=style.colours_of_map(),
        interpolation="nearest",
        rasterized=True,
    )
    figures = field.figures()
    around, _ = squares(field)
    row, column = around.centre
    for key, line, _ in _SQUARES:
        share = figures[key]
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
    height, width = field.setting.resolution
    if field.setting.method == "replknet":
        found = Squares.around((height, width), (float(height // 2), float(width // 2)))
        return found, found.masses(field.drawn)
    found = Squares.around((height, width), field.setting.centre)
    return found, found.masses(field.map)


def _theory_shown(field: Field) -> bool:
    return field.support is not None and bool(field.support.any()) and not bool(field.support.all())


def _legend(figure: Any, measured: Sequence[Field], place: _Places) -> None:
    from matplotlib.lines import Line2D

    lines: Any = [(line, name) for _, line, name in _SQUARES]
    handles = [Line2D([], [], color="0.35", linewidth=0.9, linestyle=line, label=name) for line, name in lines]
    handles.append(
        Line2D([], [], color=_CENTRE_COLOUR, marker="+", linestyle="none", markersize=5, label="true centre")
    )
    if any(map(_theory_shown, measured)):
        handles.append(Line2D([], [], color=_THEORY_COLOUR, linewidth=1.0, linestyle=":", label="theoretical field"))
    columns = math.ceil(len(handles) / place.legend_rows)
    figure.legend(handles=handles, loc="lower center", ncols=columns, handlelength=2.0, borderaxespad=0.1)
