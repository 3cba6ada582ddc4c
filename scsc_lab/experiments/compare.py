"""Networks side by side: size, latency and receptive field of each, and the change against a baseline."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from scsc_lab.analysis.protocol import Protocol
from scsc_lab.errors import InputError
from scsc_lab.experiments import diff as align
from scsc_lab.experiments import fields, size, speed
from scsc_lab.models.subject import Subject
from scsc_lab.records import Row, with_changes
from scsc_lab.settings import Plan
from scsc_lab.timing.result import CUT_SHORT

METRICS = ("params", "macs", "activations", "bytes", "latency", "erf", "top1")
"""What networks can be compared by; one word may stand for several numbers."""

COUNTED = ("params", "macs", "activations", "bytes")
"""Those of them that one count gives."""

_TIMED = (
    *("median_seconds", "iqr_seconds", "images_per_second", "samples_seconds", "ratio", "ratio_low", "ratio_high"),
    *("verdict", "device", "device_name", "dtype", "memory_format", "threads", "compile", "mode", "seed"),
)
_FIELD = (
    *("stage", "images", "image_kind", "weights", "method", "contribution", "r20", "r30", "r50", "r95", "r99"),
    *("r50_low", "r50_high", "theoretical_pixels", "filled", "truncation"),
)


def measure(
    subjects: Sequence[Subject],
    metrics: Sequence[str],
    *,
    baseline: int = 0,
    batch: int = 1,
    plan: Plan | None = None,
    protocol: Protocol | None = None,
    accuracies: Mapping[str, Mapping[str, float]] | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> list[Row]:
    """Return one row a network, with its change against the baseline under ``<key>_change``.

    Changes are fractions (−0.25: a quarter less), those of accuracies differences in their own unit; ``r50``, a share
    itself, has a ``r50_difference``. ``ratio`` is the network's time over the baseline's, measured in random-order
    pairs. A keyboard interrupt while they are timed ends the measurement with what there is: ``latency_status`` is then
    ``cut short``. What is published is under ``published_top1``, with its source, and was not measured here; what the
    user brings is under ``user:<metric>``.

    Args:
        subjects: the networks.
        metrics: words of :data:`METRICS`.
        baseline: which network the others are compared with.
        batch: images in the forward pass that is counted; the plan has its own for timing.
        plan: how latency is measured; its resolution goes for the counts too.
        protocol: how receptive fields are measured.
        accuracies: the user's own values by metric by label.
        progress: told what is being measured, the number of things done and to do.

    Raises:
        InputError: if a network does not take its input, or is named twice. One that has no map to draw a receptive
            field from says why under ``erf_failure``.
    """
    labels = [subject.label for subject in subjects]
    for label in labels:
        if labels.count(label) > 1:
            raise InputError(f"{label} is named twice: name each network once")
    plan, protocol = plan or Plan(), protocol or Protocol()
    steps = len(subjects) * (1 + ("erf" in metrics)) + ("latency" in metrics)
    done = 0

    def told(what: str) -> None:
        nonlocal done
        if progress:
            progress(what, done, steps)
        done += 1

    rows = []
    for subject in subjects:
        told(f"counting {subject.label}")
        rows.append(_sized(subject, size.measure(subject, plan.resolution, batch, check=False).row()))
    if "latency" in metrics:
        told("timing " + ", ".join(subject.label for subject in subjects))
        for row, timing in zip(rows, speed.measure(subjects, plan, baseline=baseline), strict=True):
            row |= {**_of(timing.row(), _TIMED), "latency_status": timing.status}
    interrupted = any(row.get("latency_status") == CUT_SHORT for row in rows)
    if "erf" in metrics and not interrupted:
        for row, subject in zip(rows, subjects, strict=True):
            told(f"the receptive field of {subject.label}")
            try:
                row |= _of(fields.measure(subject, protocol)[-1].row(), _FIELD)
            except InputError as error:  # a network without maps has all the rest
                row["erf_failure"] = str(error)
            except KeyboardInterrupt:
                row["erf_failure"] = "interrupted"
                break
    for row in rows:
        own = (accuracies or {}).get(str(row["model"]), {})
        row |= {f"user:{metric}": value for metric, value in own.items()}
        row["baseline"] = rows[baseline]["model"]
    return _changed(rows, baseline)


def side_by_side(
    subjects: Sequence[Subject], by: str, resolution: tuple[int, int] | None = None, batch: int = 1
) -> list[Row]:
    """Return two networks stage by stage or block by block; see :mod:`scsc_lab.experiments.diff`."""
    counts = [size.measure(subject, resolution, batch, check=False).count for subject in subjects]
    return align.rows([subject.make_empty("meta") for subject in subjects], counts, by)


def _sized(subject: Subject, row: Row) -> Row:
    published = subject.entry.published if subject.entry and "[" not in subject.label else None
    return {
        "model": subject.label,
        **_of(row, ("resolution", "batch", *COUNTED, "status")),
        "published_top1": published.top1 if published else None,
        "published_source": published.source if published else None,
        "inferred": (subject.entry.inferred or None) if subject.entry else None,
    }


def _of(row: Row, keys: Sequence[str]) -> Row:
    return {key: row[key] for key in keys if key in row}


def _difference(row: Row, reference: Row, key: str) -> float | None:
    if row is reference or row[key] is None or reference.get(key) is None:
        return None
    difference: float = row[key] - reference[key]
    return difference


def _changed(rows: Sequence[Row], baseline: int) -> list[Row]:
    """Return the rows with changes: as fractions, and as differences where the unit is per cent already."""
    fractions = [key for key in COUNTED if all(key in row for row in rows)]
    found = with_changes(rows, fractions, baseline)
    reference = found[baseline]
    for row in found:
        for key, name in [("r50", "r50_difference"), ("published_top1", "published_top1_change")]:
            if key in row:
                row[name] = _difference(row, reference, key)
        for key in [key for key in row if key.startswith("user:")]:
            row[f"change_of_{key}"] = _difference(row, reference, key)
    return found
