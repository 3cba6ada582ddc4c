"""How many specs per second have their parameters and MACs counted: in full, as sums of blocks, and as a whole space.

    python benchmarks/search.py

Single specs are drawn from a space of kernels, groups, widths and depths of scsc_swin_tiny at 224×224. Nothing is
asserted.
"""

from __future__ import annotations

import random
import time

from scsc_lab.metrics.size import counted
from scsc_lab.models import construct, enumeration
from scsc_lab.networks import space
from scsc_lab.networks.network import Network

SPACE = ("kernels,depths,groups", "reduction=0.2..0.5:0.02", "mlp_ratio=2..4:0.5")
SPECS = 20_000


def main() -> None:
    """Print the three rates."""
    whole = space.parse(Network.read("scsc_swin_tiny"), SPACE)
    draw = random.Random(0)
    networks = [whole.at([draw.randrange(size) for size in whole.sizes]) for _ in range(SPECS)]
    start = time.perf_counter()
    for network in networks[:20]:
        counted(network)
    print(f"counted in full: {20 / (time.perf_counter() - start):,.1f} specs/s")
    for name in ("first pass, every new block counted", "second pass, all blocks known"):
        start = time.perf_counter()
        for network in networks:
            assert network.spec is not None
            construct.cost(network.spec, (224, 224))
        print(f"sums of blocks, {name}: {SPECS / (time.perf_counter() - start):,.0f} specs/s")
    start = time.perf_counter()
    enumeration.enumerate_costs(whole)
    print(f"whole space of {whole.size:,}: {whole.size / (time.perf_counter() - start):,.0f} specs/s")


if __name__ == "__main__":
    main()
