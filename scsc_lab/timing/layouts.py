"""The order of the elements in memory that a network is faster in, found by running it in both by turns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median

from scsc_lab.execution.hardware import is_exhausted
from scsc_lab.execution.passes import Run
from scsc_lab.timing.clock import Clock
from scsc_lab.timing.rounds import common_repeats

CONTIGUOUS, CHANNELS_LAST = "contiguous", "channels_last"
"""The two orders of an image's elements in memory."""

_FEWEST_TURNS, _MOST_TURNS = 3, 15
_CLEAR = 1.1


@dataclass
class Layouts:
    """A network in both layouts.

    Attributes:
        fastest: seconds of the fastest warm pass in each layout that the network runs in.
        ratios: its time channels-last over that contiguous, one of each turn.
        runs: passes that this took.
        seconds: time of those passes.
    """

    fastest: dict[str, float] = field(default_factory=dict)
    ratios: list[float] = field(default_factory=list)
    runs: int = 0
    seconds: float = 0.0

    @property
    def faster(self) -> str:
        """The one to take: see :data:`scsc_lab.settings.LAYOUT_RULE`."""
        return CHANNELS_LAST if self.ratios and median(self.ratios) < 1 else CONTIGUOUS

    @property
    def clear(self) -> bool:
        """Whether further turns would not change it: all say the same, by a tenth."""
        few = len(self.ratios) < _FEWEST_TURNS
        return not few and (min(self.ratios) > _CLEAR or max(self.ratios) < 1 / _CLEAR)


def compare(run_in: Callable[[str], Run], clock: Clock, max_seconds: float) -> Layouts:
    """Run a network in both layouts by turns, each time warmed up by a pass.

    Where the two are close the choice must not be chance: turns go on until one is clearly faster, there are fifteen,
    or the time is over.

    Args:
        run_in: puts the network into a layout and returns its pass; left in either of them.
        clock: the clock of its device.
        max_seconds: time after which no further turn begins; each layout has one in any case.

    Returns:
        What each took. A network that does not run channels-last, because it views its maps as contiguous say, is one
        that runs contiguous.
    """
    layouts = Layouts()
    start = clock.now()
    repeats = common_repeats([run_in(CONTIGUOUS)], clock)
    for turn in range(_MOST_TURNS):
        times = {}
        for layout in (CONTIGUOUS, CHANNELS_LAST)[:: -1 if turn % 2 else 1]:
            try:
                times[layout] = _sample(run_in(layout), clock, repeats, layouts)
            except Exception as error:  # whatever the network's own code raises
                if layout == CONTIGUOUS or is_exhausted(error):
                    raise
                return Layouts({CONTIGUOUS: layouts.fastest[CONTIGUOUS]}, [], layouts.runs, layouts.seconds)
            layouts.fastest[layout] = min(times[layout], layouts.fastest.get(layout, times[layout]))
        if times[CONTIGUOUS] > 0:
            layouts.ratios.append(times[CHANNELS_LAST] / times[CONTIGUOUS])
        if layouts.clear or clock.now() - start >= max_seconds:
            break
    return layouts


def _sample(run: Run, clock: Clock, repeats: int, layouts: Layouts) -> float:
    """Return the seconds of a warm pass, the faster of two samples."""
    times = [clock.time(run, repeats) for _ in range(3)]
    layouts.runs += len(times) * repeats
    layouts.seconds += sum(times) * repeats
    return min(times[1:])
