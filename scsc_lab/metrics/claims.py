"""The claims of the SCSC paper's abstract, each with our own count. They have a table of their own, no column."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scsc_lab.analysis.convergence import under_training
from scsc_lab.metrics import Metric, Progress, accuracy
from scsc_lab.metrics.size import counted
from scsc_lab.networks import catalog, space
from scsc_lab.networks.network import Network
from scsc_lab.records import Row, change

if TYPE_CHECKING:
    from scsc_lab.analysis.count import Count

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
        probe: the pico networks, baseline and network, that are trained in the place of these at small scale.
    """

    text: str
    baseline: str
    network: str
    quantity: str
    published: float | None = None
    reading: str = ""
    probe: tuple[str, str] | None = None


CLAIMS = (
    Claim("FaceResNet: FLOPs", "faceresnet", "scsc_faceresnet", "macs", -0.68),
    Claim("FaceResNet: parameters", "faceresnet", "scsc_faceresnet", "params", -0.79),
    Claim(
        "FaceResNet: accuracy",
        "faceresnet",
        "scsc_faceresnet",
        "accuracy",
        0.027,
        probe=("faceresnet_pico", "scsc_faceresnet_pico"),
    ),
    Claim("Swin: FLOPs", "swin_tiny", "scsc_swin_tiny", "macs", -0.22),
    Claim("Swin: better accuracy", "swin_tiny", "scsc_swin_tiny", "accuracy", probe=("swin_pico", "scsc_swin_pico")),
    Claim(
        "ResNet: accuracy", "resnet50", "scsc_resnet50", "accuracy", 0.053, probe=("resnet_pico", "scsc_resnet_pico")
    ),
    Claim("ResNet: FLOPs, similar", "resnet50", "scsc_resnet50", "macs", None, "no change"),
    Claim("ResNet: params, similar", "resnet50", "scsc_resnet50", "params", None, "no change"),
    Claim("ResNet: matches Swin", "swin_tiny", "scsc_resnet50", "accuracy", probe=("swin_pico", "scsc_resnet_pico")),
)
"""Every claim of the abstract."""


NOT_TESTED = "not tested: needs ImageNet or face data"
"""The verdict on a claim about accuracy, whatever small networks do."""


def measure(networks: Sequence[Network], settings: None, progress: Progress) -> list[Row]:
    """Return one row per network, with the claims about it under ``claims``."""
    rows = []
    for network in networks:
        progress(f"the paper's claims about {network}")
        rows.append({"claims": claim_rows([claim for claim in CLAIMS if claim.network == network.text])})
    return rows


def claim_rows(claims: Sequence[Claim]) -> list[Row]:
    """Return claims with their published and our own figure, the difference in points and a verdict.

    ``reproduced``: within one point. ``differs``: measured, and further off; the nearest setting that a search over
    kernel sets finds is shown with it. ``not tested: needs ImageNet or face data``: a claim about accuracy.
    """
    names = dict.fromkeys(name for claim in claims for name in (claim.baseline, claim.network))
    counts = {name: counted(Network.read(name)) for name in names}
    return [_row(claim, counts) for claim in claims]


def table_rows(row: Row) -> list[Row]:
    """Return a row of the table of claims for each claim about a network."""
    return [{"table": "claim", **claim} for claim in row.get("claims", ())]


def with_probe(rows: Sequence[Row], trained: Sequence[Row]) -> list[Row]:
    """Return the rows of claims in the abstract's order, those about accuracy with how the pico networks differ.

    Args:
        rows: rows of claims.
        trained: rows of networks with their ``runs``, those of pico networks among them.
    """
    claims = {claim.text: claim for claim in CLAIMS}
    ordered = sorted(rows, key=lambda row: [*claims].index(row["claim"]) if row["claim"] in claims else len(claims))
    probes = [_probes(claims[row["claim"]], trained) if row["claim"] in claims else [] for row in ordered]
    adjusted = iter(accuracy.adjusted([probe for by_epochs in probes for probe in by_epochs]))
    judged = [[{**probe, **next(adjusted)} for probe in by_epochs] for by_epochs in probes]
    return [{**row, **_under_probe(by_epochs)} for row, by_epochs in zip(ordered, judged, strict=True)]


def _probes(claim: Claim, trained: Sequence[Row]) -> list[Row]:
    """Return how a claim's pico networks differ in accuracy, at each training budget, ascending in epochs.

    Of several trainings of one length, as on other data, that with the most pairs of runs counts.
    """
    if claim.probe is None:
        return []
    baseline, network = claim.probe
    plain, variant = (
        [row for row in trained if row.get("network") == name and row.get("runs")] for name in claim.probe
    )
    by_epochs: dict[int, Row] = {}
    for first, second in ((a, b) for a in plain for b in variant if a.get("resolution") == b.get("resolution")):
        difference = accuracy.against(second, first)
        run = first["runs"][0]
        epochs = run["epochs"]
        if difference and difference["seed_pairs"] > by_epochs.get(epochs, {"seed_pairs": 0})["seed_pairs"]:
            facts = {"baseline": baseline, "network": network, "data": run["data"], "epochs": epochs}
            by_epochs[epochs] = {**difference, **facts, "weak": under_training(first["runs"]), "runs": second["runs"]}
    return [by_epochs[epochs] for epochs in sorted(by_epochs)]


def _under_probe(by_epochs: Sequence[Row]) -> Row:
    """Return the keys of the largest budget's probe, and ``probe_budgets``: those of each if there are several."""
    keys = {
        "probe_baseline": "baseline",
        "probe_network": "network",
        "probe_data": "data",
        "probe_epochs": "epochs",
        "probe_pairs": "seed_pairs",
        "probe_difference": "accuracy_difference",
        "probe_low": "difference_low",
        "probe_high": "difference_high",
        "probe_p_holm": "p_holm",
        "probe_verdict": "accuracy_verdict",
    }
    rows: list[Row] = []
    for probe in by_epochs:
        weak = {"probe_under_trained": probe["weak"]} if probe["weak"] else {}
        rows.append({**{key: probe[name] for key, name in keys.items()}, **weak})
    return {**rows[-1], **({"probe_budgets": rows} if len(rows) > 1 else {})} if rows else {}


def worse(row: Row, tolerance: float) -> bool:
    """Return whether we measure less of an advantage than a claim prints, by more than ``tolerance`` (a fraction)."""
    return row["difference"] is not None and row["published"] is not None and row["difference"] > tolerance


def nearest(claim: Claim) -> tuple[str, float]:
    """Return the setting of the claim's network whose change is nearest to the claim's, and its change.

    Searched: in every stage, every choice of the stage's kernels.
    """
    from scsc_lab.models import enumeration

    reference = getattr(counted(Network.read(claim.baseline)), claim.quantity)
    costs = enumeration.enumerate_costs(space.parse(Network.read(claim.network), ["kernels"]))
    index = costs.nearest(claim.quantity, reference * (1 + (claim.published or 0.0)))
    change = int(costs.quantity(claim.quantity)[index]) / reference - 1
    return costs.space.at(costs.picks(index)).text, change


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
        "verdict": NOT_TESTED,
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


METRIC = Metric(name="claims", columns=(), measure=measure, configure=lambda settings: None, table_rows=table_rows)
