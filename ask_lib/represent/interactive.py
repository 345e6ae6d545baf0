"""InterActive on a network: every layer's activeness from one forward and one backward pass.

A pass is traced function by function, so that branches need no list of architectures. The neurons of the layer that
comes next to a map are those in whose sum, equation 1 of the paper, its cells stand as terms: the outputs of the
activation after the convolution that reads it, or of the pooling. A norm or an addition between belongs to the sum. So
a block is entered by its first convolutions, and a skip is an identity that ends at the block's output.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from ask_lib.checks import check_choice, check_shape
from ask_lib.errors import AskError, LayerNotFoundError
from ask_lib.methods.descriptors import avg_pool, l2_normalize, max_pool
from ask_lib.methods.interactive import gate, spread, spread_to_maximum, top_scores, weigh, windows
from ask_lib.models.features import Size, evaluating, find_layers
from ask_lib.models.forward import forward_features

POOLS = {"avg": avg_pool, "max": max_pool}
SAME = {"dropout", "flatten", "view", "reshape", "contiguous", "clone"}
SUMS = {"batch_norm", "group_norm", "add", "add_", "__add__", "__iadd__", "__radd__"}
ACTIVATIONS = {
    "relu", "relu_", "relu6", "hardtanh", "leaky_relu", "elu", "gelu", "silu", "mish", "hardswish", "sigmoid", "tanh",
}  # fmt: skip
AVERAGES = {"avg_pool2d", "adaptive_avg_pool2d", "mean"}
WEIGHTED = {"conv2d", "linear"}
JOINING = (nn.Conv2d, nn.Linear, nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)
TOPS = ("last", "logits")


def interactive(
    network: nn.Module,
    images: torch.Tensor,
    layers: Sequence[str],
    p: float = 2.0,
    target: str = "last",
    pool: str = "avg",
    **how: bool,
) -> dict[str, torch.Tensor]:
    """The InterActive feature of each layer: its activeness, pooled over the map, and not normalised.

    >>> from ask_lib.models.backbones import load_backbone
    >>> vgg = load_backbone("objects_vgg", "objects").network
    >>> found = interactive(vgg, torch.rand(1, 3, 120, 160), ["pool2", "relu4_2", "pool5"])
    >>> {name: tuple(feature.shape) for name, feature in found.items()}
    {'pool2': (1, 24), 'relu4_2': (1, 48), 'pool5': (1, 96)}

    Args:
        network: In evaluation mode meanwhile; its parameters get no gradients.
        images: ``(B, 3, H, W)``, normalised as the network was trained.
        layers: Layers t, by name: children after their activation, as `layers_of` lists them.
        p: Norm of the density, 1 or more, infinity too.
        target: The layer T: ``last``, which the classifier's last weighted layer reads (fc-7 of a VGG, else the last
            map); ``next``, the layer t + 1, with no backward pass; ``logits``; or a layer by name.
        pool: ``avg`` or ``max``. (The paper writes the maximum and cites the average.)
        how: ``argmax_only=True``: a max-pooling's neuron is connected to the one cell that it took.

    Returns:
        Layer to ``(B, C)``.

    Raises:
        LayerNotFoundError: If there is no such layer, or it does not lie below T.
        AskError: If it is not known how the next layer reads it (DenseNet's concatenation, ShuffleNet's split).
    """
    check_choice("pool", pool, POOLS)
    active = activeness(network, images, layers, p, target, **how)
    return {name: POOLS[pool](maps) for name, maps in active.items()}


def activeness(
    network: nn.Module, images: torch.Tensor, layers: Sequence[str], p: float = 2.0, target: str = "last", **how: bool
) -> dict[str, torch.Tensor]:
    """Each neuron's activeness, layer to ``(B, C, H, W)``; see ``interactive``."""
    found = propagate(network, images, layers, p, target, **how)
    return {name: weigh(response, weights) for name, (response, weights) in found.items()}


def propagate(
    network: nn.Module, images: torch.Tensor, layers: Sequence[str], p: float, target: str, *, argmax_only: bool = False
) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Each layer's responses, ``(B, C, H, W)``, and their weights, ``(B, groups, H, W)``; see ``interactive``.

    The weights' sum over channels is where it looks: the paper's Figure 3. Below a skip, the layer t + 1 of ``next`` is
    two maps with a density of both; neither is propagated into the other.
    """
    named = [] if target in (*TOPS, "next") else [target]
    with _traced(network, images, [*layers, *named], gradients=target != "next") as trace:
        readers = {name: list(_readers(name, trace.layers[name])) for name in layers}
        nexts = {name: [_response(step).output for step in steps] for name, steps in readers.items()}
        scores: Iterator[torch.Tensor | None]
        if target == "next":
            scores = (score for each in nexts.values() for score in top_scores([_as_map(x) for x in each], p))
        else:
            scores = iter(_slopes(trace.top(target), [x for each in nexts.values() for x in each], p))
        found = {}
        for name in layers:
            x = _as_map(trace.layers[name].output.detach())
            parts = [
                _spread(gate(_as_map(score), _as_map(response.detach())), step.module, x, argmax_only)
                for step, response, score in zip(readers[name], nexts[name], scores, strict=False)  # scores come last
                if score is not None  # T depends on it
            ]
            if not parts:
                raise LayerNotFoundError(f"layer {name!r} does not lie below T, {target!r}. Choose a lower layer.")
            found[name] = (x, _sum(parts))
        return found


def gradient_times_input(
    network: nn.Module, images: torch.Tensor, layers: Sequence[str], p: float = 2.0, target: str = "last"
) -> dict[str, torch.Tensor]:
    """What InterActive is not: response times gradient, where the last step has the network's weights like the others.

    Shapes and arguments as of ``activeness``; ``target`` is not ``next``.
    """
    with _traced(network, images, [*layers, *({target} - set(TOPS))]) as trace:
        maps = [trace.layers[name].output for name in layers]
        slopes = _slopes(trace.top(target), maps, p)
        return {name: x.detach() * g for name, x, g in zip(layers, maps, slopes, strict=True) if g is not None}


def rescore(
    network: nn.Module, images: torch.Tensor, layer: str, p: float = 2.0, *, keep_length: bool = False
) -> torch.Tensor:
    """Logits ``(B, num_classes)`` with the activeness of a layer for its responses, T the logits: section 4.4.

    Where each logit reads each neuron, as of fc-7, all neurons of a place have one weight. It moves the order of the
    classes by what stands beside it: the bias, and in a larger image the other places.

    Args:
        network: As of ``interactive``.
        images: As of ``interactive``.
        layer: The one to update; the paper's is fc-7.
        p: As of ``interactive``.
        keep_length: Scale each image's responses back to their length. Open in the paper: the weights' scale, which
            means nothing elsewhere, decides here how much the bias counts.
    """
    (module,) = find_layers(network, [layer]).values()
    (updated,) = activeness(network, images, [layer], p, "logits").values()

    def replace(module: nn.Module, args: Any, response: torch.Tensor) -> torch.Tensor:
        length = torch.linalg.vector_norm(response.flatten(1), dim=1, keepdim=True)
        new = l2_normalize(updated.flatten(1)) * length if keep_length else updated
        return new.view(response.shape)

    with evaluating(network), torch.no_grad(), module.register_forward_hook(replace):
        return network(images)  # type: ignore[no-any-return]


def fully_convolutional(network: nn.Module, size: Size) -> nn.Module:
    """A VGG or AlexNet whose fully connected layers are convolutions: larger images give several places, averaged.

    The average before the first of them becomes part of its kernel: images of ``size``, (H, W), on which the network
    was trained, give the logits that they gave. Names stay, and weights are shared. Another network raises an
    ``AskError``.
    """
    children = dict(network.named_children())
    average, _ = children.pop("avgpool", None), children.pop("flatten", None)
    if not isinstance(average, nn.AdaptiveAvgPool2d) or not {"classifier", "fc6"} & set(children):
        raise AskError(f"network: expected a VGG or AlexNet, got {type(network).__name__}. It needs an fc-6.")
    like = next(network.parameters())
    with evaluating(network), torch.no_grad():
        last = forward_features(network, like.new_zeros(1, getattr(network, "in_channels", 3), *size))
        pooled = average(last)
    reads = [windows(average, axis, pooled.shape[2 + axis], last.shape[2 + axis]) for axis in (0, 1)]
    shares = [each / each.sum(dim=1, keepdim=True, dtype=like.dtype) for each in reads]  # (cells, H), (cells, W)
    layers = {name: _as_convolutions(child, last.shape[1], shares) for name, child in children.items()}
    return nn.Sequential(OrderedDict(**layers, places=nn.AdaptiveAvgPool2d(1), vector=nn.Flatten())).eval()


# --- the pass -----------------------------------------------------------------------------------------------------


@dataclass(eq=False)
class _Step:
    """A function that ran, and which ones read what it gave."""

    name: str
    output: torch.Tensor
    inputs: Sequence[_Step] = ()
    readers: list[_Step] = field(default_factory=list)
    module: nn.Module = field(default_factory=nn.Identity)


class _Trace(TorchFunctionMode):
    """Inside, notes in order each function that works on what came of the images."""

    def __init__(self, images: torch.Tensor) -> None:
        super().__init__()
        self.steps = [_Step("images", images)]
        self.layers: dict[str, _Step] = {}
        self._of = {id(images): self.steps[0]}  # the steps keep their tensors: no number is given twice

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        given = [x for each in args for x in (each if isinstance(each, list | tuple) else [each])]
        inputs = [self._of[id(x)] for x in given if id(x) in self._of]
        for output in result if isinstance(result, list | tuple) else [result]:
            if isinstance(output, torch.Tensor) and inputs:
                step = _Step(function.__name__, output, inputs)
                self.steps.append(step)
                self._of[id(output)] = step  # where it worked in place, the object means another step from now on
                for read in inputs:
                    read.readers.append(step)
        return result

    def mark(self, name: str, module: nn.Module, args: Any, output: Any) -> None:
        """A forward hook: this module gave that."""
        if id(output) in self._of:
            step = self.layers[name] = self._of[id(output)]
            if isinstance(module, JOINING):
                step.module = module

    def forget(self) -> None:
        """Steps that know each other would keep their maps until Python looks for such rings."""
        for step in self.steps:
            step.readers.clear()

    def top(self, target: str) -> torch.Tensor:
        """The responses of the layer T."""
        if target not in TOPS:
            return self.layers[target].output
        head = [step for step in self.steps if step.name in WEIGHTED][-1]
        if target == "logits":
            return _response(head).output
        step = head.inputs[0]
        while step.name in SAME | AVERAGES:
            step = step.inputs[0]
        return step.output


@contextmanager
def _traced(
    network: nn.Module, images: torch.Tensor, layers: Sequence[str], *, gradients: bool = True
) -> Iterator[_Trace]:
    """The trace of a forward pass; no module works in place meanwhile, so that it holds what each of them gave."""
    check_shape("images", images, "BCHW", "Add a batch axis with images[None] if it is one image.")
    find_layers(network, layers)
    with ExitStack() as stack:
        stack.enter_context(evaluating(network))
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.set_grad_enabled(gradients))
        for module in network.modules():
            if getattr(module, "inplace", False):
                stack.callback(setattr, module, "inplace", True)
                module.inplace = False  # type: ignore[assignment]
        trace = _Trace(images.detach().clone().requires_grad_(gradients))
        for name, module in network.named_modules():
            stack.callback(module.register_forward_hook(partial(trace.mark, name)).remove)
        stack.callback(trace.forget)
        with trace:
            network(trace.steps[0].output)
        if missing := [name for name in layers if name not in trace.layers]:
            raise LayerNotFoundError(f"layer {missing[0]!r} exists but gave no map in this pass. Choose another.")
        yield trace


def _slopes(top: torch.Tensor, maps: Sequence[torch.Tensor], p: float) -> tuple[torch.Tensor | None, ...]:
    """[IA-4] The gradients of the density's logarithm at T with respect to lower maps, all in one backward pass."""
    (score,) = top_scores([_as_map(top.detach())], p)
    return torch.autograd.grad(top, [*maps, top], score.reshape(top.shape), allow_unused=True)[:-1]  # [IA-4]


def _readers(name: str, step: _Step) -> Iterator[_Step]:
    """The functions by which the next layer reads this one."""
    for reader in step.readers:
        if reader.name in SAME:
            yield from _readers(name, reader)
        elif isinstance(reader.module, JOINING) or reader.name in SUMS | ACTIVATIONS:
            yield reader
        else:
            raise AskError(f"layer {name!r} is read by {reader.name!r}: it is not known which neurons that connects.")


def _response(step: _Step) -> _Step:
    """The neurons in whose sum the step's result is a term: past norms and additions, after the activation."""
    while step.name in WEIGHTED | SUMS and len(step.readers) == 1 and step.readers[0].name in SUMS | ACTIVATIONS:
        step = step.readers[0]
    return step


def _spread(gated: torch.Tensor, by: nn.Module, x: torch.Tensor, argmax_only: bool) -> torch.Tensor:
    size = (x.shape[2], x.shape[3])
    if not (argmax_only and isinstance(by, nn.MaxPool2d)):
        return spread(gated, by, size)
    window = (by.kernel_size, by.stride, by.padding, by.dilation, by.ceil_mode)
    return spread_to_maximum(gated, functional.max_pool2d(x, *window, return_indices=True)[1], size)


def _sum(parts: list[torch.Tensor]) -> torch.Tensor:
    """Of the weights by the next layer's parts, on as many groups as the finest has."""
    groups = max(part.shape[1] for part in parts)
    return torch.stack([part.repeat_interleave(groups // part.shape[1], dim=1) for part in parts]).sum(dim=0)


def _as_map(x: torch.Tensor) -> torch.Tensor:
    """``(B, D)`` as a map of one cell."""
    return x[..., None, None] if x.ndim == 2 else x


def _as_convolutions(module: nn.Module, channels: int, shares: list[torch.Tensor]) -> nn.Module:
    """Fully connected layers as convolutions; the first, which reads ``shares`` of each channel, takes them along."""
    if isinstance(module, nn.Sequential):
        children = module.named_children()
        return nn.Sequential(OrderedDict((name, _as_convolutions(child, channels, shares)) for name, child in children))
    if not isinstance(module, nn.Linear):
        return module
    weight = module.weight.detach()[..., None, None]  # (out, in, 1, 1)
    if shares:
        weight = weight.view(len(weight), channels, *(len(share) for share in shares))
        weight = torch.einsum("ocij,ih,jw->ochw", weight, *shares)
        shares.clear()
    with torch.device("meta"):
        convolution = nn.Conv2d(weight.shape[1], weight.shape[0], (weight.shape[2], weight.shape[3]))
    convolution.weight = nn.Parameter(weight, requires_grad=False)
    convolution.bias = nn.Parameter(module.bias.detach(), requires_grad=False)
    return convolution
