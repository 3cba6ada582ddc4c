"""The curve of a training run: each epoch's loss and accuracy, and which epochs are judged. No torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt


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
