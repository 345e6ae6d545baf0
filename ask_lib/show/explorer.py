"""Sliders that also work with no kernel: `Explorer`.

`Explorer.frames` chooses among ready pictures; with a kernel it also makes those that are not ready.
`Explorer.threshold` sends a picture and a small map, and the page itself compares, draws and counts. The line of text
that says what the picture shows is the same in Python (`Explorer.state_at`), in Jupyter and in the rendered page.

What the page needs lies in five synchronised traits, and nothing of it is code:

* ``spec``: what there is (sliders, texts, and for each setting what to show), plain JSON, printable texts;
* ``images``: encoded pictures, ``{mime, width, height, show, data}``; the rendered book has ``url`` for ``data``;
* ``arrays``: little-endian float32 buffers, and masks, eight pixels a byte;
* ``index``: where each slider stands; the only one that the page changes;
* ``current``: the picture that the kernel made last, where it was not among the ready ones.

Texts are templates: ``{name}`` is a value as the slider shows it, ``{name:.2f}`` a number with two decimals. Halves
round away from zero, in Python as in JavaScript.
"""

from __future__ import annotations

import functools
import io
import itertools
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Context, Decimal
from pathlib import Path
from typing import Any

import anywidget
import numpy as np
import numpy.typing as npt
import torch
import traitlets
from PIL import Image

from ask_lib.checks import check_choice, check_range
from ask_lib.errors import ChoiceError, RangeError, ShapeError
from ask_lib.files import shown
from ask_lib.methods.descriptors import above_mean, resize_mask
from ask_lib.methods.scda import largest_component

COMPONENTS = ("largest component", "all of them")
FORMATS = ("png", "webp")
_FIELD = re.compile(r"\{\{|\}\}|\{([^{}:]+)(?::\.([0-9])f)?\}")
_HERE = Path(__file__).parent
_FIGURE_DPI = 144
_CSS_DPI = 96
_COLOURS = 128  # of a PNG's palette
_WIDTH = 480  # of a photograph in the page, in CSS pixels

Text = str | Callable[..., str]
Picture = npt.NDArray[np.uint8]
Fields = dict[str, tuple[float | None, str | None]]
"""A template's fields: the number (for ``{name:.2f}``) and the text (for ``{name}``)."""


def fixed(value: float, decimals: int) -> str:
    """A number with so many decimals, halves away from zero: what JavaScript's ``toFixed`` gives.

    Python's own formatting rounds halves to even: 2.5 would be 2 in the kernel and 3 in the page.
    """
    if not math.isfinite(value) or abs(value) >= 1e21:
        raise RangeError(f"value: expected a finite number below 1e21, got {value!r}.")
    text = str(Decimal(value).quantize(Decimal(1).scaleb(-decimals), ROUND_HALF_UP, Context(prec=64)))
    return text.lstrip("-") if not text.strip("-0.") else text


def fill(template: str, fields: Fields) -> str:
    """Put fields into a template with ``{name}`` and ``{name:.2f}``; ``{{`` stands for a brace.

    Raises:
        ChoiceError: If a name is unknown, or is a number that needs decimals, or a brace stands alone.
    """
    if set(_FIELD.sub("", template)) & {"{", "}"}:
        raise ChoiceError(f"template: expected {{name}} or {{name:.2f}}, got {template!r}. Write {{{{ for a brace.")

    def one(match: re.Match[str]) -> str:
        name, decimals = match.groups()
        if name is None:
            return match[0][0]
        check_choice("template field", name, fields)
        number, text = fields[name]
        if decimals is not None and number is not None:
            return fixed(number, int(decimals))
        if decimals is not None or text is None:
            raise ChoiceError(
                f"template: {match[0]} does not fit; {name} is a {'word' if text else 'number'}: "
                f"write {{{name}{'' if text else ':.2f'}}}."
            )
        return text

    return _FIELD.sub(one, template)


@dataclass(frozen=True)
class Control:
    """One slider or select; ``texts`` are its values as the page shows them, made from the values if empty."""

    name: str
    label: str
    values: tuple[Any, ...]
    texts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        values = tuple(value.item() if isinstance(value, np.generic) else value for value in self.values)
        if not values:
            raise RangeError(f"{self.name}: expected at least one value, got none.")
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "label", shown(self.label))
        object.__setattr__(self, "texts", self.texts or tuple(shown(_plain(value)) for value in values))

    def position(self, value: Any) -> int:
        """Where a value stands; numbers may differ by rounding."""
        for at, known in enumerate(self.values):
            both = _is_number(value) and _is_number(known)
            if known == value or (both and math.isclose(known, value, rel_tol=1e-9, abs_tol=1e-12)):
                return at
        shown = self.texts if len(self.texts) <= 12 else (*self.texts[:3], "...", self.texts[-1])
        raise ChoiceError(f"{self.name}: expected one of {', '.join(shown)}; got {value!r}.")

    def field(self, at: int) -> tuple[float | None, str]:
        """Number and text, for templates."""
        value = self.values[at]
        return (float(value) if _is_number(value) else None), self.texts[at]

    def spec(self) -> dict[str, Any]:
        """What the page needs to know."""
        numbers = [float(value) if _is_number(value) else None for value in self.values]
        kind = "select" if None in numbers else "range"
        return {"name": self.name, "label": self.label, "kind": kind, "numbers": numbers, "texts": list(self.texts)}


class _Form:
    """What both forms can do; each has a ``state``, the texts and numbers of one setting."""

    controls: list[Control]

    def positions(self, wanted: Mapping[str, Any], others: Sequence[int] | None = None) -> list[int]:
        """Where the sliders stand at a setting; those that it does not name at their first value, or as in others."""
        for name in wanted:
            check_choice("name", name, [control.name for control in self.controls])
        stand = others or [0] * len(self.controls)
        pairs = zip(self.controls, stand, strict=True)
        return [control.position(wanted[control.name]) if control.name in wanted else at for control, at in pairs]

    def values(self, index: Sequence[int]) -> dict[str, Any]:
        return {control.name: control.values[at] for control, at in zip(self.controls, index, strict=True)}

    def fields(self, index: Sequence[int]) -> Fields:
        return {control.name: control.field(at) for control, at in zip(self.controls, index, strict=True)}


class _Frames(_Form):
    """The first form: a picture for every setting, ready or made on demand."""

    def __init__(self, controls: list[Control], render: Callable[..., Any], alt: Text, readout: Text, fmt: str) -> None:
        self.controls, self.render, self.fmt = controls, render, fmt
        self.texts = {"alt": alt, "readout": readout}
        self.made = functools.lru_cache(256)(self.frame)

    def state(self, index: Sequence[int]) -> dict[str, Any]:
        values, fields = self.values(index), self.fields(index)
        said = {
            name: shown(fill(text, fields) if isinstance(text, str) else str(text(**values)))
            for name, text in self.texts.items()
        }
        return {"values": values, **said}

    def picture(self, index: Sequence[int]) -> dict[str, Any]:
        """One encoded picture."""
        made = self.render(**self.values(index))
        if isinstance(made, bytes):
            return _image(made)
        if hasattr(made, "savefig"):
            return _figure_image(made, self.fmt)
        raise ShapeError(f"render: expected bytes or a matplotlib Figure, got {type(made).__name__}.")

    def frame(self, index: tuple[int, ...]) -> dict[str, Any]:
        """Picture and texts of one setting."""
        picture, state = self.picture(index), self.state(index)  # in this order: a text may need what was drawn
        return {"at": list(index), "alt": state["alt"], "readout": state["readout"], "image": picture}


@dataclass
class _Scene:
    """One picture with the map whose cells a threshold keeps, and what else is drawn over it."""

    image: int
    map: npt.NDArray[np.float32]  # (h, w)
    points: npt.NDArray[np.float32] | None  # (K, 2), (x, y), best first
    truth: npt.NDArray[np.bool_] | None  # (H, W)

    def mask(self, threshold: float, largest: bool) -> npt.NDArray[np.bool_]:
        """The cells that are kept, ``(h, w)``."""
        kept = above_mean(torch.from_numpy(self.map)[None], threshold)  # (1, h, w)
        return np.asarray((largest_component(kept) if largest else kept)[0].numpy(), dtype=bool)

    @property
    def mean(self) -> float:
        """The mean that `above_mean` compares with: in another order of adding, its last bit could differ."""
        return float(torch.from_numpy(self.map)[None].double().mean(dim=(1, 2)))

    def iou(self, mask: npt.NDArray[np.bool_], truth: npt.NDArray[np.bool_]) -> float:
        """Overlap of the kept cells with the true mask: intersection over union, pixel by pixel."""
        grown = resize_mask(torch.from_numpy(mask)[None], truth.shape)[0].numpy()
        union = int((grown | truth).sum())
        return int((grown & truth).sum()) / union if union else 1.0

    def spec(self, arrays: list[bytes]) -> dict[str, Any]:
        """What the page needs to know; its arrays are added, and named by number."""

        def put(shape: Sequence[int], data: bytes, **more: float) -> dict[str, Any]:
            arrays.append(data)
            return {"array": len(arrays) - 1, "shape": list(shape), **more}

        return {
            "image": self.image,
            "map": put(self.map.shape, self.map.astype("<f4").tobytes(), mean=self.mean),
            "truth": None if self.truth is None else put(self.truth.shape, np.packbits(self.truth).tobytes()),
            "points": None if self.points is None else put(self.points.shape, self.points.astype("<f4").tobytes()),
        }


class _Scenes(_Form):
    """The second form: pictures and arrays that the page draws."""

    def __init__(self, controls: list[Control], scenes: list[_Scene], choosing: int, alt: str, readout: str) -> None:
        self.controls, self.scenes, self.choosing = controls, scenes, choosing
        self.alt, self.readout = alt, readout

    def scene(self, index: Sequence[int]) -> _Scene:
        """Scenes lie row by row over the first ``choosing`` controls."""
        at = 0
        for control, place in zip(self.controls[: self.choosing], index, strict=False):
            at = at * len(control.values) + place
        return self.scenes[at]

    def state(self, index: Sequence[int]) -> dict[str, Any]:
        scene, values, fields = self.scene(index), self.values(index), self.fields(index)
        mask = scene.mask(values["threshold"], values.get("component") == COMPONENTS[0])
        kept, cells = int(mask.sum()), mask.size
        numbers = {"kept": kept, "cells": cells, "percent": 100 * kept / cells, "mean": scene.mean}
        if scene.truth is not None:
            numbers["iou"] = scene.iou(mask, scene.truth)
        if scene.points is not None:
            numbers["points"] = min(values.get("top", len(scene.points)), len(scene.points))
        for name, number in numbers.items():
            fields[name] = (float(number), str(number) if isinstance(number, int) else None)
        said = {"alt": shown(fill(self.alt, fields)), "readout": shown(fill(self.readout, fields))}
        return {"values": values, **numbers, **said, "mask": mask}

    def spec(self) -> tuple[dict[str, Any], list[bytes]]:
        """The page's description, and the arrays that it names by number."""
        arrays: list[bytes] = []
        scenes = [scene.spec(arrays) for scene in self.scenes]
        texts = {"alt": shown(self.alt), "readout": shown(self.readout)}
        return {"choosing": self.choosing, "scenes": scenes, **texts}, arrays


class Explorer(anywidget.AnyWidget):
    """Sliders over pictures, live in Jupyter and Colab, and still at work in a page with no kernel.

    Make one by `Explorer.frames` or `Explorer.threshold`.
    """

    _esm = _HERE / "explorer.js"
    _css = _HERE / "explorer.css"

    spec: Any = traitlets.Dict().tag(sync=True)
    images: Any = traitlets.List().tag(sync=True)
    arrays: Any = traitlets.List().tag(sync=True)
    index: Any = traitlets.List(traitlets.Int()).tag(sync=True)
    current: Any = traitlets.Dict().tag(sync=True)

    def __init__(
        self, form: _Frames | _Scenes, spec: dict[str, Any], images: list[Any], arrays: list[bytes], at: list[int]
    ) -> None:
        self._form = form
        spec = {"controls": [control.spec() for control in form.controls], **spec}
        super().__init__(spec=spec, images=images, arrays=arrays, index=at)
        self.observe(self._moved, names="index")

    @classmethod
    def frames(
        cls,
        render: Callable[..., Any],
        params: Mapping[str, Sequence[Any]],
        *,
        alt: Text,
        readout: Text,
        labels: Mapping[str, str] | None = None,
        start: Mapping[str, Any] | None = None,
        precompute: bool = True,
        fmt: str = "png",
    ) -> Explorer:
        """Pictures chosen by sliders.

        Args:
            render: Called with one value a parameter, by name; returns an encoded image or a matplotlib Figure, which
                is closed.
            params: Names and values. Numbers make a slider, words a select.
            alt: What a picture shows, for those who don't see it: a template of the values, or a function of them.
            readout: The line below the picture, of the same kind.
            labels: What the page calls the parameters, where it is not their name.
            start: Where the sliders begin, if not at their first values.
            precompute: Make all pictures now, so that the rendered page has them; else only the first one.
            fmt: How figures are encoded, ``png`` (128 colours: for plots) or ``webp`` (for photographs).

        Raises:
            ChoiceError: If a template, the format or the start names something unknown.
            ShapeError: If ``render`` returns something else.
        """
        check_choice("fmt", fmt, FORMATS)
        controls = [Control(name, (labels or {}).get(name, name), tuple(values)) for name, values in params.items()]
        form = _Frames(controls, render, alt, readout, fmt)
        index = form.positions(start or {})
        every = itertools.product(*[range(len(control.values)) for control in controls])
        known: dict[bytes, tuple[int, dict[str, Any]]] = {}  # the same picture is sent once
        stills = []
        for at in every if precompute else [tuple(index)]:
            still = form.frame(at)
            number, _ = known.setdefault(still["image"]["data"], (len(known), still["image"]))
            stills.append({**still, "image": number})
        first = next(still for still in stills if still["at"] == index)
        images = [image for _, image in known.values()]
        return cls(form, {"form": "frames", "first": first, "stills": stills}, images, [], index)

    @classmethod
    def threshold(
        cls,
        pictures: Mapping[str, Picture] | Picture,
        maps: Mapping[str, Any] | npt.ArrayLike,
        *,
        alt: str,
        readout: str = "{kept} of {cells} cells kept ({percent:.1f} %), threshold {threshold}",
        label: str = "Threshold",
        high: float = 3.0,
        keypoints: Mapping[str, Any] | npt.ArrayLike | None = None,
        top: Sequence[int] | None = None,
        truth: Mapping[str, Any] | npt.ArrayLike | None = None,
        component: bool = False,
    ) -> Explorer:
        """A map over a picture, with a slider for the value that a cell must pass. The page does the arithmetic.

        A cell is kept if it lies strictly above threshold × mean, as in `above_mean`. The slider goes from 0 in steps
        of 0.05 and begins at 1. With several pictures, or several layers' maps of each, the page has a select for them.

        Args:
            pictures: uint8 ``(H, W, 3)`` by name, or one of them.
            maps: For each picture's name a map ``(h, w)``, or maps by layer's name (the same layers for all). A map
                covers the whole picture, its first cell the upper left corner. Held as float32.
            alt: Template of the text for those who don't see the picture: ``{picture}``, ``{layer}``, ``{kept}``,
                ``{cells}``, ``{percent:.1f}``, ``{mean:.3f}``, ``{threshold}``, with keypoints ``{points}``, with a
                truth ``{iou:.2f}``, with components ``{component}``.
            readout: Template of the line below the picture.
            label: The slider's.
            high: Largest threshold, at least 1.
            keypoints: For each picture's name ``(K, 2)``, (x, y), best first, in cells of the map, or by layer's name;
                integers are the cells' centres.
            top: Numbers of keypoints for a further slider, named ``top``; it begins at the last.
            truth: For each picture's name the true mask, bool ``(H, W)``, which covers the whole picture and is
                outlined; ``{iou}`` is `ask_lib.evaluate.localisation.mask_iou` of the kept cells in its size.
            component: Add a select, named ``component``: of the cells that pass, keep the largest component (SCDA's
                choice, and the first one offered) or all.

        Raises:
            ChoiceError: If pictures and maps have different names, or a template is unknown.
            RangeError: If a map is not finite, or the slider ends below 1.
            ShapeError: If a picture, a map or a true mask has another shape.
        """
        check_range("high", high, 1)
        named = dict(pictures) if isinstance(pictures, Mapping) else {"picture": pictures}
        by_layer = _by_layer("maps", maps, list(named))
        layers = list(next(iter(by_layer.values())))
        points = None if keypoints is None else _by_layer("keypoints", keypoints, list(named), layers)
        truths = None if truth is None else _by_layer("truth", truth, list(named), [""])
        scenes = [
            _Scene(
                at,
                _map(f"maps[{name!r}]", by_layer[name][layer]),
                None if points is None else _points(points[name][layer]),
                None if truths is None else _truth(f"truth[{name!r}]", truths[name][""]),
            )
            for at, name in enumerate(named)
            for layer in layers
        ]
        choosing = [Control("picture", "Picture", tuple(named))] if isinstance(pictures, Mapping) else []
        if len(layers) > 1:
            choosing.append(Control("layer", "Layer", tuple(layers)))
        steps = tuple(at / 20 for at in range(int(20 * high + 1e-6) + 1))
        slider = Control("threshold", label, steps, tuple(f"{fixed(step, 2)} × mean" for step in steps))
        controls = [*choosing, slider]
        if component:
            controls.append(Control("component", "Keep", COMPONENTS))
        if top is not None:
            controls.append(Control("top", "Keypoints", tuple(top)))
        form = _Scenes(controls, scenes, len(choosing), alt, readout)
        index = form.positions({"threshold": 1.0, **({} if top is None else {"top": top[-1]})})
        for at in itertools.product(*[range(len(control.values)) for control in choosing]):
            form.state([*at, *index[len(choosing) :]])  # a template that does not fit fails here, not in the page
        state, (spec, arrays) = form.state(index), form.spec()
        spec["first"] = {"image": form.scene(index).image, "alt": state["alt"], "readout": state["readout"]}
        images = [_picture_image(name, picture) for name, picture in named.items()]
        return cls(form, {"form": "scenes", **spec}, images, arrays, index)

    @property
    def values(self) -> dict[str, Any]:
        """What is chosen now, by name."""
        return self._form.values(self.index)

    def choose(self, **values: Any) -> None:
        """Move sliders; a name or a value that does not exist is a `ChoiceError`."""
        self.index = self._form.positions(values, self.index)

    def state_at(self, **values: Any) -> dict[str, Any]:
        """What the page says at a setting, computed here; what is not named stays as it is now.

        Returns:
            ``values``, ``alt`` and ``readout``; `Explorer.threshold` also gives ``kept``, ``cells``, ``percent``,
            ``mean``, ``mask`` (bool, ``(h, w)``), with keypoints ``points``, and with a truth ``iou``.
        """
        return self._form.state(self._form.positions(values, self.index))

    @traitlets.validate("index")
    def _check_index(self, proposal: Any) -> list[int]:
        index: list[int] = list(proposal["value"])
        sizes = [len(control.values) for control in self._form.controls]
        if len(index) != len(sizes) or not all(0 <= at < size for at, size in zip(index, sizes, strict=True)):
            raise RangeError(f"index: expected one position a control, below {sizes}; got {index}.")
        return index

    def _moved(self, change: Any) -> None:
        """Make the picture of a setting that is not ready."""
        form, index = self._form, list(change["new"])
        if not isinstance(form, _Frames) or any(still["at"] == index for still in self.spec["stills"]):
            return
        try:
            self.current = form.made(tuple(index))
        except Exception as error:
            self.current = {"at": index, "error": f"{type(error).__name__}: {error}"}
            raise

    def __repr__(self) -> str:
        """What stands in for the sliders where they can't be drawn."""
        if not hasattr(self, "_form"):
            return object.__repr__(self)
        state = self._form.state(self.index)
        return f"Explorer: {state['readout']} (sliders: {', '.join(c.label for c in self._form.controls)})"


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _plain(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _by_layer(what: str, given: Any, names: Sequence[str], layers: Sequence[str] = ()) -> dict[str, dict[str, Any]]:
    """``given[picture][layer]``, however short the form in which it came."""
    by_name = dict(given) if isinstance(given, Mapping) else {names[0]: given}
    if sorted(by_name) != sorted(names):
        got = ", ".join(by_name) if isinstance(given, Mapping) else "a single one"
        raise ChoiceError(f"{what}: expected one entry for each of {', '.join(names)}; got {got}.")
    nested = {name: dict(one) if isinstance(one, Mapping) else {"": one} for name, one in by_name.items()}
    wanted = list(layers) or list(next(iter(nested.values())))
    for name, one in nested.items():
        if wanted == [""] and list(one) != wanted:
            raise ChoiceError(f"{what}[{name!r}]: expected one for the picture, got one for each of {', '.join(one)}.")
        if sorted(one) != sorted(wanted):
            raise ChoiceError(f"{what}[{name!r}]: expected the layers {wanted}, got {list(one)}.")
    return nested


def _array(given: Any) -> npt.NDArray[Any]:
    return given.detach().cpu().numpy() if isinstance(given, torch.Tensor) else np.asarray(given)


def _map(name: str, given: Any) -> npt.NDArray[np.float32]:
    held = _array(given)
    if held.ndim != 2 or 0 in held.shape:
        raise ShapeError(f"{name}: expected (h, w), got {tuple(held.shape)}.")
    kept = np.ascontiguousarray(held, dtype=np.float32)
    if not np.isfinite(kept).all():
        raise RangeError(f"{name}: expected finite numbers, got {int((~np.isfinite(kept)).sum())} that are not.")
    return kept


def _truth(name: str, given: Any) -> npt.NDArray[np.bool_]:
    held = _array(given)
    if held.ndim != 2 or 0 in held.shape or held.dtype != np.bool_:
        raise ShapeError(f"{name}: expected bool (H, W), got {held.dtype} {tuple(held.shape)}.")
    return held


def _points(given: Any) -> npt.NDArray[np.float32]:
    held = np.asarray(_array(given), dtype=np.float32)
    if held.ndim != 2 or held.shape[1] != 2 or not np.isfinite(held).all():
        raise ShapeError(f"keypoints: expected (K, 2), finite, got {held.shape}.")
    return held


def _image(data: bytes, show: float | None = None) -> dict[str, Any]:
    """What the page needs to know of an encoded image."""
    with Image.open(io.BytesIO(data), formats=("JPEG", "PNG", "WEBP")) as opened:
        width, height, mime = *opened.size, Image.MIME[opened.format or "PNG"]
    return {"mime": mime, "width": width, "height": height, "show": round(show or width), "data": data}


def _figure_image(figure: Any, fmt: str) -> dict[str, Any]:
    """Encode a matplotlib Figure, and close it."""
    from matplotlib import pyplot

    raw = io.BytesIO()
    try:
        figure.savefig(raw, format="png", dpi=_FIGURE_DPI)
    finally:
        pyplot.close(figure)
    with Image.open(raw, formats=("PNG",)) as opened:
        drawn = opened.convert("RGB")
    return _image(_encode(drawn, fmt), drawn.width * _CSS_DPI / _FIGURE_DPI)


def _picture_image(name: str, picture: Any) -> dict[str, Any]:
    """Encode a photograph, no larger than the page can show."""
    array = np.asarray(picture)
    if array.ndim != 3 or array.shape[2] != 3 or array.dtype != np.uint8:
        raise ShapeError(f"pictures[{name!r}]: expected uint8 (H, W, 3), got {array.dtype} {array.shape}.")
    held = Image.fromarray(array)
    most = 2 * _WIDTH  # for a screen with two pixels a CSS pixel
    if held.width > most:
        held = held.resize((most, max(1, round(held.height * most / held.width))), Image.Resampling.LANCZOS)
    return _image(_encode(held, "webp"), _WIDTH)


def _encode(picture: Image.Image, fmt: str) -> bytes:
    """A small file: PNG with a palette, or WebP."""
    encoded = io.BytesIO()
    if fmt == "png":
        few = picture.getcolors(256)
        colours = len(few) if few else _COLOURS
        picture.quantize(colours).save(encoded, "png", optimize=True)
    else:
        picture.save(encoded, fmt, quality=82)
    return encoded.getvalue()
