"""Recipes are checked data, and each step of augmentation does what it says."""

from __future__ import annotations

import dataclasses
import random as python_random

import numpy as np
import pytest
from PIL import Image as Pillow
from small import RECIPE, batches, data

from scsc_lab import InputError
from scsc_lab.metrics.training import own_input
from scsc_lab.networks.network import Network
from scsc_lab.training.augmentation import augment, centred
from scsc_lab.training.batches import Mixing
from scsc_lab.training.draws import Purpose, generator
from scsc_lab.training.plan import Input
from scsc_lab.training.recipes import RECIPES

PREPARATION = Input((16, 16), (0.5,) * 3, (0.25,) * 3)
IMAGE = np.random.default_rng(0).integers(0, 256, (3, 16, 16), dtype=np.uint8)


def draw(index: int = 0) -> np.random.Generator:
    return generator(0, Purpose.AUGMENTATION, 0, index)


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_has_a_source_and_changes_images_by_the_draw_alone(name):
    recipe = RECIPES[name]
    assert recipe.source
    if recipe.randaugment:
        pytest.importorskip("timm")
    one, two = (augment(IMAGE, recipe, PREPARATION, draw()) for _ in range(2))
    assert np.array_equal(one, two)
    assert one.shape == IMAGE.shape
    others = [augment(IMAGE, recipe, PREPARATION, draw(index)) for index in range(1, 6)]
    assert any(not np.array_equal(one, other) for other in others) == (
        recipe.crop != "none" or recipe.flip or recipe.erase > 0
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": 0}, "epochs=0"),
        ({"lr": 0.0}, "lr=0.0: a number above 0"),
        ({"lr": float("nan")}, "lr=nan"),
        ({"label_smoothing": 1.0}, "label_smoothing=1.0"),
        ({"weight_decay": -1.0}, "weight_decay=-1.0"),
        ({"eps": 0.0}, "eps=0.0: a number above 0"),
        ({"warmup_epochs": 3.0}, "fewer than the 3 epochs"),
    ],
)
def test_a_value_that_makes_no_sense_is_refused(change, message):
    with pytest.raises(InputError, match=message):
        dataclasses.replace(RECIPE, **change)


def test_images_are_resized_and_cropped_at_their_centre_for_evaluation():
    assert centred(IMAGE, PREPARATION) is IMAGE
    image = np.zeros((3, 40, 60), dtype=np.uint8)
    image[:, 10:30, 20:40] = 200
    found = centred(image, dataclasses.replace(PREPARATION, crop_share=0.5))
    assert found.shape == (3, 16, 16)
    assert found.mean() > 190
    assert centred(image, PREPARATION).mean() < 150


@pytest.mark.parametrize("mode", ["center", "squash"])
@pytest.mark.parametrize("share", [0.875, 1.0])
def test_images_are_prepared_for_evaluation_as_timm_does(mode, share):
    factory = pytest.importorskip("timm.data.transforms_factory")
    ramp = np.add.outer(np.linspace(0, 120, 90), np.linspace(0, 130, 150))
    image = np.stack([ramp, ramp[::-1], ramp[:, ::-1]]).astype(np.uint8)
    peer = factory.transforms_imagenet_eval(
        56, share, mode, interpolation="bicubic", mean=(0.0,) * 3, std=(1.0,) * 3, normalize=True
    )
    expected = 255 * peer(Pillow.fromarray(image.transpose(1, 2, 0))).numpy()
    preparation = dataclasses.replace(PREPARATION, size=(56, 56), crop_share=share, is_squashed=mode == "squash")
    assert np.abs(centred(image, preparation) - expected).max() < 3


def test_networks_of_elsewhere_say_how_their_images_are_cropped():
    pytest.importorskip("timm")
    pytest.importorskip("torchvision.models")
    for name, share, resampling in (("resnet50", 224 / 232, "bilinear"), ("inception_v3", 299 / 342, "bilinear")):
        wanted = own_input(Network.read(f"torchvision:{name}"))
        assert (wanted.crop_share, wanted.interpolation) == (share, resampling)
    for name, squashed in (("convnext_base.clip_laion2b_augreg_ft_in12k_in1k_384", True), ("convnext_tiny", False)):
        assert own_input(Network.read(f"timm:{name}")).is_squashed is squashed


def test_randaugment_leaves_the_global_generators_as_they_were():
    pytest.importorskip("timm")
    before = python_random.getstate()
    recipe = dataclasses.replace(RECIPE, randaugment="rand-m9-mstd0.5-inc1")
    found = [augment(IMAGE, recipe, PREPARATION, draw(index)) for index in range(8)]
    assert python_random.getstate() == before
    assert any(not np.array_equal(image, found[0]) for image in found)


def test_mixing_is_keyed_and_needs_one_class():
    pytest.importorskip("timm")
    import torch

    recipe = dataclasses.replace(RECIPE, mixup=0.8, cutmix=1.0, label_smoothing=0.1)
    images, labels = torch.rand(8, 3, 8, 8), torch.randint(2, (8, 1))
    mix = Mixing.of(recipe, batches(recipe))
    one, two, other = (mix(images.clone(), labels, epoch, 3) for epoch in (0, 0, 1))
    assert torch.equal(one[0], two[0])
    assert not torch.equal(one[0], other[0])
    assert one[1].shape == (8, 1, 2)
    torch.testing.assert_close(one[1].sum(dim=2), torch.ones(8, 1))
    one_task = data()
    parts = {
        name: dataclasses.replace(part, labels=np.repeat(part.labels, 2, axis=1))
        for name, part in (("train", one_task.train), ("test", one_task.test))
    }
    several = dataclasses.replace(one_task, tasks=one_task.tasks * 2, **parts)
    with pytest.raises(InputError, match="one class per image"):
        Mixing.of(recipe, batches(recipe, of=several))
