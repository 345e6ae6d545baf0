"""Backbones by name, with weights by name, by file, or none: ``load_backbone("resnet18", weights="imagenet")``."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ask_lib.checks import check_choice
from ask_lib.errors import ChoiceError, LayerNotFoundError, WeightsError
from ask_lib.files import sha256
from ask_lib.models import weights as files
from ask_lib.models.features import default_layers
from ask_lib.models.forward import forward_features, forward_head
from ask_lib.models.small import SmallResNet, SmallVGG, read_card

Triple = tuple[float, float, float]

IMAGENET_MEAN: Triple = (0.485, 0.456, 0.406)
IMAGENET_STD: Triple = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Backbone:
    """A network in evaluation mode, and what goes with it.

    Attributes:
        weights: For a person: "untrained, seed 0", "torchvision IMAGENET1K_V1", "file NAME (sha256 1234abcd)".
        mean: Of RGB in 0..1 (of HHA, for a network of HHA); it is subtracted, then ``std`` divides.
        default_layers: Shallow to deep; the last is the final feature map.
        classes: Names of the ``num_classes`` outputs, where they are known.
        input_size: Short side of the images that it was trained on.
    """

    name: str
    network: nn.Module
    weights: str
    mean: Triple
    std: Triple
    default_layers: tuple[str, ...]
    classes: tuple[str, ...] | None
    num_classes: int
    trained: bool
    input_size: int = 224

    @property
    def last_layer(self) -> str:
        """The final feature map's layer; a `LayerNotFoundError` if there are no maps (a vision transformer)."""
        if not self.default_layers:
            raise LayerNotFoundError(f"{self.name} has no layer that gives a map (B, C, H, W). Choose a CNN.")
        return self.default_layers[-1]

    def forward_features(self, images: torch.Tensor) -> torch.Tensor:
        """The last maps ``(B, C, H, W)`` of normalised images, see `ask_lib.models.forward`."""
        return forward_features(self.network, images)

    def forward_head(self, maps: torch.Tensor) -> torch.Tensor:
        """Logits ``(B, num_classes)`` of the last maps."""
        return forward_head(self.network, maps)


@dataclass(frozen=True)
class BackboneSpec:
    """How a backbone is made: one entry of ``BACKBONES``.

    Attributes:
        build: Number of classes to an untrained network.
        strides: Default layers, shallow to deep, each with its stride in pixels; empty: found, see `default_layers`.
        num_classes: Outputs where no weight file says how many.
        torchvision: Name in torchvision's model list whose published weights fit, or None.
        packaged: Weights name to a file that comes with the package.
    """

    build: Callable[[int], nn.Module]
    strides: Mapping[str, int] = field(default_factory=dict)
    num_classes: int = 1000
    torchvision: str | None = None
    packaged: Mapping[str, Path] = field(default_factory=dict)
    input_size: int = 224


def load_backbone(
    name: str,
    weights: str | Path = "none",
    *,
    device: str | torch.device = "cpu",
    seed: int = 0,
) -> Backbone:
    """A backbone in evaluation mode.

    Args:
        name: One of ``backbone_names()``.
        weights: ``"none"``: untrained, the same for the same seed, whatever was drawn before. ``"imagenet"`` or a
            torchvision name (``"IMAGENET1K_V2"``): downloaded once into torch hub's folder and verified. A path:
            safetensors or a torch state dict (plain data only), whatever its name; how many classes is read from the
            file. A word that the backbone has wins over a file of that name: then give ``Path("imagenet")``.
        device: Where the network goes.
        seed: Of the untrained weights.

    Raises:
        ChoiceError: If there is no such backbone, no such weights, or no such device.
        WeightsError: If the weights are missing, damaged, or do not fit.
        DownloadError: If they can't be fetched.
    """
    spec = _spec(name)
    source, place = _locate(name, spec, weights), _device(device)
    if source.path is None:
        count, text = spec.num_classes, f"untrained, seed {seed}"
        network = _seeded(spec, count, seed)
    else:
        state = files.read_weights(source.path)
        count = _count(spec, state)
        network = _seeded(spec, count, seed)
        text = source.text or f"file {source.path.name} (sha256 {sha256(source.path)[:8]})"
        files.fit(network, state, text)
    return Backbone(
        name=name,
        network=network.eval().to(place),
        weights=text,
        mean=source.mean,
        std=source.std,
        default_layers=tuple(spec.strides) or default_layers(network),
        classes=_class_names(spec, source, count),
        num_classes=count,
        trained=source.path is not None,
        input_size=spec.input_size,
    )


def backbone_names() -> list[str]:
    """All names that ``load_backbone`` knows: the book's own, then torchvision's classification networks."""
    from torchvision import models

    return sorted(BACKBONES) + sorted(set(models.list_models(module=models)) - set(BACKBONES))


def leaky_squeezenet1_1(num_classes: int) -> nn.Module:
    """SqueezeNet 1.1 as trained on Places365: leaky ReLUs, and max-pools that round down."""
    network = _torchvision("squeezenet1_1", num_classes)
    for parent in list(network.modules()):
        for child_name, child in list(parent.named_children()):
            if isinstance(child, nn.ReLU):
                setattr(parent, child_name, nn.LeakyReLU(0.55, inplace=child.inplace))
            elif isinstance(child, nn.MaxPool2d):
                child.ceil_mode = False
    return network


def densenet_with_relu(name: str, num_classes: int) -> nn.Module:
    """A DenseNet whose final ReLU is a layer (``features.relu5``): torchvision calls a function, which no tap sees."""
    network = _torchvision(name, num_classes)
    network.get_submodule("features").add_module("relu5", nn.ReLU(inplace=True))
    return network


@dataclass(frozen=True)
class _Source:
    """Where weights come from, and what they want; no path means untrained."""

    path: Path | None = None
    text: str = ""
    mean: Triple = IMAGENET_MEAN
    std: Triple = IMAGENET_STD
    classes: tuple[str, ...] | None = None


def _torchvision(name: str, num_classes: int, **options: Any) -> nn.Module:
    from torchvision.models import get_model

    network: nn.Module = get_model(name, weights=None, num_classes=num_classes, **options)
    return network


# GoogLeNet and Inception: no auxiliary heads; their published weights normalise the input once more, inside.
_INCEPTION = {"aux_logits": False, "init_weights": False, "transform_input": True}
_PACKAGED = Path(__file__).parent / "packaged"
_RESNET = {"layer1": 4, "layer2": 8, "layer3": 16, "layer4": 32}
_SHUFFLENET = {"stage2": 8, "stage3": 16, "stage4": 32, "conv5": 32}
_DENSENET = {f"features.transition{i}.relu": 2 ** (i + 1) for i in (1, 2, 3)} | {"features.relu5": 32}
_SQUEEZENET1_1 = {"features.1": 2, "features.4": 4, "features.7": 8, "features.12": 16}


def _plain(name: str, strides: Mapping[str, int] | None = None, input_size: int = 224, **options: Any) -> BackboneSpec:
    return BackboneSpec(partial(_torchvision, name, **options), strides or {}, torchvision=name, input_size=input_size)


def _small_vgg(data: str, num_classes: int) -> BackboneSpec:
    return BackboneSpec(
        partial(SmallVGG, norm="none"),
        {"relu1_1": 2, "pool2": 8, "relu3_2": 8, "relu4_2": 8, "relu5_2": 8, "pool5": 16},
        num_classes=num_classes,
        packaged={data: _PACKAGED / f"{data}_vgg.safetensors"},
        input_size=120,
    )


# A network of the book's own is one more entry, with ``packaged`` naming its weight file.
BACKBONES: dict[str, BackboneSpec] = {
    "objects_vgg": _small_vgg("objects", 16),
    "rooms_vgg": _small_vgg("rooms", 10),
    **{
        name: BackboneSpec(
            SmallResNet,
            {"layer1": 4, "layer2": 8, "layer3": 8, "layer4": 16},
            num_classes=10,
            packaged={"rooms": _PACKAGED / f"{name}.safetensors"},
            input_size=120,
        )
        for name in ("rooms_resnet",)
    },
    "squeezenet1_0": _plain("squeezenet1_0", {"features.1": 2, "features.5": 4, "features.10": 8, "features.12": 16}),
    "squeezenet1_1": _plain("squeezenet1_1", _SQUEEZENET1_1),
    "squeezenet1_1_places365": BackboneSpec(leaky_squeezenet1_1, _SQUEEZENET1_1, num_classes=365),
    "alexnet": _plain(
        "alexnet",
        {"features.1": 4, "features.4": 8, "features.7": 16, "features.9": 16, "features.11": 16, "features.12": 32},
    ),
    "vgg16": _plain(
        "vgg16", {"features.8": 2, "features.15": 4, "features.22": 8, "features.29": 16, "features.30": 32}
    ),
    "vgg19": _plain(
        "vgg19", {"features.8": 2, "features.17": 4, "features.26": 8, "features.35": 16, "features.36": 32}
    ),
    **{name: _plain(name, _RESNET) for name in ("resnet18", "resnet34", "resnet50", "resnet101")},
    **{name: _plain(name, _SHUFFLENET) for name in (f"shufflenet_v2_x{w}" for w in ("0_5", "1_0", "1_5", "2_0"))},
    **{
        name: BackboneSpec(partial(densenet_with_relu, name), _DENSENET, torchvision=name)
        for name in ("densenet121", "densenet161", "densenet169", "densenet201")
    },
    "googlenet": _plain(
        "googlenet", {"conv1": 2, "conv3": 4, "inception3b": 8, "inception4e": 16, "inception5b": 32}, **_INCEPTION
    ),
    "inception_v3": _plain("inception_v3", {"Mixed_5d": 8, "Mixed_6e": 16, "Mixed_7c": 32}, 299, **_INCEPTION),
}


def _spec(name: str) -> BackboneSpec:
    if name not in BACKBONES:
        check_choice("backbone", name, backbone_names())
    return BACKBONES.get(name) or _plain(name)


def _device(given: str | torch.device) -> torch.device:
    try:
        device = torch.device(given)
        torch.empty(0, device=device)  # also a device of that name may not be there
    except (RuntimeError, AssertionError) as error:
        reason = str(error).split("\n", 1)[0]
        raise ChoiceError(f"device: expected one of this machine's (cpu, cuda); got {given!r}: {reason}") from error
    return device


def _seeded(spec: BackboneSpec, num_classes: int, seed: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):  # only the CPU's generator is used: networks are made there, then moved
        torch.default_generator.manual_seed(seed)
        network = spec.build(num_classes)
    if spec.strides:
        network.feature_info = [{"module": m, "reduction": s} for m, s in spec.strides.items()]  # type: ignore[assignment]
    return network


def _locate(name: str, spec: BackboneSpec, weights: str | Path) -> _Source:
    published = _published(spec)
    words = ["none", *spec.packaged, *(["imagenet"] if published else []), *published]
    if isinstance(weights, Path) or (weights not in words and _is_path(weights)):
        return _Source(Path(os.path.expanduser(weights)))  # noqa: PTH111 - Path.expanduser raises without a home
    check_choice(f"weights of {name} (or a file's path)", weights, words)
    if weights == "none":
        return _Source()
    return _from_package(spec.packaged[weights]) if weights in spec.packaged else _from_torchvision(published, weights)


def _is_path(weights: str) -> bool:
    return bool(Path(weights).suffix) or len(Path(weights).parts) > 1 or os.path.lexists(weights)


def _from_package(path: Path) -> _Source:
    card = read_card(path)
    try:
        mean, std = (tuple(map(float, card["input"][key])) for key in ("mean", "std"))
        names = tuple(map(str, card["classes"]))
        usable = all(map(math.isfinite, mean)) and all(0 < value < math.inf for value in std)
        if len(mean) == len(std) == 3 and usable and isinstance(card["classes"], list):
            return _Source(path, f"{card['name']} from the package (sha256 {card['sha256'][:8]})", mean, std, names)
        reason = "other numbers"
    except (KeyError, TypeError, ValueError) as error:
        reason = repr(error)
    raise WeightsError(
        f"{path.with_suffix('.json')}: expected a card with name, a list of classes, and input with mean and std of "
        f"three numbers each; it has others ({reason}). `make weights` writes it again."
    )


def _published(spec: BackboneSpec) -> dict[str, Any]:
    """Names of torchvision's weights to what is known of them."""
    if spec.torchvision is None:
        return {}
    from torchvision.models import get_model_weights

    return {entry.name: entry for entry in get_model_weights(spec.torchvision)}


def _from_torchvision(published: Mapping[str, Any], weights: str) -> _Source:
    first = "IMAGENET1K_V1" if "IMAGENET1K_V1" in published else next(iter(published))
    entry = published[weights if weights in published else first]
    path, shown = files.fetch_torchvision(entry.url), entry.transforms()
    names = tuple(entry.meta["categories"])
    return _Source(path, f"torchvision {entry.name}", tuple(shown.mean), tuple(shown.std), names)


def _count(spec: BackboneSpec, state: files.State) -> int:
    """Outputs, as the file has them: rows of the network's last weight of several dimensions."""
    with torch.device("meta"):  # names and shapes only: nothing is allocated or drawn
        own = spec.build(spec.num_classes).state_dict()
    head = [key for key, tensor in own.items() if key.endswith("weight") and tensor.ndim > 1][-1]
    return int(state[head].shape[0]) if head in state and state[head].ndim >= 1 else spec.num_classes


def _class_names(spec: BackboneSpec, source: _Source, count: int) -> tuple[str, ...] | None:
    names = source.classes
    if names is None and source.path is not None and spec.torchvision and count == 1000:
        from torchvision.models import ResNet18_Weights

        # A file with 1,000 outputs is taken to be ImageNet's, in torchvision's order.
        names = tuple(ResNet18_Weights.IMAGENET1K_V1.meta["categories"])
    if names is not None and len(names) != count:
        raise WeightsError(f"classes: the network has {count} outputs, there are {len(names)} names.")
    return names
