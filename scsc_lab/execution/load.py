"""What else the machine does while something is measured: its load average, against its cores."""

from __future__ import annotations

import os
from dataclasses import dataclass


@dataclass(frozen=True)
class Load:
    """How many processes wanted a core, averaged over a minute, before and after a measurement.

    Attributes:
        before: when it began; ``None`` where the system does not tell.
        after: when it ended.
        cores: the machine's.
    """

    before: float | None
    after: float | None
    cores: int

    @property
    def most(self) -> float | None:
        """The larger of the two."""
        return max((load for load in (self.before, self.after) if load is not None), default=None)

    @property
    def is_busy(self) -> bool:
        """Whether more processes wanted a core than there are, so that intervals of ratios are too narrow."""
        return self.most is not None and self.most > self.cores


def average() -> float | None:
    """Return the load average over the last minute, or ``None`` where the system does not tell."""
    try:
        return os.getloadavg()[0]
    except (OSError, AttributeError):
        return None


def cores() -> int:
    """Return the cores of the machine, which its load average is of, whether or not this process may use them."""
    return os.cpu_count() or 1
