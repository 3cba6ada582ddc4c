"""The receptive field of a network's runs, at their first weights and at their last. It has no column of its own."""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from scsc_lab.analysis.protocol import Protocol
from scsc_lab.architectures.network import Network
from scsc_lab.errors import InputError
from scsc_lab.metrics import Metric, Tell, accuracy, erf, training
from scsc_lab.records import Row
from scsc_lab.settings import Request
from scsc_lab.training.plan import Training

if TYPE_CHECKING:
    from torch import nn

    from scsc_lab.receptive_field.images import Images
    from scsc_lab.training.batches import Batches


@dataclass(frozen=True)
class TrainedField:
    """Which runs' fields are measured, and how.

    Attributes:
        runs: the runs, one initialisation of the field each; their ``weights`` is the folder of trained weights.
        trained: whether at the last weights; at the first ones if not.
        protocol: how; images are the first ``samples`` of the test of the first run's data.
    """

    runs: Training = field(default_factory=Training)
    trained: bool = True
    protocol: Protocol = field(default_factory=Protocol)

    def identity(self) -> dict[str, Any]:
        """Return what decides the numbers: the runs, not the files that their weights are in."""
        how = dataclasses.asdict(dataclasses.replace(self.protocol, maps=None))
        return {"runs": self.runs.identity(), "trained": self.trained, "protocol": how}


def configure(request: Request) -> TrainedField:
    """Return the settings of a request: its runs, its number of images."""
    return TrainedField(training.configure(request), protocol=erf.configure(request))


def measure(networks: Sequence[Network], settings: TrainedField, tell: Tell) -> list[Row]:
    """Return one row a network: its field over runs and images, with ``seeds_trained`` and ``train_data``.

    A run whose weights are not in their folder is trained again.

    Raises:
        InputError: if no folder is named for trained weights, or a network has no map to draw a field from.
    """
    import torch

    from scsc_lab.analysis import mapfile
    from scsc_lab.execution.device import find
    from scsc_lab.models import stages
    from scsc_lab.receptive_field import measure as fields

    torch.set_num_threads(settings.runs.threads)
    rows: list[Row] = []
    for network in networks:
        own = accuracy.runs(network, settings.runs)
        first, moment = own[0].seeds[0], "trained" if settings.trained else "random"
        whose = fields.Whose(str(network), moment, len(own))
        images = _images(_batches(network, own[0]), settings.protocol.samples)
        shape = (images.pixels.shape[1], images.pixels.shape[2], images.pixels.shape[3])

        def make(seed: int, network: Network = network, own: Sequence[Training] = own, first: int = first) -> nn.Module:
            run = own[seed - first]
            tell(f"the receptive field of {network}, seed {run.seeds[0]}", (seed - first) / len(own))
            return module_of(network, run, settings.trained, tell)

        (found,) = fields.measure(
            make,
            lambda model, network=network, shape=shape: stages.chosen(model, (), shape, str(network)),  # type: ignore[misc]
            images,
            dataclasses.replace(settings.protocol, seed=first),
            whose,
            find("cpu"),
        )
        row = {**found.row(), "seeds_trained": [run.seeds[0] for run in own], "train_data": own[0].plan.data}
        row["initialisations"] = row.pop("seeds")
        if settings.protocol.maps is not None:
            row["map_file"] = erf.map_file(f"{network}, {moment}", network.text, settings.identity())
            mapfile.save([found.condensed()], settings.protocol.maps / row["map_file"])
        rows.append({key: value for key, value in row.items() if key not in ("model", "resolution", "batch", "seed")})
    return rows


def lacks(row: Row, settings: TrainedField) -> bool:
    """Return whether the map is gone."""
    return erf.lacks(row, settings.protocol)


def _batches(network: Network, run: Training) -> Batches:
    from scsc_lab.training.run import prepared

    return prepared(run.plan, training.own_input(network), run.seeds[0])


def _images(batches: Batches, samples: int) -> Images:
    import torch

    from scsc_lab.receptive_field.images import Images
    from scsc_lab.training.loop import normalised

    raw = torch.cat([images for images, _ in batches.test()])[:samples]
    codes = tuple(zlib.crc32(image.numpy().tobytes()) for image in raw)
    return Images(normalised(raw, batches, "cpu").contiguous().numpy(), f"test images of {batches.data.name}", 0, codes)


def module_of(network: Network, run: Training, trained: bool, tell: Tell) -> nn.Module:
    """Return the network of a run before or after training, in evaluation mode."""
    from scsc_lab.models import build, checkpoints
    from scsc_lab.training.run import first
    from scsc_lab.training.tasks import goal

    batches, seed = _batches(network, run), run.seeds[0]
    module, _ = first(
        lambda: build.build(network), batches, goal(run.plan.task, batches.data, run.plan.recipe, seed), seed
    )
    if trained:
        if not run.weights:
            raise InputError("measuring trained networks needs a folder for their weights: --write-weights FOLDER")
        if training.weights_file(network, run, seed) is None:
            training.run(network, run, seed, tell)
        path = training.weights_file(network, run, seed)
        if path is None:
            raise InputError(f"{network}: the run with seed {seed} diverged, and has no weights to draw a field with")
        checkpoints.load(module, path)
    return module.eval()


METRIC = Metric(
    name="trained_field", columns=(), measure=measure, configure=configure, usual=False, where="anywhere", lacks=lacks
)
