"""One-line checks whose message says what was expected, what came, and the way out."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from ask_lib.errors import AskError, ChoiceError, RangeError, ShapeError

if TYPE_CHECKING:
    import torch


def check_shape(name: str, tensor: torch.Tensor, pattern: Sequence[str | int], hint: str = "") -> None:
    """Raise a `ShapeError` unless a tensor's shape fits a pattern.

    Args:
        name: The argument's name, for the message.
        tensor: The tensor.
        pattern: One entry a dimension: an int for a fixed size, a letter for any size. The same letter
            twice means the same size.
        hint: What to do about it.
    """
    import torch  # here, so that a command line can check its options before torch is loaded

    if not isinstance(tensor, torch.Tensor):
        raise ShapeError(f"{name}: expected a tensor {_show(pattern)}, got {type(tensor).__name__}. {hint}".rstrip())
    sizes: dict[str, int] = {}
    fits = tensor.ndim == len(pattern) and all(
        size == want if isinstance(want, int) else sizes.setdefault(want, size) == size
        for size, want in zip(tensor.shape, pattern, strict=True)
    )
    if not fits:
        raise ShapeError(f"{name}: expected {_show(pattern)}, got {tuple(tensor.shape)}. {hint}".rstrip())


def check_device(name: str, tensor: torch.Tensor, device: torch.device) -> None:
    """Raise an `AskError` unless a tensor lies on a device."""
    if tensor.device != device:
        raise AskError(f"{name}: expected on {device}, got {tensor.device}. Bring it there with .to({str(device)!r}).")


def check_choice(name: str, value: str, choices: Iterable[str]) -> None:
    """Raise a `ChoiceError` unless ``value`` is one of ``choices``; the message offers the nearest one."""
    known = list(choices)
    if value in known:
        return
    near = difflib.get_close_matches(str(value), known, n=1)
    guess = f" Did you mean {near[0]!r}?" if near else ""
    raise ChoiceError(f"{name}: expected one of {', '.join(known)}; got {value!r}.{guess}")


def check_range(
    name: str, value: float, low: float | None = None, high: float | None = None, *, open_low: bool = False
) -> None:
    """Raise a `RangeError` unless ``low <= value <= high`` (``low < value`` with ``open_low``); NaN never passes."""
    above = low is None or (value > low if open_low else value >= low)
    below = high is None or value <= high
    if value != value or not (above and below):
        left = "-inf" if low is None else f"{low:.10g}"
        right = "inf" if high is None else f"{high:.10g}"
        opening = "(" if open_low or low is None else "["
        closing = ")" if high is None else "]"
        raise RangeError(f"{name}: expected a value in {opening}{left}, {right}{closing}; got {value!r}.")


def _show(pattern: Sequence[str | int]) -> str:
    return "(" + ", ".join(str(p) for p in pattern) + ("," if len(pattern) == 1 else "") + ")"
