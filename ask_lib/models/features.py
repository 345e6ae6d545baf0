"""Feature maps of a network's layers, by name, from one forward pass; and where their cells lie in the image.

``FeatureTap`` is a context manager: inside, it reads maps; afterwards the network is as it was, also when the body
raised. ``layers_of`` lists the layers that can be tapped. Strides are found exactly, by asking for shapes only.
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from types import TracebackType
from typing import Any, Literal, Self

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from ask_lib.checks import check_choice, check_shape
from ask_lib.errors import AskError, LayerNotFoundError, RangeError, ShapeError

Size = tuple[int, int]
Hook = Callable[[nn.Module, tuple[Any, ...], Any], Any]

# Lengths by which an input is enlarged to see how a map grows: all common strides divide them. On the meta device
# nothing is allocated, so the length may be huge; a real pass must stay affordable.
META_STEP = 2**5 * 3**2 * 5 * 7 * 11 * 13
REAL_STEP = 96
BEFORE_ACTIVATION = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.Linear, nn.modules.batchnorm._BatchNorm)
NO_FEATURES = (nn.Dropout, nn.Dropout2d, nn.Identity, nn.Flatten)
_WHOLE = "(whole network)"  # no module's name: tells whether a pass ran to its end
HEADS = ("classifier", "fc", "head", "heads", "avgpool", "AuxLogits", "aux1", "aux2")


@dataclass(frozen=True)
class LayerInfo:
    """What a layer's map is: its channels, and where its cells lie.

    Attributes:
        name: The layer's name in the network.
        channels: C of its ``(B, C, H, W)``.
        size: (H, W), for an input of ``input_size``.
        stride: (y, x), image pixels from one cell to the next.
        input_size: (H, W) of the images.
        exact: Whether the stride is the network's own. If not, it is input size / map size; ``note`` says why.
        calls: How often the layer runs in one forward pass; the tap gives the last.
        note: What a reader must know, or empty.
    """

    name: str
    channels: int
    size: Size
    stride: tuple[float, float]
    input_size: Size
    exact: bool = True
    calls: int = 1
    note: str = ""


class LayerTable(dict[str, LayerInfo]):
    """Layer name to ``LayerInfo``, in the order of the network; prints as a table."""

    def __str__(self) -> str:
        rows = [("layer", "channels", "size", "stride", "note")]
        for info in self.values():
            size, stride = "{} x {}".format(*info.size), _show_stride(info)
            rows.append((info.name, str(info.channels), size, stride, info.note))
        widths = [max(len(row[i]) for row in rows) for i in range(4)]
        lines = ("  ".join([*(c.ljust(w) for c, w in zip(row[:4], widths, strict=True)), row[4]]) for row in rows)
        return "\n".join(line.rstrip() for line in lines)


class FeatureTap:
    """Reads the maps of named layers while a network runs.

    >>> with FeatureTap(network, ["features.5", "features.12"]) as tap:
    ...     maps = tap(images)  # {"features.5": (B, C, H, W), "features.12": ...}
    ...     tap.logits, tap.info["features.12"].stride

    Inside the context the network is in evaluation mode (``eval_mode``). On leaving, every submodule's mode, every
    parameter's ``requires_grad`` and the hooks are as before. Calls of the network that do not go through the tap
    are not recorded.

    A map is what the layer gave, even when the next layer works in place (a convolution before
    ``ReLU(inplace=True)``): the network then goes on with a copy. The first pass copies every map, and sees which
    were overwritten; later passes copy only those.

    A layer that runs several times in one pass (a shared ReLU) gives its last map; ``info[...].calls`` counts.

    Args:
        network: The network; it is called with the images alone.
        layers: Names as in ``network.named_modules()``; ``layers_of(network)`` lists them.
        grad: ``"off"``: no graph is recorded. ``"maps"``: gradients with respect to the maps, parameters frozen (the
            graph begins at the first map). ``"all"``: gradients as the parameters and the images ask for them.
        eval_mode: Switch to evaluation mode inside; False keeps each submodule's mode.
        stop_early: End the pass at the last wanted layer; then there is no output.

    Raises:
        LayerNotFoundError: If the network has no such layer.
        ChoiceError: If ``grad`` is none of the three.
    """

    def __init__(
        self,
        network: nn.Module,
        layers: str | Sequence[str],
        *,
        grad: Literal["off", "maps", "all"] = "off",
        eval_mode: bool = True,
        stop_early: bool = False,
    ) -> None:
        check_choice("grad", grad, ["off", "maps", "all"])
        self.network = network
        self.layers = [layers] if isinstance(layers, str) else list(dict.fromkeys(layers))
        self.grad = grad
        self.eval_mode = eval_mode
        self.stop_early = stop_early
        self._modules = find_layers(network, self.layers)
        self._handles: list[RemovableHandle] = []
        self._state: _State | None = None
        self._recording = False
        self._maps: dict[str, torch.Tensor] = {}
        self._passed: list[tuple[str, torch.Tensor, int]] = []
        self._calls: Counter[str] = Counter()
        self._expected: Counter[str] | None = None
        self._unharmed: set[str] = set()
        self._output: Any = None
        self._input: torch.Tensor | None = None
        self._info: dict[str, LayerInfo] | None = None
        self._grown: dict[str, _Growth] | None = None
        self._seen_shapes: dict[str, tuple[int, Size]] = {}
        self._seen_calls: Counter[str] = Counter()

    def __enter__(self) -> Self:
        if self._state is not None:
            raise AskError("This FeatureTap is already open. Open a second one, or leave the first.")
        self._state = _State(self.network)
        try:
            if self.eval_mode:
                self.network.eval()
            if self.grad == "maps":
                self.network.requires_grad_(False)
            self._handles = [m.register_forward_hook(self._hook(name)) for name, m in self._modules.items()]
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def __call__(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """One forward pass.

        Args:
            images: ``(B, C, H, W)``, normalised as the network was trained.

        Returns:
            Layer name to map ``(B, C, H, W)``, in the order in which the layers were named.

        Raises:
            ShapeError: If ``images`` or a layer's output is not four-dimensional.
            LayerNotFoundError: If a layer did not run.
            AskError: Outside ``with``.
        """
        if self._state is None:
            raise AskError("A FeatureTap reads inside: with FeatureTap(network, layers) as tap: tap(images).")
        check_shape("images", images, "BCHW", "Add a batch axis with images[None] if it is one image.")
        if self.stop_early and self._expected is None:
            self._expected = self._count_calls(images)
        self._run(images)
        if self._overwritten():  # a layer that was safe in the first pass is not in this one
            self._run(images)
        self._input, self._info = images.new_empty((0, *images.shape[1:])), None
        maps = {name: self._maps[name] for name in self.layers}
        self._seen_shapes = {name: (m.shape[1], (m.shape[2], m.shape[3])) for name, m in maps.items()}
        self._seen_calls = Counter(self._calls)
        self._maps, self._passed = {}, []
        return maps

    @property
    def output(self) -> Any:
        """What the network returned in the last pass; None before one, and with ``stop_early``."""
        return self._output

    @property
    def logits(self) -> torch.Tensor:
        """The last pass's output, where it is one tensor.

        Raises:
            AskError: If it is not, or if there is none.
        """
        if isinstance(self._output, torch.Tensor):
            return self._output
        if self._output is None:
            raise AskError("No output yet: call the tap first, and leave stop_early off (it ends before the output).")
        kind = type(self._output).__name__
        raise AskError(f"The network returned a {kind}, not one tensor. Read tap.output instead of tap.logits.")

    @property
    def info(self) -> dict[str, LayerInfo]:
        """Channels, size and stride of each tapped layer, for the input size of the last pass.

        Raises:
            AskError: Before the first pass; ``info_at`` needs none.
        """
        if self._input is None:
            raise AskError("tap.info speaks of the last pass: call tap(images) first, or use tap.info_at((H, W)).")
        if self._info is None:
            if self._grown is None:
                self._grown = _measure(self.network, self._modules, self._input)
            size = (self._input.shape[2], self._input.shape[3])
            self._info = {name: self._describe(name, size, self._grown) for name in self.layers}
        return dict(self._info)

    def info_at(self, input_size: Size) -> dict[str, LayerInfo]:
        """The same for images of ``input_size`` (H, W), with no pass: shapes only."""
        images = _blank(self.network, input_size)
        grown = _measure(self.network, self._modules, images)
        _must_have_run(self.layers, grown)
        return {name: _layer_info(name, grown[name], input_size) for name in self.layers}

    def _describe(self, name: str, input_size: Size, grown: Mapping[str, _Growth]) -> LayerInfo:
        channels, size = self._seen_shapes[name]
        growth = grown.get(name, _Growth((1, channels, *size), None, "the network's shapes could not be probed"))
        if not self.stop_early:
            growth = replace(growth, calls=self._seen_calls[name])
        return _layer_info(name, replace(growth, shape=(1, channels, *size)), input_size)

    def _hook(self, name: str) -> Hook:
        def hook(module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
            return self._record(name, output) if self._recording else None

        return hook

    def _record(self, name: str, output: Any) -> torch.Tensor:
        captured = _need_map(name, output)
        if self.grad != "off" and not captured.requires_grad:
            captured = captured.detach().requires_grad_()  # the graph begins here: nothing before it is kept
        self._maps[name] = captured
        self._calls[name] += 1
        if self._expected is not None and self._calls >= self._expected:
            raise _LastLayerReachedError
        passed_on = captured if name in self._unharmed else captured.clone()
        if not passed_on.is_inference():  # under inference_mode there are no versions: every map is copied
            self._passed.append((name, passed_on, passed_on._version))
        return passed_on

    def _run(self, images: torch.Tensor) -> None:
        self._maps, self._passed, self._calls, self._output = {}, [], Counter(), None
        self._recording = True
        try:
            with torch.set_grad_enabled(self.grad != "off"):
                self._output = self.network(images)
        except _LastLayerReachedError:
            self._output = None
        except BaseException:
            self._maps, self._passed = {}, []
            raise
        finally:
            self._recording = False
        _must_have_run(self.layers, self._maps)

    def _overwritten(self) -> bool:
        """Learn which maps the network overwrites; True if one that was not copied has been."""
        harmed = {name for name, tensor, version in self._passed if tensor._version != version}
        lost = bool(harmed & self._unharmed)
        self._unharmed = {name for name, _, _ in self._passed} - harmed
        return lost

    def _count_calls(self, images: torch.Tensor) -> Counter[str] | None:
        shapes = _meta_shapes(self.network, self._modules, images[:1])
        if any(name not in shapes for name in self.layers):
            return None  # then every pass runs to its end
        return Counter({name: shapes[name][1] for name in self.layers})

    def _close(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles = []
        if self._state is not None:
            self._state.restore()
        self._state = None


def layers_of(
    network: nn.Module, input_size: Size = (224, 224), *, every: bool = False, channels: int | None = None
) -> LayerTable:
    """The layers that can be tapped, with channels, size and stride: children after their activation.

    A container's children are listed (``features.12``), a block's insides are not (``layer1.0``, not its
    convolutions); convolutions and norms are left out, because what follows them is the activation, and so are layers
    whose map does not grow with the image (global pooling).

    Args:
        network: The network.
        input_size: (H, W) of the images.
        every: List every module that gives a map, those left out above included.
        channels: Channels of the images; None: what the first convolution takes.

    Raises:
        RangeError: If the network can't take images of that size.
    """
    modules = {name: m for name, m in network.named_modules() if name}
    with _quiet(network):
        grown = _measure(network, modules, _blank(network, input_size, channels))
    if not grown:
        height, width = input_size
        raise RangeError(f"input_size: the network runs no layer on images of {height} x {width}. Try a larger size.")
    names = list(grown) if every else list(_after_activation(network, grown))
    return LayerTable((name, _layer_info(name, grown[name], input_size)) for name in names if grown[name].is_map)


def cell_centres(info: LayerInfo) -> torch.Tensor:
    """Where a map's cells lie in the image, in pixels: (x + 0.5) * stride - 0.5.

    This is the book's convention: cells tile the image from its upper left corner, pixel centres at integers. What a
    cell sees need not be centred there. It is for VGG; a ResNet's cell sees x * stride (half a cell to the upper left
    of the convention), SqueezeNet 1.0's last cells see half a cell further to the lower right.

    Args:
        info: The layer.

    Returns:
        ``(H, W, 2)``, (x, y) of cell (x, y) at ``[y, x]``.
    """
    y, x = ((torch.arange(n) + 0.5) * s - 0.5 for n, s in zip(info.size, info.stride, strict=True))
    rows, columns = torch.meshgrid(y, x, indexing="ij")
    return torch.stack([columns, rows], dim=-1)  # (H, W, 2)


def default_layers(network: nn.Module, input_size: Size = (224, 224)) -> tuple[str, ...]:
    """A sensible choice for any network: the last layer of each stride, shallow to deep, without the classifier."""
    last: dict[tuple[float, float], str] = {}
    for name, info in layers_of(network, input_size).items():
        if info.exact and name.split(".")[0] not in HEADS:
            last.pop(info.stride, None)  # a container comes before its children: the order is the last one's
            last[info.stride] = name
    return tuple(last.values())


def find_layers(network: nn.Module, names: Sequence[str]) -> dict[str, nn.Module]:
    """The modules of these names.

    Raises:
        LayerNotFoundError: If there is none; the message lists near names.
    """
    modules = dict(network.named_modules())
    if not names:
        raise LayerNotFoundError("layers: expected at least one layer's name, got none. layers_of(network) lists them.")
    for name in names:
        if not name or name not in modules:
            raise LayerNotFoundError(_no_such_layer(network, name, [m for m in modules if m]))
    return {name: modules[name] for name in names}


class _LastLayerReachedError(BaseException):
    """Ends a forward pass; no Exception, so that a network that catches errors lets it through."""


class _State:
    """Training mode of every submodule and ``requires_grad`` of every parameter, to be put back."""

    def __init__(self, network: nn.Module) -> None:
        self._modes = [(module, module.training) for module in network.modules()]
        self._grads = [(parameter, parameter.requires_grad) for parameter in network.parameters()]

    def restore(self) -> None:
        for module, training in self._modes:
            module.training = training
        for parameter, requires_grad in self._grads:
            parameter.requires_grad_(requires_grad)


@dataclass(frozen=True)
class _Growth:
    """A layer's output shape, and how many cells it gains when the image grows by ``step``."""

    shape: tuple[int, ...]
    stride: tuple[Fraction, Fraction] | None
    note: str = ""
    calls: int = 1

    @property
    def is_map(self) -> bool:
        return len(self.shape) == 4


@contextmanager
def _quiet(network: nn.Module) -> Iterator[None]:
    state = _State(network)
    network.eval()
    try:
        yield
    finally:
        state.restore()


def _need_map(name: str, output: Any) -> torch.Tensor:
    if isinstance(output, torch.Tensor) and output.ndim == 4:
        return output
    got = tuple(output.shape) if isinstance(output, torch.Tensor) else type(output).__name__
    raise ShapeError(
        f"layer {name!r}: expected a map (B, C, H, W), got {got}. Tap a layer before the flattening; "
        "layers_of(network) lists those that give maps."
    )


def _must_have_run(names: Sequence[str], seen: Mapping[str, Any]) -> None:
    for name in names:
        if name not in seen:
            raise LayerNotFoundError(f"layer {name!r} exists but did not run in this pass. Choose another layer.")


def _no_such_layer(network: nn.Module, name: str, names: list[str]) -> str:
    near = difflib.get_close_matches(name, names, n=5, cutoff=0.5)
    near += [n for n in names if n.split(".")[-1] == name.split(".")[-1] and n not in near][: 5 - len(near)]
    shown = near or [n for n, _ in network.named_children()][:12]
    what = "Near names" if near else "Its children"
    return (
        f"{type(network).__name__} has no layer {name!r}. {what}: {', '.join(shown)}. "
        "layers_of(network) lists all that give maps."
    )


def _blank(network: nn.Module, size: Size, channels: int | None = None) -> torch.Tensor:
    """An empty batch of images (no pixels are made): its shape, dtype and device are what counts."""
    first = next((m for m in network.modules() if isinstance(m, nn.Conv2d)), None)
    floats = [p for p in network.parameters() if p.is_floating_point()]
    like = floats[0] if floats else torch.empty(0)
    width = channels or (first.in_channels if first is not None else 3)
    return torch.empty(0, width, *size, dtype=like.dtype, device=like.device)


def _meta_shapes(
    network: nn.Module, modules: Mapping[str, nn.Module], images: torch.Tensor, grow: int = 0
) -> dict[str, tuple[tuple[int, ...], int]]:
    """Output shapes and numbers of calls for images larger by ``grow``, computing nothing.

    Parameters are stood in for by tensors on the meta device. A network that fails there (or at that size) gives the
    layers that ran before it failed.
    """
    tensors = [*network.named_parameters(), *network.named_buffers()]
    stand_ins = {name: torch.empty_like(tensor, device="meta") for name, tensor in tensors}
    shape = (1, images.shape[1], images.shape[2] + grow, images.shape[3] + grow)
    blank = torch.empty(shape, dtype=images.dtype, device="meta")
    return _watch(modules, lambda: torch.func.functional_call(network, stand_ins, (blank,)))


def _real_shapes(
    network: nn.Module, modules: Mapping[str, nn.Module], images: torch.Tensor, grow: int = 0
) -> dict[str, tuple[tuple[int, ...], int]]:
    """The same by a real pass over zeros, for a network that does not run on the meta device."""
    shape = (1, images.shape[1], images.shape[2] + grow, images.shape[3] + grow)
    blank = torch.zeros(shape, dtype=images.dtype, device=images.device)
    return _watch(modules, lambda: network(blank))


def _watch(modules: Mapping[str, nn.Module], forward: Callable[[], object]) -> dict[str, tuple[tuple[int, ...], int]]:
    shapes: dict[str, tuple[tuple[int, ...], int]] = {}

    def note(name: str) -> Hook:
        def hook(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
            shape = tuple(output.shape) if isinstance(output, torch.Tensor) else ()
            shapes[name] = (shape, shapes.get(name, ((), 0))[1] + 1)

        return hook

    handles = [module.register_forward_hook(note(name)) for name, module in modules.items()]
    try:
        with torch.no_grad():
            forward()
    except Exception:  # not hidden: what did not run is missing from the result, and the callers say so
        pass
    finally:
        for handle in handles:
            handle.remove()
    return shapes


def _measure(network: nn.Module, modules: Mapping[str, nn.Module], images: torch.Tensor) -> dict[str, _Growth]:
    """Shapes and exact strides: by shapes alone where the network allows it, else by real passes."""
    with _quiet(network):
        watched = {**modules, _WHOLE: network}
        shapes = _meta_shapes(network, watched, images)
        if _WHOLE in shapes:
            grown = [_meta_shapes(network, modules, images, n * META_STEP) for n in (1, 2)]
            return _growths([shapes, *grown], META_STEP)
        passes = [_real_shapes(network, modules, images, n * REAL_STEP) for n in (0, 1, 2)]
    return _growths(passes, REAL_STEP)


def _growths(probes: Sequence[Mapping[str, tuple[tuple[int, ...], int]]], step: int) -> dict[str, _Growth]:
    found = {}
    for name, (shape, calls) in probes[0].items():
        if name == _WHOLE:
            continue
        shapes = [probe.get(name, ((), 0))[0] for probe in probes]
        stride, note = _stride(shapes, step)
        found[name] = _Growth(shape, stride, note, calls)
    return found


def _stride(shapes: Sequence[tuple[int, ...]], step: int) -> tuple[tuple[Fraction, Fraction] | None, str]:
    """The stride (y, x) from the shapes at three input sizes, or None and the reason."""
    if len(shapes[0]) != 4:
        return None, "no map"
    if any(len(shape) != 4 for shape in shapes):
        return None, "the network does not take images of other sizes"
    if len({shape[1] for shape in shapes}) > 1:
        return None, "its second axis grows with the image: channels come last?"
    small, middle, large = ((shape[2], shape[3]) for shape in shapes)
    gained = [b - a for a, b in zip(small, middle, strict=True)]
    if gained != [b - a for a, b in zip(middle, large, strict=True)]:
        return None, "the map does not grow evenly with the image"
    if min(gained) <= 0:
        return None, "the map does not grow with the image"
    y, x = (Fraction(step, cells) for cells in gained)
    if max(y.denominator, x.denominator) > 16:  # 1/2 and 3/2 are strides; 1441440/84791 is 17, cut off somewhere
        return None, "the map does not grow by a whole number of cells"
    return (y, x), ""


def _layer_info(name: str, growth: _Growth, input_size: Size) -> LayerInfo:
    if not growth.is_map:
        raise ShapeError(
            f"layer {name!r}: expected a map (B, C, H, W), got {growth.shape or 'no tensor'}. "
            "layers_of(network) lists the layers that give maps."
        )
    size = (growth.shape[2], growth.shape[3])
    notes = [f"runs {growth.calls} times, the last counts"] if growth.calls > 1 else []
    if growth.stride is not None:
        stride = (float(growth.stride[0]), float(growth.stride[1]))
    else:
        stride = (input_size[0] / size[0], input_size[1] / size[1])
        notes.append(f"stride = image / map: {growth.note}")
    exact = growth.stride is not None
    return LayerInfo(name, growth.shape[1], size, stride, input_size, exact, growth.calls, "; ".join(notes))


def _show_stride(info: LayerInfo) -> str:
    y, x = (f"{s:.4g}" for s in info.stride)
    return ("" if info.exact else "about ") + (y if y == x else f"{y} x {x}")


def _after_activation(network: nn.Module, grown: Mapping[str, _Growth]) -> Iterator[str]:
    """Names of the children after their activation, in the network's order."""
    for name, module in _blocks(network, "", grown):
        last = _last_leaf(module)
        if grown[name].stride is not None and not isinstance(last, BEFORE_ACTIVATION + NO_FEATURES):
            yield name


def _blocks(module: nn.Module, prefix: str, grown: Mapping[str, _Growth]) -> Iterator[tuple[str, nn.Module]]:
    for child_name, child in module.named_children():
        name = f"{prefix}{child_name}"
        if name in grown and grown[name].is_map:
            yield name, child
        # containers are opened, and wholes that give no map (a network inside a network); blocks stay closed
        if type(child) in (nn.Sequential, nn.ModuleList, nn.ModuleDict) or not (name in grown and grown[name].is_map):
            yield from _blocks(child, f"{name}.", grown)


def _last_leaf(module: nn.Module) -> nn.Module:
    children = list(module.children())
    return _last_leaf(children[-1]) if type(module) is nn.Sequential and children else module
