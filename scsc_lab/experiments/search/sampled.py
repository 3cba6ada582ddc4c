"""Searching a space of settings for the networks that are best under budgets, by trials that Optuna proposes.

Each is measured by its cheapest columns first: counts, then fields, then times beside the baseline, then training.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import replace
from itertools import combinations
from typing import Any

from scsc_lab import metrics
from scsc_lab.analysis.paired_seeds import Noise
from scsc_lab.errors import InputError
from scsc_lab.experiments import compare, runner
from scsc_lab.experiments.experiment import Arm, Experiment
from scsc_lab.experiments.search.exact import Search, SearchResult
from scsc_lab.experiments.search.goals import EXACT, Objective
from scsc_lab.experiments.search.trials import Trials, url_of
from scsc_lab.models import enumeration
from scsc_lab.networks.network import Network
from scsc_lab.records import Row
from scsc_lab.report import tables
from scsc_lab.store import Store

FRESH_SEEDS = 1000
"""Distance of the last measurement's seeds from those of the trials."""

FEWEST_SEEDS = 2
"""Training runs with which each network begins, unless they are named: one has no interval."""

_NARROW_POINTS = 1.0
"""Width of an interval of accuracy, in points, from which two networks count as equal."""


def run(
    search: Search,
    store: Store | None = None,
    url: str = "",
    executor: Executor | None = None,
    at_once: int = 1,
    progress: runner.Progress | None = None,
) -> SearchResult:
    """Search by trials, and return the front.

    Args:
        search: what is asked for.
        store: where rows are kept; in memory without one.
        url: database of Optuna's study. Default: the store's file.
        executor: where training runs, as :func:`scsc_lab.experiments.runner.run` takes it; this process without one.
        at_once: trials that are proposed together.
        progress: called while measuring.

    Raises:
        InputError: if Optuna is not installed, the study cannot be used, or the baseline cannot be measured.
        KeyboardInterrupt: if it was interrupted before anything was measured.
    """
    return _Run(search, store or Store(), url, executor, at_once, progress).run()


class _Run:
    """One process's part in a search."""

    def __init__(
        self,
        search: Search,
        store: Store,
        url: str,
        executor: Executor | None,
        at_once: int,
        progress: runner.Progress | None,
    ) -> None:
        if search.settings.training.seeds is None:
            training = replace(search.settings.training, seeds=FEWEST_SEEDS)
            search = replace(search, settings=replace(search.settings, training=training))
        self.search, self.store, self.executor, self.at_once = search, store, executor, at_once
        self.goals, self.space = search.goals, search.space
        self.report = progress or (lambda description, done, total: None)
        self.stages = _stages(search.goals.columns)
        self.baseline: Row = {}
        self.rows: dict[str, Row] = {}
        self.networks: dict[str, Network] = {}
        self.trained: set[str] = set()
        details = {"study": search.name, "goals": str(search.goals), "space": dict(search.space.choices)}
        begun = Experiment("search", (Arm(search.baseline),), (), search.goals.columns, details=details)
        store.register(begun.row(), [arm.row() for arm in begun.arms], [])
        seed = search.settings.execution.seed
        self.trials = Trials(search.name, url or url_of(store.path), search.space, search.goals, search.sampler, seed)

    def run(self) -> SearchResult:
        """Try, train the contenders further, and measure the front again."""
        interrupted, confirmed = False, dict[int, Row]()
        try:
            self.baseline = self._alone()
            self._take_finished()
            while (next_trials := self._affordable()) > 0:
                done = len(self.trials.finished())
                self.report("trials", done, self.search.trials)
                with self.trials.propose(next_trials, self.search.trials) as proposed:
                    if not proposed:
                        self.report("trials of other processes", done, self.search.trials)
                    self._try(proposed)
            self._take_finished()
            self._separate()
            confirmed = self._confirm()
        except KeyboardInterrupt:
            if not self.rows:
                raise
            interrupted = True
        rows = list(self.rows.values())
        finished = self.trials.finished()
        first = self.goals.objectives[0]
        front = sorted(
            self.goals.front(rows), key=lambda at: first.value(rows[at]) or 0.0, reverse=first.better == "higher"
        )
        return SearchResult(
            self.search,
            self.baseline,
            tuple(rows),
            tuple(front),
            confirmed,
            dict(Counter(trial.reason for trial in finished if trial.reason).most_common()),
            len(finished),
            interrupted=interrupted,
        )

    @property
    def _first_seeds(self) -> int:
        return self.search.settings.training.seeds or FEWEST_SEEDS

    def _affordable(self) -> int:
        """Return how many trials may begin together, by the limits on trials and on training runs."""
        finished = self.trials.finished()
        number = min(self.at_once, self.search.trials - len(finished))
        if "accuracy" not in self.goals.columns:
            return number
        trained = max(len(self.trained), len({trial.picks for trial in finished if not trial.reason}))
        return min(number, self.search.max_runs // self._first_seeds - 1 - trained)  # 1: the baseline

    def _take_finished(self) -> None:
        """Take what earlier runs and other processes have measured."""
        for trial in self.trials.finished():
            network = self.space.at(trial.picks) if not trial.reason else None
            if network is not None and network.text not in self.rows:
                row = self._measured([Arm(network, 0)], self.goals.columns)[0]
                self._take(trial.number, trial.picks, network, row)

    def _take(self, number: int, picks: Sequence[int], network: Network, row: Row) -> None:
        """Add a network that was measured to the end; one that was tried before stays as it is."""
        self.networks[network.text] = network
        self.rows.setdefault(network.text, {**row, "options": self.space.written(picks), "trial": number})

    def _try(self, proposed: Sequence[Any]) -> None:
        """Measure proposed trials, cheapest columns first, and give up those that need not be measured further."""
        open_: dict[Any, tuple[Network, Row]] = {}
        for trial in proposed:
            try:
                open_[trial] = (self.space.at(self.trials.picks(trial)), {})
            except InputError as error:
                self.trials.give_up(trial, str(error), {})
        for column_names in self.stages:
            arms = [Arm(network, 0) for network, _ in open_.values()]
            if "accuracy" in column_names:
                self.trained |= {arm.network.text for arm in arms}
            for trial, measured in zip(list(open_), self._measured_or_not(arms, column_names), strict=True):
                network, row = open_[trial]
                if isinstance(measured, str):
                    self.trials.give_up(trial, measured, {})
                    del open_[trial]
                    continue
                row = {**row, **measured}
                open_[trial] = (network, row)
                reason, excess = self._verdict(row, column_names == self.stages[-1])
                if reason:
                    self.trials.give_up(trial, reason, excess)
                    del open_[trial]
        for trial, (network, row) in open_.items():
            values = [goal.value(row) for goal in self.goals.objectives]
            if None in values:
                missing = self.goals.objectives[values.index(None)].name
                self.trials.give_up(trial, f"{missing} could not be measured", {})
                continue
            self.trials.complete(trial, [value for value in values if value is not None], {"network": network.text})
            self._take(trial.number, self.trials.picks(trial), network, row)

    def _verdict(self, row: Row, is_last: bool) -> tuple[str, dict[str, float]]:
        """Return why a row need not be measured further, and by how much it breaks budgets; empty if it must be."""
        broken = self.goals.broken(row)
        if broken:
            excess = {str(budget): budget.excess(row) or 0.0 for budget in self.goals.budgets}
            return f"not {' and '.join(map(str, broken))}", excess
        if not is_last and any(self.goals.dominates(rival, row) for rival in self.rows.values()):
            return "already dominated", {}
        return "", {}

    def _separate(self) -> None:
        """Train the contenders with more seeds until their intervals separate, or the runs are spent."""
        goal = next((goal for goal in self.goals.objectives if goal.name == "accuracy"), None)
        if goal is None:
            return
        first = self._first_seeds
        runs = metrics.registry()["accuracy"].configure(self.search.settings)
        seeds = dict.fromkeys(self.rows, first)
        while (left := self.search.max_runs - sum(seeds.values()) - first) > 0:
            front = [[*self.rows][at] for at in self.goals.front([*self.rows.values()])]
            noise = self.goals.noise([*self.rows.values()])
            open_ = {name for pair in combinations(front, 2) if self._is_open(goal, pair, noise) for name in pair}
            if not open_:
                return
            fewest = min(seeds[name] for name in open_)
            arms = []
            for name in [name for name in front if name in open_ and seeds[name] == fewest][:left]:
                seeds[name] += 1
                further = replace(runs, seeds=tuple(range(runs.seeds[0], runs.seeds[0] + seeds[name])))
                arms.append(Arm(self.networks[name], 0, settings={"accuracy": further}))
            for arm, row in zip(arms, self._measured(arms, ("accuracy",)), strict=True):
                self.rows[arm.network.text] |= row

    def _is_open(self, goal: Objective, pair: Sequence[str], noise: Noise | None) -> bool:
        """Return whether more seeds could tell two networks apart."""
        first, second = pair
        low, high = goal.losses(self.rows[first], self.rows[second], noise)
        return low < 0 < high and high - low > _NARROW_POINTS

    def _confirm(self) -> dict[int, Row]:
        """Measure the front again, in one run and with fresh seeds: the best of many noisy trials was lucky, too."""
        front = self.goals.front([*self.rows.values()])
        if set(self.goals.columns) <= set(EXACT) or not front:
            return {}
        settings = self.search.settings
        fresh = replace(settings, execution=replace(settings.execution, seed=settings.execution.seed + FRESH_SEEDS))
        networks = [self.networks[[*self.rows][at]] for at in front]
        rivals = [network for network in networks if network.text != self.search.baseline.text]
        experiment = compare.experiment([self.search.baseline, *rivals], self.goals.columns, fresh)
        rows = self._ran([experiment])[0].rows
        by_name = dict(zip([self.search.baseline.text, *(network.text for network in rivals)], rows, strict=True))
        return {-1: rows[0], **{at: by_name[network.text] for at, network in zip(front, networks, strict=True)}}

    def _alone(self) -> Row:
        """Return the baseline's row."""
        row: Row = self._ran([self._experiment((), self.goals.columns)])[0].rows[0]
        return row

    def _measured_or_not(self, arms: Sequence[Arm], columns: Sequence[str]) -> list[Row | str]:
        """Return the row of each arm, or why it cannot be measured."""
        if not set(columns) <= set(EXACT) or self.search.settings.execution.batch > 1:
            with contextlib.suppress(InputError):
                return [*self._measured(arms, columns)]
        return [self._row_or_reason(arm, columns) for arm in arms]

    def _row_or_reason(self, arm: Arm, columns: Sequence[str]) -> Row | str:
        """Return the row of one arm, or why it cannot be measured; counts are sums of blocks where they can be."""
        try:
            if not set(columns) <= set(EXACT) or not enumeration.is_plain(arm.network):
                return self._measured([arm], columns)[0]
            cost = enumeration.cost(arm.network)
        except InputError as error:
            return str(error)
        names = {"model": str(arm.network), "baseline": self.baseline["model"]}
        return tables.with_change({**names, **cost._asdict()}, self.baseline, [tables.PARAMS, tables.MACS])

    def _measured(self, arms: Sequence[Arm], columns: Sequence[str]) -> list[Row]:
        """Return the row of each arm, each measured beside the baseline."""
        return [result.rows[1] for result in self._ran([self._experiment([arm], columns) for arm in arms])]

    def _experiment(self, arms: Sequence[Arm], columns: Sequence[str]) -> Experiment:
        measures = tuple(compare.measures(columns, self.search.settings))
        batch = self.search.settings.execution.batch
        return Experiment("search", (Arm(self.search.baseline), *arms), measures, tuple(columns), batch)

    def _ran(self, experiments: Sequence[Experiment]) -> list[Any]:
        measured = runner.run(experiments, self.store, self.executor, self.report)
        if measured.interrupted:
            raise KeyboardInterrupt
        return list(measured.results)


def _stages(column_names: Sequence[str]) -> list[tuple[str, ...]]:
    """Return columns in the order in which they are measured: counts first, then fields, times, and training last."""
    registered = metrics.columns()

    def cost(column: str) -> int:
        (metric,) = metrics.chosen([column])
        return 3 if metric.parts is not None else 2 if metric.alone else 0 if metric.name == "size" else 1

    levels = sorted({cost(column) for column in column_names})
    return [
        tuple(column for column in column_names if column in registered and cost(column) == level) for level in levels
    ]
