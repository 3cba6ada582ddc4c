"""Trials of a search in Optuna's study: who proposes settings, what became of each, and how a killed search resumes.

Optuna keeps its tables in the store's own SQLite file, or in any database that a URL names.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import threading
import time
import warnings
import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from scsc_lab.errors import InputError, first_line, imported
from scsc_lab.experiments.search.goals import Goals
from scsc_lab.networks.space import Space

if TYPE_CHECKING:
    import optuna

Sampler = Literal["tpe", "nsga2", "nsga3", "random"]
"""Optuna's samplers: tree-structured Parzen estimators, two genetic algorithms, and chance."""

_BEAT_SECONDS = 3.0
_STALE_SECONDS = 15.0
"""How long a trial may show no sign of life; then its process was killed, and it is proposed again."""

_CLAIMED = ("COMPLETE", "PRUNED", "RUNNING")
_LOCK_SECONDS = 120
_WAIT_SECONDS = 0.5


@dataclass(frozen=True)
class Trial:
    """One combination that a search has tried.

    Attributes:
        number: its number in the study.
        picks: position of each key's value.
        reason: why it was given up; empty for one that was measured.
    """

    number: int
    picks: tuple[int, ...]
    reason: str


class Trials:
    """The trials of one study, shared by any number of processes.

    Args:
        name: the study's name; an existing study is joined.
        url: where Optuna keeps it: ``sqlite:///FILE.db`` or another database's URL; empty: in memory.
        space: what is searched.
        goals: what is wanted.
        sampler: which of Optuna's samplers proposes settings.
        seed: the sampler's.

    Raises:
        InputError: if Optuna is not installed, or the database cannot be used.
    """

    def __init__(self, name: str, url: str, space: Space, goals: Goals, sampler: Sampler, seed: int) -> None:
        optuna = imported("optuna", "Optuna is not installed: python -m pip install 'scsc-lab[search]'")
        self._states = optuna.trial.TrialState
        self._already_ended = optuna.exceptions.UpdateFinishedTrialError
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.space = space
        self._signs: dict[int, tuple[int, float]] = {}
        self._options: dict[str, Any] = {
            key: optuna.distributions.CategoricalDistribution(values) for key, values in space.choices
        }
        directions: list[Any] = ["maximize" if goal.better == "higher" else "minimize" for goal in goals.objectives]
        with warnings.catch_warnings(), _refused(url):
            warnings.simplefilter("ignore")  # multivariate sampling is called experimental
            self._storage: Any = optuna.storages.InMemoryStorage()
            if url:
                options = {"connect_args": {"timeout": _LOCK_SECONDS}} if url.startswith("sqlite") else None
                self._storage = optuna.storages.RDBStorage(url, options)
                weakref.finalize(self, self._storage.engine.dispose)
            self._study = optuna.create_study(
                study_name=name, storage=self._storage, directions=directions, load_if_exists=True
            )
            classes: dict[str, Any] = {
                "tpe": functools.partial(optuna.samplers.TPESampler, multivariate=True),
                "nsga2": optuna.samplers.NSGAIISampler,
                "nsga3": optuna.samplers.NSGAIIISampler,
                "random": optuna.samplers.RandomSampler,
            }
            self._study.sampler = classes[sampler](seed=seed + len(self._study.trials))  # a resumed one draws anew

    def finished(self) -> list[Trial]:
        """Return the trials that were measured or given up, in order."""
        states = (self._states.COMPLETE, self._states.PRUNED)
        return [
            Trial(trial.number, self.picks(trial), str(trial.user_attrs.get("reason", "")))
            for trial in self._study.get_trials(deepcopy=False, states=states)
        ]

    @contextlib.contextmanager
    def propose(self, at_once: int, total: int) -> Iterator[list[optuna.trial.Trial]]:
        """Propose trials; those without a result at the end, whatever ends it, are proposed again.

        While they are under way they are marked as alive, so that other processes leave them alone.

        Args:
            at_once: how many trials at most.
            total: trials of the study, by all processes. Where others are about to make the last ones, this waits a
                moment and proposes none.
        """
        self._free_stale()
        proposals = [self._study.ask(self._options) for _ in range(min(at_once, total - self._count(_CLAIMED)))]
        trials = []
        for trial in proposals:
            if self._count((*_CLAIMED, "WAITING"), before=trial.number) < total:
                trials.append(trial)
            else:  # another process was faster
                self._fail(trial._trial_id)
        if not trials:
            time.sleep(_WAIT_SECONDS)
        ended = threading.Event()
        beat = threading.Thread(target=self._beat, args=(trials, ended), daemon=True)
        beat.start()
        try:
            yield trials
        finally:
            ended.set()
            beat.join()
            for trial in trials:
                if self._fail(trial._trial_id):
                    self._study.enqueue_trial(trial.params)

    def _count(self, states: Sequence[str], before: int | None = None) -> int:
        """Return the number of trials in some states, of those with a smaller number.

        The count of finished, running and waiting trials before a number never grows. So, of processes that each begin
        a trial and then count those before it, no more than the total go on.
        """
        trials = self._study.get_trials(deepcopy=False, states=[self._states[name] for name in states])
        return sum(before is None or trial.number < before for trial in trials)

    def _free_stale(self) -> None:
        """Propose again what processes that were killed had begun."""
        now = time.monotonic()
        for trial in self._study.get_trials(deepcopy=False, states=[self._states.RUNNING]):
            sign = trial.user_attrs.get("alive", 0)
            last_sign, since = self._signs.get(trial.number, (None, now))
            if sign != last_sign:
                self._signs[trial.number] = (sign, now)
            elif now - since > _STALE_SECONDS and self._fail(trial._trial_id):
                self._study.enqueue_trial(trial.params)

    def _fail(self, trial_id: int) -> bool:
        """End a trial without a result; return False if it has ended."""
        try:
            return bool(self._storage.set_trial_state_values(trial_id, self._states.FAIL))
        except self._already_ended:
            return False

    def picks(self, trial: optuna.trial.Trial | optuna.trial.FrozenTrial) -> tuple[int, ...]:
        """Return the combination that a trial proposes: the position of each key's value."""
        return tuple(options.index(trial.params[key]) for key, options in self.space.choices)

    def complete(self, trial: optuna.trial.Trial, values: Sequence[float], attributes: Mapping[str, Any]) -> None:
        """Keep what a trial measured."""
        with contextlib.suppress(self._already_ended):  # another process ended it: this one showed no sign of life
            for key, value in attributes.items():
                trial.set_user_attr(key, value)
            self._study.tell(trial, list(values), skip_if_finished=True)

    def give_up(self, trial: optuna.trial.Trial, reason: str, excess: Mapping[str, float]) -> None:
        """Keep why a trial was given up, and by how much it broke budgets."""
        with contextlib.suppress(self._already_ended):  # another process ended it: this one showed no sign of life
            trial.set_user_attr("reason", reason)
            for name, value in excess.items():
                trial.set_constraint(name, value)
            self._study.tell(trial, state=self._states.PRUNED, skip_if_finished=True)

    def _beat(self, trials: Sequence[optuna.trial.Trial], ended: threading.Event) -> None:
        """Give signs of life of trials until they have ended."""
        for sign in itertools.count(1):
            for trial in trials:
                with contextlib.suppress(Exception):  # it has ended, or the database is locked just now
                    self._storage.set_trial_user_attr(trial._trial_id, "alive", sign)
            if ended.wait(_BEAT_SECONDS):
                return


def url_of(path: Path | None) -> str:
    """Return the URL of a study in a store's file; empty without one."""
    return "" if path is None else f"sqlite:///{path}"


@contextlib.contextmanager
def _refused(url: str) -> Iterator[None]:
    """Turn what the database says into an InputError of one line."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # SQLAlchemy's, its driver's, Optuna's
        raise InputError(f"--study {url}: {first_line(error)}") from None
