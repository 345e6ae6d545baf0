"""Feature maps of a network's layers, by name, from one forward pass; and where their cells lie in the image.

A known network declares its strides in ``feature_info``, in timm's form: a list of ``{"module": "layer4", "reduction":
32}``. `load_backbone` sets it, timm's networks bring it. Other strides are measured, by shapes alone.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import Any, Self

import torch
from torch import nn

from ask_lib.checks import check_shape
from ask_lib.errors import AskError, LayerNotFoundError, RangeError, ShapeError

Size = tuple[int, int]
Stride = tuple[float, float]
Shape = tuple[int, ...]

# An image is enlarged by this to see how many cells a map gains: all common strides divide it. On the meta device
# nothing is computed, so the length may be huge.
STEP = 2**5 * 3**2 * 5 * 7 * 11 * 13
BEFORE_ACTIVATION = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.Linear, nn.modules.batchnorm._BatchNorm)
NO_FEATURES = (nn.Dropout, nn.Dropout2d, nn.Identity, nn.Flatten)
CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
HEADS = ("classifier", "fc", "head", "heads", "avgpool", "AuxLogits", "aux1", "aux2")


@dataclass(frozen=True)
class LayerInfo:
    """What a layer gives: its channels, and where its cells lie.

    Attributes:
        channels: C of its ``(B, C, H, W)``, D of its ``(B, D)``.
        size: (H, W); (1, 1) for ``(B, D)``, whose one cell is the whole image.
        stride: (y, x), image pixels from one cell to the next.
        exact: Whether the stride is the network's own. If not, it is the image's size by the map's.
    """

    name: str
    channels: int
    size: Size
    stride: Stride
    exact: bool = True


class LayerTable(dict[str, LayerInfo]):
    """Layer name to ``LayerInfo``, in the order of the network; prints as a table."""

    def __str__(self) -> str:
        rows = [("layer", "channels", "size", "stride")]
        for info in self.values():
            y, x = (f"{s:.4g}" for s in info.stride)
            stride = ("" if info.exact else "about ") + (y if y == x else f"{y} x {x}")
            rows.append((info.name, str(info.channels), "{} x {}".format(*info.size), stride))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) for row in rows)
        return "\n".join(line.rstrip() for line in lines)


class FeatureTap:
    """Reads named layers while a network runs.

    >>> from ask_lib.models.small import SmallVGG
    >>> with FeatureTap(SmallVGG(10), ["relu5_2", "fc7"]) as tap:
    ...     maps = tap(torch.rand(1, 3, 120, 160))
    >>> maps["relu5_2"].shape, maps["fc7"].shape, tap.info["relu5_2"].stride
    (torch.Size([1, 96, 15, 20]), torch.Size([1, 256]), (8.0, 8.0))

    Inside the context the network is in evaluation mode; afterwards every submodule's mode is as before, also when the
    body raised. The hooks stand only while the tap itself runs the network, which records no gradients.

    What comes is a copy of what the layer gave: a next layer that works in place would change it, and a function
    (DenseNet's last ReLU) does so unseen. A layer that runs several times in one pass (a shared ReLU) gives its last.

    Args:
        network: The network; it is called with the images alone.
        layers: Names as in ``network.named_modules()``; ``layers_of(network)`` lists those that give maps.

    Raises:
        LayerNotFoundError: If the network has no such layer.
    """

    def __init__(self, network: nn.Module, layers: str | Sequence[str]) -> None:
        self.network = network
        self._modules = find_layers(network, [layers] if isinstance(layers, str) else layers)
        self._context, self._open = ExitStack(), False
        self._output: Any = None
        self._shapes: dict[str, Shape] = {}
        self._input: Shape = ()
        self._strides: Mapping[str, Stride] | None = None

    def __enter__(self) -> Self:
        if self._open:
            raise AskError("This FeatureTap is already open. Open a second one, or leave the first.")
        self._context.enter_context(evaluating(self.network))
        self._open = True
        return self

    def __exit__(self, *raised: object) -> None:
        self._open = False
        self._context.close()

    def __call__(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """One forward pass over images ``(B, C, H, W)``, normalised as the network was trained.

        Returns:
            Layer name to map ``(B, C, H, W)``, or to vectors ``(B, D)`` of a fully connected layer, in the order in
            which the layers were named.

        Raises:
            ShapeError: If ``images`` has not four dimensions, or a layer's output neither four nor two.
            LayerNotFoundError: If a layer did not run.
        """
        if not self._open:
            raise AskError("A FeatureTap reads inside: with FeatureTap(network, layers) as tap: tap(images).")
        check_shape("images", images, "BCHW", "Add a batch axis with images[None] if it is one image.")
        self._output, seen = None, dict[str, torch.Tensor]()
        with _noting(self._modules, lambda name, output: seen.update({name: _map(name, output).clone()})):
            self._output = self.network(images)
        for name in self._modules:
            if name not in seen:
                raise LayerNotFoundError(f"layer {name!r} exists but did not run in this pass. Choose another layer.")
        self._input = tuple(images.shape)
        self._shapes = {name: tuple(seen[name].shape) for name in self._modules}
        return {name: seen[name] for name in self._modules}

    @property
    def logits(self) -> torch.Tensor:
        """The last pass's output; an `AskError` where it is not one tensor, or there was no pass."""
        if not isinstance(self._output, torch.Tensor):
            got = "nothing yet: call the tap first" if self._output is None else f"a {type(self._output).__name__}"
            raise AskError(f"logits: expected that the network returned one tensor; it returned {got}.")
        return self._output

    @property
    def info(self) -> dict[str, LayerInfo]:
        """Channels, size and stride of each tapped layer in the last pass; an `AskError` before the first."""
        if not self._shapes:
            raise AskError("tap.info speaks of the last pass: call tap(images) first.")
        if self._strides is None:
            self._strides = _strides(self.network, self._modules, self._input)
        return {name: _describe(name, shape, self._strides, self._input) for name, shape in self._shapes.items()}


def layers_of(network: nn.Module, input_size: Size = (224, 224)) -> LayerTable:
    """The layers that give maps, for images of that size (H, W): children after their activation.

    A container's children are listed (``features.12``), a block's insides are not (``layer1.0``, not its
    convolutions); convolutions and norms are left out, because what follows them is the activation, and so are layers
    whose map does not grow with the image (global pooling).

    Raises:
        RangeError: If the network can't take images of that size.
    """
    modules = {name: m for name, m in network.named_modules() if name}
    blank = _blank(network, input_size)
    shapes: dict[str, Shape] = {}
    try:
        with evaluating(network), _noting(modules, partial(_note_shape, shapes)):
            network(blank)
    except Exception as error:  # whatever a network raises for images that are too small
        height, width = input_size
        raise RangeError(f"input_size: no pass over {height} x {width} images ({error}). Try a larger size.") from error
    strides = _strides(network, modules, tuple(blank.shape))
    table = LayerTable()
    for name, module in _blocks(network, "", {name for name in shapes if len(shapes[name]) == 4}):
        after_activation = not isinstance(_last_leaf(module), BEFORE_ACTIVATION + NO_FEATURES)
        if after_activation and (name in strides or not strides):  # the latter where nothing could be measured
            table[name] = _describe(name, shapes[name], strides, tuple(blank.shape))
    return table


def cell_centres(info: LayerInfo) -> torch.Tensor:
    """Where a map's cells lie in the image, in pixels: (x + 0.5) * stride - 0.5.

    The book's convention: cells tile the image from its upper left corner, pixel centres at integers. What a cell sees
    need not be centred there. It is for VGG; a ResNet's cell sees x * stride (half a cell to the upper left of the
    convention), SqueezeNet 1.0's last cells see half a cell further to the lower right.

    Returns:
        ``(H, W, 2)``, (x, y) of cell (x, y) at ``[y, x]``.
    """
    y, x = ((torch.arange(n) + 0.5) * s - 0.5 for n, s in zip(info.size, info.stride, strict=True))
    rows, columns = torch.meshgrid(y, x, indexing="ij")
    return torch.stack([columns, rows], dim=-1)  # (H, W, 2)


def default_layers(network: nn.Module) -> tuple[str, ...]:
    """A sensible choice for any network: the last layer of each stride, shallow to deep, without the classifier."""
    last: dict[Stride, str] = {}
    for name, info in layers_of(network).items():
        if info.exact and name.split(".")[0] not in HEADS:
            last.pop(info.stride, None)  # a container comes before its children: the order is the last one's
            last[info.stride] = name
    return tuple(last.values())


def find_layers(network: nn.Module, names: Sequence[str]) -> dict[str, nn.Module]:
    """The modules of these names, or a `LayerNotFoundError` that lists near ones."""
    modules = dict(network.named_modules())
    if not names:
        raise LayerNotFoundError("layers: expected at least one layer's name, got none. layers_of(network) lists them.")
    for name in names:
        if not name or name not in modules:
            near = difflib.get_close_matches(name, [m for m in modules if m], n=5, cutoff=0.5)
            shown = near or [child for child, _ in network.named_children()][:12]
            raise LayerNotFoundError(
                f"{type(network).__name__} has no layer {name!r}. {'Near names' if near else 'Its children'}: "
                f"{', '.join(shown)}. layers_of(network) lists those that give maps."
            )
    return {name: modules[name] for name in names}


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Evaluation mode inside; afterwards every submodule's mode is as before."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def measure_strides(network: nn.Module, modules: Mapping[str, nn.Module], images: Shape) -> dict[str, Stride]:
    """The exact strides of those of the modules whose maps grow with the image; ``images`` is ``(B, C, H, W)``.

    Parameters are stood in for by tensors of the meta device, which have shapes only. Layers that a network does not
    reach there (it reads values, or takes one size alone) are missing from the result.
    """
    tensors = [*network.named_parameters(), *network.named_buffers()]
    stand_ins = {name: torch.empty_like(tensor, device="meta") for name, tensor in tensors}
    dtype = _blank(network, (1, 1)).dtype
    probes: list[dict[str, Shape]] = [{}, {}]
    for probe, grow in zip(probes, (0, STEP), strict=True):
        blank = torch.empty(1, images[1], images[2] + grow, images[3] + grow, dtype=dtype, device="meta")
        with evaluating(network), _noting(modules, partial(_note_shape, probe)), suppress(Exception):  # see above
            torch.func.functional_call(network, stand_ins, (blank,))
    before, after = probes
    found = {name: _stride(before[name], after[name]) for name in before if name in after}
    return {name: stride for name, stride in found.items() if stride is not None}


def _strides(network: nn.Module, modules: Mapping[str, nn.Module], images: Shape) -> dict[str, Stride]:
    """Declared where the network declares them, else measured."""
    entries: Iterable[Mapping[str, Any]] = getattr(network, "feature_info", ())
    declared = {entry["module"]: (float(entry["reduction"]), float(entry["reduction"])) for entry in entries}
    if all(name in declared for name in modules):
        return declared
    return measure_strides(network, modules, images) | declared


def _stride(before: Shape, after: Shape) -> Stride | None:
    if len(before) != 4 or len(after) != 4 or before[1] != after[1]:  # channels may come last, and then axis 1 grows
        return None
    gained = [b - a for a, b in zip(before[2:], after[2:], strict=True)]
    if min(gained) <= 0:
        return None
    y, x = (Fraction(STEP, cells) for cells in gained)
    if max(y.denominator, x.denominator) > 16:  # 1/2 and 3/2 are strides; 1441440/84791 is 17, cut off somewhere
        return None
    return float(y), float(x)


def _describe(name: str, shape: Shape, strides: Mapping[str, Stride], images: Shape) -> LayerInfo:
    height, width = shape[2:] or (1, 1)
    stride = strides.get(name, (images[2] / height, images[3] / width))
    return LayerInfo(name, shape[1], (height, width), stride, name in strides or len(shape) == 2)


@contextmanager
def _noting(modules: Mapping[str, nn.Module], note: Callable[[str, Any], None]) -> Iterator[None]:
    """Inside, each layer that runs calls ``note(name, output)``; nothing is recorded for gradients."""

    def hook(name: str, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        note(name, output)

    with ExitStack() as stack:
        for name, module in modules.items():
            stack.callback(module.register_forward_hook(partial(hook, name)).remove)
        stack.enter_context(torch.no_grad())
        yield


def _note_shape(shapes: dict[str, Shape], name: str, output: Any) -> None:
    shapes[name] = tuple(output.shape) if isinstance(output, torch.Tensor) else ()


def _map(name: str, output: Any) -> torch.Tensor:
    if isinstance(output, torch.Tensor) and output.ndim in (2, 4):
        return output
    got = tuple(output.shape) if isinstance(output, torch.Tensor) else type(output).__name__
    raise ShapeError(
        f"layer {name!r}: expected a map (B, C, H, W) or vectors (B, D), got {got}. "
        "layers_of(network) lists the layers that give maps."
    )


def _blank(network: nn.Module, size: Size) -> torch.Tensor:
    """An empty image as the network takes it: channels of its first convolution, precision and device of its own."""
    first = next((m for m in network.modules() if isinstance(m, nn.Conv2d)), None)
    like = next((p for p in network.parameters() if p.is_floating_point()), torch.empty(0))
    return torch.zeros(1, first.in_channels if first else 3, *size, dtype=like.dtype, device=like.device)


def _blocks(module: nn.Module, prefix: str, maps: set[str]) -> Iterator[tuple[str, nn.Module]]:
    for child_name, child in module.named_children():
        name = f"{prefix}{child_name}"
        if name in maps:
            yield name, child
        # containers are opened, and wholes that give no map (a network inside a network); blocks stay closed
        if type(child) in CONTAINERS or name not in maps:
            yield from _blocks(child, f"{name}.", maps)


def _last_leaf(module: nn.Module) -> nn.Module:
    children = list(module.children())
    return _last_leaf(children[-1]) if type(module) is nn.Sequential and children else module
