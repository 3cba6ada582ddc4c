"""The file that a run resumes from: weights, optimizer and curve after an epoch, behind their SHA-256 digest."""

from __future__ import annotations

import hashlib
import io
import pickle
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from scsc_lab import files
from scsc_lab.errors import first_line, printable


@dataclass(frozen=True)
class Epoch:
    """One epoch of training.

    Attributes:
        epoch: its number, from 1.
        loss: mean training loss over its steps.
        accuracy: accuracies on the test images after the epoch, by name, in percent; empty if it was not judged.
        seconds: duration, evaluation included.
        waiting: share of its training time in which the network waited for data.
    """

    epoch: int
    loss: float
    accuracy: dict[str, float | None]
    seconds: float
    waiting: float


@dataclass
class Trained:
    """A finished run.

    Attributes:
        status: ``complete``, or ``diverged`` if a loss was not finite.
        curve: every epoch; of a diverged run those that were finished.
        images_per_second: training images over training time, evaluation left out.
        outputs: outputs of the network for every test image at the end, ``(images, outputs)``.
    """

    status: Literal["complete", "diverged"] = "complete"
    curve: list[Epoch] = field(default_factory=list)
    images_per_second: float = 0.0
    outputs: npt.NDArray[np.float32] | None = None

    @property
    def seconds(self) -> float:
        """Time of all epochs."""
        return sum(epoch.seconds for epoch in self.curve)


def is_judged(epoch: int, epochs: int) -> bool:
    """Return whether a run of some epochs is judged after an epoch, counted from 1.

    The last is, and of every doubling of the epochs four (1 to 7, 8, 10, 12, 14, 16, 20, …): evaluation costs little of
    a long run, and a run's judged epochs do not depend on its length, but for the last.
    """
    spacing = max(1, 2 ** (epoch.bit_length() - 1) // 4)
    return epoch == epochs or epoch % spacing == 0


_UNREADABLE = (
    pickle.UnpicklingError,
    LookupError,
    TypeError,
    ValueError,
    RuntimeError,
    ArithmeticError,
    OSError,
    EOFError,
    AttributeError,
)
_DIGEST = hashlib.sha256().digest_size


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
    files.write(path, hashlib.sha256(buffer.getvalue()).digest() + buffer.getvalue())


def restore(
    path: Path, network: nn.Module, objective: nn.Module, optimizer: torch.optim.Optimizer, run: Trained, most: int
) -> bool:
    """Read the state of a run into its network, objective, optimizer and curve; return whether there was one.

    A file that is damaged or another run's changes nothing, and a line on stderr says that this run starts anew.

    Args:
        path: the file, which need not exist.
        network: changed in place, as are the next three.
        objective: the loss.
        optimizer: its state.
        run: its curve and outputs.
        most: epochs of the run; a file of more is left alone.
    """
    if not path.exists():
        return False
    try:
        state = _read(path)
        curve = [_epoch(number, values) for number, values in enumerate(state["curve"], start=1)]
        if len(curve) > most:
            return False
        finished, outputs = state["status"], state["outputs"]
        if finished not in ("complete", "diverged") or not isinstance(outputs, Tensor | None):
            raise ValueError("it has no valid status or outputs")
        for module, weights in ((network, state["model"]), (objective, state["objective"])):
            _check(module, weights, finite=finished == "complete")
        speed = float(state["images_per_second"])
        if state["optimizer"] is not None:
            optimizer.load_state_dict(state["optimizer"])
    except _UNREADABLE as error:
        reason = printable(first_line(error))
        print(f"scsc-lab: {path} is not a checkpoint of this run ({reason}): starts this run anew", file=sys.stderr)
        return False
    network.load_state_dict(state["model"])
    objective.load_state_dict(state["objective"])
    run.curve, run.status, run.images_per_second = curve, finished, speed
    run.outputs = None if outputs is None else outputs.numpy()
    return True


def _read(path: Path) -> Any:
    content = path.read_bytes()
    if hashlib.sha256(content[_DIGEST:]).digest() != content[:_DIGEST]:
        raise ValueError("its digest is wrong")
    return torch.load(io.BytesIO(content[_DIGEST:]), map_location="cpu", weights_only=True)


def _epoch(number: int, values: Any) -> Epoch:
    """Return an epoch of a curve; raise ValueError or TypeError if it is none."""
    epoch = Epoch(**values)
    numbers = [epoch.loss, epoch.seconds, epoch.waiting, *filter(None, epoch.accuracy.values())]
    if epoch.epoch != number or not all(isinstance(value, (int, float)) for value in numbers):
        raise ValueError(f"epoch {number} of its curve is none")
    return epoch


def _check(module: nn.Module, weights: Any, *, finite: bool) -> None:
    """Raise ValueError if weights are not a module's."""
    expected = {name: tensor.shape for name, tensor in module.state_dict().items() if isinstance(tensor, Tensor)}
    if {name: weights[name].shape for name in weights if isinstance(weights[name], Tensor)} != expected:
        raise ValueError("its weights are another network's")
    broken = [name for name, _ in module.named_parameters() if not torch.isfinite(weights[name]).all()]
    if finite and broken:
        raise ValueError(f"its weights are not finite: {broken[0]}")
