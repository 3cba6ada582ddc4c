"""Networks of every make: modes, dtypes, results that are kept, frozen code, higher-order operators, no parameters."""

from __future__ import annotations

import pytest
import torch
from functions import Function
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, prune, spectral_norm, weight_norm

from scsc_lab import InputError
from scsc_lab.counting.count import count


class Frozen(nn.Module):
    """A backbone that runs in inference mode, whatever is around it."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Linear(8, 10)

    @torch.inference_mode()
    def forward(self, x):
        return self.head(self.norm(self.conv(x)).mean((2, 3)))


def test_inference_mode_inside_a_network():
    network, macs = Frozen().requires_grad_(False), 30 * 30 * 216 + 80
    result = count(network, (1, 3, 32, 32))
    assert (result.macs, result.status, result.device) == (macs, "complete", "meta")
    assert {part.name for part in result.by_module() if part.macs} == {"", "conv", "head"}
    outer = nn.Sequential(nn.Conv2d(3, 3, 1), network)
    assert count(outer, (1, 3, 32, 32)).macs == macs + 1024 * 9
    real = count(Function(lambda net, x: net.m(x) if float(x.sum()) < 1e9 else x, m=network), (1, 3, 32, 32))
    assert (real.macs, real.device) == (macs, "cpu")


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
def test_scripted_code_in_inference_mode():
    script = torch.jit.script(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()))

    def forward(net, x):
        with torch.inference_mode():
            return net.m(x)

    assert count(Function(forward, m=script), (1, 3, 5, 5)).macs == 9 * 27 * 4


def test_tensors_made_in_inference_mode():
    with torch.inference_mode():
        weight, x = torch.ones(4, 5), torch.ones(2, 4)
    assert count(Function(lambda net, x: x @ weight), (2, 4)).macs == 40
    assert count(nn.Linear(4, 5), inputs=x).macs == 40


@pytest.mark.parametrize("dtype", [torch.half, torch.bfloat16, torch.double, torch.cfloat])
def test_shapes_stand_for_tensors_of_the_network_type(dtype):
    network = nn.Sequential(nn.Conv2d(3, 4, 3, dtype=dtype), nn.Flatten(), nn.Linear(36, 2, dtype=dtype))
    assert count(network, (1, 3, 5, 5)).macs == (972 + 72) * (3 if dtype.is_complex else 1)
    assert count(network, (1, 3, 5, 5), backward=True).status == "complete"


def test_real_parameters_say_the_type_before_complex_ones():
    network = Function(
        lambda net, x: torch.fft.irfft(torch.fft.rfft(net.m(x)) * net.w),
        w=nn.Parameter(torch.ones(3, dtype=torch.cfloat)),
        m=nn.Linear(4, 4),
    )
    assert count(network, (2, 4)).status == "complete"


class Keeps(nn.Module):
    """A network that holds on to its results."""

    def __init__(self):
        super().__init__()
        self.conv, self.log = nn.Conv2d(3, 4, 3), []

    def forward(self, x):
        self.features = self.conv(x)
        self.log.append({"features": (self.features, self.features.relu())})
        return self.features


def test_networks_that_hold_results_of_a_pass():
    network = Keeps()
    features = network(torch.zeros(1, 3, 5, 5))
    assert count(network, (1, 3, 5, 5)).macs == 972
    assert count(network, (1, 3, 5, 5), backward=True).macs == 2 * 972
    assert count(Function(lambda net, x: net.m(x) * float(x.sum()), m=network), (1, 3, 5, 5)).device == "cpu"
    assert network.features is features
    assert len(network.log) == 1


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("passes", [0, 1])
@pytest.mark.parametrize(
    "change",
    [
        lambda layer: prune.l1_unstructured(layer, "weight", 0.5),
        weight_norm,
        parametrizations.weight_norm,
        lambda layer: prune.random_structured(prune.l1_unstructured(layer, "weight", 1), "weight", 1, dim=0),
    ],
)
def test_computed_weights(change, passes):
    network = nn.Sequential(change(nn.Linear(4, 5)))
    for _ in range(passes):
        network(torch.zeros(2, 4))
    assert count(network, (2, 4)).macs == 40
    assert count(network, (2, 4), backward=True).status == "complete"


@pytest.mark.parametrize("change", [spectral_norm, parametrizations.spectral_norm])
def test_the_norm_of_weights_is_work(change):
    network = nn.Sequential(change(nn.Linear(4, 5)))
    network(torch.zeros(2, 4))
    assert count(network, (2, 4)).macs == 40 + 20 + 5


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
def test_frozen_code():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()).eval()
    frozen = torch.jit.freeze(torch.jit.script(network))
    for wrapped in (frozen, nn.Sequential(frozen), torch.jit.freeze(torch.jit.trace(network, torch.zeros(1, 3, 5, 5)))):
        result = count(wrapped, (1, 3, 5, 5))
        assert (result.macs, result.params, result.status) == (972, 112, "complete")
    with pytest.raises(InputError, match="no parameter of the network requires a gradient"):
        count(frozen, (1, 3, 5, 5), backward=True)


@pytest.mark.filterwarnings("ignore")
def test_operators_that_optimised_code_hides_are_named():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(36, 5)).eval()
    result = count(torch.jit.optimize_for_inference(torch.jit.script(network)), (1, 3, 5, 5))
    hidden = {"prim::mkldnn_convolution": 1} if result.macs == 180 else {}
    assert (dict(result.unknown), result.macs, result.params) == (hidden, 180 if hidden else 1152, 297)


@pytest.mark.filterwarnings("ignore")
def test_tensors_made_of_others():
    def jagged(net, x):
        ragged = torch.nested.nested_tensor([x[0, :3], x[1]], layout=torch.jagged)
        return net.layer(ragged).relu().values()

    def masked(net, x):
        return torch.masked.masked_tensor(net.layer(x), net.layer(x) > 0).sum(0).to_tensor(0.0)

    layer = nn.Linear(8, 6)
    assert count(Function(jagged, layer=layer), (2, 5, 8)).macs == 8 * 48
    assert count(Function(masked, layer=layer), (2, 5, 8)).macs == 2 * 10 * 48
    strided = Function(lambda net, x: net.layer(torch.nested.nested_tensor([x[0, :3], x[1]])), layer=layer)
    with pytest.raises(InputError, match=r"^tensors of torch\.nested are counted in the layout torch\.jagged"):
        count(strided, (2, 5, 8))


@pytest.mark.parametrize(
    ("name", "rows", "macs"),
    [
        ("householder", 6, 45 + 6 * 6 * 3),  # reflectors, and their product with the first orthogonal matrix
        ("matrix_exp", 3, 5 * 27 + 27),
        ("cayley", 3, 9 + 27 + 27),
    ],
)
def test_orthogonal_weights_are_work(name, rows, macs):
    layer = parametrizations.orthogonal(nn.Linear(3, rows), orthogonal_map=name)
    result = count(nn.Sequential(layer), (2, 3))
    assert (result.macs, result.status) == (2 * 3 * rows + macs, "complete")
    assert count(nn.Sequential(layer), (2, 3), backward=True).status == "complete"


def test_networks_without_parameters():
    product = Function(lambda net, x: x @ x.transpose(-1, -2))
    assert (count(product, (2, 3, 4)).macs, count(product, (2, 3, 4)).params) == (72, 0)
    assert count(Function(lambda net, x: x @ x.t() * float(x.sum())), (3, 4)).device == "cpu"
    assert count(nn.Identity(), (2, 3)).macs == 0
    x = torch.zeros(2, 3, 4, requires_grad=True)
    assert count(product, inputs=x, backward=True).macs == 3 * 72
    with pytest.raises(InputError, match="no parameter of the network requires a gradient"):
        count(nn.Identity(), (2, 3), backward=True)


def scan(net, x):
    from torch._higher_order_ops.scan import scan as operator

    return operator(lambda carry, row: (carry + net.layer(row), carry.clone()), x[0] * 0, x)[0]


def looped(net, x):
    from torch._higher_order_ops.while_loop import while_loop

    return while_loop(lambda i, x: i < 3, lambda i, x: (i + 1, net.layer(x)), (torch.tensor(0), x))[1]


def nested(net, x):
    def body(carry, row):
        row = torch.cond(row.shape[0] > 1, net.layer, torch.relu, (row,))
        return carry + row, carry.clone()

    from torch._higher_order_ops.scan import scan as operator

    return operator(body, x[0] * 0, x)[0]


HIGHER = {
    "cond": (lambda net, x: torch.cond(x.shape[0] > 1, lambda x: net.layer(x), lambda x: x.relu(), (x,)), 5 * 32),
    "cond by value": (
        lambda net, x: torch.cond((x * 0).sum() < 1, lambda x: net.layer(x), lambda x: x * 1, (x,)),
        5 * 32,
    ),
    "scan": (scan, 5 * 32),
    "while loop": (looped, 3 * 5 * 32),
    "cond in scan": (nested, 5 * 32),
    "compiled": (lambda net, x: torch.compile(net.layer)(x), 5 * 32),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", HIGHER)
@pytest.mark.parametrize("real", [False, True])
def test_higher_order_operators(name, real):
    if "scan" in name and torch.__version__ < (2, 9):
        pytest.skip("torch's kernel runs one step more, for the shapes")
    function, macs = HIGHER[name]
    network = Function(lambda net, x: function(net, x) * (float(x.sum() < 1e9) if real else 1), layer=nn.Linear(4, 4))
    result = count(network, (5, 2, 4))
    assert (result.macs, result.status) == (macs, "complete")
    assert {cell.module for cell in result.cells if cell.macs} == {"layer"}


@pytest.mark.filterwarnings("ignore")
def test_flex_attention():
    from torch.nn.attention.flex_attention import flex_attention

    def plain(net, x):
        return flex_attention(x, x, x)

    def changed(net, x):
        return flex_attention(x, x[:, :1], x[:, :1], score_mod=lambda s, b, h, q, k: s + q - k, enable_gqa=True)

    def compiled(net, x):
        return torch.compile(flex_attention)(net.layer(x), x, x)

    products = 2 * 2 * 3 * 36 * 8
    for function in (plain, changed):
        result = count(Function(function, layer=nn.Linear(8, 8)), (2, 3, 6, 8))
        assert (result.macs, result.status, result.device) == (products, "complete", "meta")
    linear = 2 * 3 * 6 * 64
    assert count(Function(compiled, layer=nn.Linear(8, 8)), (2, 3, 6, 8)).macs == linear + products
    assert count(Function(compiled, layer=nn.Linear(8, 8)), (2, 3, 6, 8), backward=True).macs == 2 * (linear + products)


def test_what_is_replaced_for_a_pass_is_put_back():
    before = torch.compile, torch.autograd.Function.__dict__["apply"], torch.Tensor.__deepcopy__
    flags = torch.backends.mkldnn.enabled, torch.backends.cudnn.enabled
    count(Function(lambda net, x: F.relu(x)), (2, 3))
    assert before == (torch.compile, torch.autograd.Function.__dict__["apply"], torch.Tensor.__deepcopy__)
    assert flags == (torch.backends.mkldnn.enabled, torch.backends.cudnn.enabled)
