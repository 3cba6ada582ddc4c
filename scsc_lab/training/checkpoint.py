"""The file that a run resumes from: weights, optimizer and curve after an epoch."""

from __future__ import annotations

import io
import pickle
from dataclasses import asdict
from pathlib import Path

import torch
from torch import nn

from scsc_lab import store
from scsc_lab.errors import InputError, first_line
from scsc_lab.training.curve import Epoch, Trained

_UNREADABLE = (pickle.UnpicklingError, LookupError, TypeError, ValueError, RuntimeError, OSError, EOFError)


def save(
    path: Path, network: nn.Module, objective: nn.Module, optimizer: torch.optim.Optimizer | None, run: Trained
) -> None:
    """Write the state of a run after an epoch; a finished run needs no optimizer."""
    buffer = io.BytesIO()
    state = {
        "model": network.state_dict(),
        "objective": objective.state_dict(),
        "optimizer": optimizer.state_dict() if optimizer else None,
        "curve": [asdict(epoch) for epoch in run.curve],
        "status": run.status,
        "images_per_second": run.images_per_second,
        "outputs": torch.from_numpy(run.outputs) if run.outputs is not None else None,
    }
    torch.save(state, buffer)
    store.write(path, buffer.getvalue())


def restore(
    path: Path, network: nn.Module, objective: nn.Module, optimizer: torch.optim.Optimizer, run: Trained
) -> None:
    """Read the state of a run into its network, objective, optimizer and curve.

    Raises:
        InputError: if the file is not a checkpoint of this run.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        network.load_state_dict(state["model"])
        objective.load_state_dict(state["objective"])
        if state["optimizer"] is not None:
            optimizer.load_state_dict(state["optimizer"])
        run.curve = [Epoch(**epoch) for epoch in state["curve"]]
    except _UNREADABLE as error:
        raise InputError(
            f"{path} is no checkpoint of this run ({first_line(error)}): remove it to start again"
        ) from None
    run.status, run.images_per_second = state["status"], state["images_per_second"]
    run.outputs = None if state["outputs"] is None else state["outputs"].numpy()


def epochs(path: Path) -> int:
    """Return the epochs that a file's run has trained; 0 if it is no checkpoint."""
    try:
        return len(torch.load(path, map_location="meta", weights_only=True)["curve"])
    except _UNREADABLE:
        return 0
