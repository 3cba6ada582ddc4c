"""Every network runs: any input from 32 pixels up, both modes, both memory formats, bfloat16, backward."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from scsc_lab import build
from scsc_lab.layers.pointwise import DropPath
from scsc_lab.networks import catalog

SMALL = {
    "resnet18": {"depths": (1, 1, 1, 1), "widths": (16, 32, 64, 128), "stem_width": 16},
    "resnet_pico": {"depths": (1, 1, 1, 1)},
    "scsc_resnet_pico": {"depths": (1, 1, 1, 1)},
    "swin_pico": {"depths": (2, 2, 2, 2)},
    "scsc_swin_pico": {"depths": (1, 1, 1, 1)},
    "faceresnet_pico": {"depths": (1, 1, 1, 1)},
    "scsc_faceresnet_pico": {"depths": (1, 1, 1, 1)},
}


def small(name: str) -> torch.nn.Module:
    return build(name, **SMALL[name])


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("size", [(32, 32), (33, 32), (47, 65), (64, 96), (100, 36)])
def test_any_input_from_32_up(name, size):
    with torch.no_grad():
        out = small(name)(torch.randn(2, 3, *size))
    assert out.shape == (2, catalog.find(name).spec.outputs)
    assert out.isfinite().all()


@settings(max_examples=15, deadline=None)
@given(st.integers(32, 130), st.integers(32, 130), st.integers(1, 2), st.sampled_from(sorted(SMALL)))
def test_any_input_drawn_at_random(height, width, batch, name):
    with torch.no_grad():
        assert small(name)(torch.randn(batch, 3, height, width)).isfinite().all()


@pytest.mark.parametrize("name", SMALL)
def test_training_and_backward(name):
    model = small(name).train()
    model(torch.randn(2, 3, 64, 64)).square().mean().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize("name", SMALL)
def test_memory_formats_agree(name):
    model, x = small(name), torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        plain = model(x)
        last = model.to(memory_format=torch.channels_last)(x.to(memory_format=torch.channels_last))
    torch.testing.assert_close(plain, last, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", SMALL)
def test_bfloat16(name):
    model, x = small(name), torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        full, half = model(x), model.bfloat16()(x.bfloat16())
    assert half.dtype == torch.bfloat16
    assert (half.float() - full).abs().max() < 0.1 * full.abs().max() + 1e-3


def test_images_of_a_batch_do_not_touch():
    """In evaluation mode; what the receptive field counts on."""
    for name in SMALL:
        model, x = small(name), torch.randn(3, 3, 64, 96)
        with torch.no_grad():
            torch.testing.assert_close(model(x)[1:2], model(x[1:2]), rtol=1e-4, atol=1e-5)


def test_stages_name_modules_and_maps():
    for name in SMALL:
        model = small(name)
        modules = dict(model.named_modules())
        assert list(model.stages) == ["stem", "stage1", "stage2", "stage3", "stage4", "head"]
        assert all(module in modules for stage in model.stages.values() for module in stage)
        assert all(module in modules for module in model.stage_maps.values())


def test_scsc_in_some_stages_only():
    model = build("scsc_swin_pico", scsc_stages=(1, 3))
    kinds = [type(stage.blocks[0]).__name__ for stage in model.layers]
    assert kinds == ["SCSCSwinBlock", "SwinBlock", "SCSCSwinBlock", "SwinBlock"]


def test_random_weights_follow_the_seed():
    first, second, other = (build_seeded(seed) for seed in (1, 1, 2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(first, other, strict=True))


def build_seeded(seed: int) -> list[torch.Tensor]:
    torch.manual_seed(seed)
    return list(small("scsc_swin_pico").state_dict().values())


def test_drop_path_keeps_the_mean_and_is_off_in_evaluation():
    layer, x = DropPath(0.25), torch.ones(4000, 2, 2)
    dropped = layer.train()(x)
    assert sorted(dropped.unique().tolist()) == pytest.approx([0.0, 1 / 0.75])
    assert abs(float(dropped.mean()) - 1.0) < 0.05
    assert layer.eval()(x) is x


@pytest.mark.parametrize(("name", "deviation"), [("swin_pico", 96**-0.5), ("swin_pico[init_std=0.02]", 0.02)])
def test_linear_layers_of_a_swin_are_drawn_with_the_deviation_of_the_spec(name, deviation):
    merging = build(name).layers[0].downsample.reduction.weight.detach()
    assert float(merging.std()) == pytest.approx(0.88 * deviation, rel=0.03)  # 0.88: cut at two deviations
    assert float(merging.abs().max()) <= 2 * deviation
