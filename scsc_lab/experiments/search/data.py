"""A search as data: the question and its result."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field

from scsc_lab.experiments.search.goals import Goals
from scsc_lab.experiments.search.trials import Sampler
from scsc_lab.networks.network import Network
from scsc_lab.networks.space import Space
from scsc_lab.records import Row
from scsc_lab.settings import Settings


@dataclass(frozen=True)
class Search:
    """All that a search was asked for.

    Attributes:
        space: the settings that are varied, and the network whose they are.
        goals: objectives and budgets.
        baseline: the network that times and changes are against.
        settings: measurement settings; ``training.seeds`` are the runs with which each network begins.
        trials: trials in all, those of earlier runs and other processes included.
        max_runs: training runs in all, the last measurement's not included.
        sampler: which of Optuna's samplers proposes trials.
    """

    space: Space
    goals: Goals
    baseline: Network
    settings: Settings = field(default_factory=Settings)
    trials: int = 100
    max_runs: int = 100
    sampler: Sampler = "tpe"

    @property
    def name(self) -> str:
        """Name of the study, the same for the same search; the number of trials and runs may change."""
        plain = [self.space.choices, str(self.goals), self.baseline.text, repr(self.settings), self.sampler]
        digest = hashlib.sha256(json.dumps(plain, default=str).encode()).hexdigest()[:8]
        return f"{self.space.network} {digest}"


@dataclass(frozen=True)
class SearchResult:
    """The networks that a search measured, and its front.

    Attributes:
        search: the question.
        baseline: the baseline's row.
        rows: every network that was measured to the end, once, with ``options`` that make it and ``trial``.
        front: positions of those that keep to the budgets and that no other dominates.
        confirmed: the front measured again, side by side with the baseline: by position in ``rows``; the baseline's
            own under -1. Empty where counts decide.
        given_up: how many trials were given up, by reason.
        tried: trials, or combinations that were enumerated.
        dots: parameters and MACs of a part of the enumerated settings, for a figure.
        interrupted: whether Ctrl-C ended it.
        is_exact: whether the whole space was enumerated.
    """

    search: Search
    baseline: Row
    rows: tuple[Row, ...]
    front: tuple[int, ...]
    confirmed: dict[int, Row] = field(default_factory=dict)
    given_up: dict[str, int] = field(default_factory=dict)
    tried: int = 0
    dots: tuple[Row, ...] = ()
    interrupted: bool = False
    is_exact: bool = False
