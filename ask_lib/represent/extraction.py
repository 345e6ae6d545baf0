"""Vectors of many images: batched, from one pass for all representations, and kept on disk batch by batch."""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import io
import pickle
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Protocol

import torch

import ask_lib
from ask_lib.checks import check_range, check_shape
from ask_lib.data.transforms import normalize
from ask_lib.errors import AskError, ShapeError
from ask_lib.files import atomic_path, remove_parts, sha256
from ask_lib.models.backbones import Backbone
from ask_lib.models.features import FeatureTap
from ask_lib.represent.representation import FLIP, LOGITS, Maps, Representation

_DIGEST = 32  # bytes of SHA-256, before a part's content
_WAITING = 8  # batches' worth of images that wait for others of their size


class Images(Protocol):
    """Pictures by number, each read when it is asked for: a tensor ``(N, 3, H, W)``, a list, a data set of your own."""

    def __len__(self) -> int: ...
    def __getitem__(self, number: int, /) -> torch.Tensor: ...


def extract(
    backbone: Backbone,
    images: Images,
    wanted: Mapping[str, Representation] | Representation | Sequence[str],
    *,
    batch: int = 32,
    cache: str | Path | None = None,
    progress: bool = True,
    device: str | torch.device | None = None,
) -> Any:
    """The vectors of images under any number of representations, or the maps of layers.

    Images of one size share a batch, and every batch is one pass through the network (one more of the mirrored images
    where ``flip:`` layers are read). With ``cache`` each batch is kept as soon as it is done: a run that was stopped
    goes on where it was, and the same call again only reads. A part is found by the SHA-256 of what it depends on: the
    network and its weights, the library's code, layers, representations and what they were fitted to, the files that
    hold their functions and classes, as they are on disk, the images. It does not see what those files import from
    further files of yours, nor hooks and plain attributes set on the network by hand. A damaged part is made again.

    Args:
        backbone: The network, with its mean and std.
        images: Each ``(3, H, W)``; sizes may differ. uint8: normalised here. float: normalised already.
        wanted: Name to representation, or one representation; or layers by name (also ``flip:NAME`` and ``logits``).
        batch: Images a pass, at most.
        cache: A folder for the parts; None keeps nothing. With it, functions and classes must stand in a file.
        progress: Show a bar.
        device: Where the network goes and runs; None: where it is.

    Returns:
        Name to vectors ``(N, D)``, or those of the one; or layer to a list of N maps ``(C, H, W)``. On the CPU, in the
        order of the images.

    Raises:
        RangeError: If there is no image, or nothing is wanted, or ``batch`` is not positive.
        ShapeError: If an image is not ``(C, H, W)``, or vectors are not of one length.
        LayerNotFoundError: If the network has no such layer.
        AskError: If the cache can't be written to, or a lambda or what was defined in a notebook is to be cached.
    """
    from tqdm.auto import tqdm

    if callable(wanted):  # one representation
        how = {"batch": batch, "cache": cache, "progress": progress, "device": device}
        return extract(backbone, images, {"": wanted}, **how)[""]  # type: ignore[arg-type]
    wanted = [wanted] if isinstance(wanted, str) else wanted
    check_range("batch", batch, 1)
    check_range("number of images", len(images), 1)
    check_range("number of representations or layers", len(wanted), 1)
    rows = wanted if isinstance(wanted, Mapping) else None
    layers = list(wanted) if rows is None else [layer for row in rows.values() for layer in row.layers]
    place = torch.device(device) if device is not None else next(backbone.network.parameters()).device
    backbone.network.to(place)
    folder, key = Path(cache or "").expanduser(), _key(backbone, place, layers, rows) if cache else ""
    if key:
        remove_parts(folder, older_than=3600.0)  # of writers that were killed
    found: dict[str, dict[int, torch.Tensor]] = {name: {} for name in wanted}
    names = list(dict.fromkeys(layer.removeprefix(FLIP) for layer in layers))
    tapped = [name for name in names if name != LOGITS] or [backbone.last_layer]
    tap, bar = FeatureTap(backbone.network, tapped), tqdm(total=len(images), desc="images", disable=not progress)
    with torch.no_grad(), torch.autocast(place.type, enabled=False), tap, bar:  # precision is the network's own
        for numbers, stacked in _batches(images, batch):
            path = folder / f"{_digest(key, stacked)}.pt" if key else None
            part = _kept(path) if path else None
            if part is None:
                part = _described_by(rows, _read(tap, _ready(stacked.to(place), backbone), layers))
                if path:
                    _keep(path, part)
            for name in found:
                found[name].update(zip(numbers, part[name], strict=True))
            bar.update(len(numbers))
    ordered = {name: [by_number[at] for at in range(len(images))] for name, by_number in found.items()}
    if rows is None:
        return ordered
    return {name: _stacked(name, vectors) for name, vectors in ordered.items()}


def _batches(images: Images, batch: int) -> Iterator[tuple[list[int], torch.Tensor]]:
    """Images of one size and type, with their numbers; each image is asked for once, and few wait for others."""
    waiting: dict[object, list[tuple[int, torch.Tensor]]] = {}
    for number in range(len(images)):
        image = images[number]
        check_shape(f"images[{number}]", image, "CHW", "One picture: uint8 (3, H, W), or float and normalised.")
        same = waiting.setdefault((image.shape, image.dtype), [])
        same.append((number, image))
        full = sum(map(len, waiting.values())) >= _WAITING * batch
        if full:
            same = max(waiting.values(), key=len)
        if full or len(same) == batch:
            yield [at for at, _ in same], torch.stack([each for _, each in same])
            same.clear()
    for same in filter(None, waiting.values()):
        yield [at for at, _ in same], torch.stack([each for _, each in same])


def _ready(images: torch.Tensor, backbone: Backbone) -> torch.Tensor:
    """As the network wants them, in its own precision; float ones are normalised already."""
    ready = images if images.is_floating_point() else normalize(images.float() / 255, backbone.mean, backbone.std)
    return ready.to(next(backbone.network.parameters()).dtype)


def _read(tap: FeatureTap, images: torch.Tensor, layers: Iterable[str]) -> Maps:
    """One pass, and one of the mirrored images where they are asked for."""
    found: dict[str, torch.Tensor] = {}
    for prefix in ("", FLIP):
        asked = {layer for layer in layers if layer.startswith(FLIP) == bool(prefix)}
        if asked:
            maps = tap(images.flip(3) if prefix else images)
            found |= {layer: tap.logits if layer == prefix + LOGITS else maps[layer[len(prefix) :]] for layer in asked}
    return found


def _described_by(rows: Mapping[str, Representation] | None, maps: Maps) -> dict[str, torch.Tensor]:
    """The vectors of a batch, on the CPU; the maps themselves where no representation is asked for."""
    if rows is None:
        return {layer: features.cpu() for layer, features in maps.items()}
    found = {name: row(maps).cpu() for name, row in rows.items()}
    count = len(next(iter(maps.values())))
    for name, vectors in found.items():
        check_shape(name, vectors, (count, "D"), "A representation gives each image a vector.")
    return found


def _stacked(name: str, vectors: Sequence[torch.Tensor]) -> torch.Tensor:
    lengths = sorted({len(vector) for vector in vectors})
    if len(lengths) > 1:
        raise ShapeError(f"{name}: expected vectors of one length, got {lengths}. It depends on the images' size.")
    return torch.stack(list(vectors))


def _kept(path: Path) -> dict[str, torch.Tensor] | None:
    """A part of the cache; None if there is none that is whole."""
    with contextlib.suppress(OSError):
        held = path.read_bytes()
        if hashlib.sha256(held[_DIGEST:]).digest() == held[:_DIGEST]:
            part: dict[str, torch.Tensor] = torch.load(io.BytesIO(held[_DIGEST:]), weights_only=True)
            return part
    return None


def _keep(path: Path, part: dict[str, torch.Tensor]) -> None:
    content = io.BytesIO()
    torch.save(part, content)
    try:
        with atomic_path(path) as new:
            new.write_bytes(hashlib.sha256(content.getvalue()).digest() + content.getvalue())
    except OSError as cause:
        raise AskError(f"cache: cannot write {path} ({cause.strerror}). Give another folder, or none.") from cause


def _key(
    backbone: Backbone, device: torch.device, layers: Sequence[str], rows: Mapping[str, Representation] | None
) -> str:
    """Of all but the images: code, versions, network, layers, representations."""
    sources = [sha256(path) for path in sorted(Path(ask_lib.__file__).parent.rglob("*.py"))]
    kinds = [type(module) for module in backbone.network.modules()]
    tensors = [backbone.network.state_dict(), dict(backbone.network.named_buffers())]
    network = [str(backbone.network), kinds, tensors, backbone.mean, backbone.std]
    return _digest(sources, torch.__version__, device.type, network, layers, rows)


class _Pickler(pickle.Pickler):
    """Writes equal bytes for equal values; notes the modules whose functions and classes it meets."""

    def __init__(self, sink: Any) -> None:
        super().__init__(sink)
        self.fast = True  # no memo: whether two equal parts are one object does not show
        self.modules: set[str] = set()

    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            content = value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()
            return tuple, ((str(value.dtype), tuple(value.shape), content),)
        if inspect.isfunction(value) or inspect.isclass(value):
            self.modules.add(value.__module__)
        return NotImplemented


def _digest(*values: Any) -> str:
    """SHA-256 of values, and of the files that their functions and classes stand in."""
    digest = hashlib.sha256()
    pickler = _Pickler(SimpleNamespace(write=digest.update))
    try:
        pickler.dump(values)
        for name in sorted(pickler.modules - set(sys.builtin_module_names)):
            digest.update(sha256(Path(sys.modules[name].__file__ or "")).encode())
    except (pickle.PicklingError, AttributeError, TypeError, ValueError, RecursionError, OSError) as cause:
        raise AskError(
            f"cache: expected representations of functions and classes that stand in a file ({cause}). "
            "Move what is a lambda, or defined in a function or a notebook, to a file; or cache nothing."
        ) from cause
    return digest.hexdigest()
