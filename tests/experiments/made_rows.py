"""Rows of training runs and of other metrics, as stores keep them."""

from __future__ import annotations

import json

from scsc_lab.store import RowStore

RUN = {"data": "navon", "recipe": "pico", "task": "classification", "epochs": 4, "batch_size": 32, "status": "complete"}
RUN |= {"train_images": 4000, "test_images": 1000, "seconds": 60.0, "images_per_second": 260.0, "waiting": 0.02}
RUN |= {"train_macs": 10**12, "head": "", "versions": {"torch": "2.13.0"}, "device": "cpu"}


def runs(name: str, *accuracies: float, **more: object) -> list[dict[str, object]]:
    rows = []
    for seed, value in enumerate(accuracies):
        curve = [{"epoch": 1, "loss": 2.0, "accuracy": {"accuracy": value}, "seconds": 60.0, "waiting": 0.02}]
        own = {"seed": seed, "accuracy": value, "curve": curve, **RUN, **more}
        rows.append(placed(name, "training", own, f"{name} {seed} {sorted(more.items())}"))
    return rows


def placed(name: str, metric: str, row: dict[str, object], key: str, position: int = 0, of: int = 1):
    head = {"key": key, "metric": metric, "position": position, "of": of}
    return {**head, "model": name, "network": name, "resolution": [64, 64], **row}


def stored(path, rows) -> RowStore:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return RowStore(path)
