"""A process that adds rows to a store, for the tests that kill it. No torch: it starts at once.

Usage: python writers.py STORE FIRST KEYS, which adds rows under KEYS keys, from FIRST on, counting around.
"""

import os
import random
import sys
import time
from pathlib import Path

from scsc_lab.store import Store


def main(path: Path, first: int, keys: int) -> None:
    store = Store(path)
    for index in range(keys):
        key = str((first + index) % keys)
        if store.find(key) is None:
            time.sleep(random.random() * 0.002)  # the measurement
            row = {"writer": os.getpid(), "text": "ä" * random.randrange(3000)}
            store.keep(key, {"metric": "size"}, [row] * (1 + int(key) % 3))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
