"""Weight files: found, read as plain data, and fitted to a network, with errors that name what does not fit.

Networks and data may not import each other; the one exception is that this file uses ``data.download``.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ask_lib.data.download import download
from ask_lib.errors import WeightsError
from ask_lib.files import sha256

State = dict[str, torch.Tensor]

NESTS = ("state_dict", "model_state_dict", "model", "network", "net")
PREFIXES = ("module.", "_orig_mod.", "model.", "network.", "backbone.")
# torchvision's own DenseNet files still carry the layer names of 2017.
OLD_DENSENET = re.compile(r"^(.*denselayer\d+\.(?:norm|relu|conv))\.([12]\.(?:weight|bias|running_mean|running_var))$")
HASH_IN_NAME = re.compile(r"-([0-9a-f]{8,64})\.")


def read_weights(path: Path) -> State:
    """A state dict from ``.safetensors`` or from a torch file that holds tensors only.

    Nests (``{"state_dict": ...}``) and prefixes (``module.``) that training scripts add are taken off.

    Raises:
        WeightsError: If the file is missing, damaged, holds code, or holds no state dict.
    """
    if not path.is_file():
        raise WeightsError(f"weights: expected a file, there is none at {path}. Check the path.")
    content = _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)
    state = _strip(_tensors(path, content))
    bad = [key for key, tensor in state.items() if tensor.is_floating_point() and not tensor.isfinite().all()]
    if bad:
        raise WeightsError(
            f"weights {path.name}: {brief(bad)} hold NaN or infinity. The training that wrote them failed."
        )
    return state


def fit(network: nn.Module, state: Mapping[str, torch.Tensor], source: str, ignore: tuple[str, ...] = ()) -> None:
    """Load a state dict; every key must be there, none too many, each of the right shape.

    Args:
        network: The network; it is changed only if all fits.
        state: The weights.
        source: Where they come from, for the message.
        ignore: Prefixes of keys that the file may hold in excess (GoogLeNet's auxiliary heads).

    Raises:
        WeightsError: If something does not fit; the message lists it.
    """
    state = {key: tensor for key, tensor in state.items() if not key.startswith(ignore)} if ignore else dict(state)
    own = network.state_dict()
    counters = {key for key in own if key.endswith("num_batches_tracked")}  # files before 2018 have none
    missing = [key for key in own if key not in state and key not in counters]
    unexpected = [key for key in state if key not in own]
    shapes = [
        f"{key} is {tuple(state[key].shape)}, needs {tuple(own[key].shape)}"
        for key in own
        if key in state and state[key].shape != own[key].shape
    ]
    if missing or unexpected or shapes:
        raise WeightsError(_misfit(network, source, missing, unexpected, shapes))
    network.load_state_dict({**{key: own[key] for key in counters}, **state})


def class_count(state: Mapping[str, torch.Tensor], head: str) -> int | None:
    """Outputs of the classifier in a state dict, or None where it has none of that name."""
    return int(state[head].shape[0]) if head in state and state[head].ndim >= 1 else None


def head_key(network: nn.Module) -> str:
    """Name of the classifier's weight: the last weight of more than one dimension."""
    return [key for key, tensor in network.state_dict().items() if key.endswith("weight") and tensor.ndim > 1][-1]


def hub_folder() -> Path:
    """Where torch hub keeps its checkpoints; not created here."""
    return Path(torch.hub.get_dir()) / "checkpoints"


def fetch_torchvision(url: str, *, only_cached: bool = False) -> Path:
    """The file behind a torchvision weights address, in torch hub's folder; downloaded if need be, always verified.

    Raises:
        WeightsError: If ``only_cached`` and it is not there, or if the file there is not the one that was meant.
        DownloadError: If it can't be fetched.
    """
    path = hub_folder() / url.rsplit("/", 1)[-1]
    found = HASH_IN_NAME.search(path.name)
    wanted = found.group(1) if found else None
    if path.is_file():
        if wanted and not sha256(path).startswith(wanted):
            raise WeightsError(f"weights: {path} is damaged (its SHA-256 does not begin with {wanted}). Delete it.")
        return path
    if only_cached:
        raise WeightsError(
            f"weights='cached': there is no {path.name} in {path.parent}. "
            "Use weights='imagenet' to download it, a file's path, or weights='none'."
        )
    return download(url, path, sha256=wanted)


def brief(keys: Iterable[str], most: int = 4) -> str:
    """The first few of a list, and how many more."""
    listed = list(keys)
    rest = f" and {len(listed) - most} more" if len(listed) > most else ""
    return ", ".join(listed[:most]) + rest


def _read_safetensors(path: Path) -> Mapping[str, Any]:
    from safetensors.torch import load_file

    try:
        return dict(load_file(path))
    except Exception as error:  # of damaged files, see _read_torch
        raise WeightsError(
            f"weights {path.name}: not a readable safetensors file ({_short(error)}). Fetch it again."
        ) from error


def _read_torch(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # of a damaged file the unpickler makes anything: struct.error, AssertionError, ...
        if _looks_like_text(path):
            raise WeightsError(_not_weights(path)) from error
        if isinstance(error, pickle.UnpicklingError):
            raise WeightsError(
                f"weights {path.name}: only plain state dicts are read, and this file holds Python objects or is "
                "damaged. Where you trust it, write a plain one: torch.save(network.state_dict(), 'plain.pt')."
            ) from error
        raise WeightsError(
            f"weights {path.name}: the file is damaged or not torch's ({_short(error)}). Fetch it again."
        ) from error


def _short(error: Exception) -> str:
    return str(error).strip() or type(error).__name__


def _looks_like_text(path: Path) -> bool:
    with path.open("rb") as file:
        start = file.read(64).lstrip().lower()
    return start.startswith((b"<", b"version https://git-lfs"))


def _not_weights(path: Path) -> str:
    return (
        f"weights {path.name}: this is a text (a web page or a git-lfs pointer), not weights. Fetch the real file: "
        "the download's address, or 'git lfs pull'."
    )


def _tensors(path: Path, content: Any) -> State:
    for _ in range(3):  # {"model": {"state_dict": {...}}} occurs
        nest = next((n for n in NESTS if isinstance(content, Mapping) and isinstance(content.get(n), Mapping)), None)
        if nest is None:
            break
        content = content[nest]
    if isinstance(content, Mapping) and content and all(isinstance(v, torch.Tensor) for v in content.values()):
        return {str(key): tensor for key, tensor in content.items()}
    what = f"a dict with {brief(map(str, content))}" if isinstance(content, Mapping) else f"a {type(content).__name__}"
    raise WeightsError(f"weights {path.name}: expected a state dict (names to tensors), got {what}.")


def _strip(state: State) -> State:
    while True:
        prefix = next((p for p in PREFIXES if state and all(key.startswith(p) for key in state)), None)
        if prefix is None:
            break
        state = {key.removeprefix(prefix): tensor for key, tensor in state.items()}
    return {OLD_DENSENET.sub(r"\1\2", key): tensor for key, tensor in state.items()}


def _misfit(network: nn.Module, source: str, missing: list[str], unexpected: list[str], shapes: list[str]) -> str:
    parts = [
        f"{len(keys)} {what}: {brief(keys)}"
        for what, keys in (("missing", missing), ("unexpected", unexpected), ("of another shape", shapes))
        if keys
    ]
    advice = "Is it another network's file? Name the network that it was trained as."
    if not missing and not unexpected and len(shapes) <= 2:
        advice = "Only the classifier differs: give num_classes as the file has it."
    return f"weights {source} do not fit {type(network).__name__}: {'; '.join(parts)}. {advice}"
