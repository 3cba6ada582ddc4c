"""The paper's claims as an experiment: the networks of the abstract, each SCSC network with the claims about it."""

from __future__ import annotations

from collections.abc import Sequence

from scsc_lab.experiments.experiment import Arm, Experiment, Measure
from scsc_lab.metrics import claims
from scsc_lab.networks.network import Network
from scsc_lab.records import Row


def experiment(probe: Sequence[Row] = ()) -> Experiment:
    """Return the experiment of the abstract's claims (arXiv 2308.07110).

    Args:
        probe: rows of trained pico networks, shown beside the claims about accuracy.
    """
    names: Sequence[str] = [*dict.fromkeys(claim.network for claim in claims.CLAIMS)]
    arms = tuple(Arm(Network.read(name)) for name in names)
    return Experiment("claims", arms, (Measure("claims", None),), details={"probe": list(probe)})
