"""The probe, declared once: three pairs of pico networks, SCSC's components and the mixers, tuned, trained and judged.

Every run is kept by itself in one store, so that an interrupted probe resumes, and its report is written from rows.
"""

from __future__ import annotations

from concurrent.futures import Executor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from scsc_lab.experiments import compare, runner, train, variants
from scsc_lab.experiments.compare import COUNTED, measures
from scsc_lab.experiments.experiment import Experiment, Measure
from scsc_lab.experiments.runner import Progress
from scsc_lab.metrics.trained_field import TrainedField
from scsc_lab.metrics.training import configure
from scsc_lab.networks.network import Network
from scsc_lab.settings import Fields, Schedule, Settings
from scsc_lab.store import Store
from scsc_lab.training.plan import Runs

RATES = ("lr", "1e-4,3e-4,1e-3,3e-3")
"""Tuning of every network."""


LONG = Schedule(budgets=(4, 8, 16), tune=RATES, tune_seeds=2, tune_epochs=8)
"""Budgets and tuning of the pairs."""

SHORT = Schedule(budgets=LONG.budgets[-1:], tune=RATES, tune_seeds=1, tune_epochs=8)
"""Budget and tuning of the variants: the pairs' longest."""


@dataclass(frozen=True)
class Study:
    """Networks that are trained alike and compared with the first.

    Attributes:
        networks: names of a pair, the baseline first; or the network whose variants are trained.
        ablation: its built-in study; empty for a pair.
        data: data set.
        schedule: budgets and tuning.
    """

    networks: tuple[str, ...]
    ablation: str = ""
    data: str = "navon"
    schedule: Schedule = LONG

    def experiment(self, settings: Settings, seeds: int, weights: str) -> Experiment:
        """Return the experiment with a number of seeds, before anything is tuned."""
        training = replace(settings.training, data=self.data, seeds=seeds)
        runs = replace(configure(replace(settings, training=training)), weights=weights)
        if not self.ablation:
            return train.experiment([Network.read(name) for name in self.networks], runs)
        study = compare.ablation(self.members(), COUNTED, Settings())
        return replace(study, columns=(*COUNTED, "accuracy"), measures=(*study.measures, Measure("accuracy", runs)))

    def members(self) -> list[variants.Variant]:
        """Return the variants of an ablation, the full network first; none of a pair."""
        return variants.built_in(Network.read(self.networks[0]), [self.ablation]) if self.ablation else []


PAIRS = (
    Study(("swin_pico", "scsc_swin_pico")),
    Study(("resnet_pico", "scsc_resnet_pico")),
    Study(("faceresnet_pico", "scsc_faceresnet_pico"), data="faces"),
)
"""Each network with SCSC behind its baseline."""

ABLATIONS = (
    Study(("scsc_swin_pico",), "components", schedule=SHORT),
    Study(("swin_pico",), variants.MIXERS, schedule=SHORT),
)
"""SCSC's parts taken out one by one, and every mixer in the places of Swin's attention."""

STEPS = ((PAIRS, 3), (PAIRS, 6), (PAIRS, 10), (ABLATIONS, 10))
"""Order of training and numbers of seeds: pairs first, all with about the same seeds after any interrupt. Fewer than
nine seeds cannot tell one of so many comparisons from none."""

FIELDS = Settings(fields=Fields(samples=16))
"""Settings of the receptive fields of trained networks."""

FIELD_SEEDS = 5
"""Seeds, the last of a pair, whose receptive fields are measured before and after training."""


def families() -> list[list[Network]]:
    """Return the networks of each table with variants, the full one first."""
    return [[variant.network for variant in study.members()] for study in ABLATIONS]


def run(
    settings: Settings,
    weights: Path,
    store: Store,
    executor: Executor | None = None,
    progress: Progress | None = None,
) -> list[Experiment]:
    """Measure the probe, and return its experiments: those of the largest number of seeds.

    Args:
        settings: device, threads and first seed; recipe, its changes and numbers of images; ``seeds``, the most per
            network.
        weights: folder of trained weights, which fields and difficulty are measured with; once these are stored, they
            may go.
        store: where rows are added as they are measured.
        executor: where to run, one run per worker; this process without one.
        progress: called with the progress.

    Raises:
        KeyboardInterrupt: if it was interrupted; the store keeps finished rows.
    """
    most = settings.training.seeds or max(seeds for _, seeds in STEPS)
    measured: dict[Study, list[Experiment]] = {}
    for study, seeds in ((study, min(seeds, most)) for studies, seeds in STEPS for study in studies):
        planned = study.experiment(settings, seeds, "" if study.ablation else str(weights))
        experiments, _ = train.scheduled(planned, study.schedule, store, executor, progress)
        if not study.ablation and seeds == most:
            experiments = [*experiments[:-1], *_with_weights(experiments[-1], study.data)]
        if store.keys().issuperset(runner.ask(experiments, store).keys.values()):
            experiments = [_without_weights(experiment) for experiment in experiments]
        if runner.run(experiments, store, executor, progress).interrupted:
            raise KeyboardInterrupt
        measured[study] = experiments
    return [experiment for experiments in measured.values() for experiment in experiments]


def _with_weights(trained: Experiment, data: str) -> list[Experiment]:
    """Return the experiment of a pair with costs and fields before and after training; and that of difficulty."""
    arms = []
    for arm in trained.arms:
        runs = arm.settings["accuracy"]
        fields = TrainedField(replace(runs, seeds=runs.seeds[-FIELD_SEEDS:]), FIELDS)
        arms.append(replace(arm, settings={**arm.settings, "trained_field": fields}))
    measured = (*measures(COUNTED, Settings()), *trained.measures, Measure("trained_field", fields))
    full = replace(trained, arms=tuple(arms), columns=(*COUNTED, "accuracy", "erf"), measures=measured)
    if data != "navon":
        return [full]
    return [full, train.on_harder_images([(arm.network, arm.settings["accuracy"]) for arm in arms])]


def _without_weights(experiment: Experiment) -> Experiment:
    """Return an experiment whose runs need no file of weights: all that is measured with them is stored."""

    def changed(settings: Any) -> Any:
        return replace(settings, weights="") if isinstance(settings, Runs) else settings

    arms = tuple(
        replace(arm, settings={name: changed(settings) for name, settings in arm.settings.items()})
        for arm in experiment.arms
    )
    shared = tuple(Measure(measure.metric, changed(measure.settings)) for measure in experiment.measures)
    return replace(experiment, arms=arms, measures=shared)
