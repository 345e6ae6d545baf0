"""Cross-layer pooling as a representation, and vectors too long for memory: streamed to a file, block by block."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch

from ask_lib.checks import check_range, check_shape
from ask_lib.errors import CacheError, RangeError
from ask_lib.files import read_object, write_json
from ask_lib.methods.cross_layer_pooling import PORT, cross_layer_pool, normalize, unfold
from ask_lib.methods.descriptors import PCA, resize_mask, to_descriptors
from ask_lib.models.backbones import Backbone
from ask_lib.represent.extraction import Images, _digest, _key, extract
from ask_lib.represent.representation import Maps, Representation


@dataclass(frozen=True)
class CrossLayer:
    """Cross-layer pooling of two layers.

    >>> row = CrossLayer("low", "high", steps=())
    >>> row({"low": torch.tensor([[[[1.0, 2.0]]]]), "high": torch.tensor([[[[1.0, 0.0]], [[3.0, 1.0]]]])})
    tensor([[1., 5.]])

    Attributes:
        local: Layer t, whose descriptors are pooled.
        weights_layer: Layer t + 1, whose responses weigh them.
        kernel_size: m and n of the patches; 1: the cells themselves. The paper's is the next layer's kernel.
        stride: Of the patches: the next layer's.
        pca: Of the patches, before they are pooled; the port's has 512 axes.
        steps: Of `normalize`; none: the sums as they are.
    """

    local: str
    weights_layer: str
    kernel_size: int | tuple[int, int] = 1
    stride: int = 1
    pca: PCA | None = None
    steps: tuple[str, ...] = PORT

    @property
    def layers(self) -> tuple[str, ...]:
        """Layer t, layer t + 1."""
        return (self.local, self.weights_layer)

    def fit(self, *maps: Maps) -> Self:
        """Fit the PCA on the patches of images that no table reports on; one mapping a size of grid.

        Raises:
            RangeError: If they hold too few patches, or there is no PCA.
        """
        if self.pca is None or not maps:
            raise RangeError("fit: expected a PCA and maps of some images. Without a PCA there is nothing to fit.")
        self.pca.fit(torch.cat([to_descriptors(self._patches(each)).flatten(0, 1) for each in maps]))  # (N, m*n*C)
        return self

    def __call__(self, maps: Maps) -> torch.Tensor:
        """The pooled vectors: ``(B, K * D)``."""
        x, a = self._patches(maps), maps[self.weights_layer]
        if self.pca is not None:
            x = self.pca.transform(to_descriptors(x)).mT.view(len(x), -1, *x.shape[2:])  # (B, dim, H, W)
        return normalize(cross_layer_pool(x, a), a.shape[1], self.steps)

    def weights(self, maps: Maps) -> torch.Tensor:
        """The sum of the next layer's responses, on the grid of layer t."""
        height, width = maps[self.local].shape[2:]
        return resize_mask(maps[self.weights_layer].clamp(min=0).sum(dim=1), (height, width))

    def _patches(self, maps: Maps) -> torch.Tensor:
        return unfold(maps[self.local], self.kernel_size, self.stride)


def extract_to_file(
    path: str | Path,
    backbone: Backbone,
    images: Images,
    representation: Representation,
    *,
    block: int = 64,
    dtype: str = "float32",
    **how: Any,
) -> np.memmap[Any, Any]:
    """The vectors of images in a file, mapped to memory: for vectors that do not fit there.

    A block of images is described, written, and noted in ``PATH.json`` beside the file. A run that was stopped goes on
    after its last whole block; the same call again only reads. Where images, network, code or representation are others
    than the file's, it is an error.

    Args:
        path: Of a numpy file, ``NAME.npy``.
        backbone: As of `extract`; so are the images.
        images: Of one size.
        representation: One, fitted.
        block: Images between two notes, at least 1.
        dtype: Of the file: ``float32``, or ``float16`` for half the space (sums above 65,504 become infinite).
        how: ``batch``, ``progress`` and ``device`` of `extract`.

    Returns:
        ``(N, D)``, read-only.

    Raises:
        CacheError: If the file holds other vectors, or cannot be opened.
        ShapeError: If vectors are not of one length.
        AskError: As `extract` raises with a cache.
    """
    path, count = Path(path).expanduser(), len(images)
    check_range("block", block, 1)
    check_range("number of images", count, 1)
    place = torch.device(how.get("device") or next(backbone.network.parameters()).device)
    key = _digest(_key(backbone, place, representation.layers, {"": representation}), dtype, count)
    note = path.with_name(f"{path.name}.json")
    held = read_object(note, "a note of finished blocks", CacheError)["blocks"] if note.exists() else []
    blocks: list[str] = []
    for start in range(0, count, block):
        pictures = [images[number] for number in range(start, min(start + block, count))]
        blocks.append(_digest(key, pictures))
        if held[len(blocks) - 1 : len(blocks)] == blocks[-1:]:
            continue
        if len(blocks) <= len(held):
            raise CacheError(f"{path}: block {len(blocks)} holds other vectors. Move it away, or give a new path.")
        vectors = extract(backbone, pictures, representation, **how)
        file = _opened(path, "r+" if start else "w+", np.dtype(dtype), (count, vectors.shape[1]))
        check_shape("vectors", vectors, ("N", file.shape[1]), "Their length depends on the images' size.")
        file[start : start + len(vectors)] = vectors.numpy()
        file.flush()  # before the note says so
        write_json(note, {"blocks": blocks})
    return _opened(path, "r")


def _opened(
    path: Path, mode: Literal["r", "r+", "w+"], dtype: Any = None, shape: tuple[int, int] | None = None
) -> np.memmap[Any, Any]:
    """The file, mapped to memory."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        return np.lib.format.open_memmap(path, mode, dtype, shape)
    except (OSError, ValueError) as cause:
        raise CacheError(f"{path}: cannot be opened ({cause}). Move its note {path.name}.json away too.") from cause
