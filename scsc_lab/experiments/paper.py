"""The claims of the SCSC paper's abstract, held against our own counts."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, replace

from scsc_lab.analysis.count import Count
from scsc_lab.architectures import catalog
from scsc_lab.architectures import overrides as spec_changes
from scsc_lab.architectures.network import Network
from scsc_lab.architectures.specs import NetworkSpec
from scsc_lab.counting.count import count
from scsc_lab.metrics.size import counted
from scsc_lab.models import construct
from scsc_lab.models.stages import stages
from scsc_lab.records import Row, change

POINT = 0.01
"""One point of percentage: the closeness that counts as reproduced."""


@dataclass(frozen=True)
class Claim:
    """One claim of the abstract (arXiv 2308.07110).

    Attributes:
        text: the claim, in short.
        baseline, network: names of the networks it compares.
        quantity: ``params`` or ``macs``, or ``accuracy``, which only training can tell.
        published: the change it prints, as a fraction; ``None`` where it prints none.
        reading: how a claim without a figure is read, if it is.
    """

    text: str
    baseline: str
    network: str
    quantity: str
    published: float | None = None
    reading: str = ""


CLAIMS = (
    Claim("FaceResNet: FLOPs", "faceresnet", "scsc_faceresnet", "macs", -0.68),
    Claim("FaceResNet: parameters", "faceresnet", "scsc_faceresnet", "params", -0.79),
    Claim("FaceResNet: accuracy", "faceresnet", "scsc_faceresnet", "accuracy", 0.027),
    Claim("Swin: FLOPs", "swin_tiny", "scsc_swin_tiny", "macs", -0.22),
    Claim("Swin: better accuracy", "swin_tiny", "scsc_swin_tiny", "accuracy"),
    Claim("ResNet: accuracy", "resnet50", "scsc_resnet50", "accuracy", 0.053),
    Claim("ResNet: FLOPs, similar", "resnet50", "scsc_resnet50", "macs", None, "no change"),
    Claim("ResNet: params, similar", "resnet50", "scsc_resnet50", "params", None, "no change"),
    Claim("ResNet: matches Swin", "swin_tiny", "scsc_resnet50", "accuracy"),
)
"""Every claim of the abstract."""


def claim_rows() -> list[Row]:
    """Return every claim with its published and our own figure, the difference in points and a verdict.

    ``reproduced``: within one point. ``differs``: measured, and further off; the nearest setting that a search over
    kernel sets finds stands beside it. ``needs training: not measured``: a claim about accuracy.
    """
    counts = {name: counted(Network.read(name)).count for name in dict.fromkeys(_names())}
    return [_row(claim, counts) for claim in CLAIMS]


def worse(row: Row, tolerance: float) -> bool:
    """Return whether we measure less of an advantage than a claim prints, by more than ``tolerance`` (a fraction)."""
    return row["difference"] is not None and row["published"] is not None and row["difference"] > tolerance


def nearest(claim: Claim) -> tuple[str, float]:
    """Return the setting of the claim's network whose change is nearest to the claim's, and its change.

    Searched: in every stage, every choice of the stage's kernels. MACs and parameters add up over stages, so each
    choice is counted once a stage, and the best network of all combinations is then counted whole.
    """
    entry, wanted = catalog.find(claim.network), claim.published or 0.0
    shape = (1, 3, *entry.resolution)
    reference = getattr(counted(Network.read(claim.baseline)).count, claim.quantity)
    options = [_subsets(spec.kernels) for spec in entry.spec.scsc]
    costs = []
    for index, choices in enumerate(options):
        costs.append([_stage_cost(entry.spec, index, kernels, shape, claim.quantity) for kernels in choices])
    whole = getattr(count(construct.empty(entry.spec), shape), claim.quantity)
    fixed = whole - sum(cost[-1] for cost in costs)  # the last choice is the stage's own set, whole
    best = min(
        itertools.product(*(range(len(choices)) for choices in options)),
        key=lambda picks: abs((fixed + sum(c[p] for c, p in zip(costs, picks, strict=True))) / reference - 1 - wanted),
    )
    chosen = {
        f"stage{index + 1}.kernels": options[index][pick]
        for index, pick in enumerate(best)
        if pick != len(options[index]) - 1
    }
    spec = spec_changes.apply(entry.spec, chosen)
    measured = getattr(count(construct.empty(spec), shape), claim.quantity)
    return spec_changes.label(entry.name, chosen), measured / reference - 1


def _names() -> list[str]:
    return [name for claim in CLAIMS for name in (claim.baseline, claim.network)]


def _row(claim: Claim, counts: Mapping[str, Count]) -> Row:
    row: Row = {
        "claim": claim.text,
        "baseline": claim.baseline,
        "network": claim.network,
        "quantity": claim.quantity,
        "published": claim.published,
        "published_text": claim.reading and f"“similar”, read as {claim.reading}",
        "measured": None,
        "difference": None,
        "verdict": "needs training: not measured",
        "nearest": None,
        "nearest_change": None,
        "inferred": catalog.find(claim.network).inferred or None,
    }
    if claim.quantity == "accuracy":
        return row
    measured = change(getattr(counts[claim.network], claim.quantity), getattr(counts[claim.baseline], claim.quantity))
    assert measured is not None
    difference = measured - (claim.published or 0.0)
    row |= {"measured": measured, "difference": difference}
    row["verdict"] = "reproduced" if abs(difference) <= POINT else "differs"
    if row["verdict"] == "differs":
        row["nearest"], row["nearest_change"] = nearest(claim)
    return row


def _subsets(kernels: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Return every choice of some kernels, the whole set last."""
    sizes = range(1, len(kernels) + 1)
    return [chosen for size in sizes for chosen in itertools.combinations(kernels, size)]


def _stage_cost(spec: NetworkSpec, index: int, kernels: tuple[int, ...], shape: tuple[int, ...], quantity: str) -> int:
    scsc = list(spec.scsc)
    scsc[index] = replace(scsc[index], kernels=kernels)
    model = construct.empty(replace(spec, scsc=tuple(scsc)))
    parts = {part.name: part for part in count(model, shape).by_stage(stages(model))}
    return int(getattr(parts[f"stage{index + 1}"], quantity))
