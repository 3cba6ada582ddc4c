"""Trials of a search in Optuna's study: who proposes settings, what became of each, and how a killed search resumes.

Optuna keeps its tables in the store's own SQLite file, or in any database that a URL names.
"""

from __future__ import annotations

import contextlib
import functools
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from scsc_lab.errors import InputError, first_line
from scsc_lab.experiments.search.goals import Goals
from scsc_lab.networks.space import Space

if TYPE_CHECKING:
    import optuna

Sampler = Literal["tpe", "nsga2", "nsga3", "random"]
"""Optuna's samplers: tree-structured Parzen estimators, two genetic algorithms, and chance."""

_BEAT_SECONDS = 20
_LOCK_SECONDS = 120


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
        try:
            import optuna
        except ImportError:
            raise InputError("Optuna is not installed: python -m pip install 'scsc-lab[search]'") from None
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.space = space
        self._options: dict[str, Any] = {
            key: optuna.distributions.CategoricalDistribution(values) for key, values in space.choices
        }
        directions: list[Any] = ["maximize" if goal.better == "higher" else "minimize" for goal in goals.objectives]
        with warnings.catch_warnings(), _refused(url):
            warnings.simplefilter("ignore")  # heartbeats and multivariate sampling are called experimental
            self._storage: Any = optuna.storages.InMemoryStorage()
            if url:
                self._storage = optuna.storages.RDBStorage(
                    url,
                    {"connect_args": {"timeout": _LOCK_SECONDS}} if url.startswith("sqlite") else None,
                    heartbeat_interval=_BEAT_SECONDS,
                    heartbeat_stale_trial_callback=optuna.storages.RetryHeartbeatStaleTrialCallback(),
                )
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
        from optuna.trial import TrialState

        states = (TrialState.COMPLETE, TrialState.PRUNED)
        return [self._read(trial) for trial in self._study.get_trials(deepcopy=False, states=states)]

    @contextlib.contextmanager
    def asked(self, number: int) -> Iterator[list[optuna.trial.Trial]]:
        """Propose some trials; those that are not told of by the end, whatever ends it, are proposed again.

        While they are under way they are marked as alive, so that other processes leave them alone.
        """
        from optuna.storages import fail_stale_trials
        from optuna.trial import TrialState

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # heartbeats are ours here, since trials are asked for and told of
            fail_stale_trials(self._study)
            trials = [self._study.ask(self._options) for _ in range(number)]
        ended = threading.Event()
        beat = threading.Thread(target=self._beat, args=(trials, ended), daemon=True)
        beat.start()
        try:
            yield trials
        finally:
            ended.set()
            beat.join()
            for trial in trials:
                if self._storage.get_trial(trial._trial_id).state == TrialState.RUNNING:
                    self._study.tell(trial, state=TrialState.FAIL)
                    self._study.enqueue_trial(trial.params)

    def picks(self, trial: optuna.trial.Trial) -> tuple[int, ...]:
        """Return the combination that a trial proposes."""
        return self._picks(trial.params)

    def complete(self, trial: optuna.trial.Trial, values: Sequence[float], attributes: Mapping[str, Any]) -> None:
        """Keep what a trial measured."""
        for key, value in attributes.items():
            trial.set_user_attr(key, value)
        self._study.tell(trial, list(values))

    def give_up(self, trial: optuna.trial.Trial, reason: str, excess: Mapping[str, float]) -> None:
        """Keep why a trial was given up, and by how much it broke budgets."""
        from optuna.trial import TrialState

        trial.set_user_attr("reason", reason)
        for name, value in excess.items():
            trial.set_constraint(name, value)
        self._study.tell(trial, state=TrialState.PRUNED)

    def _beat(self, trials: Sequence[optuna.trial.Trial], ended: threading.Event) -> None:
        while True:
            for trial in trials:
                with contextlib.suppress(Exception):  # the database may be locked just now
                    self._storage.record_heartbeat(trial._trial_id)
            if ended.wait(_BEAT_SECONDS):
                return

    def _read(self, trial: optuna.trial.FrozenTrial) -> Trial:
        return Trial(trial.number, self._picks(trial.params), str(trial.user_attrs.get("reason", "")))

    def _picks(self, values: Mapping[str, str]) -> tuple[int, ...]:
        return tuple(options.index(values[key]) for key, options in self.space.choices)


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
