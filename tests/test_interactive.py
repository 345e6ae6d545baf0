"""InterActive against single neurons with explicit connections, at its limits, and against what others wrote."""

from __future__ import annotations

import gc
from collections import OrderedDict
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from ask_lib.errors import AskError, ChoiceError, LayerNotFoundError, RangeError, ShapeError
from ask_lib.methods.interactive import gate, join, layer_score, spread, spread_to_maximum, top_scores, weigh, windows
from ask_lib.models.backbones import load_backbone
from ask_lib.represent.interactive import (
    activeness,
    fully_convolutional,
    gradient_times_input,
    interactive,
    propagate,
    rescore,
)
from benchmarks.interactive import main as benchmark
from tests import oracles

INFINITE = float("inf")


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def close(found: torch.Tensor, expected: object, tolerance: float = 1e-12) -> None:
    wanted = expected if isinstance(expected, torch.Tensor) else torch.tensor(expected, dtype=torch.float64)
    scale = max(1.0, float(wanted.abs().max()))
    torch.testing.assert_close(found.detach(), wanted, rtol=tolerance, atol=tolerance * scale)


# --- three small networks, in torch and as single neurons ----------------------------------------------------------


def plain() -> nn.Module:
    """Stride, padding, dilation, groups, both poolings, fully connected layers."""
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(2, 4, 3, padding=1), relu1=nn.ReLU(inplace=True), pool1=nn.MaxPool2d(3, 2, 1),
            conv2=nn.Conv2d(4, 6, 3, 1, 1, groups=2), relu2=nn.ReLU(inplace=True),
            conv3=nn.Conv2d(6, 4, 3, 1, 2, dilation=2), relu3=nn.ReLU(), pool3=nn.AvgPool2d(2, 2),
            flatten=nn.Flatten(), fc6=nn.Linear(16, 7), relu6=nn.ReLU(), drop=nn.Dropout(), fc7=nn.Linear(7, 5),
            relu7=nn.ReLU(), fc8=nn.Linear(5, 3),
        )
    )  # fmt: skip


def plain_neurons(network: nn.Module) -> tuple[oracles.Neurons, dict[str, list]]:  # type: ignore[type-arg]
    neurons, weight = oracles.Neurons(2, 7, 8), lambda name: folded(network.get_submodule(name))
    layers: dict[str, list] = {}  # type: ignore[type-arg]
    layers["relu1"] = neurons.convolution(neurons.images, *weight("conv1"), (7, 8), padding=1)
    layers["pool1"] = neurons.pooling(layers["relu1"], "max", 3, 2, (4, 4), padding=1)
    layers["relu2"] = neurons.convolution(layers["pool1"], *weight("conv2"), (4, 4), padding=1, groups=2)
    layers["relu3"] = neurons.convolution(layers["relu2"], *weight("conv3"), (4, 4), padding=2, dilation=2)
    layers["pool3"] = neurons.pooling(layers["relu3"], "sum", 2, 2, (2, 2))
    flat = [[[n]] for channel in layers["pool3"] for row in channel for n in row]
    for name, below in (("6", flat), ("7", "relu6"), ("8", "relu7")):
        kind = "sum" if name == "8" else "relu"
        source = layers[below] if isinstance(below, str) else below
        layers[f"relu{name}"] = neurons.convolution(source, *weight(f"fc{name}"), (1, 1), kind)
    return neurons, layers


class Block(nn.Module):
    """A bottleneck with norms and a skip, as ResNet's, or linear at its end with a depthwise middle, as MobileNet's."""

    def __init__(self, given: int, width: int, stride: int, *, linear: bool) -> None:
        super().__init__()
        middle = 2 * width
        self.linear = linear
        self.enter = nn.Sequential(nn.Conv2d(given, middle, 1, bias=False), nn.BatchNorm2d(middle), nn.ReLU(True))
        groups = middle if linear else 1
        self.middle = nn.Sequential(
            nn.Conv2d(middle, middle, 3, stride, 1, groups=groups, bias=False), nn.BatchNorm2d(middle), nn.ReLU6()
        )
        self.leave = nn.Sequential(nn.Conv2d(middle, width, 1, bias=False), nn.BatchNorm2d(width))
        self.skip: nn.Module | None = None
        self.adds = not linear or (stride == 1 and given == width)
        if not linear and (stride > 1 or given != width):
            self.skip = nn.Sequential(nn.Conv2d(given, width, 1, stride, bias=False), nn.BatchNorm2d(width))
        self.relu = nn.ReLU(True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.leave(self.middle(self.enter(x)))
        if self.linear:
            return y + x if self.adds else y
        y += x if self.skip is None else self.skip(x)
        return self.relu(y)


class Fire(nn.Module):
    """SqueezeNet's block: one way in, two ways out."""

    def __init__(self, given: int) -> None:
        super().__init__()
        self.squeeze, self.act = nn.Conv2d(given, 3, 1), nn.ReLU(inplace=True)
        self.one, self.three = nn.Conv2d(3, 2, 1), nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.act(self.squeeze(x))
        return torch.cat([self.act(self.one(y)), self.act(self.three(y))], 1)


class Branching(nn.Module):
    """A skip, a skip with a stride, a fire, or mobile blocks in their place."""

    def __init__(self, *, linear: bool) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(2, 3, 3, 2, 1), nn.ReLU(inplace=True))
        self.same, self.down = Block(3, 3, 1, linear=linear), Block(3, 4, 2, linear=linear)
        self.fire = Fire(4)
        self.pool, self.head = nn.AdaptiveAvgPool2d(1), nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.fire(self.down(self.same(self.stem(x))))
        return self.head(self.pool(x).flatten(1))


def folded(convolution: nn.Module, norm: nn.Module | None = None) -> tuple[Any, list[float]]:
    """A convolution's weights and biases as lists, with the norm that follows."""
    weight = convolution.weight.detach()
    weight = weight[..., None, None] if weight.ndim == 2 else weight
    bias = torch.zeros(len(weight)).double() if convolution.bias is None else convolution.bias.detach()
    if norm is not None:
        scale = norm.weight.detach() / (norm.running_var + norm.eps).sqrt()
        weight, bias = weight * scale[:, None, None, None], norm.bias.detach() + scale * (bias - norm.running_mean)
    return weight.tolist(), bias.tolist()


def block_neurons(neurons: oracles.Neurons, x: list, block: Block, size: tuple[int, int]) -> list:  # type: ignore[type-arg]
    stride, skip = block.middle[0].stride[0], x if block.adds and block.skip is None else None
    inside = neurons.convolution(x, *folded(*block.enter[:2]), (len(x[0]), len(x[0][0])))
    groups = block.middle[0].groups
    inside = neurons.convolution(inside, *folded(*block.middle[:2]), size, stride=stride, padding=1, groups=groups)
    kind = "sum" if block.linear else "relu"
    out = neurons.convolution(inside, *folded(*block.leave), size, kind, skip=skip)
    if block.skip is not None:  # one sum of both ways: the second way's terms join the neurons of the first
        weight, bias = folded(*block.skip)
        for o, channel in enumerate(out):
            for v, row in enumerate(channel):
                for u, n in enumerate(row):
                    neurons.bias[n] += bias[o]
                    for c, plane in enumerate(weight[o]):
                        neurons.sources[n][x[c][v * stride][u * stride]] = plane[0][0]
    return out


def branching_neurons(network: Branching) -> tuple[oracles.Neurons, dict[str, list]]:  # type: ignore[type-arg]
    neurons = oracles.Neurons(2, 7, 8)
    layers = {"stem": neurons.convolution(neurons.images, *folded(network.stem[0]), (4, 4), stride=2, padding=1)}
    layers["same"] = block_neurons(neurons, layers["stem"], network.same, (4, 4))
    layers["down"] = block_neurons(neurons, layers["same"], network.down, (2, 2))
    squeezed = neurons.convolution(layers["down"], *folded(network.fire.squeeze), (2, 2))
    one = neurons.convolution(squeezed, *folded(network.fire.one), (2, 2))
    layers["fire"] = one + neurons.convolution(squeezed, *folded(network.fire.three), (2, 2), padding=1)
    pooled = neurons.pooling(layers["fire"], "sum", 2, 2, (1, 1))
    layers["head"] = neurons.convolution(pooled, *folded(network.head), (1, 1), "sum")
    return neurons, layers


def made(network: nn.Module, seed: int) -> nn.Module:
    """In double precision, with weights, statistics and biases drawn, small enough for a ReLU6 not to saturate."""
    generator = torch.Generator().manual_seed(seed)
    network = network.double()
    for tensor in (*network.parameters(), *network.buffers()):
        if tensor.is_floating_point():
            fan_in = tensor[0].numel() if tensor.ndim > 1 else 1
            tensor.data.copy_(torch.randn(tensor.shape, generator=generator).double() / fan_in**0.5)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_var.data.abs_().add_(0.5)
            module.weight.data.mul_(0.5)
        if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
            module.bias.data.abs_().mul_(0.2)  # so that not all neurons end silent
    list(network.modules())[-1].bias.data.add_(1.0)
    return network.eval()


def case(name: str, seed: int = 0) -> tuple[nn.Module, oracles.Neurons, dict[str, list], tuple[str, ...], str]:  # type: ignore[type-arg]
    """Network, neurons, their layers, those below T, and T."""
    if name == "plain":
        network = made(plain(), seed)
        return network, *plain_neurons(network), ("relu1", "pool1", "relu2", "relu3", "pool3", "relu6"), "relu7"
    network = made(Branching(linear=name == "mobile"), seed)
    return network, *branching_neurons(network), ("stem", "same", "down"), "fire"  # type: ignore[arg-type]


def expected(
    neurons: oracles.Neurons,
    layer: list,  # type: ignore[type-arg]
    tops: list[list],  # type: ignore[type-arg]
    image: list,  # type: ignore[type-arg]
    p: float,
    taken_only: bool = False,
    is_next: bool = False,
) -> list:  # type: ignore[type-arg]
    """With ``is_next`` T is the layer t + 1: its own score, and no backpropagation."""
    responses = neurons.run(image)
    top = oracles.top_scores(tops, responses, p)
    slopes = [top.get(n, 0.0) for n in range(len(responses))] if is_next else neurons.slopes(responses, top)
    return neurons.activeness(layer, responses, slopes, taken_only)


NAMES = ("plain", "residual", "mobile")


@pytest.mark.parametrize("name", NAMES)
def test_the_neurons_are_the_network(name: str):
    """Tag: [IA-1]."""
    network, neurons, layers, _, _ = case(name)
    images = draw(2, 2, 7, 8)
    last = list(layers.values())[-1]
    outputs = [[neurons.run(image)[channel[0][0]] for channel in last] for image in images.tolist()]
    close(network(images), outputs)
    assert max(map(max, outputs)) > 0  # a class is active


@pytest.mark.parametrize("p", [1.0, 1.5, 2.0, 3.0, INFINITE])
@pytest.mark.parametrize("name", NAMES)
def test_ia_2_to_9_equal_the_explicit_connections(name: str, p: float):
    """Tags: [IA-2] to [IA-9]; T is the last feature layer, the logits, or a layer between."""
    network, neurons, layers, below, last = case(name)
    images = draw(2, 2, 7, 8)
    for target, top in (("last", last), ("logits", list(layers)[-1]), (below[-1], below[-1])):
        names = below[:-1] if target == below[-1] else below
        found = activeness(network, images, names, p, target)
        for layer in names:
            wanted = [expected(neurons, layers[layer], [layers[top]], image, p) for image in images.tolist()]
            close(found[layer], torch.tensor(wanted, dtype=torch.float64).view(found[layer].shape))
            assert float(found[layer].abs().max()) > 0


@pytest.mark.parametrize("p", [1.0, 2.0, INFINITE])
@pytest.mark.parametrize("name", NAMES)
def test_next_equals_the_explicit_connections(name: str, p: float):
    """Tags: [IA-2], [IA-5] to [IA-9]; the layer t + 1 is what reads t: with a skip, two maps."""
    network, neurons, layers, below, _ = case(name)
    images = draw(2, 2, 7, 8)
    found = activeness(network, images, below, p, "next")
    for layer in below:
        own = {n for channel in layers[layer] for row in channel for n in row}
        readers = {n for n, sources in enumerate(neurons.sources) if own & set(sources)}
        maps = channels_of(neurons, readers)
        for image, active in zip(images.tolist(), found[layer], strict=True):
            wanted = torch.tensor(expected(neurons, layers[layer], maps, image, p, is_next=True), dtype=torch.float64)
            close(active, wanted.view(active.shape))


def channels_of(neurons: oracles.Neurons, readers: set[int]) -> list[list]:  # type: ignore[type-arg]
    """The maps that are whole among these neurons: each was made in one call, one after the other."""
    return [layer for layer in neurons.made if {n for c in layer for row in c for n in row} <= readers]


@pytest.mark.parametrize("target", ["last", "next"])
def test_a_maximums_neuron_may_be_connected_to_the_one_that_it_took(target: str):
    network, neurons, layers, _, last = case("plain")
    images = draw(2, 2, 7, 8)
    found = activeness(network, images, ["relu1", "pool1"], 2.0, target, argmax_only=True)
    whole = activeness(network, images, ["relu1", "pool1"], 2.0, target)
    top = layers[last if target == "last" else "pool1"]
    wanted = [expected(neurons, layers["relu1"], [top], image, 2.0, taken_only=True) for image in images.tolist()]
    close(found["relu1"], wanted)
    assert not torch.allclose(found["relu1"], whole["relu1"]) and torch.equal(found["pool1"], whole["pool1"])
    if target == "last":  # a step without weights: here it is gradient times input
        close(found["relu1"], gradient_times_input(network, images, ["relu1"])["relu1"])


# --- the pure functions -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("p", [1.0, 1.5, 2.0, 3.0])
def test_ia_5_is_the_gradient_of_the_norms_power(p: float):
    """Tag: [IA-5]."""
    x = draw(3, 6).requires_grad_()
    (slope,) = torch.autograd.grad(x.abs().pow(p).sum(), x)
    close(layer_score(x.detach(), p), slope)


def test_ia_5_at_its_limits():
    """Tag: [IA-5]. Ones for p = 1, twice the response for p = 2, the first maximum for infinity; 0 stays 0."""
    x = torch.tensor([[0.5, 2.0, 2.0, 0.0]])
    assert torch.equal(layer_score(x, 1.0), torch.tensor([[1.0, 1, 1, 0]]))
    assert torch.equal(layer_score(x, 2.0), 2 * x)
    assert torch.equal(layer_score(x, INFINITE), torch.tensor([[0.0, 1, 0, 0]]))
    assert torch.equal(layer_score(-x, INFINITE), torch.tensor([[0.0, -1, 0, 0]]))
    assert layer_score(torch.zeros(1, 3), INFINITE).abs().max() == 0
    peaked = torch.tensor([[0.5, 2.0, 1.0]]).double()
    high = layer_score(peaked, 200.0)
    close(high / high.sum(), layer_score(peaked, INFINITE), 1e-9)


def test_ia_2_averages_each_map_by_its_own_size():
    """Tags: [IA-2] and [IA-5]; p = infinity finds one maximum among all channels of both."""
    maps = [draw(2, 3, 4, 5).abs(), 3 * draw(2, 2, 2, 3, seed=1).abs()]
    for p in (1.0, 2.0):
        for score, x in zip(top_scores(maps, p), maps, strict=True):
            close(score, (p * x.mean(dim=(2, 3)) ** (p - 1) / x[0, 0].numel())[..., None, None].expand_as(x))
    found = top_scores(maps, INFINITE)
    assert sum((score.amax(dim=(2, 3)) > 0).sum(dim=1) for score in found).tolist() == [1, 1]


@given(
    st.integers(1, 4), st.integers(1, 3), st.integers(0, 3), st.integers(1, 3), st.sampled_from([1, 2]),
    st.integers(0, 4), st.integers(0, 4), st.integers(0, 99),
)  # fmt: skip
@settings(max_examples=40, deadline=None)
def test_ia_9_is_a_transposed_convolution_of_ones(
    kernel: int, stride: int, padding: int, dilation: int, groups: int, height: int, width: int, seed: int
):
    """Tag: [IA-9]. Cells that no window reaches get 0."""
    least = max(1, dilation * (kernel - 1) + 1 - 2 * padding)
    size = (least + height, least + width)
    convolution = nn.Conv2d(4, 2 * groups, kernel, stride, padding, dilation, groups).double()
    grid = convolution(torch.zeros(1, 4, *size).double()).shape[2:]
    gated = draw(2, 2 * groups, *grid, seed=seed)
    x = torch.zeros(2, 4, *size).double().requires_grad_()
    ones = torch.ones_like(convolution.weight)
    out = functional.conv2d(x, ones, None, stride, padding, dilation, groups)
    (wanted,) = torch.autograd.grad((out * gated).sum(), x)
    found = spread(gated, convolution, size)
    assert found.shape == (2, groups, *size)
    close(found.repeat_interleave(4 // groups, dim=1), wanted)


@pytest.mark.parametrize(
    "pool", [nn.AvgPool2d(3, 2, 1), nn.AvgPool2d(2, ceil_mode=True), nn.AdaptiveAvgPool2d((2, 3)), nn.AvgPool2d((2, 3))]
)
def test_ia_9_of_a_pooling_is_each_channels_own(pool: nn.Module):
    """Tag: [IA-9]. Which cells an average reads, autograd knows."""
    x = draw(2, 3, 7, 8).requires_grad_()
    gated = draw(*pool(x).shape, seed=1)
    read = torch.autograd.functional.jacobian(pool, x.detach()) != 0  # (B, C, H', W', B, C, H, W)
    wanted = torch.einsum("bcvu,bcvubcyx->bcyx", gated, read.double())
    close(spread(gated, pool, (7, 8)), wanted)


def test_a_maximum_reads_the_windows_of_an_average():
    gated = draw(2, 3, 4, 4)
    for how in ({"kernel_size": 3, "stride": 2, "padding": 1}, {"kernel_size": 2, "ceil_mode": True}):
        close(spread(gated, nn.MaxPool2d(**how), (7, 8)), spread(gated, nn.AvgPool2d(**how), (7, 8)))
    dilated = windows(nn.MaxPool2d(2, 1, dilation=2), 0, 3, 5)
    assert dilated.int().tolist() == [[1, 0, 1, 0, 0], [0, 1, 0, 1, 0], [0, 0, 1, 0, 1]]
    same = windows(nn.Conv2d(1, 1, 3, padding="same"), 0, 3, 3)
    assert torch.equal(same, windows(nn.Conv2d(1, 1, 3, padding=1), 0, 3, 3))


def test_ia_9_of_a_fully_connected_layer_is_the_whole_sum_and_of_a_skip_itself():
    gated = draw(2, 5, 1, 1)
    close(spread(gated, nn.Linear(12, 5), (2, 3)), gated.sum(dim=1, keepdim=True).expand(2, 1, 2, 3))
    assert torch.equal(spread(gated, nn.Identity(), (1, 1)), gated)
    x, indices = functional.max_pool2d(draw(2, 3, 6, 6), 3, 2, return_indices=True)
    landed = spread_to_maximum(x, indices, (6, 6))
    close(landed.sum(dim=(2, 3)), x.sum(dim=(2, 3)))


def test_ia_6_and_8_gate_and_weigh():
    """Tags: [IA-6], [IA-7] and [IA-8]."""
    score, response = torch.tensor([1.0, -2, 3, 4]), torch.tensor([0.5, 0.1, 0, -1])
    assert gate(score, response).tolist() == [1, -2, 0, 0]
    x, weights = draw(2, 6, 3, 4), draw(2, 2, 3, 4, seed=1)
    close(weigh(x, weights), x * weights.repeat_interleave(3, dim=1))


def test_joined_layers_count_alike():
    features = {"low": draw(2, 3), "high": 1000 * draw(2, 5, seed=1)}
    close(join(features).norm(dim=1), torch.ones(2).double())
    apart = join(features, again=False)
    close(apart[:, :3].norm(dim=1), torch.ones(2).double())
    close(join(features) * 2**0.5, apart)


def test_what_does_not_fit_is_refused():
    with pytest.raises(RangeError, match="p:"):
        layer_score(torch.ones(1, 2), 0.5)
    with pytest.raises(AskError, match="ReLU"):
        spread(draw(1, 2, 3, 3), nn.ReLU(), (3, 3))
    with pytest.raises(ShapeError, match="response"):
        weigh(draw(1, 5, 2, 2), draw(1, 2, 2, 2))
    network, images = made(plain(), 0), draw(1, 2, 7, 8)
    with pytest.raises(ShapeError, match="images"):
        interactive(network, images[0], ["relu1"])
    with pytest.raises(ChoiceError, match="pool"):
        interactive(network, images, ["relu1"], pool="mean")
    for layers, target in (
        (["relu9"], "last"),
        (["relu1"], "lest"),
        (["relu7"], "last"),
        (["relu6"], "relu3"),
        (["fc8"], "last"),
    ):
        with pytest.raises(LayerNotFoundError):
            interactive(network, images, layers, target=target)
    with pytest.raises(LayerNotFoundError, match="next"):
        gradient_times_input(network, images, ["relu1"], target="next")
    shuffle = load_backbone("shufflenet_v2_x0_5").network
    with pytest.raises(AskError, match=r"stage2\.0.*chunk"):
        interactive(shuffle, torch.zeros(1, 3, 64, 64), ["stage2.0"])
    with pytest.raises(AskError, match="fc-6"):
        fully_convolutional(shuffle, (64, 64))


# --- what others wrote --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("p", [1, 2, 3])
def test_it_agrees_with_captum_and_zennit(p: int):
    """Tags: [IA-2] to [IA-9]; captum's gradient at t + 1, gated; zennit's Flat rule for the last step."""
    pytest.importorskip("captum", reason="captum is in the test extra")
    pytest.importorskip("zennit", reason="zennit is in the test extra")
    from captum._utils.gradient import compute_layer_gradients_and_eval
    from zennit.rules import Flat

    network = load_backbone("objects_vgg", "objects").network.double()
    images = draw(2, 3, 64, 80)
    layers = {"pool1": ("conv2_1", "relu2_1"), "pool2": ("conv3_1", "relu3_1"), "relu4_1": ("conv4_2", "relu4_2")}
    found = propagate(network, images, tuple(layers), float(p), "last")

    def density(x: torch.Tensor) -> torch.Tensor:
        for child, module in network.named_children():
            x = module(x)
            if child == "relu7":
                break
        return x.pow(p).sum(dim=1)

    for name, (convolution, activation) in layers.items():
        slopes, responses = compute_layer_gradients_and_eval(density, network.get_submodule(activation), images)
        gated = slopes[0] * (responses[0] > 0)
        module = network.get_submodule(convolution)
        x = found[name][0].clone().requires_grad_()
        fan_in = functional.conv2d(
            torch.ones_like(x), torch.ones_like(module.weight), None, module.stride, module.padding
        )
        handle = Flat(stabilizer=0.0).register(module)
        (theirs,) = torch.autograd.grad(module(x), x, gated * fan_in)
        handle.remove()
        ours = found[name][1].expand_as(theirs)
        close(ours / ours.abs().max(), theirs / theirs.abs().max())


# --- invariances --------------------------------------------------------------------------------------------------


def test_all_channels_of_an_ungrouped_convolution_have_one_weight():
    network, *_ = case("plain")
    found = propagate(network, draw(2, 2, 7, 8), ["pool1", "relu2", "relu3", "pool3"], 2.0, "last")
    assert [weights.shape[1] for _, weights in found.values()] == [2, 1, 4, 1]
    mobile, *_ = case("mobile")
    assert propagate(mobile, draw(2, 2, 7, 8), ["stem"], 2.0, "last")["stem"][1].shape[1] == 3  # of the skip


def test_a_batch_is_its_images():
    network, _, _, below, _ = case("residual")
    images = draw(3, 2, 7, 8)
    for target in ("last", "next"):
        whole = interactive(network, images, below, 2.0, target, "max")
        for number in range(3):
            one = interactive(network, images[number : number + 1], below, 2.0, target, "max")
            for layer in below:
                close(one[layer][0], whole[layer][number])


def test_without_biases_a_brighter_image_keeps_its_direction():
    """Homogeneous networks: the responses grow by the factor, the weights by its power p - 1."""
    network = made(plain(), 1)
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.bias.data.zero_()
    images, layers = draw(2, 2, 7, 8), ("pool1", "relu3")
    for p in (1.0, 2.0, 3.0):
        once, thrice = (interactive(network, f * images, layers, p) for f in (1, 3))
        for layer in layers:
            close(thrice[layer], 3**p * once[layer], 1e-11)


def test_it_is_not_gradient_times_input():
    network, neurons, layers, below, last = case("plain")
    images = draw(1, 2, 7, 8)
    found, active = gradient_times_input(network, images, below), activeness(network, images, below)
    responses = neurons.run(images[0].tolist())
    slopes = neurons.slopes(responses, oracles.top_scores([layers[last]], responses, 2.0))
    for layer in below:
        wanted = [[[responses[n] * slopes[n] for n in row] for row in channel] for channel in layers[layer]]
        close(found[layer].flatten(), torch.tensor(wanted, dtype=torch.float64).flatten())
        assert not torch.allclose(active[layer].view(found[layer].shape), found[layer])


def test_average_and_maximum_are_taken_of_the_activeness():
    network, _, _, below, _ = case("mobile")
    images = draw(2, 2, 7, 8)
    active = activeness(network, images, below)
    for pool, of in (("avg", torch.mean), ("max", torch.amax)):
        found = interactive(network, images, below, pool=pool)
        for layer in below:
            close(found[layer], of(active[layer], dim=(2, 3)))


@pytest.mark.parametrize(
    ("name", "last"),
    [
        ("objects_vgg", "relu7"), ("rooms_resnet", "layer4"), ("squeezenet1_0", "features.12"),
        ("resnet18", "layer4"), ("mobilenet_v2", "features.18"),
    ],
)  # fmt: skip
def test_the_last_layer_is_what_the_classifier_reads(name: str, last: str):
    backbone = load_backbone(name)
    images = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    layers = [layer for layer in backbone.default_layers if layer != last][:3]
    found, named = (interactive(backbone.network, images, layers, target=target) for target in ("last", last))
    assert all(torch.equal(found[layer], named[layer]) for layer in layers)


# --- one pass, that leaves nothing behind ---------------------------------------------------------------------------


def test_all_layers_come_of_one_forward_and_one_backward_pass(monkeypatch: pytest.MonkeyPatch):
    network, _, _, below, _ = case("plain")
    runs: list[str] = []
    grad = torch.autograd.grad
    monkeypatch.setattr(torch.autograd, "grad", lambda *a, **k: runs.append("backward") or grad(*a, **k))
    network.register_forward_pre_hook(lambda *_: runs.append("forward"))
    images = draw(2, 2, 7, 8)
    apart = {layer: interactive(network, images, [layer])[layer] for layer in below}
    runs.clear()
    found = interactive(network, images, below)
    assert runs == ["forward", "backward"]
    assert all(torch.equal(found[layer], apart[layer]) for layer in below)
    interactive(network, images, below, target="next")
    assert runs == ["forward", "backward", "forward"]


def state(network: nn.Module) -> list[object]:
    modules = list(network.modules())
    tensors = [(p.grad, p.requires_grad) for p in network.parameters()]
    return [[(m.training, getattr(m, "inplace", None), len(m._forward_hooks)) for m in modules], tensors]


@pytest.mark.parametrize("target", ["last", "next", "nowhere"])
def test_the_network_is_left_as_it_was_also_by_an_error(target: str):
    network, *_ = case("residual")
    network.train()
    network.down.eval()  # type: ignore[operator,union-attr]
    before, weights = state(network), [p.clone() for p in (*network.parameters(), *network.buffers())]
    images = draw(2, 2, 7, 8)
    kept = images.clone()
    if target == "nowhere":
        with pytest.raises(LayerNotFoundError, match="below"):
            interactive(network, images, ["stem", "fire"])
    else:
        interactive(network, images, ["stem", "same"], target=target)
        rescore(network, images, "fire")
    assert state(network) == before and torch.equal(images, kept) and not images.requires_grad
    assert all(map(torch.equal, weights, (*network.parameters(), *network.buffers())))


def test_it_works_where_no_gradients_are_recorded():
    network, _, _, below, _ = case("plain")
    images = draw(2, 2, 7, 8)
    wanted = interactive(network, images, below)
    for context in (torch.no_grad(), torch.inference_mode()):
        with context:
            found = interactive(network, images.clone(), below)
        assert all(torch.equal(found[layer], wanted[layer]) and not found[layer].requires_grad for layer in below)
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    assert torch.equal(interactive(network, images, below)["pool1"], wanted["pool1"])


def test_a_layer_before_its_activation_is_read_before_it():
    network, *_ = case("plain")
    images = draw(2, 2, 7, 8)
    response, weights = propagate(network, images, ["conv1"], 2.0, "last")["conv1"]
    assert torch.equal(response, network.conv1(images)) and float(response.min()) < 0  # the ReLU works in place
    assert weights.shape == response.shape and not weights[response < 0].any()


def test_a_pass_keeps_no_maps():
    network, images = made(plain(), 0), draw(2, 2, 7, 8)
    gc.collect()
    gc.disable()
    try:

        def count() -> int:
            return sum(type(thing) is torch.Tensor for thing in gc.get_objects())

        before = count()
        for target in ("last", "next"):
            interactive(network, images, ["relu1", "relu3"], target=target)
        assert count() == before
    finally:
        gc.enable()


# --- larger images, and section 4.4 ---------------------------------------------------------------------------------


def test_convolutions_for_fully_connected_layers_give_the_same_logits_and_more_places():
    backbone = load_backbone("objects_vgg", "objects")
    wide = fully_convolutional(backbone.network, (120, 160))
    images = torch.rand(2, 3, 120, 160, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(wide(images), backbone.network(images), rtol=1e-4, atol=1e-4)
    found = interactive(wide, images, ["pool4", "pool5", "relu6"])
    assert [tuple(f.shape) for f in found.values()] == [(2, 48), (2, 96), (2, 256)]
    larger = torch.rand(1, 3, 160, 240, generator=torch.Generator().manual_seed(0))
    assert propagate(wide, larger, ["relu6"], 2.0, "last")["relu6"][0].shape == (1, 256, 4, 6)
    assert wide(larger).shape == (1, 16)


def test_alexnets_too():
    network = load_backbone("alexnet").network
    images = torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(
            fully_convolutional(network, (224, 224))(images), network(images), rtol=1e-3, atol=1e-5
        )


def test_rescored_logits_are_those_of_weighted_responses():
    """Section 4.4 with p = 1: all neurons of fc-7 have one weight, the number of positive logits."""
    network = load_backbone("objects_vgg", "objects").network
    images = torch.rand(3, 3, 120, 160, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        logits = network(images)
        x = (logits - network.fc8.bias) * (logits > 0).sum(dim=1, keepdim=True)
    torch.testing.assert_close(rescore(network, images, "relu7", 1.0), x + network.fc8.bias)
    torch.testing.assert_close(rescore(network, images, "relu7", 2.0, keep_length=True), logits)


def test_in_a_larger_image_the_places_weigh_anew():
    network = fully_convolutional(load_backbone("objects_vgg", "objects").network, (120, 160))
    images = torch.rand(2, 3, 160, 200, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        before = network(images)
    after = rescore(network, images, "relu7", 2.0, keep_length=True)
    assert after.shape == before.shape and not torch.allclose(after, before, rtol=1e-3, atol=1e-3)
    ((x, weights),) = propagate(network, images, ["relu7"], 2.0, "logits").values()
    active = weigh(x, weights)
    active = active * (x.flatten(1).norm(dim=1) / active.flatten(1).norm(dim=1))[:, None, None, None]
    with torch.no_grad():
        torch.testing.assert_close(after, network.fc8(active).mean(dim=(2, 3)), rtol=1e-4, atol=1e-4)


def test_the_benchmark_agrees_with_captums_loop_and_prints_ratios(capsys: pytest.CaptureFixture[str]):
    pytest.importorskip("captum", reason="captum is in the test extra")
    benchmark(["--tiny", "--rounds", "2"])
    printed = capsys.readouterr().out
    assert "forward pass" in printed and "captum" in printed


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("target", ["last", "next"])
def test_cuda_equals_the_cpu(target: str):
    network, _, _, below, _ = case("residual")
    images = draw(4, 2, 7, 8)
    wanted = interactive(network, images, below, target=target)
    found = interactive(network.cuda(), images.cuda(), below, target=target)
    for layer in below:
        close(found[layer].cpu(), wanted[layer], 1e-9)
