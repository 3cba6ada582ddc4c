"""Effective receptive field: the share of the input that a part of one stage's gradient comes from."""

from __future__ import annotations

import functools
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from scsc_lab import units
from scsc_lab.analysis import SHARES, key
from scsc_lab.errors import InputError
from scsc_lab.metrics import Metric, Progress
from scsc_lab.networks.network import Network
from scsc_lab.records import Row, file_name
from scsc_lab.report import fields as blocks
from scsc_lab.report.tables import Change, Column
from scsc_lab.settings import Execution, Settings

if TYPE_CHECKING:
    from scsc_lab.analysis.field import Field

USUAL_SEEDS = 3
"""Initialisations that are averaged over where weights are random, if nobody says otherwise."""

_ELSEWHERE = ("model", "resolution", "batch", "seed")


def configure(settings: Settings) -> Settings:
    """Return the settings that concern receptive fields."""
    execution = settings.execution
    return Settings(Execution(execution.device, seed=execution.seed), fields=settings.fields)


def fields(
    network: Network,
    settings: Settings,
    progress: Callable[[int, int], None] | None = None,
    *,
    normalisation: tuple[tuple[float, ...], tuple[float, ...]] | None = None,
) -> list[Field]:
    """Return the effective receptive field of each feature map that the settings name.

    On the CPU as many threads work as have a core for themselves.

    Args:
        network: the network.
        settings: how to measure.
        progress: told the number of images done and to do.
        normalisation: mean and deviation of each input channel, for pixels from 0 to 1. Default: the network's own.

    Raises:
        InputError: if a stage or layer does not exist or is no map, there are no images, or the input is too small.
    """
    from scsc_lab.execution import hardware
    from scsc_lab.execution.passes import using_threads
    from scsc_lab.models import build, in_hand, stages
    from scsc_lab.receptive_field import images, measure

    field_settings, seed = settings.fields, settings.execution.seed
    facts, whose = build.facts(network), in_hand.whose_weights(network)
    drawn_weights = whose in ("random", "mixed")
    if (field_settings.seeds or 1) > 1 and not drawn_weights:
        raise InputError(f"--seeds averages over random weights; {network} has weights of its own")
    device = hardware.find(settings.execution.device)
    mean, std = normalisation or (facts.mean, facts.std)
    drawn = images.drawn(field_settings.images, field_settings.samples, facts.resolution, mean, std, seed)
    shape = (len(mean), *facts.resolution)
    layers = {layer: layer for layer in field_settings.layers}
    with using_threads(hardware.free_threads()):
        return measure.measure(
            lambda seed: build.build(network, seed).to(device),
            lambda model: layers or stages.chosen(model, field_settings.stages, shape, str(network)),
            drawn,
            field_settings,
            measure.Whose(str(network), whose, field_settings.seeds or (USUAL_SEEDS if drawn_weights else 1), seed),
            device,
            progress,
        )


@dataclass(frozen=True)
class WithMaps(Settings):
    """Settings of a field whose map of every image is kept, not the mean alone."""

    def identity(self) -> dict[str, Any]:
        """Return what decides what is kept, as plain data."""
        return {**super().identity(), "maps": "every image"}


def measure(networks: Sequence[Network], settings: Settings, progress: Progress) -> list[Row]:
    """Return one row per network, of the last of its stages that are asked for, with all of them under ``stages``.

    A network that has no map to draw a field from says why under ``erf_failure``.
    """
    rows: list[Row] = []
    for network in networks:
        report = functools.partial(_report, progress, f"the receptive field of {network}")
        report(0, 1)
        try:
            measured = fields(network, _of(network, settings), report)
        except InputError as error:  # a network without maps has all the rest
            rows.append({"erf_failure": str(error)})
            continue
        how = replace(settings, execution=replace(settings.execution, device="auto")).identity()
        stages = [*(f", {field.setting.stage}" for field in measured[:-1]), ""]
        each = [
            field_row(field, f"{network}{stage}", network, how, all_maps=isinstance(settings, WithMaps))
            for field, stage in zip(measured, stages, strict=True)
        ]
        row = dict(each[-1])
        if len(each) > 1:
            row["stages"] = each
        rows.append(row)
    return rows


def _report(progress: Progress, description: str, done: int, total: int) -> None:
    progress(description, done / total)


def field_row(
    field: Field, name: str, network: Network, how: Mapping[str, Any], *, all_maps: bool = False
) -> dict[str, Any]:
    """Return the row of a field with the content of its file of maps, and the file's name.

    Args:
        field: the field.
        name: what the file is called after.
        network: the network; a field of another one, or of other settings, has another file.
        how: what decides the numbers.
        all_maps: whether the file holds the map of every image, not the mean alone.
    """
    from scsc_lab.analysis import mapfile

    row = {key: value for key, value in field.row().items() if key not in _ELSEWHERE}
    row["initialisations"] = row.pop("seeds")  # which a trained network's row counts its runs under
    digest = zlib.crc32(repr((network.text, how)).encode(errors="surrogatepass"))
    row["map_file"] = f"{file_name(name)}-{digest:08x}.npz"
    row["map"] = mapfile.content([field if all_maps else field.condensed()])
    return row


def _of(network: Network, settings: Settings) -> Settings:
    """Return how one of several networks is measured: one with weights of its own has no others to draw."""
    from scsc_lab.models import in_hand

    if in_hand.whose_weights(network) in ("random", "mixed"):
        return settings
    return replace(settings, fields=replace(settings.fields, seeds=None))


def notes(rows: Sequence[Row]) -> list[str]:
    """Return what r(t) is, of which stage, weights and images, and which networks have none."""
    missing = [f"No r(t) for {row['model']}: {row['erf_failure']}." for row in rows if row.get("erf_failure")]
    drawn = [row for row in rows if row.get("r50") is not None]
    if not drawn:
        return missing
    stages = dict.fromkeys(str(row.get("stage", "the last stage")) for row in drawn)
    return [
        *missing,
        f"{blocks.RULE} Of the central unit of {' and '.join(stages)}; as by `scsc-lab erf`.",
        *blocks.settings(drawn),
        *blocks.of_one_draw(drawn),
    ]


def _against(row: Row, baseline: Row, key: str) -> Row:
    """Return the difference of a figure to the baseline's, with its interval, where both rows have it."""
    from scsc_lab.analysis.field import difference

    names = (f"{key}_difference", f"{key}_difference_low", f"{key}_difference_high")
    is_known = row.get(key) is not None and baseline.get(key) is not None
    return dict(zip(names, difference(row, baseline, key) if is_known else (None, None, None), strict=True))


def _column(share: float) -> Column:
    name, text = key(share), f"r({100 * share:.0f}%)"
    keys = (f"{name}_difference", f"{name}_difference_low", f"{name}_difference_high")
    change_column = Column(keys, f"Δ {text}, points", lambda values: units.with_interval(values, units.points))
    return Column(
        name,
        text,
        units.share,
        word="erf" if name == "r50" else name,
        axis=f"{text}, % of the input",
        scale=1e2,
        question="How does its receptive field change?" if name == "r50" else "",
        change=Change(change_column, "difference", "Δ points, 95%", paired=functools.partial(_against, key=name)),
    )


def table_rows(row: Row) -> list[Row]:
    """Return the row of a network in the table of receptive fields, or why it has none."""
    if "erf_failure" in row:
        return [{"table": "missing", "what": "receptive field", "reason": row["erf_failure"]}]
    return [{"table": "field", **row}]


METRIC = Metric(
    name="erf",
    columns=tuple(_column(share) for share in sorted(SHARES, key=lambda share: share != 0.5)),
    measure=measure,
    configure=configure,
    notes=notes,
    default=("erf",),
    table_rows=table_rows,
)
ORDER = 3
