"""Effective receptive field: the share of the input that half of the last stage's gradient comes from."""

from __future__ import annotations

from collections.abc import Sequence

from scsc_lab import units
from scsc_lab.analysis.protocol import Protocol
from scsc_lab.architectures.network import Network
from scsc_lab.errors import InputError
from scsc_lab.metrics import Metric, Tell
from scsc_lab.records import Row, file_name
from scsc_lab.report.tables import Change, Column
from scsc_lab.settings import Request

_ELSEWHERE = ("model", "resolution", "batch", "seed")


def configure(request: Request) -> Protocol:
    """Return how fields are measured."""
    return Protocol(device=request.device, samples=request.samples, seed=request.seed)


def measure(networks: Sequence[Network], settings: Protocol, tell: Tell) -> list[Row]:
    """Return one row a network; one that has no map to draw a field from says why under ``erf_failure``."""
    from scsc_lab.analysis import mapfile
    from scsc_lab.experiments import fields
    from scsc_lab.models.subject import of

    rows: list[Row] = []
    for network in networks:
        tell(f"the receptive field of {network}")
        try:
            field = fields.measure(of(network), settings)[-1]
        except InputError as error:  # a network without maps has all the rest
            rows.append({"erf_failure": str(error)})
            continue
        row = {key: value for key, value in field.row().items() if key not in _ELSEWHERE}
        if settings.maps is not None:
            row["map_file"] = f"{file_name(str(network))}.npz"
            mapfile.save([field.condensed()], settings.maps / row["map_file"])
        rows.append(row)
    return rows


def notes(rows: Sequence[Row]) -> list[str]:
    """Return what r(50 %) is and of which weights and images, and which networks have none."""
    found = [f"No r(50%) for {row['model']}: {row['erf_failure']}." for row in rows if row.get("erf_failure")]
    drawn = [row for row in rows if row.get("r50") is not None]
    if not drawn:
        return found
    weights = " and ".join(dict.fromkeys(str(row["weights"]) for row in drawn))
    kinds = " and ".join(dict.fromkeys(f"{row['images']} {row['image_kind']}" for row in drawn))
    return [
        *found,
        "r(50%): share of the input's area in the smallest square around the last stage's central unit that holds "
        f"half of its gradient; {weights} weights, {kinds}; as by `scsc-lab erf`.",
    ]


METRIC = Metric(
    name="erf",
    columns=(
        Column(
            "r50",
            "r(50%)",
            units.share,
            word="erf",
            name="r(50%), % of the input",
            scale=1e2,
            better="higher",
            question="Does it see wider?",
            change=Change(Column("r50_difference", "Δ r(50%), points", units.points), "difference", "Δ points"),
        ),
    ),
    measure=measure,
    configure=configure,
    notes=notes,
)
ORDER = 3
