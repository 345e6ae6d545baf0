"""Backbones by name, with weights by name, by file, or none.

``load_backbone("resnet18", weights="imagenet")`` gives the network and all that goes with it: what its weights are, how
its images are normalised, which layers are worth a look, what its classes are called.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
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
from ask_lib.models.small import SmallResNet, SmallVGG, read_card

Triple = tuple[float, float, float]

IMAGENET_MEAN: Triple = (0.485, 0.456, 0.406)
IMAGENET_STD: Triple = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Backbone:
    """A network and what goes with it.

    Attributes:
        name: Its name in ``backbone_names()``.
        network: In evaluation mode, on the device that was asked for.
        weights: For a person: "untrained, seed 0", "torchvision IMAGENET1K_V1", "file NAME (sha256 1234abcd)".
        mean: Of RGB in 0..1, to be subtracted.
        std: Of RGB in 0..1, to be divided by.
        default_layers: Shallow to deep; the last is the final feature map.
        classes: Names of the outputs, where they are known.
        num_classes: How many outputs.
        trained: Whether the weights come from training.
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
        """The final feature map's layer.

        Raises:
            LayerNotFoundError: If the network gives no maps (a vision transformer).
        """
        if not self.default_layers:
            raise LayerNotFoundError(f"{self.name} has no layer that gives a map (B, C, H, W). Choose a CNN.")
        return self.default_layers[-1]


@dataclass(frozen=True)
class Recipe:
    """How a backbone is made: one entry of ``RECIPES``.

    Attributes:
        build: Number of classes to an untrained network.
        layers: Default layers, shallow to deep; empty: the last layer of each stride.
        num_classes: Outputs where nothing else says how many.
        mean: Of the images that it takes.
        std: Of the images that it takes.
        torchvision: Name in torchvision's model list whose published weights fit, or None.
        packaged: Weights name to a file that comes with the package.
        ignore: Prefixes of keys that weight files hold in excess.
        input_size: Short side of the training images.
    """

    build: Callable[[int], nn.Module]
    layers: tuple[str, ...] = ()
    num_classes: int = 1000
    mean: Triple = IMAGENET_MEAN
    std: Triple = IMAGENET_STD
    torchvision: str | None = None
    packaged: Mapping[str, Path] = field(default_factory=dict)
    ignore: tuple[str, ...] = ()
    input_size: int = 224


def load_backbone(
    name: str,
    weights: str | Path = "none",
    *,
    num_classes: int | None = None,
    classes: Sequence[str] | Path | None = None,
    device: str | torch.device = "cpu",
    seed: int = 0,
) -> Backbone:
    """A backbone in evaluation mode.

    Args:
        name: One of ``backbone_names()``.
        weights: ``"none"``: untrained, the same for the same seed, whatever was drawn before. ``"imagenet"`` or a
            torchvision name (``"IMAGENET1K_V2"``): downloaded once into torch hub's folder and verified.
            ``"cached"``: only if it lies there already. A path: ``.safetensors`` or a torch state dict (plain data
            only); how many classes is read from the file.
        num_classes: Outputs; only where the weights don't say.
        classes: Names of the outputs, or a text file with a name a line.
        device: Where the network goes.
        seed: Of the untrained weights.

    Raises:
        ChoiceError: If there is no such backbone or no such weights.
        WeightsError: If the weights are missing, damaged, or do not fit.
        DownloadError: If they can't be fetched.
    """
    recipe = _recipe(name)
    source = _locate(name, recipe, weights)
    count = num_classes or recipe.num_classes
    if source.path is None:
        network = _seeded(recipe, count, seed)
    else:
        state = files.read_weights(source.path)
        count = _count(recipe, state, count if num_classes else None)
        network = _seeded(recipe, count, seed)
        files.fit(network, state, source.text, recipe.ignore)
    network = network.eval().to(device)
    return Backbone(
        name=name,
        network=network,
        weights=source.text if source.path else f"untrained, seed {seed}",
        mean=source.mean or recipe.mean,
        std=source.std or recipe.std,
        default_layers=recipe.layers or default_layers(network, (recipe.input_size, recipe.input_size)),
        classes=_class_names(recipe, source, classes, count),
        num_classes=count,
        trained=source.path is not None,
        input_size=recipe.input_size,
    )


def backbone_names() -> list[str]:
    """All names that ``load_backbone`` knows: the book's own, then torchvision's classification networks."""
    from torchvision.models import list_models

    return sorted(RECIPES) + sorted(n for n in _torchvision_names(list_models) if n not in RECIPES)


def leaky_squeezenet1_1(num_classes: int, slope: float = 0.55) -> nn.Module:
    """SqueezeNet 1.1 as trained on Places365: leaky ReLUs, and max-pools that round down."""
    network = _torchvision("squeezenet1_1", num_classes)
    for parent in list(network.modules()):
        for child_name, child in list(parent.named_children()):
            if isinstance(child, nn.ReLU):
                setattr(parent, child_name, nn.LeakyReLU(slope, inplace=child.inplace))
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
    """Where weights come from; no path means untrained."""

    path: Path | None = None
    text: str = ""
    mean: Triple | None = None
    std: Triple | None = None
    classes: tuple[str, ...] | None = None


def _torchvision(name: str, num_classes: int, **options: Any) -> nn.Module:
    from torchvision.models import get_model

    network: nn.Module = get_model(name, weights=None, num_classes=num_classes, **options)
    return network


# GoogLeNet and Inception: no auxiliary heads; their published weights normalise the input once more, inside.
_INCEPTION = {"aux_logits": False, "init_weights": False, "transform_input": True}
_RESNET = ("layer1", "layer2", "layer3", "layer4")
_SHUFFLENET = ("stage2", "stage3", "stage4", "conv5")
_DENSENET = ("features.transition1.relu", "features.transition2.relu", "features.transition3.relu", "features.relu5")


def _plain(name: str, *layers: str, **options: Any) -> Recipe:
    ignore = ("aux1.", "aux2.", "AuxLogits.") if options else ()
    size = 299 if name == "inception_v3" else 224
    return Recipe(partial(_torchvision, name, **options), layers, torchvision=name, ignore=ignore, input_size=size)


def _densenet(name: str) -> Recipe:
    return Recipe(partial(densenet_with_relu, name), _DENSENET, torchvision=name)


def _packaged(name: str, build: Callable[..., nn.Module], *layers: str, **options: Any) -> Recipe:
    path = Path(__file__).parent / "packaged" / f"{name}.safetensors"
    return Recipe(partial(build, **options), layers, num_classes=10, packaged={"rooms": path}, input_size=120)


# A network of the book's own is one more entry, with ``packaged`` naming its weight file.
RECIPES: dict[str, Recipe] = {
    "rooms_vgg": _packaged(
        "rooms_vgg", SmallVGG, "relu1_1", "pool2", "relu3_2", "relu4_2", "relu5_2", "pool5", norm="none"
    ),
    "rooms_resnet": _packaged("rooms_resnet", SmallResNet, "layer1", "layer2", "layer3", "layer4"),
    "squeezenet1_0": _plain("squeezenet1_0", "features.1", "features.5", "features.10", "features.12"),
    "squeezenet1_1": _plain("squeezenet1_1", "features.1", "features.4", "features.7", "features.12"),
    "squeezenet1_1_places365": Recipe(
        leaky_squeezenet1_1, ("features.1", "features.4", "features.7", "features.12"), num_classes=365
    ),
    "alexnet": _plain("alexnet", "features.1", "features.4", "features.7", "features.9", "features.11", "features.12"),
    "vgg16": _plain("vgg16", "features.8", "features.15", "features.22", "features.29", "features.30"),
    "vgg19": _plain("vgg19", "features.8", "features.17", "features.26", "features.35", "features.36"),
    **{name: _plain(name, *_RESNET) for name in ("resnet18", "resnet34", "resnet50", "resnet101")},
    **{f"shufflenet_v2_x{w}": _plain(f"shufflenet_v2_x{w}", *_SHUFFLENET) for w in ("0_5", "1_0", "1_5", "2_0")},
    **{name: _densenet(name) for name in ("densenet121", "densenet161", "densenet169", "densenet201")},
    "googlenet": _plain("googlenet", "conv1", "conv3", "inception3b", "inception4e", "inception5b", **_INCEPTION),
    "inception_v3": _plain("inception_v3", "Mixed_5d", "Mixed_6e", "Mixed_7c", **_INCEPTION),
}


def _torchvision_names(list_models: Callable[..., list[str]]) -> list[str]:
    return list_models(module=importlib.import_module("torchvision.models"))


def _recipe(name: str) -> Recipe:
    if name not in RECIPES:
        check_choice("backbone", name, backbone_names())
    return RECIPES.get(name) or _plain(name)


def _seeded(recipe: Recipe, num_classes: int, seed: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):  # only the CPU's generator is used: networks are made there, then moved
        torch.default_generator.manual_seed(seed)
        return recipe.build(num_classes)


def _locate(name: str, recipe: Recipe, weights: str | Path) -> _Source:
    if weights == "none":
        return _Source()
    if isinstance(weights, str) and weights in recipe.packaged:
        return _from_package(recipe.packaged[weights])
    if isinstance(weights, Path) or _is_path(weights):
        path = Path(weights).expanduser()
        if not path.is_file():
            raise WeightsError(f"weights: expected a file, there is none at {path}. Check the path.")
        return _from_file(path, None)
    return _from_torchvision(name, recipe, weights)


def _is_path(weights: str) -> bool:
    return "/" in weights or "\\" in weights or Path(weights).suffix in (".pt", ".pth", ".safetensors", ".bin", ".tar")


def _from_file(path: Path, text: str | None) -> _Source:
    return _Source(path, text or f"file {path.name} (sha256 {sha256(path)[:8]})")


def _from_package(path: Path) -> _Source:
    card = read_card(path)
    text = f"{card['name']} from the package (sha256 {card['sha256'][:8]})"
    mean, std = (_triple(card["input"][key]) for key in ("mean", "std"))
    return _Source(path, text, mean, std, tuple(card["classes"]))


def _triple(values: Sequence[float]) -> Triple:
    red, green, blue = values
    return red, green, blue


def _from_torchvision(name: str, recipe: Recipe, weights: str) -> _Source:
    if recipe.torchvision is None:
        known = ["none", *recipe.packaged]
        raise ChoiceError(f"weights: {name} has {', '.join(known)}, or a file's path; got {weights!r}.")
    from torchvision.models import get_model_weights

    published = get_model_weights(recipe.torchvision)
    names = [entry.name for entry in published]
    check_choice("weights", weights, ["none", "imagenet", "cached", *recipe.packaged, *names])
    first = "IMAGENET1K_V1" if "IMAGENET1K_V1" in names else names[0]
    if weights == "cached":
        present = [n for n in names if (files.hub_folder() / _file_name(published[n])).is_file()]
        first = present[0] if present and first not in present else first
    entry = published[weights if weights in names else first]
    path = files.fetch_torchvision(entry.url, only_cached=weights == "cached")
    shown = entry.transforms()
    return _Source(path, f"torchvision {entry.name}", tuple(shown.mean), tuple(shown.std), _categories(entry))


def _file_name(entry: Any) -> str:
    return str(entry.url).rsplit("/", 1)[-1]


def _categories(entry: Any) -> tuple[str, ...] | None:
    names = entry.meta.get("categories")
    return tuple(names) if names else None


def _count(recipe: Recipe, state: files.State, asked: int | None) -> int:
    """Outputs: as the file has them, unless asked otherwise (then ``fit`` says what differs)."""
    if asked is not None:
        return asked
    with torch.device("meta"):  # names and shapes only: nothing is allocated or drawn
        head = files.head_key(recipe.build(recipe.num_classes))
    return files.class_count(state, head) or recipe.num_classes


def _class_names(
    recipe: Recipe, source: _Source, given: Sequence[str] | Path | None, count: int
) -> tuple[str, ...] | None:
    if isinstance(given, Path):
        given = _read_names(given)
    if given is not None:
        if len(given) != count:
            raise WeightsError(f"classes: the network has {count} outputs, there are {len(given)} names.")
        return tuple(given)
    if source.path is None:
        return None
    if source.classes is None and recipe.torchvision and count == 1000:
        return _imagenet_names()  # a file with 1,000 outputs is taken to be ImageNet's, in torchvision's order
    return source.classes


def _imagenet_names() -> tuple[str, ...]:
    from torchvision.models import ResNet18_Weights

    return tuple(ResNet18_Weights.IMAGENET1K_V1.meta["categories"])


def _read_names(path: Path) -> list[str]:
    """One name a line; of Places365's form ``/a/airfield 0`` the name is kept."""
    lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    places = all(line.startswith("/") and line.rsplit(" ", 1)[-1].isdigit() for line in lines)
    return [line.rsplit(" ", 1)[0][3:] for line in lines] if places else lines
