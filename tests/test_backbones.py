from __future__ import annotations

import hashlib
import json
import os
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from ask_lib.data import transforms
from ask_lib.data.image_folder import PictureFolder, read_images
from ask_lib.errors import ChoiceError, DownloadError, LayerNotFoundError, WeightsError
from ask_lib.models import backbones, weights
from ask_lib.models.backbones import BACKBONES, BackboneSpec, backbone_names, load_backbone
from ask_lib.models.features import FeatureTap, find_layers, measure_strides
from ask_lib.models.forward import HALVES, forward_features, forward_head
from ask_lib.models.small import save_safetensors
from tests.realdata import realdata


def small(num_classes: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, stride=2), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(4, num_classes),
    )  # fmt: skip


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> str:
    """A network of the book's own: one more entry of the table."""
    monkeypatch.setitem(BACKBONES, "tiny", BackboneSpec(small, {"2": 2}, num_classes=10))
    return "tiny"


@pytest.fixture
def state() -> dict[str, torch.Tensor]:
    torch.manual_seed(3)
    return small(7).state_dict()


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    return tmp_path / "hub" / "checkpoints"


# ---- names and untrained networks


@pytest.mark.parametrize("name", BACKBONES)
def test_declared_strides_are_the_measured_ones(name: str) -> None:
    spec = BACKBONES[name]
    with torch.device("meta"):
        network = spec.build(spec.num_classes)
    shape = (1, 3, spec.input_size, spec.input_size)
    measured = measure_strides(network, find_layers(network, list(spec.strides)), shape)
    assert measured == {layer: (stride, stride) for layer, stride in spec.strides.items()}
    assert list(spec.strides.values()) == sorted(spec.strides.values())  # shallow to deep


def test_declared_strides_are_told_by_the_tap() -> None:
    backbone = load_backbone("rooms_resnet")
    with FeatureTap(backbone.network, backbone.default_layers) as tap:
        tap(torch.zeros(1, 3, 48, 64))
    assert [info.stride[0] for info in tap.info.values()] == [4, 8, 8, 16]
    assert all(info.exact for info in tap.info.values())


# ---- two halves


FAMILIES = {  # one small network of each class
    "SmallVGG": "rooms_vgg", "SmallResNet": "rooms_resnet", "ResNet": "resnet18", "SqueezeNet": "squeezenet1_1",
    "VGG": "vgg11", "AlexNet": "alexnet", "ShuffleNetV2": "shufflenet_v2_x0_5", "DenseNet": "densenet121",
    "GoogLeNet": "googlenet", "Inception3": "inception_v3", "MobileNetV2": "mobilenet_v2",
    "MobileNetV3": "mobilenet_v3_small", "EfficientNet": "efficientnet_b0", "ConvNeXt": "convnext_tiny",
    "RegNet": "regnet_y_400mf", "MNASNet": "mnasnet0_5",
}  # fmt: skip


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Initial weights without drawing millions of normal numbers, which take most of the time."""
    for name in ("trunc_normal_", "normal_", "kaiming_normal_"):  # the layers' own are drawn before
        monkeypatch.setattr(nn.init, name, lambda tensor, *args, **kwargs: tensor)


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("family", HALVES)
def test_the_two_halves_are_the_network(family: str) -> None:
    spec = backbones._spec(FAMILIES[family])
    network = backbones._seeded(spec, 10, 0).eval()
    assert type(network).__name__ == family
    size = (75, 91) if family == "Inception3" else (64, 80)
    x = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0))
    layers = list(spec.strides)[-1:] or [HALVES[family][0]]
    with FeatureTap(network, layers) as tap, torch.no_grad():
        (last,) = tap(x).values()
        maps = forward_features(network, x)
        assert torch.equal(maps, last) and maps.shape[0] == 2 and maps.ndim == 4
        assert torch.equal(forward_head(network, maps), tap.logits) and tap.logits.shape == (2, 10)
    assert torch.equal(maps, last)  # the head changes nothing


def test_a_backbone_offers_the_two_halves() -> None:
    backbone = load_backbone("rooms_resnet", "rooms")
    x = torch.rand(1, 3, 48, 64, generator=torch.Generator().manual_seed(0))
    maps = backbone.forward_features(x)
    assert maps.requires_grad and torch.equal(backbone.forward_head(maps), backbone.network(x))


def test_networks_with_their_own_halves_and_networks_without() -> None:
    class Timms(nn.Module):
        def forward_features(self, x: torch.Tensor) -> torch.Tensor:
            return x + 1

        def forward_head(self, x: torch.Tensor) -> torch.Tensor:
            return x.sum(dim=(2, 3))

    x = torch.ones(1, 3, 2, 2)
    assert forward_head(Timms(), forward_features(Timms(), x)).tolist() == [[8.0] * 3]
    for half in (forward_features, forward_head):
        with pytest.raises(LayerNotFoundError, match=r"Sequential: it is not known where its maps end.*ResNet"):
            half(small(3), x)


def test_torchvisions_own_densenet_ends_with_its_relu() -> None:
    network = backbones._torchvision("densenet121", 10).eval()
    x = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        maps = forward_features(network, x)
        assert (maps >= 0).all() and torch.equal(forward_head(network, maps), network(x))


def test_backbone_names_hold_the_books_and_torchvisions() -> None:
    names = backbone_names()
    assert {"squeezenet1_1_places365", "vgg19", "resnet50", "mobilenet_v3_large", "googlenet", "convnext_tiny"} <= set(
        names
    )
    assert len(names) == len(set(names)) and "fcn_resnet50" not in names
    with pytest.raises(ChoiceError, match="Did you mean 'resnet18'"):
        load_backbone("resnet_18")


def test_untrained_weights_depend_on_the_seed_alone() -> None:
    torch.manual_seed(1)
    first = load_backbone("squeezenet1_1")
    drawn = torch.rand(1)
    torch.manual_seed(1)
    assert torch.equal(torch.rand(1), drawn)  # the caller's generator was left alone
    second, other = load_backbone("squeezenet1_1"), load_backbone("squeezenet1_1", seed=1)
    key = "features.0.weight"
    assert torch.equal(first.network.state_dict()[key], second.network.state_dict()[key])
    assert not torch.equal(first.network.state_dict()[key], other.network.state_dict()[key])
    assert (first.weights, other.weights) == ("untrained, seed 0", "untrained, seed 1")
    assert not first.trained and first.classes is None and not first.network.training
    assert first.last_layer == "features.12" and first.mean == (0.485, 0.456, 0.406)


def test_a_network_without_an_entry_gets_its_layers_found() -> None:
    backbone = load_backbone("mobilenet_v3_small")
    assert backbone.default_layers == ("features.0", "features.1", "features.3", "features.8", "features.12")
    assert backbone.network(torch.zeros(1, 3, 64, 64)).shape == (1, 1000)
    transformer = backbones.Backbone("vit", nn.Identity(), "", (0, 0, 0), (1, 1, 1), (), None, 1, False)
    with pytest.raises(LayerNotFoundError, match="no layer that gives a map"):
        _ = transformer.last_layer


@pytest.mark.parametrize("device", ["nonsense", "", "cuda:99", "cpu:x"])
def test_a_device_that_is_not_there_is_refused(device: str) -> None:
    with pytest.raises(ChoiceError, match=r"device: expected one of this machine's"):
        load_backbone("rooms_resnet", device=device)
    assert load_backbone("rooms_resnet", device=torch.device("cpu")).network.fc.weight.device.type == "cpu"


def test_densenet_has_its_last_relu_as_a_layer() -> None:
    network = load_backbone("densenet121").network
    with FeatureTap(network, ["features.norm5", "features.relu5"]) as tap:
        maps = tap(torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)))
    assert (maps["features.norm5"] < 0).any() and torch.equal(maps["features.relu5"], maps["features.norm5"].relu())


def test_the_leaky_squeezenet() -> None:
    network = load_backbone("squeezenet1_1_places365").network
    leaky = [m for m in network.modules() if isinstance(m, nn.LeakyReLU)]
    assert len(leaky) == 26 and {m.negative_slope for m in leaky} == {0.55}
    assert not any(isinstance(m, nn.ReLU) for m in network.modules())
    assert {m.ceil_mode for m in network.modules() if isinstance(m, nn.MaxPool2d)} == {False}
    assert network(torch.zeros(1, 3, 64, 64)).shape == (1, 365)


# ---- files


@pytest.mark.parametrize("name", ["w.pt", "w.safetensors", "w"])
@pytest.mark.parametrize("form", ["plain", "legacy", "safetensors", "module", "nested", "compiled"])
def test_files_of_every_form_give_the_same_network(
    form: str, name: str, tiny: str, state: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    path = tmp_path / name  # which says nothing: the bytes do
    if form == "safetensors":
        save_file(state, path)
    elif form == "legacy":
        torch.save(state, path, _use_new_zipfile_serialization=False)
    elif form == "nested":
        torch.save({"epoch": 3, "state_dict": {f"module.{k}": v for k, v in state.items()}}, path)
    else:
        prefix = {"plain": "", "module": "module.", "compiled": "_orig_mod.module."}[form]
        torch.save({prefix + k: v for k, v in state.items()}, path)
    backbone = load_backbone(tiny, path)
    assert backbone.num_classes == 7 and backbone.trained
    assert all(torch.equal(v, state[k]) for k, v in backbone.network.state_dict().items())
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert backbone.weights == f"file {path.name} (sha256 {digest[:8]})"


def test_files_without_batch_norm_counters_and_of_half_precision_are_read(
    tiny: str, state: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    old = {k: v.half() if v.is_floating_point() else v for k, v in state.items() if "num_batches" not in k}
    torch.save(old, tmp_path / "w.pth")
    network = load_backbone(tiny, str(tmp_path / "w.pth")).network
    torch.testing.assert_close(network.state_dict()["5.weight"], state["5.weight"], rtol=1e-3, atol=1e-3)


def test_torchvisions_old_densenet_names_are_understood() -> None:
    old = "features.denseblock1.denselayer1.norm.1.weight"
    assert list(weights._strip({old: torch.ones(1)})) == ["features.denseblock1.denselayer1.norm1.weight"]


def test_what_does_not_fit_is_listed(tiny: str, state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    path = tmp_path / "w.pt"
    wrong = {**state, "6.weight": torch.zeros(1), "0.weight": torch.zeros(4, 3, 5, 5)}
    del wrong["0.bias"]
    torch.save(wrong, path)
    with pytest.raises(WeightsError) as caught:
        load_backbone(tiny, path)
    text = str(caught.value)
    assert "1 missing: 0.bias" in text and "1 unexpected: 6.weight" in text
    assert "0.weight is (4, 3, 5, 5), needs (4, 3, 3, 3)" in text and "another network's file" in text
    torch.save(state, path)
    with pytest.raises(WeightsError, match="and 48 more"):
        load_backbone("squeezenet1_0", path)


def write_code(path: Path) -> None:
    torch.save({"args": Namespace(lr=1), "state_dict": {}}, path)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (write_code, "only plain state dicts are read"),
        (lambda p: p.write_text("version https://git-lfs.github.com/spec/v1\n"), "text .*git-lfs pointer"),
        (lambda p: p.write_text("<!DOCTYPE html><html>not found</html>"), "text .a web page"),
        (lambda p: p.write_text('{"err": {"code": 404}}'), "text .*JSON"),
        (lambda p: p.write_bytes(b""), "empty"),
        (lambda p: p.write_bytes(b"PK\x03\x04 half a zip"), "damaged"),
        (lambda p: p.write_bytes(bytes(100)), "neither torch's nor a safetensors"),
        (lambda p: p.mkdir(), "expected a file at .*w.pt: Is a directory"),
        (lambda p: p.symlink_to("nowhere"), "expected a file at .*w.pt, a link: No such file"),
        (lambda p: p.symlink_to(p), "expected a file at .*w.pt, a link: Too many levels"),
        (lambda p: os.mkfifo(p), "expected a file at .*w.pt: it is a pipe"),
        (lambda p: torch.save([1, 2], p), "expected a state dict"),
        (lambda p: torch.save({}, p), "expected a state dict"),
        (lambda p: torch.save({"lr": 0.1}, p), "got dict lr"),
    ],
)
def test_unreadable_files_say_why(write: object, message: str, tiny: str, tmp_path: Path) -> None:
    write(tmp_path / "w.pt")  # type: ignore[operator]
    with pytest.raises(WeightsError, match=message):
        load_backbone(tiny, tmp_path / "w.pt")


@pytest.mark.parametrize("name", ["a" * 300, "zero\0byte.pt", "~nobody-here/w.pt"])
def test_names_that_no_file_can_have(name: str, tiny: str) -> None:
    with pytest.raises(WeightsError, match=r"expected a file at .*Check the path"):
        load_backbone(tiny, Path(name))
    with pytest.raises((WeightsError, ChoiceError)):
        load_backbone(tiny, name)


def test_a_file_that_may_not_be_read(tiny: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, mode: str) -> None:
        raise PermissionError(13, "Permission denied")  # root, as whom tests may run, is never refused

    (tmp_path / "w.pt").write_bytes(b"x")
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(WeightsError, match=r"w\.pt: Permission denied"):
        load_backbone(tiny, tmp_path / "w.pt")


@pytest.mark.filterwarnings("ignore")  # torch's, of sparse and quantised tensors
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (torch.Tensor.to_sparse, r"5\.weight is sparse"),
        (torch.Tensor.to_sparse_csr, r"5\.weight is sparse"),
        (lambda head: torch.quantize_per_tensor(head, 0.1, 0, torch.qint8), r"5\.weight is quantised"),
        (lambda head: head.to("meta"), r"5\.weight has no values \(meta\)"),
        (lambda head: head.to(torch.complex64), r"5\.weight is complex"),
        (lambda head: head[:1, :1].expand(10**12, 4), r"5\.weight repeats few values"),
        (lambda head: head.to(torch.int8), r"5\.weight is torch\.int8, needs torch\.float32"),
        (torch.Tensor.bool, r"5\.weight is torch\.bool"),
        (lambda head: head * float("nan"), r"5\.weight would hold NaN or infinity"),
        (lambda head: head / 0, r"5\.weight would hold NaN or infinity"),
        (lambda head: head.double() * 1e300, r"5\.weight would hold .*too large for torch\.float32"),
        (
            lambda head: torch.full((7, 5), float("nan")),
            r"5\.weight is \(7, 5\), needs \(7, 4\)",
        ),  # shapes come before values
    ],
)
def test_what_is_no_dense_finite_tensor_is_refused(
    change: Callable[[torch.Tensor], torch.Tensor],
    message: str,
    tiny: str,
    state: dict[str, torch.Tensor],
    tmp_path: Path,
) -> None:
    torch.save({**state, "5.weight": change(torch.ones(7, 4))}, tmp_path / "w.pt")
    with pytest.raises(WeightsError, match=message):
        load_backbone(tiny, tmp_path / "w.pt")


def test_what_fits_one_precision_may_not_fit_another(state: dict[str, torch.Tensor]) -> None:
    network = small(7).half()
    before = {k: v.clone() for k, v in network.state_dict().items()}
    large = {**state, "5.bias": torch.full((7,), 1e5)}
    weights.fit(small(7), large, "a file")
    with pytest.raises(WeightsError, match=r"5\.bias would hold .*torch\.float16"):
        weights.fit(network, large, "a file")
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())  # all or nothing
    with pytest.raises(WeightsError, match=r"1\.num_batches_tracked is torch\.float32, needs torch\.int64"):
        weights.fit(small(7), {**state, "1.num_batches_tracked": torch.tensor(1.0)}, "a file")


def test_a_word_wins_over_a_file_of_that_name_and_any_other_file_is_one(
    tiny: str, state: dict[str, torch.Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hub: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("none", "imagenet", "best"):
        torch.save(state, tmp_path / name)
    assert not load_backbone(tiny, "none").trained
    assert load_backbone(tiny, Path("none")).weights.startswith("file none")
    assert load_backbone(tiny, "./none").trained and load_backbone(tiny, "best").trained
    assert load_backbone(tiny, "imagenet").weights.startswith("file imagenet")  # no word of this network
    hub.mkdir(parents=True)
    (hub / "squeezenet1_0-b66bff10.pth").write_bytes(b"broken")
    with pytest.raises(DownloadError, match=r"squeezenet1_0-b66bff10\.pth exists"):
        load_backbone("squeezenet1_0", "imagenet")
    with pytest.raises(WeightsError, match="do not fit SqueezeNet"):
        load_backbone("squeezenet1_0", Path("imagenet"))
    Path("link").symlink_to("nowhere")
    for name in ("link", "nowhere.pt", "folder/nowhere", "~nobody-here/w"):
        with pytest.raises(WeightsError, match="expected a file at"):
            load_backbone(tiny, name)


@pytest.mark.filterwarnings("ignore")  # torch's, of strange pickle protocols
@pytest.mark.parametrize("form", ["legacy", "zip", "safetensors"])
def test_no_damaged_file_raises_anything_else(form: str, state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    """A damaged pickle can make the reader raise nearly everything: struct.error, IndexError, AssertionError..."""
    path = tmp_path / ("w.safetensors" if form == "safetensors" else "w.pt")
    if form == "safetensors":
        save_file(state, path)
    else:
        torch.save(state, path, _use_new_zipfile_serialization=form == "zip")
    whole = path.read_bytes()
    failed = 0
    for i in range(0, len(whole), max(1, len(whole) // 80)):
        for content in (
            whole[:i],
            *(whole[:i] + bytes([whole[i] ^ flip]) + whole[i + 1 :] for flip in (1, 0x10, 0xFF)),
        ):
            path.write_bytes(content)
            try:
                weights.read_weights(path)
            except WeightsError as error:
                assert str(error).startswith("weights w.")
                failed += 1
    assert failed > 80


def test_other_words_name_those_there_are(tiny: str) -> None:
    with pytest.raises(
        ChoiceError, match=r"weights of tiny \(or a file's path\): expected one of none; got 'imagenet'"
    ):
        load_backbone(tiny, "imagenet")
    with pytest.raises(ChoiceError, match=r"none, imagenet, IMAGENET1K_V1; got .*Did you mean 'imagenet'"):
        load_backbone("resnet18", "imagenette")


def test_packaged_weights_plug_in(
    state: dict[str, torch.Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, card = small(7), {"name": "tiny", "classes": list("abcdefg"), "input": {"mean": [0.1] * 3, "std": [2] * 3}}
    network.load_state_dict(state)
    save_safetensors(network, tmp_path / "tiny.safetensors", card)
    spec = BackboneSpec(small, {"2": 2}, num_classes=7, packaged={"rooms": tmp_path / "tiny.safetensors"})
    monkeypatch.setitem(BACKBONES, "tiny", spec)
    backbone = load_backbone("tiny", "rooms")
    assert backbone.weights.startswith("tiny from the package (sha256 ") and backbone.classes == tuple("abcdefg")
    assert backbone.mean == (0.1, 0.1, 0.1) and backbone.std == (2, 2, 2) and backbone.trained
    written = json.loads((tmp_path / "tiny.json").read_text())
    for changed in (
        {"classes": None}, {"classes": "abcdefg"}, {"classes": list("abc")}, {"input": None}, {"input": []},
        {"input": {"mean": [1, 2], "std": [1, 2, 3]}}, {"input": {"mean": ["x"] * 3, "std": [1, 2, 3]}}, {"name": ...},
        {"input": {"mean": [0] * 3, "std": [1, 1, 0]}}, {"input": {"mean": ["inf"] * 3, "std": [1] * 3}},
    ):  # fmt: skip
        card = {key: value for key, value in (written | changed).items() if value is not ...}
        (tmp_path / "tiny.json").write_text(json.dumps(card))
        with pytest.raises(WeightsError, match=r"expected a card with name|7 outputs, there are 3 names"):
            load_backbone("tiny", "rooms")


# ---- torchvision's published weights


def test_a_damaged_cached_file_is_refused(hub: Path) -> None:
    hub.mkdir(parents=True)
    (hub / "squeezenet1_0-b66bff10.pth").write_bytes(b"broken")
    for name in ("imagenet", "IMAGENET1K_V1"):
        with pytest.raises(DownloadError, match=r"squeezenet1_0-b66bff10\.pth exists and is .*damaged.*Delete"):
            load_backbone("squeezenet1_0", name)


def test_published_weights_are_fetched_through_our_downloader(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    torch.manual_seed(0)
    source = BACKBONES["squeezenet1_0"].build(1000)

    def fake(url: str, path: Path, sha256: str | None = None) -> Path:
        asked.extend([url, sha256])
        path.parent.mkdir(parents=True)
        torch.save(source.state_dict(), path)
        return path

    monkeypatch.setattr(weights, "download", fake)
    backbone = load_backbone("squeezenet1_0", "imagenet")
    assert asked == ["https://download.pytorch.org/models/squeezenet1_0-b66bff10.pth", "b66bff10"]
    assert backbone.weights == "torchvision IMAGENET1K_V1" and backbone.classes is not None
    assert backbone.classes[985] == "daisy" and backbone.std == (0.229, 0.224, 0.225)


# ---- real weights, real pictures


def ready(pictures: PictureFolder, backbone: backbones.Backbone) -> torch.Tensor:
    """Their middle squares, as the network wants them."""
    crops = [transforms.centre_crop(transforms.resize(picture.image, 224), 224) for picture in pictures]
    return transforms.normalize(torch.stack(list(map(transforms.to_tensor, crops))), backbone.mean, backbone.std)


@pytest.mark.realdata
def test_imagenet_squeezenet_knows_a_daisy() -> None:
    backbone = load_backbone("squeezenet1_0", realdata("weights", "squeezenet1_0_imagenet.pt"))
    pictures = read_images(realdata("flowers17", "c11"), limit=10)  # oxeye daisies
    with FeatureTap(backbone.network, backbone.default_layers) as tap:
        maps = tap(ready(pictures, backbone))
        named = [backbone.classes[i] for i in tap.logits.argmax(1).tolist()] if backbone.classes else []
    assert backbone.weights == "file squeezenet1_0_imagenet.pt (sha256 b0c3d38d)"
    assert named.count("daisy") >= 9
    assert maps["features.12"].shape == (10, 512, 13, 13) and tap.info["features.12"].stride == (16.0, 16.0)
    assert (maps["features.12"] >= 0).all()


@pytest.mark.realdata
def test_places_squeezenet_knows_a_bedroom() -> None:
    backbone = load_backbone("squeezenet1_1_places365", realdata("weights", "squeezenet1_1_places365.pt"))
    lines = realdata("weights", "categories_places365.txt").read_text().splitlines()  # "/a/airfield 0"
    classes = [line.split()[0][3:] for line in lines]
    pictures = read_images(realdata("scene15", "data", "test", "Bedroom"), limit=10)
    with FeatureTap(backbone.network, backbone.default_layers) as tap:
        tap(ready(pictures, backbone))
        named = [classes[i] for i in tap.logits.argmax(1).tolist()]
    assert backbone.num_classes == 365 and backbone.classes is None and classes[0] == "airfield"
    assert sum(n in ("bedroom", "bedchamber", "hotel_room", "dorm_room", "childs_room") for n in named) >= 6


@pytest.mark.realdata
def test_the_imagenet_file_does_not_fit_another_network() -> None:
    with pytest.raises(WeightsError, match=r"do not fit SqueezeNet.*another network's file"):
        load_backbone("squeezenet1_1", realdata("weights", "squeezenet1_0_imagenet.pt"))
