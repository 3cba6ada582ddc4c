"""The experiments of a report: what is compared, ablated, claimed and timed, with how much effort."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from scsc_lab import metrics, runtimes
from scsc_lab.errors import InputError
from scsc_lab.experiments import variants
from scsc_lab.experiments.compare import COUNTED, ablation, check_names, comparison, measures
from scsc_lab.experiments.experiment import Arm, Experiment, Measure
from scsc_lab.metrics.claims import CLAIMS
from scsc_lab.networks.network import Network
from scsc_lab.records import Row, grouped
from scsc_lab.settings import Fields, Settings, Timing

PAIRS = (("resnet50", "scsc_resnet50"), ("swin_tiny", "scsc_swin_tiny"), ("faceresnet", "scsc_faceresnet"))
"""Each SCSC network of the default report behind its baseline."""

ABLATED = ("scsc_swin_tiny", "scsc_resnet50", "scsc_faceresnet")
"""The networks of the default report that are ablated; the first in full view, the others folded away."""

COMPARED = ("params", "macs", "activations", "latency", "erf", "top1")
"""Columns that networks are compared by."""

_TIMED_STUDIES = ("components", "kernels")
"""Studies of the first network whose variants are also timed, and their fields measured: all would take an hour."""

_FIELD, _TIME, _SIZE, _PARTS = "erf", "latency", "size", "parts"


@dataclass(frozen=True)
class Effort:
    """Extent of a report's measurements.

    Attributes:
        settings: measurement settings.
        studies: ablations of networks with SCSC, if any.
        columns: columns that networks are compared by; see :func:`scsc_lab.metrics.column_names`.
        forms: whether the networks of the paper are also timed in their deploy forms.
        timed: measurement settings of timing and fields in the main studies of the first network that is ablated;
            ``None``: costs alone are counted there, too.
        with_parts: whether to show the MACs and time of each network's parts, and the fields of all stages.
    """

    settings: Settings
    studies: tuple[str, ...]
    columns: tuple[str, ...] = COMPARED
    forms: bool = False
    timed: Settings | None = None
    with_parts: bool = False


QUICK = Effort(Settings(timing=Timing(24, max_seconds=5.0), fields=Fields(samples=6)), ("components",))
"""Under two minutes on two cores."""

FULL = Effort(
    Settings(timing=Timing(100, max_seconds=60.0), fields=Fields(samples=32)),
    tuple(variants.STUDIES),
    forms=True,
    timed=Settings(timing=Timing(24, max_seconds=8.0), fields=Fields(samples=8)),
)
"""Some twenty minutes on two cores."""


def experiments(
    effort: Effort, groups: Sequence[Sequence[Network]] | None = None, probe: Sequence[Row] = ()
) -> list[Experiment]:
    """Return the experiments of a report.

    Args:
        effort: how much is measured.
        groups: networks that are compared, the baseline first in each; without them the networks of the paper, and
            its claims.
        probe: rows of trained pico networks, shown beside the claims about accuracy.

    Raises:
        InputError: if two networks of a group have one name, or there is no such column.
    """
    ours = groups is None
    if groups is None:
        groups = default_groups()
        ablated = [Network.read(name) for name in ABLATED]
    else:
        ablated = [network for group in groups for network in group if effort.studies]
    studied = [network for network in ablated if variants.has_scsc(network)]
    planned = [claims(probe)] if ours else []
    planned += [study for network in studied for study in _ablations(network, effort, timed=network is studied[0])]
    planned += [_comparison(group, effort, forms=ours and effort.forms) for group in groups]
    if _TIME in effort.columns:
        planned.append(_noise(groups[0][0], effort))
    return planned


def default_groups() -> list[list[Network]]:
    """Return the networks of the paper, the baseline first in each pair."""
    return [[Network.read(name) for name in pair] for pair in PAIRS]


def _comparison(group: Sequence[Network], effort: Effort, *, forms: bool) -> Experiment:
    """Return a group of networks side by side, and behind them their deploy forms, timed in the same rounds."""
    check_names(group)
    settings = effort.settings
    if effort.with_parts:
        settings = replace(settings, fields=replace(settings.fields, stages=("all",)))
    column_names = metrics.with_extra_columns(effort.columns, settings)
    measured = measures(column_names, settings)
    if effort.with_parts and _TIME in effort.columns:
        measured.append(Measure(_PARTS, metrics.registry()[_PARTS].configure(settings)))
    base = comparison(
        group, column_names, measured, batch=settings.execution.batch, details={"missing": _not_timed(effort)}
    )
    if not (forms and _TIME in effort.columns):
        return base
    from scsc_lab.models import names

    fused = [network for network in names.with_deploy_forms(group) if network not in group]
    deployed = tuple(Arm(network, 0, metrics=(_SIZE, _TIME)) for network in fused)
    return replace(base, arms=(*base.arms, *deployed))


def _noise(network: Network, effort: Effort) -> Experiment:
    """Return a network timed against itself: the noise floor of the machine."""
    settings = replace(effort.settings, timing=replace(effort.settings.timing, runtimes=(runtimes.USUAL,)))
    again = replace(network, label=f"{network}, again")
    column_names = (_TIME,)
    return comparison(
        [network, again], column_names, measures(column_names, settings), batch=settings.execution.batch, kind="noise"
    )


def _not_timed(effort: Effort) -> list[Row]:
    """Return a row for each runtime in which nothing is timed, with the reason."""
    if _TIME not in effort.columns:
        return []
    return [
        {
            "model": "every network",
            "what": f"latency in {runtime.title}",
            "reason": f"not requested: --runtime {name}" if runtime.installed else runtime.missing,
        }
        for name, runtime in runtimes.registry().items()
        if name not in effort.settings.timing.runtimes
    ]


def _ablations(network: Network, effort: Effort, *, timed: bool) -> list[Experiment]:
    """Return a network's studies: first those whose variants are also timed, if any are."""
    extra = [column for column in (_TIME, _FIELD) if column in effort.columns and effort.timed is not None and timed]
    in_time = [study for study in effort.studies if study in _TIMED_STUDIES and extra]
    in_counts = [study for study in effort.studies if study not in in_time]
    base = effort.settings
    timed_settings = effort.timed or base
    fields = replace(base.fields, samples=timed_settings.fields.samples)
    timing = replace(base, timing=replace(timed_settings.timing, runtimes=(runtimes.USUAL,)), fields=fields)
    groups = ((in_time, (*COUNTED, *extra), timing), (in_counts, COUNTED, base))
    details = {"module": variants.settings(network)}
    return [
        ablation(_variants(network, studies), column_names, settings, details)
        for studies, column_names, settings in groups
        if studies
    ]


def _variants(network: Network, studies: Sequence[str]) -> tuple[variants.Variant, ...]:
    """Return the variants of built-in studies, without those in which the rules of a transplant find nothing."""
    from scsc_lab.models import build

    expanded = []
    for variant in variants.built_in(network, studies):
        if variant.network.transplant is not None and variant.network != network:
            try:
                build.empty(variant.network)
            except InputError:
                continue
        expanded.append(variant)
    return tuple(expanded)


def with_mixers(networks: Sequence[Network]) -> list[list[Network]]:
    """Return a group per network, itself first: every mixer in its places, and those that it was given with.

    Raises:
        InputError: if a network has SCSC of its own.
    """
    by_base = grouped(networks, lambda network: replace(network, transplant=None, label="").text)
    studies = (variants.built_in(group[0], [variants.MIXERS], group) for group in by_base.values())
    return [[variant.network for variant in study] for study in studies]


def claims(probe: Sequence[Row] = ()) -> Experiment:
    """Return the experiment of the abstract's claims (arXiv 2308.07110).

    Args:
        probe: rows of trained pico networks, shown beside the claims about accuracy.
    """
    names: Sequence[str] = [*dict.fromkeys(claim.network for claim in CLAIMS)]
    arms = tuple(Arm(Network.read(name)) for name in names)
    return Experiment("claims", arms, (Measure("claims", None),), details={"probe": list(probe)})
