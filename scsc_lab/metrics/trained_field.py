"""The receptive field of a network's runs, at their first weights and at their last. It has no column of its own."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from scsc_lab.errors import InputError
from scsc_lab.metrics import Metric, Progress, accuracy, erf, training
from scsc_lab.networks.network import Network
from scsc_lab.records import Row
from scsc_lab.settings import Settings
from scsc_lab.training.plan import Runs

if TYPE_CHECKING:
    from torch import nn

    from scsc_lab.receptive_field.images import Images
    from scsc_lab.training.batches import Batches


@dataclass(frozen=True)
class TrainedField:
    """Runs whose fields are measured, and the settings of the fields.

    Attributes:
        runs: the runs, one initialisation of the field each; their ``weights`` is the folder of trained weights.
        how: settings of the fields; images are the first ``samples`` of the test of the first run's data.
    """

    runs: Runs = field(default_factory=Runs)
    how: Settings = field(default_factory=Settings)

    def identity(self) -> dict[str, Any]:
        """Return what decides the numbers: the runs, not the files that their weights are in."""
        return {"runs": self.runs.identity(), "how": self.how.identity()}


def configure(settings: Settings) -> TrainedField:
    """Return the settings that concern the fields of trained networks: runs and fields."""
    return TrainedField(training.configure(settings), how=erf.configure(settings))


def measure(networks: Sequence[Network], settings: TrainedField, progress: Progress) -> list[Row]:
    """Return one row per network: its field over runs and images, before and after training, under ``moments``.

    A run whose weights are not in their folder is trained again.

    Raises:
        InputError: if no folder is named for trained weights, or a network has no map to draw a field from.
    """
    from scsc_lab.execution.passes import using_threads

    with using_threads(settings.runs.threads):
        return [
            {"moments": [_moment(network, settings, trained, progress) for trained in (False, True)]}
            for network in networks
        ]


def _moment(network: Network, settings: TrainedField, trained: bool, progress: Progress) -> Row:
    """Return the row of a network's field at the first or the last weights of its runs."""
    from scsc_lab.execution.hardware import find
    from scsc_lab.models import stages
    from scsc_lab.receptive_field import measure as fields

    runs = accuracy.runs(network, settings.runs)
    first, moment = runs[0].seeds[0], "trained" if trained else "random"
    images = _images(_batches(network, runs[0]), settings.how.fields.samples)
    shape = (images.pixels.shape[1], images.pixels.shape[2], images.pixels.shape[3])

    def make(seed: int) -> nn.Module:
        run = runs[seed - first]
        progress(f"the receptive field of {network}, seed {run.seeds[0]}", (seed - first) / len(runs))
        return module_of(network, run, trained, progress)

    (field,) = fields.measure(
        make,
        lambda model: stages.chosen(model, (), shape, str(network)),
        images,
        settings.how.fields,
        fields.Whose(str(network), moment, len(runs), first),
        find("cpu"),
    )
    row = erf.field_row(field, f"{network}, {moment}", network, settings.identity())
    return {**row, "seeds_trained": [run.seeds[0] for run in runs], "train_data": runs[0].plan.data}


def table_rows(row: Row) -> list[Row]:
    """Return a row of the table of receptive fields before training, and one after it."""
    return [{"table": "field", **moment} for moment in row.get("moments", ())]


def _batches(network: Network, run: Runs) -> Batches:
    from scsc_lab.training.run import prepared

    return prepared(run.plan, training.own_input(network), run.seeds[0])


def _images(batches: Batches, samples: int) -> Images:
    import torch

    from scsc_lab.receptive_field.images import Images
    from scsc_lab.training.loop import normalised

    raw = torch.cat([images for images, _ in batches.test()])[:samples]
    codes = tuple(zlib.crc32(image.numpy().tobytes()) for image in raw)
    return Images(normalised(raw, batches, "cpu").contiguous().numpy(), f"test images of {batches.data.name}", codes)


def module_of(network: Network, run: Runs, trained: bool, progress: Progress) -> nn.Module:
    """Return the network of a run before or after training, in evaluation mode."""
    from scsc_lab.models import build, checkpoints
    from scsc_lab.training.run import first
    from scsc_lab.training.tasks import goal

    batches, seed = _batches(network, run), run.seeds[0]
    outputs = goal(run.plan.task, batches.data, run.plan.recipe, seed).outputs
    module, _ = first(lambda: build.build(network), batches, outputs, seed)
    if trained:
        if not run.weights:
            raise InputError("measuring trained networks needs a folder for their weights: --write-weights FOLDER")
        if training.weights_file(network, run, seed) is None:
            training.run(network, run, seed, progress)
        path = training.weights_file(network, run, seed)
        if path is None:
            raise InputError(f"{network}: the run with seed {seed} diverged, and has no weights to draw a field with")
        checkpoints.load(module, path)
    return module.eval()


METRIC = Metric(name="trained_field", columns=(), measure=measure, configure=configure, table_rows=table_rows)
