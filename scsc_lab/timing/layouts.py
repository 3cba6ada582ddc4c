"""The order of the elements in memory that a network is faster in, found by running it in both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from scsc_lab.execution.memory import is_exhausted
from scsc_lab.execution.passes import Run
from scsc_lab.timing.clock import Clock

CONTIGUOUS, CHANNELS_LAST = "contiguous", "channels_last"
"""The two orders of an image's elements in memory."""

_TURNS = 3
_GAIN = 0.98


@dataclass
class Layouts:
    """A network in both layouts, in turn.

    Attributes:
        fastest: seconds of the fastest warm pass in each layout that the network runs in.
        runs: passes that this took.
        seconds: time of those passes.
    """

    fastest: dict[str, float] = field(default_factory=dict)
    runs: int = 0
    seconds: float = 0.0

    @property
    def faster(self) -> str:
        """The one to take: see :data:`scsc_lab.settings.LAYOUT_RULE`."""
        contiguous, channels_last = (self.fastest.get(name) for name in (CONTIGUOUS, CHANNELS_LAST))
        if contiguous is None or channels_last is None:
            return CONTIGUOUS
        return CHANNELS_LAST if channels_last < _GAIN * contiguous else CONTIGUOUS


def compare(run_in: Callable[[str], Run], clock: Clock, max_seconds: float) -> Layouts:
    """Run a network in both layouts by turns, three passes each time, the first of them to warm up.

    Args:
        run_in: puts the network into a layout and returns its pass; left in either of them.
        clock: the clock of its device.
        max_seconds: time after which no further turn begins; each layout has one in any case.

    Returns:
        What each took. A network that does not run channels-last, because it views its maps as contiguous say, is one
        that runs contiguous.
    """
    found = Layouts()
    start = clock.now()
    for turn in range(_TURNS):
        for layout in (CONTIGUOUS, CHANNELS_LAST)[:: -1 if turn % 2 else 1]:
            try:
                seconds = _sample(run_in(layout), clock, found)
            except Exception as error:  # whatever the network's own code raises
                if layout == CONTIGUOUS or is_exhausted(error):
                    raise
                return found
            found.fastest[layout] = min(seconds, found.fastest.get(layout, seconds))
        if clock.now() - start >= max_seconds:
            break
    return found


def _sample(run: Run, clock: Clock, found: Layouts) -> float:
    """Return the seconds of the faster of two warm passes."""
    times = [clock.time(run) for _ in range(3)]
    found.runs += len(times)
    found.seconds += sum(times)
    return min(times[1:])
