import json

import pytest
import torch

from ask_lib.errors import ChoiceError, ShapeError, WeightsError
from ask_lib.models.small import SmallResNet, SmallVGG, fold_batch_norm, read_card, save_safetensors
from ask_lib.models.weights import fit, read_weights

NETWORKS = [SmallVGG, SmallResNet]


def sizes(network, size=(120, 160)):
    found, hooks = {}, []
    for name, child in network.named_children():
        hooks.append(child.register_forward_hook(lambda _m, _i, out, name=name: found.__setitem__(name, out.shape[1:])))
    network.eval()(torch.rand(1, network.in_channels, *size))
    for hook in hooks:
        hook.remove()
    return {name: tuple(shape) for name, shape in found.items()}


def randomised(network):
    generator = torch.Generator().manual_seed(0)
    for module in network.modules():
        if hasattr(module, "running_var"):
            for tensor in (module.running_mean, module.bias.data):
                tensor.copy_(torch.randn(tensor.shape, generator=generator) * 0.3)
            for tensor in (module.running_var, module.weight.data):
                tensor.copy_(0.5 + torch.rand(tensor.shape, generator=generator))
    return network


def test_vgg_has_vggs_names_and_maps():
    found = sizes(SmallVGG(10, norm="none"))
    assert list(found) == [
        "conv1_1",
        "relu1_1",
        "pool1",
        "conv2_1",
        "relu2_1",
        "pool2",
        "conv3_1",
        "relu3_1",
        "conv3_2",
        "relu3_2",
        "pool3",
        "conv4_1",
        "relu4_1",
        "conv4_2",
        "relu4_2",
        "pool4",
        "conv5_1",
        "relu5_1",
        "conv5_2",
        "relu5_2",
        "pool5",
        "avgpool",
        "flatten",
        "fc6",
        "relu6",
        "fc7",
        "relu7",
        "fc8",
    ]
    maps = {name: shape[1:] for name, shape in found.items() if name.startswith(("pool", "relu5"))}
    assert maps["pool5"] == (7, 10) and maps["pool4"] == maps["relu5_2"] == (15, 20)
    assert maps["pool1"] == (30, 40) and maps["pool2"] == maps["pool3"] == (15, 20)
    even = sizes(SmallVGG(10, norm="none"), (128, 160))
    assert even["pool5"][1:] == (8, 10) and even["relu5_2"][1:] == (16, 20)


def test_resnets_maps():
    found = sizes(SmallResNet(10))
    assert list(found) == ["stem", "layer1", "layer2", "layer3", "layer4", "avgpool", "fc"]
    assert [found[f"layer{i}"][1:] for i in (1, 2, 3, 4)] == [(30, 40), (15, 20), (15, 20), (8, 10)]


@pytest.mark.parametrize("make", NETWORKS)
@pytest.mark.parametrize("norm", ["batch", "none"])
def test_networks_are_small_and_train(make, norm):
    network = make(10, in_channels=1, norm=norm)
    assert sum(p.numel() for p in network.parameters()) < 1_000_000
    network(torch.rand(2, 1, 120, 160)).sum().backward()
    missing = [name for name, p in network.named_parameters() if p.grad is None]
    assert not missing
    assert not any(getattr(module, "inplace", False) for module in network.modules())


@pytest.mark.parametrize("make", NETWORKS)
@pytest.mark.parametrize("size", [(120, 160), (97, 131), (48, 48)])
def test_any_size_and_a_batch_of_two_equals_two_of_one(make, size):
    network = make(7, norm="none").double()
    x = torch.rand(2, 3, *size, dtype=torch.float64)
    torch.testing.assert_close(network(x), torch.cat([network(x[:1]), network(x[1:])]))


@pytest.mark.parametrize("make", NETWORKS)
def test_wrong_inputs_and_norms_are_refused(make):
    with pytest.raises(ShapeError, match="images"):
        make(10)(torch.rand(2, 1, 120, 160))
    with pytest.raises(ChoiceError, match="batch"):
        make(10, norm="batches")


def test_folding_changes_nothing():
    network = randomised(SmallVGG(5)).double().eval()
    plain = fold_batch_norm(network)
    x = torch.rand(2, 3, 120, 160, dtype=torch.float64)
    torch.testing.assert_close(plain.double()(x), network(x), rtol=1e-5, atol=1e-5)  # the fold is float32
    assert not any(name.startswith("norm") for name, _ in plain.named_children())
    with pytest.raises(ChoiceError, match=r"network\.norm"):
        fold_batch_norm(plain)


def test_weights_and_card_round_trip(tmp_path):
    network, path = randomised(SmallVGG(10)), tmp_path / "deep" / "vgg.safetensors"
    written = save_safetensors(network, path, {"classes": ["a", "b"], "seed": 3})
    assert written["bytes"] == path.stat().st_size < 4_000_000 and written["architecture"] == "SmallVGG"
    assert read_card(path) == written == json.loads(path.with_suffix(".json").read_text())
    other = SmallVGG(10)
    fit(other, read_weights(path), path.name)
    for name, value in other.state_dict().items():
        assert torch.equal(value, network.state_dict()[name])
    assert sorted(p.name for p in path.parent.iterdir()) == ["vgg.json", "vgg.safetensors"]


def test_weights_that_do_not_belong_are_refused(tmp_path):
    path = tmp_path / "net.safetensors"
    with pytest.raises(WeightsError, match="no such file"):
        read_card(path)
    save_safetensors(SmallVGG(10), path, {})
    with pytest.raises(WeightsError, match=r"net\.safetensors do not fit SmallResNet"):
        fit(SmallResNet(10), read_weights(path), path.name)
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    with pytest.raises(WeightsError, match="SHA-256"):
        read_card(path)
    path.unlink()
    with pytest.raises(WeightsError, match="make weights"):
        read_card(path)


@pytest.mark.parametrize(
    "card", ["{", "", "[]", "null", '{"sha256": NaN}', "{}", '{"sha256": 3}', "[" * 100_000, "\xff"]
)
def test_damaged_cards_are_one_error(card, tmp_path):
    path = tmp_path / "net.safetensors"
    save_safetensors(SmallVGG(10), path, {})
    path.with_suffix(".json").write_text(card, encoding="latin-1")
    with pytest.raises(WeightsError, match="card"):
        read_card(path)
