"""A process that adds rows to a store, for the tests that kill it. No torch: it starts at once.

Usage: python writers.py STORE FIRST ROWS, which adds ROWS rows whose keys begin at FIRST, counting around.
"""

import os
import random
import sys
import time
from pathlib import Path

from scsc_lab.store import RowStore

TORN = 0.02
"""Probability that a row is torn: written in part, under the lock, by a process that then dies."""


def main(path: Path, first: int, rows: int) -> None:
    store = RowStore(path)
    write = os.write

    def tears(descriptor: int, data: bytes) -> int:
        if random.random() < TORN:
            write(descriptor, data[: random.randrange(len(data))])
            os.kill(os.getpid(), 9)
        return write(descriptor, data)

    os.write = tears  # type: ignore[assignment]
    for index in range(rows):
        key = str((first + index) % rows)
        store.refresh()
        if not store.find(key):
            time.sleep(random.random() * 0.002)  # the measurement
            row = {"key": key, "of": 1 + int(key) % 3, "writer": os.getpid(), "text": "ä" * random.randrange(3000)}
            store.keep([{**row, "position": position} for position in range(row["of"])])


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
