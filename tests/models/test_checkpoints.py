"""Weights from files: other people's, our own, and what must be refused."""

from __future__ import annotations

import argparse
import pickle
import warnings
from dataclasses import replace

import pytest
import torch

import scsc_lab
from scsc_lab import InputError, build
from scsc_lab.cli import main
from scsc_lab.models import checkpoints
from scsc_lab.networks.network import Network

timm = pytest.importorskip("timm")
torchvision_models = pytest.importorskip("torchvision.models")


def randomised(model: torch.nn.Module) -> torch.nn.Module:
    for name, tensor in model.state_dict().items():
        if name.endswith("running_var"):
            tensor.uniform_(0.5, 1.5)
        elif name.endswith(("running_mean", "bias")) or "bias_table" in name:
            tensor.normal_(0, 0.1)
    return model.eval()


def saved(tmp_path, state, name="weights.pth"):
    path = tmp_path / name
    torch.save(state, path)
    return path


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
@pytest.mark.parametrize("library", ["torchvision", "timm"])
def test_resnet_loads_others_as_they_are(tmp_path, name, library):
    other = getattr(torchvision_models, name)(weights=None) if library == "torchvision" else timm.create_model(name)
    randomised(other)
    model = build(name, weights=saved(tmp_path, other.state_dict()))
    x = torch.randn(1, 3, 64, 32)
    with torch.no_grad():
        torch.testing.assert_close(model(x), other(x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("fused", [True, False])
def test_swin_equals_timm(tmp_path, fused):
    depths = (2, 2, 2, 2)
    other = randomised(timm.create_model("swin_tiny_patch4_window7_224", depths=depths))
    for module in other.modules():
        if hasattr(module, "fused_attn"):
            module.fused_attn = fused
    model = build("swin_tiny", weights=saved(tmp_path, other.state_dict()), depths=depths)
    x = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        torch.testing.assert_close(model(x), other(x), rtol=1e-4, atol=1e-4)


def test_swin_loads_microsofts_keys(tmp_path):
    """Microsoft's code merges patches at the end of a stage and stores buffers that are rebuilt here."""
    own = randomised(build("swin_pico"))
    state = dict(own.state_dict())
    state["layers.0.blocks.0.attn.relative_position_index"] = torch.zeros(16, 16)
    state["layers.0.blocks.1.attn_mask"] = torch.zeros(16, 16, 16)
    model = build("swin_pico", weights=saved(tmp_path, {"model": state, "optimizer": {"lr": 1.0}, "epoch": 3}))
    assert all(torch.equal(value, own.state_dict()[key]) for key, value in model.state_dict().items())


def released(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Rename our SCSC network to the released code's keys; encoder BatchNorm goes to the order after the shuffle."""
    names = {
        "reduce.": "reduction_c.",
        "reduce_norm.": "bn1.",
        "encoder.": "layers.",
        "encoder_norm.": "bn2.",
        "embed.gates.": "routing_fc.",
        "recover.": "recover_c.",
        "recover_norm.": "bn3.",
        "se.squeeze.": "se.fc.0.",
        "se.excite.": "se.fc.2.",
    }
    state = {}
    for key, value in model.state_dict().items():
        prefix, scsc, inner = key.partition("scsc.")
        if scsc:
            ours = next(name for name in names if inner.startswith(name))
            if ours == "encoder_norm." and value.dim():
                scales = model.get_submodule(f"{prefix}scsc").scales
                value = value.reshape(-1, scales).t().reshape(-1)
            inner = inner.replace(ours, names[ours], 1)
            if ours == "encoder." and prefix.startswith("layer") and not prefix.startswith("layers"):
                inner = inner.replace(".weight", ".0.weight")
            key = prefix + ("attn2conv." if prefix.startswith("layers.") else "") + inner
        state[key] = value
    return state


@pytest.mark.parametrize("name", ["scsc_swin_pico", "scsc_resnet_pico"])
def test_scsc_networks_load_the_released_keys(tmp_path, name):
    own = randomised(build(name))
    state = {f"module.{key}": value for key, value in released(own).items()}
    assert any("reduction_c.weight" in key for key in state)
    model = build(name, weights=saved(tmp_path, {"state_dict": state}))
    assert all(torch.equal(value, own.state_dict()[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize("name", ["scsc_swin_pico", "faceresnet_pico"])
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_our_own_weights_come_back(tmp_path, name, suffix):
    own = randomised(build(name))
    path = tmp_path / f"weights{suffix}"
    if suffix == ".pt":
        torch.save(own.state_dict(), path)
    else:
        pytest.importorskip("safetensors.torch").save_file(own.state_dict(), path)
    model = build(name, weights=path)
    assert all(torch.equal(value, own.state_dict()[key]) for key, value in model.state_dict().items())


def test_another_network_is_refused_with_the_first_keys(tmp_path):
    path = saved(tmp_path, build("resnet50").state_dict())
    expected = r"another network: .*unexpected \(first: layer1.0.conv3.*misshapen \(first: layer1.0.conv1"
    with pytest.raises(InputError, match=expected):
        build("resnet18", weights=path)
    path = saved(tmp_path, {"fc.weight": torch.zeros(1)})
    with pytest.raises(InputError, match=r"missing \(first: conv1.weight\); 1 misshapen"):
        build("resnet18", weights=path)


class Harmful:
    """A pickle that would run code."""

    def __reduce__(self):
        return (print, ("code was run",))


def test_pickled_code_is_refused_and_not_run(tmp_path, capsys):
    path = tmp_path / "harmful.pth"
    torch.save({"model": Harmful()}, path)
    with pytest.raises(InputError, match="objects other than tensors, which could run code"):
        build("resnet_pico", weights=path)
    path.write_bytes(pickle.dumps(Harmful()))
    with pytest.raises(InputError, match="could run code"):
        build("resnet_pico", weights=path)
    assert "code was run" not in capsys.readouterr().out


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_damaged_files_are_refused(tmp_path, suffix):
    whole = saved(tmp_path, build("resnet_pico").state_dict(), "whole.pth").read_bytes()
    files = {
        "cut": whole[: len(whole) // 2],
        "empty": b"",
        "text": b"hello, world",
        "json": b'{"error": "not found"}',
        "numpy": b"\x93NUMPY\x01\x00v\x00{'descr': '<f8', 'shape': (0,), }",
        "numbers": pickle.dumps({"epoch": 1}),
        "bytes": bytes(range(256)),
    }
    for name, content in files.items():
        path = tmp_path / f"{name}{suffix}"
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"damaged|not a checkpoint|is empty"):
            build("resnet_pico", weights=path)


def test_missing_files_and_folders_are_refused(tmp_path):
    for path in (tmp_path / "none.pth", tmp_path):
        with pytest.raises(InputError, match="no weights file"):
            build("resnet_pico", weights=path)


@pytest.mark.parametrize("checkpoint", [[1, 2], {"a": 1}, {}, torch.zeros(3)])
def test_files_without_a_state_dict_are_refused(tmp_path, checkpoint):
    with pytest.raises(InputError, match="the checkpoint holds"):
        checkpoints.unwrap(checkpoints.read(saved(tmp_path, checkpoint)))


def test_a_text_file_is_no_checkpoint(tmp_path):
    path = tmp_path / "passwd"
    path.write_text("root:x:0:0:root:/root:/bin/bash\ndaemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin\n")
    with pytest.raises(InputError, match=r"passwd is not a checkpoint of torch, or is damaged"):
        checkpoints.read(path)


UNFIT = {
    "sparse": lambda x: x.to_sparse(),
    "sparse, nested": lambda x: x.to_sparse_csr() if x.dim() == 2 else x,
    "quantized": lambda x: torch.quantize_per_tensor(x, 0.1, 0, torch.qint8) if x.dim() == 2 else x,
    "without values": lambda x: x.to("meta"),
    "int8 for float32": lambda x: x.to(torch.int8),
    "bool for float32": lambda x: x > 0,
    "complex64 for float32": lambda x: x.to(torch.complex64),
    "float8_e4m3fn for float32": lambda x: x.to(torch.float8_e4m3fn),
}


@pytest.mark.parametrize("what", UNFIT)
@pytest.mark.filterwarnings("ignore")
def test_tensors_that_are_no_weights_are_refused(tmp_path, what):
    state = build("resnet_pico").state_dict()
    bad = {key: UNFIT[what](value) if value.is_floating_point() else value for key, value in state.items()}
    path = saved(tmp_path, bad)
    with pytest.raises(InputError, match=rf"cannot be loaded: \S+ is .*{what}.*; save it as float32$") as caught:
        build("resnet_pico", weights=path)
    assert "\n" not in str(caught.value)
    half = {key: value.half() if value.is_floating_point() else value for key, value in state.items()}
    loaded = build("resnet_pico", weights=saved(tmp_path, half))
    assert torch.equal(loaded.fc.weight, state["fc.weight"].half().float())


def test_a_network_without_shapes_takes_no_weights(tmp_path):
    with pytest.raises(InputError, match=r"the network's weight has no shape before its first pass"):
        checkpoints.load(torch.nn.LazyLinear(3), saved(tmp_path, {"weight": torch.zeros(3, 3)}))


NOT_A_CHECKPOINT = {
    "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\n": "is a Git LFS pointer, .*: fetch that with `git",
    "<!DOCTYPE html>\n<html><body>404</body></html>": "is a web page, not a checkpoint: download the file itself",
    "\n  <html><head></head></html>": "is a web page",
    "<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>": "is a web page",
}


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".safetensors", ".bin"])
@pytest.mark.parametrize("content", NOT_A_CHECKPOINT)
def test_what_is_often_taken_for_a_checkpoint_is_named(tmp_path, content, suffix):
    path = tmp_path / f"weights{suffix}"
    path.write_text(content)
    with pytest.raises(InputError, match=rf"weights{suffix} {NOT_A_CHECKPOINT[content]}") as caught:
        build("resnet_pico", weights=path)
    assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore")
def test_programs_are_named(tmp_path):
    path = tmp_path / "program.pt"
    torch.jit.save(torch.jit.trace(torch.nn.Conv2d(3, 4, 3), torch.zeros(1, 3, 8, 8)), path)
    with pytest.raises(InputError, match=r"is a TorchScript program: save torch.jit.load\(…\).state_dict\(\)"):
        build("resnet_pico", weights=path)
    path = tmp_path / "program.pt2"
    torch.export.save(torch.export.export(torch.nn.Linear(3, 4), (torch.zeros(1, 3),)), path)
    with pytest.raises(InputError, match=r"is a program of torch.export: save torch.export.load"):
        build("resnet_pico", weights=path)


def test_a_file_without_tensors_is_named_with_its_keys(tmp_path):
    path = saved(tmp_path, {"epoch": 3, "lr": 0.1})
    with pytest.raises(InputError, match=r"weights.pth holds no tensors under its keys epoch, lr; was it saved from"):
        build("resnet_pico", weights=path)
    path = saved(tmp_path, {str(key): 0 for key in range(20)})
    with pytest.raises(InputError, match=r"keys 0, 1, 2, 3, 4, 5, 6, 7, … \(20 in all\); was"):
        build("resnet_pico", weights=path)


def averaged(state):
    return {"n_averaged": torch.tensor(3), **{f"module.{key}": value for key, value in state.items()}}


TOOLS = {
    "DataParallel": lambda state: {f"module.{key}": value for key, value in state.items()},
    "compiled": lambda state: {f"_orig_mod.{key}": value for key, value in state.items()},
    "compiled and distributed": lambda state: {f"module._orig_mod.{key}": value for key, value in state.items()},
    "Lightning": lambda state: {"state_dict": {f"model.{key}": value for key, value in state.items()}, "epoch": 3},
    "Lightning, net": lambda state: {"state_dict": {f"net.{key}": value for key, value in state.items()}},
    "backbone": lambda state: {"model_state_dict": {f"backbone.{key}": value for key, value in state.items()}},
    "averaged": averaged,
    "params": lambda state: {"params": state},
    "EMA": lambda state: {"state_dict_ema": state, "epoch": 1},
    "arguments": lambda state: {"model": state, "args": argparse.Namespace(lr=0.1, opt="sgd")},
}


@pytest.mark.parametrize("tool", TOOLS)
def test_checkpoints_as_tools_write_them(tmp_path, tool):
    own = randomised(build("resnet_pico"))
    model = build("resnet_pico", weights=saved(tmp_path, TOOLS[tool](own.state_dict())))
    assert all(torch.equal(value, own.state_dict()[key]) for key, value in model.state_dict().items())


def test_prefixes_that_are_the_networks_stay(tmp_path):
    model = torch.nn.ModuleDict({"model": torch.nn.Linear(2, 2)})
    state = {key: torch.ones_like(value) for key, value in model.state_dict().items()}
    checkpoints.load(model, saved(tmp_path, state))
    assert model["model"].weight.eq(1).all()


def vit(**options) -> torch.nn.Module:
    return timm.create_model("vit_tiny_patch16_224", depth=1, **options)


@pytest.mark.parametrize(
    ("wrap", "options"),
    [
        (lambda state: {"teacher": {f"backbone.{key}": value for key, value in state.items()}}, {}),
        (lambda state: {"state_dict": {f"model.{key}": value for key, value in state.items()}}, {}),
        (
            lambda state: {
                "student": {},
                "teacher": {
                    **{f"module.backbone.{key}": value for key, value in state.items()},
                    "module.head.mlp.weight": torch.ones(3, 3),
                },
            },
            {"num_classes": 0},
        ),
        (
            lambda state: {
                "state_dict": {**{f"model.{key}": v for key, v in state.items()}, "criterion.weight": torch.ones(9)}
            },
            {},
        ),
    ],
)
def test_what_training_keeps_beside_the_network_is_left_out(tmp_path, wrap, options):
    other, model = vit(**options), vit(**options)
    checkpoints.load(model, saved(tmp_path, wrap(other.state_dict())))
    assert all(torch.equal(value, model.state_dict()[key]) for key, value in other.state_dict().items())


@pytest.mark.parametrize(("size", "classes"), [(96, 1000), (224, 10), (96, 10)])
def test_positions_and_heads_are_resized_where_asked(tmp_path, size, classes):
    path = saved(tmp_path, vit().state_dict())
    model = vit(img_size=size, num_classes=classes)
    head = model.head.weight.clone()
    with pytest.raises(InputError, match=r"another network: .* misshapen .*; --resize-weights makes them fit$"):
        checkpoints.load(model, path)
    checkpoints.load(model, path, resize=True)
    expected = timm.models.vision_transformer.checkpoint_filter_fn(torch.load(path), model)["pos_embed"]
    torch.testing.assert_close(model.pos_embed.data, expected)
    assert torch.equal(model.head.weight, head) == (classes != 1000)
    weights = checkpoints.fitted(model, path, resize=True)
    assert (len(weights.notes), weights.has_random) == ((size != 224) + (classes != 1000), classes != 1000)


def test_a_file_without_a_head_leaves_the_networks_own(tmp_path):
    path = saved(tmp_path, vit(num_classes=0).state_dict())
    with pytest.raises(InputError, match=r"2 missing \(first: head.weight\); --resize-weights makes them fit"):
        checkpoints.load(vit(), path)
    weights = checkpoints.fitted(vit(), path, resize=True)
    assert [*weights.notes] == ["head is not in the file and stays random"]


def test_tables_of_relative_positions_are_interpolated_by_timm(tmp_path):
    options = {"embed_dim": 24, "depths": (1, 1), "num_heads": (1, 2)}
    other = randomised(timm.models.swin_transformer.SwinTransformer(img_size=56, window_size=7, **options))
    path = saved(tmp_path, other.state_dict())
    model = timm.models.swin_transformer.SwinTransformer(img_size=112, window_size=14, **options)
    checkpoints.load(model, path, resize=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = timm.models.swin_transformer.checkpoint_filter_fn(torch.load(path), model)
    for key, value in model.state_dict().items():
        if key.endswith("bias_table"):
            torch.testing.assert_close(value, expected[key])
    own = scsc_lab.network("swin_pico[window=8]", weights=saved(tmp_path, build("swin_pico").state_dict(), "own.pth"))
    with pytest.raises(InputError, match=r"resize_weights makes them fit$"):
        scsc_lab.count(own)
    assert scsc_lab.count(replace(own, resize_weights=True)).params > 0
    resized = replace(own, resize_weights=True)
    assert Network.read(resized.text) == resized
    assert Network.read(own.text) == own


def test_weights_are_resized_from_the_command_line(tmp_path, capsys):
    path = saved(tmp_path, vit().state_dict())
    name = "timm:vit_tiny_patch16_224[depth=1 img_size=96]"
    command = ["flops", name, "--weights", str(path), "--resolution", "96", "--no-check"]
    assert main(command) == 2
    capsys.readouterr()
    assert main([*command, "--resize-weights"]) == 0
    assert "pos_embed interpolated from 1×197×192 to 1×37×192" in " ".join(capsys.readouterr().out.split())
    assert main([command[0], "resnet18", "--resize-weights"]) == 2
