"""How reports and stores grow: a report with its page of 1,000 and of 4,000 networks, and a store of 10,000 rows read.

    python benchmarks/scale.py

The networks are scsc_swin_pico with as many widths of its MLP, counted by `scsc-lab compare`. A ratio of four is
linear, sixteen quadratic. Nothing is asserted.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from scsc_lab.store import Store

NUMBERS = (1_000, 4_000)
STORED = 10_000


def main() -> None:
    """Print the seconds of each part."""
    with tempfile.TemporaryDirectory() as folder:
        taken = [_report(number, Path(folder)) for number in NUMBERS]
        print(f"| what | {' | '.join(f'{number:,} networks' for number in NUMBERS)} | ratio |\n|:--|--:|--:|--:|")
        for what in taken[0]:
            few, many = (seconds[what] for seconds in taken)
            print(f"| {what} | {few:.1f} s | {many:.1f} s | {many / few:.1f} |")
        seconds = _opened(Path(folder) / "rows.db")
    print(f"\nA store of {STORED:,} measurements opened and all of its rows read: {seconds:.2f} s.")


def _report(number: int, folder: Path) -> dict[str, float]:
    """Return the seconds that counting so many networks takes, and their report, in processes."""
    store = folder / f"n{number}.db"
    networks = [f"scsc_swin_pico[mlp_ratio={2 + at / 1000}]" for at in range(number)]
    measured = _seconds("compare", *networks, "--with", "params,macs", "--store", str(store))
    written = _seconds("report", "--from", str(store), "--html", "--folder", str(folder), "--name", f"n{number}")
    return {"compare --with params,macs": measured, "report --from STORE --html": written}


def _seconds(*words: str) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", "scsc_lab", *words], check=True, capture_output=True)
    return time.perf_counter() - start


def _opened(path: Path) -> float:
    """Return the seconds that a new reader of a store takes."""
    store = Store(path)
    for at in range(STORED):
        store.keep(f"key {at}", {"metric": "size"}, [{"model": f"network {at}", "params": at, "macs": at * 10**6}])
    store.close()
    start = time.perf_counter()
    rows = Store(path).all_rows()
    assert len(rows) == STORED
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
