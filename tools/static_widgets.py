"""Sliders in pages that have no kernel: the script that draws them, and a notebook's saved state made small.

A browser refuses module scripts and ``fetch`` in a page opened from a file. So the book loads one classic script, made
from ``ask_lib/show/explorer.js`` and the loader below, and frames are files that an ``<img>`` names.
"""

from __future__ import annotations

import base64
import copy
import hashlib
import html
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ask_lib.files import atomic_path

EXPLORER = "ask_lib.show.explorer.Explorer"
STATE = "application/vnd.jupyter.widget-state+json"
VIEW = "application/vnd.jupyter.widget-view+json"
SOURCES = Path(__file__).resolve().parents[1] / "ask_lib" / "show"
TRAITS = ("spec", "images", "arrays", "index", "current")
_EXPORT = "export default { render };"
_LOADER = """
  // What explorer.js asks of a Jupyter model, over state that was saved.
  function makeModel(record) {
    const state = record.state;
    const listeners = {};
    for (const buffer of record.buffers || []) {
      const owner = buffer.path.slice(0, -1).reduce((node, key) => (node ? node[key] : undefined), state);
      if (!owner) continue;
      const bytes = Uint8Array.from(atob(buffer.data), (letter) => letter.charCodeAt(0));
      owner[buffer.path[buffer.path.length - 1]] = new DataView(bytes.buffer);
    }
    state.spec = JSON.parse(state.spec);
    return {
      get: (key) => state[key],
      set(key, value) {
        state[key] = value;
        for (const listener of listeners[`change:${key}`] || []) listener();
      },
      save_changes() {},
      on(event, listener) {
        (listeners[event] = listeners[event] || []).push(listener);
      },
      off(event, listener) {
        listeners[event] = (listeners[event] || []).filter((other) => other !== listener);
      },
    };
  }

  function start() {
    const records = {};
    for (const tag of document.querySelectorAll('script[type="@STATE@"]')) {
      Object.assign(records, JSON.parse(tag.textContent).state);
    }
    const models = {};
    for (const tag of document.querySelectorAll('script[type="@VIEW@"]')) {
      const id = JSON.parse(tag.textContent).model_id;
      const record = records[id];
      if (!record || !record.state.spec || tag.dataset.askDrawn) continue;
      tag.dataset.askDrawn = "yes";
      models[id] = models[id] || makeModel(record);
      const place = document.createElement("div");
      tag.after(place);
      explorer.render({ model: models[id], el: place });
    }
  }

  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
"""


class StaticWidgetError(Exception):
    """A notebook's sliders cannot be shown in a page; one line says why."""


def bundle() -> str:
    """The classic script for every page of the book: ``explorer.js`` and the loader of saved state."""
    source = (SOURCES / "explorer.js").read_text(encoding="utf-8")
    body, found, rest = source.partition(_EXPORT)
    if not found or rest.strip() or "import " in body:
        raise StaticWidgetError(f"explorer.js must import nothing and end with `{_EXPORT}`")
    loader = _LOADER.replace("@STATE@", STATE).replace("@VIEW@", VIEW)
    module = f"const explorer = (function () {{\n{body}return {{ render }};\n}})();\n"
    return f'(function () {{\n"use strict";\n{module}{loader}}})();\n'


def stylesheet() -> str:
    """The style sheet that goes with the script."""
    return (SOURCES / "explorer.css").read_text(encoding="utf-8")


def slim_notebook(nb: Mapping[str, Any], asset_dir: Path, url_prefix: str) -> dict[str, Any]:
    """An executed notebook, ready to be rendered as a page with no kernel.

    Each `Explorer` keeps its data only (code and style are the book's), its pictures become files named by their
    content, and its output becomes HTML that a browser without JavaScript can show too. Other widgets (progress bars)
    have nothing to say in a page and are left out, with their state.

    Args:
        nb: The notebook as JSON; it is not changed.
        asset_dir: Where the pictures go.
        url_prefix: What leads from the page to that folder, with a slash at its end.

    Returns:
        A new notebook.

    Raises:
        StaticWidgetError: If an Explorer is shown whose state was not saved.
    """
    slim: dict[str, Any] = copy.deepcopy(dict(nb))
    saved = slim["metadata"].pop("widgets", {}).get(STATE, {})
    models = {
        model_id: _slim_model(record, asset_dir, url_prefix)
        for model_id, record in saved.get("state", {}).items()
        if record["state"].get("_anywidget_id") == EXPLORER
    }
    for number, cell in enumerate(slim["cells"]):
        if "outputs" in cell:
            outputs = [_slim_output(output, models, number) for output in cell["outputs"]]
            cell["outputs"] = [output for output in outputs if output is not None]
    for model in models.values():  # a picture's name may be `</SCRIPT ><img ...>`: no tag may stand in the page's state
        model["state"]["spec"] = json.dumps(model["state"]["spec"]).replace("<", r"\u003c")
    if models:
        slim["metadata"]["widgets"] = {STATE: {**saved, "state": models}}
    return slim


def _slim_model(record: Mapping[str, Any], asset_dir: Path, url_prefix: str) -> dict[str, Any]:
    """An Explorer's own traits, with its images in files."""
    state = {name: record["state"][name] for name in TRAITS if name in record["state"]}
    inline = []
    for buffer in record.get("buffers", []):
        owner: Any = state
        if buffer["path"][-1] != "data":
            inline.append(buffer)
            continue
        for key in buffer["path"][:-1]:
            owner = owner[key]
        owner.pop("data", None)
        owner["url"] = url_prefix + _store(base64.b64decode(buffer["data"]), owner["mime"], asset_dir)
    return {"state": state, "buffers": inline}


def _store(data: bytes, mime: str, asset_dir: Path) -> str:
    """Write an image under a name made from its content; pages read in parallel may write the same one."""
    name = f"{hashlib.sha256(data).hexdigest()[:20]}.{mime.rpartition('/')[2]}"
    path = asset_dir / name
    if not path.exists():
        with atomic_path(path) as partial:  # a half-written file would keep its name for ever
            partial.write_bytes(data)
    return name


def _slim_output(output: dict[str, Any], models: Mapping[str, Mapping[str, Any]], cell: int) -> dict[str, Any] | None:
    """One output of a cell: an Explorer as HTML, another widget not at all, anything else as it is."""
    data = output.get("data", {})
    view = data.pop(VIEW, None)
    if view is None:
        return output
    if view["model_id"] in models:
        data["text/html"] = _view_html(view["model_id"], models[view["model_id"]]["state"])
        return output
    if "".join(data.get("text/plain", "")).startswith("Explorer:"):
        raise StaticWidgetError(f"cell {cell} shows an Explorer whose state was not saved: execute the notebook again")
    return output if set(data) - {"text/plain"} else None


def _view_html(model_id: str, state: Mapping[str, Any]) -> str:
    """The tag that the script looks for, and what to show without it."""
    first = state["spec"]["first"]
    image = state["images"][first["image"]]
    alt, readout, url = (html.escape(text) for text in (first["alt"], first["readout"], image["url"]))
    tag = f'<script type="{VIEW}">{json.dumps({"model_id": model_id})}</script>'
    picture = f'<img src="{url}" alt="{alt}" width="{image["show"]}" height="{_height(image)}">'
    caption = f"<figcaption>{alt} {readout}. The sliders of this picture need JavaScript.</figcaption>"
    still = f'<figure class="ask-explorer ask-explorer-still">{picture}{caption}</figure>'
    return f"{tag}\n<noscript>{still}</noscript>"


def _height(image: Mapping[str, Any]) -> int:
    return round(int(image["show"]) * int(image["height"]) / int(image["width"]))
