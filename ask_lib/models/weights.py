"""Weight files: found, read as plain data, and fitted to a network, with errors that name what does not fit."""

from __future__ import annotations

import os
import pickle
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ask_lib.data.download import download
from ask_lib.errors import WeightsError

State = dict[str, torch.Tensor]

NESTS = ("state_dict", "model_state_dict", "model", "network", "net")
PREFIXES = ("module.", "_orig_mod.", "model.", "network.", "backbone.")
AUXILIARY = ("aux1.", "aux2.", "AuxLogits.")  # heads of GoogLeNet and Inception that only training uses
# torchvision's own DenseNet files still carry the layer names of 2017.
OLD_DENSENET = re.compile(r"^(.*denselayer\d+\.(?:norm|relu|conv))\.([12]\.(?:weight|bias|running_mean|running_var))$")
HASH_IN_NAME = re.compile(r"-([0-9a-f]{8,64})\.")


def read_weights(path: str | Path) -> State:
    """A state dict from a safetensors file or from a torch file that holds tensors only.

    The file's bytes decide which it is, not its name. Nests (``{"state_dict": ...}``) and prefixes (``module.``) that
    training scripts add are taken off. Shapes and values are not looked at: `fit` holds them against a network.

    Returns:
        Names to dense tensors of real numbers, on the CPU.

    Raises:
        WeightsError: If the file is missing, unreadable or damaged, holds code, or holds no such state dict.
    """
    path = Path(path)
    state = _strip(_tensors(path, _content(path)))
    odd = {key: kind for key, tensor in state.items() if (kind := _odd_kind(tensor))}
    if odd:
        raise WeightsError(
            f"weights {path.name}: expected dense tensors of real numbers; {_brief(f'{k} {odd[k]}' for k in odd)}. "
            "Convert them where they were made, then save network.state_dict()."
        )
    return state


def fit(network: nn.Module, state: Mapping[str, torch.Tensor], source: str) -> None:
    """Load what `read_weights` gave: every key is there, none too many, each of the right shape, all values finite.

    Other precisions of floating point are converted. The network is changed only if all fits.

    Raises:
        WeightsError: If something does not fit; the message lists it, and says that it comes from ``source``.
    """
    own = network.state_dict()
    state = {key: tensor for key, tensor in state.items() if key in own or not key.startswith(AUXILIARY)}
    both = [key for key in own if key in state]
    counters = {key for key in own if key.endswith("num_batches_tracked")}  # files before 2018 have none
    other = [key for key in both if state[key].shape != own[key].shape]
    misfits = {
        "missing": [key for key in own if key not in state and key not in counters],
        "unexpected": [key for key in state if key not in own],
        "of another shape": [f"{k} is {tuple(state[k].shape)}, needs {tuple(own[k].shape)}" for k in other],
    }
    if parts := [f"{len(keys)} {what}: {_brief(keys)}" for what, keys in misfits.items() if keys]:
        raise WeightsError(
            f"weights {source} do not fit {type(network).__name__}: {'; '.join(parts)}. "
            "Is it another network's file? Name the network that it was trained as."
        )
    bad = {key: why for key in both if (why := _unfit_values(state[key], own[key].dtype))}
    if bad:
        raise WeightsError(f"weights {source}: {_brief(f'{key} {bad[key]}' for key in bad)}. Write the file anew.")
    network.load_state_dict({key: own[key] for key in counters} | state)


def fetch_torchvision(url: str) -> Path:
    """The file behind a torchvision weights address, in torch hub's folder; downloaded if need be, always verified."""
    path = Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[-1]
    found = HASH_IN_NAME.search(path.name)
    return download(url, path, sha256=found.group(1) if found else None)


def _brief(keys: Iterable[str], most: int = 4) -> str:
    listed = list(keys)
    return ", ".join(listed[:most]) + (f" and {len(listed) - most} more" if len(listed) > most else "")


def _content(path: Path) -> Any:
    start = _start(path)
    if not any(byte < 9 or 13 < byte < 32 for byte in start):  # no control characters
        what = "text (a web page, a git-lfs pointer, JSON?)" if start else "empty"
        raise WeightsError(f"weights {path.name}: the file is {what}. Fetch the real one: its address, 'git lfs pull'.")
    try:
        if start.startswith((b"PK\x03\x04", b"\x80")):  # a zip file; a pickle, as torch wrote before 2020
            with path.open("rb") as file:  # of a path, torch would look at the name
                return torch.load(file, map_location="cpu", weights_only=True)
        if start[8:9] == b"{":  # safetensors: the header's length in eight bytes, then JSON
            from safetensors.torch import load_file

            return load_file(path)
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"weights {path.name}: only plain state dicts are read, and this file holds Python objects or is "
            "damaged. Where you trust it, write a plain one: torch.save(network.state_dict(), 'plain.pt')."
        ) from error
    except Exception as error:  # of a damaged file the readers make anything: struct.error, AssertionError, ...
        reason = str(error).strip() or type(error).__name__
        raise WeightsError(f"weights {path.name}: the file is damaged ({reason}). Fetch it again.") from error
    raise WeightsError(f"weights {path.name}: neither torch's nor a safetensors file, or damaged. Fetch it again.")


def _start(path: Path) -> bytes:
    try:
        if path.is_fifo():
            raise OSError("it is a pipe")  # opening it would wait for ever
        with path.open("rb") as file:
            return file.read(512)
    except (OSError, ValueError) as error:  # ValueError: a name with a zero byte
        reason = getattr(error, "strerror", None) or error
        link = ", a link" if os.path.islink(path) else ""  # noqa: PTH114 - Path.is_symlink may raise
        raise WeightsError(f"weights: expected a file at {path}{link}: {reason}. Check the path.") from error


def _tensors(path: Path, content: Any) -> State:
    for _ in range(3):  # {"model": {"state_dict": {...}}} occurs
        if isinstance(content, Mapping):
            content = next((content[n] for n in NESTS if isinstance(content.get(n), Mapping)), content)
    if isinstance(content, Mapping) and content and all(isinstance(v, torch.Tensor) for v in content.values()):
        return {str(key): tensor for key, tensor in content.items()}
    what = f"{type(content).__name__} {_brief(map(str, content)) if isinstance(content, Mapping) else ''}".strip()
    raise WeightsError(f"weights {path.name}: expected a state dict (names to tensors), got {what}.")


def _odd_kind(tensor: torch.Tensor) -> str:
    """What a tensor is, where it is not dense and real with all of its values in the file."""
    if tensor.layout != torch.strided or tensor.is_nested:
        return "is sparse"
    if tensor.is_quantized:
        return "is quantised"
    if tensor.is_meta:
        return "has no values (meta)"
    if tensor.is_complex():
        return "is complex"
    # A small file may claim any size by repeating values; the network that it asks for would fill the memory.
    repeated = tensor.untyped_storage().nbytes() < tensor.numel() * tensor.element_size()
    return "repeats few values (expanded)" if repeated else ""


def _unfit_values(tensor: torch.Tensor, dtype: torch.dtype) -> str:
    """Why a tensor's values can't become those of a network in that precision; empty where they can."""
    if tensor.is_floating_point() != dtype.is_floating_point:
        return f"is {tensor.dtype}, needs {dtype}"
    finite = bool(tensor.to(dtype).isfinite().all())
    return "" if finite else f"would hold NaN or infinity (failed training, or numbers too large for {dtype})"


def _strip(state: State) -> State:
    while prefix := next((p for p in PREFIXES if all(key.startswith(p) for key in state)), None):
        state = {key.removeprefix(prefix): tensor for key, tensor in state.items()}
    return {OLD_DENSENET.sub(r"\1\2", key): tensor for key, tensor in state.items()}
