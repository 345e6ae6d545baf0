from __future__ import annotations

import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torchvision.models import get_model

from ask_lib.errors import AskError, LayerNotFoundError, RangeError, ShapeError
from ask_lib.models.features import FeatureTap, LayerInfo, cell_centres, default_layers, layers_of
from ask_lib.models.small import SmallVGG


def make(name: str) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        torch.manual_seed(0)
        return get_model(name, weights=None).eval()


def on_meta(name: str) -> nn.Module:
    with torch.device("meta"):
        return make(name)


@pytest.fixture(scope="module")
def squeezenet() -> nn.Module:
    return make("squeezenet1_0")


@pytest.fixture(scope="module")
def resnet() -> nn.Module:
    return make("resnet18")


def images(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def snapshot(network: nn.Module) -> list[object]:
    hooks = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in network.modules()]
    return [[m.training for m in network.modules()], [p.requires_grad for p in network.parameters()], hooks]


# ---- what the maps are


def test_maps_equal_the_literal_slices_and_the_output_is_there(squeezenet: nn.Module) -> None:
    x = images(2, 3, 64, 80)
    with FeatureTap(squeezenet, ["features.12", "features.5"]) as tap:
        maps = tap(x)
        assert list(maps) == ["features.12", "features.5"]
        with torch.no_grad():
            torch.testing.assert_close(maps["features.5"], squeezenet.features[:6](x), rtol=0, atol=1e-6)
            torch.testing.assert_close(maps["features.12"], squeezenet.features(x), rtol=0, atol=1e-6)
            torch.testing.assert_close(tap.logits, squeezenet(x), rtol=0, atol=1e-6)
    assert not maps["features.5"].requires_grad


def test_a_convolution_before_an_inplace_relu_is_not_overwritten(squeezenet: nn.Module) -> None:
    x = images(1, 3, 64, 64)
    want = squeezenet.features[0](x).detach()
    assert squeezenet.features[1].inplace and (want < 0).any()
    with FeatureTap(squeezenet, ["features.0", "features.1"]) as tap:
        maps = tap(x)
        torch.testing.assert_close(maps["features.0"], want, rtol=0, atol=1e-6)
        torch.testing.assert_close(maps["features.1"], want.relu(), rtol=0, atol=1e-6)
        torch.testing.assert_close(tap.logits, squeezenet(x).detach(), rtol=0, atol=1e-6)


def test_a_functional_inplace_relu_does_not_overwrite_densenet_features() -> None:
    network = make("densenet121")
    x = images(1, 3, 64, 64)
    with FeatureTap(network, "features.norm5") as tap:
        first, second = tap(x)["features.norm5"], tap(x)["features.norm5"]
    assert (first < 0).any()
    assert torch.equal(first, second)


def test_fully_connected_layers_are_read_as_vectors() -> None:
    network, x = SmallVGG(10, norm="none").eval(), images(2, 3, 48, 64)
    with FeatureTap(network, ["pool5", "relu7"]) as tap:
        maps, info = tap(x), tap.info
    with torch.no_grad():
        assert torch.equal(maps["relu7"], nn.Sequential(*list(network)[:-1])(x)) and maps["relu7"].shape == (2, 256)
    assert info["relu7"] == LayerInfo("relu7", 256, (1, 1), (48.0, 64.0))
    assert cell_centres(info["relu7"]).tolist() == [[[31.5, 23.5]]]  # one cell, the whole image
    assert info["pool5"].stride == (16.0, 16.0) and info["pool5"].size == (3, 4)


def test_works_under_inference_mode(squeezenet: nn.Module) -> None:
    x = images(1, 3, 64, 64)
    with torch.inference_mode(), FeatureTap(squeezenet, "features.0") as tap:
        maps = [tap(x)["features.0"] for _ in range(2)]
    assert torch.equal(maps[0], maps[1]) and (maps[0] < 0).any()


def test_the_map_of_a_layer_that_runs_twice_is_the_last(resnet: nn.Module) -> None:
    x = images(1, 3, 64, 64)
    with FeatureTap(resnet, ["layer1.0.relu", "layer1.0"]) as tap:
        maps = tap(x)
        assert torch.equal(maps["layer1.0.relu"], maps["layer1.0"])


def test_calls_that_do_not_go_through_the_tap_are_not_recorded(squeezenet: nn.Module) -> None:
    with FeatureTap(squeezenet, "features.5") as tap:
        first = tap(images(1, 3, 64, 64))
        keep = first["features.5"].clone()
        squeezenet(images(1, 3, 96, 96, seed=1))
        assert torch.equal(first["features.5"], keep)
        assert tap.info["features.5"].size == tuple(keep.shape[2:])


def test_batch_of_two_is_two_of_one(squeezenet: nn.Module) -> None:
    x = images(2, 3, 64, 80)
    with FeatureTap(squeezenet, "features.12") as tap:
        both = tap(x)["features.12"]
        each = torch.cat([tap(x[i : i + 1])["features.12"] for i in range(2)])
    torch.testing.assert_close(both, each, rtol=0, atol=1e-5)


# ---- everything is restored


def test_everything_is_restored_also_when_the_body_raises() -> None:
    network = make("squeezenet1_1").train()
    network.features[3].eval()
    network.features[0].weight.requires_grad_(False)
    before = snapshot(network)
    with pytest.raises(ZeroDivisionError), FeatureTap(network, ["features.2"]) as tap:
        tap(images(1, 3, 64, 64))
        assert tap.info["features.2"].stride == (4.0, 4.0)
        assert not any(m.training for m in network.modules())
        raise ZeroDivisionError
    assert snapshot(network) == before


def test_restored_when_the_network_itself_raises(squeezenet: nn.Module) -> None:
    before = snapshot(squeezenet)
    with FeatureTap(squeezenet, "features.12") as tap:
        with pytest.raises(RuntimeError):
            tap(images(1, 5, 64, 64))
        assert tap(images(1, 3, 64, 64))["features.12"].shape[1] == 512  # and it goes on working
    assert snapshot(squeezenet) == before


def test_batch_norm_is_not_touched_by_a_network_in_training() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True)).train()
    with FeatureTap(network, "2") as tap:
        tap(images(2, 3, 16, 16))
    assert network.training and tap.info["2"].exact and layers_of(network, (16, 16))["2"].exact
    assert int(network[1].num_batches_tracked) == 0


def test_use_outside_the_context_or_twice_is_refused(squeezenet: nn.Module) -> None:
    tap = FeatureTap(squeezenet, "features.5")
    with pytest.raises(AskError, match="with FeatureTap"):
        tap(images(1, 3, 64, 64))
    with tap, pytest.raises(AskError, match="already open"), tap:
        pass
    assert all(not m._forward_hooks for m in squeezenet.modules())


# ---- errors


def test_an_unknown_layer_names_its_neighbours(squeezenet: nn.Module) -> None:
    with pytest.raises(LayerNotFoundError, match=r"no layer 'feature\.12'.*features\.12.*layers_of"):
        FeatureTap(squeezenet, ["feature.12"])
    with pytest.raises(LayerNotFoundError, match="features, classifier"):
        FeatureTap(squeezenet, ["xyzzy"])
    with pytest.raises(LayerNotFoundError, match="at least one"):
        FeatureTap(squeezenet, [])


def test_what_is_neither_map_nor_vector_is_refused(resnet: nn.Module) -> None:
    with FeatureTap(nn.Sequential(nn.Flatten(2)), "0") as tap, pytest.raises(ShapeError, match=r"'0'.*\(1, 3, 64\)"):
        tap(images(1, 3, 8, 8))
    with FeatureTap(resnet, "layer4") as tap, pytest.raises(ShapeError, match=r"images\[None\]"):
        tap(images(3, 64, 64))


def test_a_layer_that_does_not_run_and_an_output_that_is_no_tensor() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.unused = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3)

        def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"out": self.conv(x)}

    with FeatureTap(Odd(), "unused") as tap, pytest.raises(LayerNotFoundError, match="did not run"):
        tap(images(1, 3, 8, 8))
    with FeatureTap(Odd(), "conv") as tap:
        with pytest.raises(AskError, match="call the tap first"):
            _ = tap.logits
        with pytest.raises(AskError, match=r"call tap\(images\) first"):
            _ = tap.info
        tap(images(1, 3, 8, 8))
        with pytest.raises(AskError, match="dict"):
            _ = tap.logits


# ---- strides and sizes


@pytest.mark.parametrize(
    ("name", "layer", "stride", "size"),
    [
        ("squeezenet1_0", "features.12", 16, (13, 13)),
        ("vgg16", "features.30", 32, (7, 7)),
        ("vgg16", "features.29", 16, (14, 14)),
        ("resnet18", "maxpool", 4, (56, 56)),
        ("mobilenet_v3_small", "features.12", 32, (7, 7)),
    ],
)
def test_strides_are_exact(name: str, layer: str, stride: int, size: tuple[int, int]) -> None:
    with FeatureTap(on_meta(name), layer) as tap:
        tap(torch.empty(1, 3, 224, 224, device="meta"))
    info = tap.info[layer]
    assert (info.stride, info.size, info.exact) == ((stride, stride), size, True)


def test_declared_strides_are_believed_and_what_is_not_declared_is_measured(squeezenet: nn.Module) -> None:
    network = make("squeezenet1_1")
    network.feature_info = [{"num_chs": 64, "module": "features.1", "reduction": 7}]  # type: ignore[assignment]
    with FeatureTap(network, ["features.1", "features.12"]) as tap:
        tap(images(1, 3, 64, 64))
    assert tap.info["features.1"].stride == (7.0, 7.0) and tap.info["features.12"].stride == (16.0, 16.0)
    assert layers_of(network, (64, 64))["features.1"].stride == (7.0, 7.0)


@given(
    kernel=st.integers(1, 7),
    strides=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    pad=st.integers(0, 3),
    pool=st.integers(1, 4),
    ceil=st.booleans(),
    size=st.tuples(st.integers(40, 90), st.integers(40, 90)),
)
@settings(max_examples=40, deadline=None)
def test_strides_of_any_chain(
    kernel: int, strides: tuple[int, int], pad: int, pool: int, ceil: bool, size: tuple[int, int]
) -> None:
    network = nn.Sequential(
        nn.Conv2d(1, 2, kernel, stride=strides, padding=min(pad, kernel // 2)), nn.MaxPool2d(pool, ceil_mode=ceil)
    )
    with FeatureTap(network, "1") as tap:
        got = tap(torch.zeros(1, 1, *size))["1"]
        info = tap.info["1"]
    assert info.stride == (strides[0] * pool, strides[1] * pool) and info.exact
    assert info.size == tuple(got.shape[2:]) and info.channels == 2


def test_non_square_input_and_fractional_stride() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3, stride=(3, 2)), nn.Upsample(scale_factor=2))
    info = layers_of(network, (61, 90))["1"]
    assert info.size == (40, 88) and info.stride == (1.5, 1.0)


def test_info_follows_the_last_pass(squeezenet: nn.Module) -> None:
    with FeatureTap(squeezenet, "features.12") as tap:
        tap(images(1, 3, 64, 96))
        first = tap.info["features.12"]
        tap(images(1, 3, 128, 64))
        second = tap.info["features.12"]
    assert (first.size, second.size) == ((3, 5), (7, 3))
    assert first == LayerInfo("features.12", 512, (3, 5), (16.0, 16.0))
    assert second.stride == (16.0, 16.0)


def test_a_network_of_one_input_size_says_that_its_stride_is_a_ratio() -> None:
    with FeatureTap(on_meta("vit_b_16"), "conv_proj") as tap:
        tap(torch.empty(1, 3, 224, 224, device="meta"))
    info = tap.info["conv_proj"]
    assert (info.stride, info.size, info.exact) == ((16.0, 16.0), (14, 14), False)


def test_global_pooling_and_channels_last_have_no_stride() -> None:
    with FeatureTap(on_meta("resnet18"), "avgpool") as tap:
        tap(torch.empty(1, 3, 64, 96, device="meta"))
    assert tap.info["avgpool"] == LayerInfo("avgpool", 512, (1, 1), (64.0, 96.0), exact=False)
    swin = layers_of(on_meta("swin_t"))
    assert list(swin) == ["permute"] and swin["permute"].stride == (32.0, 32.0)


class Plain(nn.Module):
    """Keeps its mean as a plain attribute, so it does not run on the meta device."""

    def __init__(self, data_dependent: bool = False) -> None:
        super().__init__()
        self.mean = torch.zeros(3, 1, 1)
        self.conv, self.act = nn.Conv2d(3, 4, 5, stride=4), nn.ReLU()
        self.data_dependent = data_dependent

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x - self.mean
        if self.data_dependent and x.sum().item() > 1e9:
            x = -x
        return self.act(self.conv(x))


@pytest.mark.parametrize("data_dependent", [False, True])
def test_a_network_that_cannot_be_measured_gets_a_ratio(data_dependent: bool) -> None:
    with FeatureTap(Plain(data_dependent), "act") as tap:
        tap(images(1, 3, 32, 48))
        assert tap.info["act"] == LayerInfo("act", 4, (7, 11), (32 / 7, 48 / 11), exact=False)
    assert "act    4         7 x 11  about 4.571 x 4.364" in str(layers_of(Plain(data_dependent), (32, 48)))


def test_a_prime_stride_beyond_the_step_is_not_called_exact() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 17, stride=17))
    with FeatureTap(network, "0") as tap:
        tap(images(1, 3, 170, 170))
    assert not tap.info["0"].exact and tap.info["0"].stride == (17.0, 17.0)


def test_probing_leaves_parameters_alone(squeezenet: nn.Module) -> None:
    before = {k: (v.data_ptr(), v.device.type) for k, v in squeezenet.state_dict().items()}
    layers_of(squeezenet)
    assert {k: (v.data_ptr(), v.device.type) for k, v in squeezenet.state_dict().items()} == before
    assert snapshot(squeezenet)[2] == [0] * len(list(squeezenet.modules()))


# ---- the table


def test_the_table_lists_children_after_their_activation() -> None:
    table = layers_of(on_meta("resnet18"))
    assert [n for n in table if "." not in n] == ["relu", "maxpool", "layer1", "layer2", "layer3", "layer4"]
    assert "layer1.0" in table and "conv1" not in table and "layer1.0.relu" not in table
    vgg = layers_of(on_meta("vgg16"))
    assert "features.29" in vgg and "features.28" not in vgg and vgg["features.29"].channels == 512
    text = str(table).splitlines()
    assert text[0].split() == ["layer", "channels", "size", "stride"]
    assert text[-1].split() == ["layer4.1", "512", "7", "x", "7", "32"]


def test_default_layers_are_the_last_of_each_stride() -> None:
    assert default_layers(on_meta("alexnet")) == ("features.1", "features.4", "features.11", "features.12")


def test_too_small_images_are_refused() -> None:
    with pytest.raises(RangeError, match="larger"):
        layers_of(on_meta("squeezenet1_0"), (3, 3))


def test_cell_centres() -> None:
    info = LayerInfo("x", 1, (2, 3), (16.0, 8.0))
    centres = cell_centres(info)
    assert centres.shape == (2, 3, 2)
    assert centres[0, 0].tolist() == [3.5, 7.5] and centres[1, 2].tolist() == [19.5, 23.5]
