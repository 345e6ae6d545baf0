// Draws an Explorer (explorer.py): in Jupyter as an anywidget, in the rendered book through tools/static_widgets.py.
// All that it shows follows from the model's traits; it writes one of them, `index`.

const KEPT = "#E69F00"; // Okabe and Ito's orange and blue: told apart by every kind of colour vision
const POINT = "#0072B2";
const TRUTH = "#56B4E9"; // their sky blue
const KEYS_OF_THE_PAGE = ["Tab", "Escape", "Enter", "Shift", "Alt"];
const SUPPRESS = "data-lm-suppress-shortcuts";
const WAITING = "Being computed. This setting needs a running kernel.";

// ---- numbers and texts: the same as fixed() and fill() in explorer.py

function fixed(value, decimals) {
  const text = value.toFixed(decimals);
  return /^-[0.]*$/.test(text) ? text.slice(1) : text;
}

function fill(template, fields) {
  return template.replace(/\{\{|\}\}|\{([^{}:]+)(?::\.([0-9])f)?\}/g, (all, name, decimals) => {
    if (name === undefined) return all[0];
    return decimals === undefined ? fields[name].text : fixed(fields[name].number, Number(decimals));
  });
}

function floats(view) {
  const all = new Float32Array(view.byteLength / 4);
  for (let i = 0; i < all.length; i++) all[i] = view.getFloat32(4 * i, true);
  return all;
}

function bits(view, count) {
  return Uint8Array.from({ length: count }, (_, i) => (view.getUint8(i >> 3) >> (7 - (i & 7))) & 1);
}

// ---- the state at a setting

function keptCells(values, layer, threshold) {
  const passes = {
    "above mean": (value) => value > threshold * layer.mean,
    above: (value) => value > threshold,
    below: (value) => value < threshold,
  }[layer.rule];
  const constant = layer.rule === "above mean" && values.every((value) => value === values[0]);
  return Uint8Array.from(values, (value) => (!constant && passes(value) ? 1 : 0));
}

// Of components of one size the first is kept, column by column: as largest_component in scda.py does.
function largestComponent(mask, [rows, columns]) {
  const number = new Int32Array(mask.length); // of each cell's component, from 1; 0 is none
  const sizes = [0];
  for (let start = 0; start < mask.length; start++) {
    const first = (start % rows) * columns + Math.floor(start / rows);
    if (!mask[first] || number[first]) continue;
    const waiting = [first];
    number[first] = sizes.length;
    let size = 0;
    while (waiting.length) {
      const cell = waiting.pop();
      const [row, column] = [Math.floor(cell / columns), cell % columns];
      size += 1;
      for (let y = Math.max(0, row - 1); y <= Math.min(rows - 1, row + 1); y++) {
        for (let x = Math.max(0, column - 1); x <= Math.min(columns - 1, column + 1); x++) {
          const near = y * columns + x;
          if (!mask[near] || number[near]) continue;
          number[near] = sizes.length;
          waiting.push(near);
        }
      }
    }
    sizes.push(size);
  }
  const chosen = sizes.indexOf(Math.max(...sizes));
  return mask.map((_, cell) => (chosen > 0 && number[cell] === chosen ? 1 : 0));
}

// Intersection over union of the kept cells and a true mask, pixel by pixel: as resize_mask and mask_iou do.
function overlap(mask, [rows, columns], truth, [height, width]) {
  let [inner, union] = [0, 0];
  for (let y = 0; y < height; y++) {
    const row = Math.floor(((2 * y + 1) * rows) / (2 * height));
    for (let x = 0; x < width; x++) {
      const kept = mask[row * columns + Math.floor(((2 * x + 1) * columns) / (2 * width))];
      inner += kept & truth[y * width + x];
      union += kept | truth[y * width + x];
    }
  }
  return union ? inner / union : 1;
}

function layersState(model, spec, index) {
  const fields = {};
  spec.controls.forEach((c, i) => {
    fields[c.name] = { number: c.numbers[index[i]], text: c.texts[index[i]] };
  });
  let at = 0;
  for (let i = 0; i < spec.choosing; i++) at = at * spec.controls[i].texts.length + index[i];
  const scene = spec.scenes[at];
  let cells = null; // comes first
  const layers = scene.layers.map((layer) => {
    const buffer = model.get("arrays")[layer.array];
    if (layer.kind === "truth") {
      const truth = bits(buffer, layer.shape[0] * layer.shape[1]);
      fields.iou = { number: overlap(cells.mask, cells.shape, truth, layer.shape), text: null };
      return { ...layer, truth };
    }
    const values = floats(buffer);
    if (layer.kind === "cells") {
      const passing = keptCells(values, layer, spec.controls[layer.by].numbers[index[layer.by]]);
      const largest = layer.component !== null && index[layer.component] === 0;
      const mask = largest ? largestComponent(passing, layer.shape) : passing;
      const kept = mask.reduce((sum, cell) => sum + cell, 0);
      const counts = { kept, cells: mask.length, percent: (100 * kept) / mask.length, mean: layer.mean };
      for (const [name, number] of Object.entries(counts)) fields[name] = { number, text: String(number) };
      cells = { ...layer, values, mask };
      return cells;
    }
    const wanted = layer.by === null ? layer.count : spec.controls[layer.by].numbers[index[layer.by]];
    const count = Math.min(wanted, layer.count);
    fields.points = { number: count, text: String(count) };
    return { ...layer, values, count };
  });
  const texts = { alt: fill(spec.alt, fields), readout: fill(spec.readout, fields) };
  return { image: model.get("images")[scene.image], layers, ...texts };
}

function framesState(model, spec, index, seen) {
  const key = index.join();
  const still = spec.stills.find((one) => one.at.join() === key);
  if (still) return { ...still, image: model.get("images")[still.image], layers: [] };
  const current = model.get("current");
  if (current && current.at) seen.set(current.at.join(), current); // the kernel's answer, maybe to an earlier question
  const known = seen.get(key);
  if (known && known.error) return { readout: `This setting could not be computed. ${known.error}` };
  return known ? { ...known, layers: [] } : { readout: WAITING, waiting: true };
}

// ---- drawing over the picture

function drawCells(context, width, height, layer, unit) {
  const [rows, columns] = layer.shape;
  const x = (column) => Math.round((column * width) / columns);
  const y = (row) => Math.round((row * height) / rows);
  const kept = (row, column) =>
    row >= 0 && column >= 0 && row < rows && column < columns && layer.mask[row * columns + column] === 1;
  const low = layer.values.reduce((a, b) => Math.min(a, b));
  const span = layer.values.reduce((a, b) => Math.max(a, b)) - low || 1;
  const edges = new Path2D();
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      const box = [x(column), y(row), x(column + 1) - x(column), y(row + 1) - y(row)];
      if (!kept(row, column)) {
        context.fillStyle = "rgba(0, 0, 0, 0.6)";
        context.fillRect(...box);
        continue;
      }
      context.globalAlpha = 0.05 + 0.4 * ((layer.values[row * columns + column] - low) / span);
      context.fillStyle = KEPT;
      context.fillRect(...box);
      context.globalAlpha = 1;
      const [left, top, right, bottom] = [x(column), y(row), x(column + 1), y(row + 1)];
      const sides = [
        [-1, 0, left, top, right, top],
        [1, 0, left, bottom, right, bottom],
        [0, -1, left, top, left, bottom],
        [0, 1, right, top, right, bottom],
      ];
      for (const [down, along, x0, y0, x1, y1] of sides) {
        if (kept(row + down, column + along)) continue;
        edges.moveTo(x0, y0);
        edges.lineTo(x1, y1);
      }
    }
  }
  context.lineCap = "square";
  for (const [style, thickness] of [["#000", 4.5], [KEPT, 2.5]]) {
    context.strokeStyle = style;
    context.lineWidth = thickness * unit;
    context.stroke(edges);
  }
}

function drawTruth(context, width, height, layer, unit) {
  const [rows, columns] = layer.shape;
  const inside = (row, column) =>
    row >= 0 && column >= 0 && row < rows && column < columns && layer.truth[row * columns + column] === 1;
  const edges = new Path2D();
  for (let row = 0; row <= rows; row++) {
    for (let column = 0; column <= columns; column++) {
      const [x, y] = [(column * width) / columns, (row * height) / rows];
      if (inside(row, column) !== inside(row, column - 1)) {
        edges.moveTo(x, y);
        edges.lineTo(x, y + height / rows);
      }
      if (inside(row, column) !== inside(row - 1, column)) {
        edges.moveTo(x, y);
        edges.lineTo(x + width / columns, y);
      }
    }
  }
  context.lineCap = "square";
  for (const [style, thickness] of [["#000", 3], [TRUTH, 1.5]]) {
    context.strokeStyle = style;
    context.lineWidth = thickness * unit;
    context.stroke(edges);
  }
}

function drawPoints(context, width, height, layer, unit) {
  const [rows, columns] = layer.shape;
  for (let i = 0; i < layer.count; i++) {
    context.beginPath();
    const [x, y] = [layer.values[2 * i], layer.values[2 * i + 1]]; // integers are the cells' centres
    context.arc(((x + 0.5) * width) / columns, ((y + 0.5) * height) / rows, 5 * unit, 0, 2 * Math.PI);
    for (const [style, thickness] of [["#000", 5], ["#fff", 3]]) {
      context.strokeStyle = style;
      context.lineWidth = thickness * unit;
      context.stroke();
    }
    context.fillStyle = POINT;
    context.fill();
  }
}

function draw(canvas, layers) {
  const unit = window.devicePixelRatio || 1;
  const [width, height] = [Math.round(canvas.clientWidth * unit), Math.round(canvas.clientHeight * unit)];
  if (!width || !height) return;
  canvas.width = width; // also clears it
  canvas.height = height;
  const context = canvas.getContext("2d");
  const drawn = { cells: drawCells, truth: drawTruth, points: drawPoints };
  for (const layer of layers) drawn[layer.kind](context, width, height, layer, unit);
}

// ---- the page

function element(name, className, parent) {
  const node = document.createElement(name);
  node.className = className;
  parent.append(node);
  return node;
}

// The keys of a focused slider or select belong to it. JupyterLab would take them: its notebook binds the arrows (go
// to another cell), and letters that cut or delete cells, for the selector
// `.jp-Notebook.jp-mod-commandMode:not(.jp-mod-readWrite) :focus`. The notebook is `jp-mod-readWrite` only while the
// focused element matches `:read-write`, which a range input or a select does not. So the binding matches, Lumino
// cancels the event, and the slider never moves. Lumino listens on the document, in JupyterLab 4.6 as events bubble
// up, by its own default in the capture phase, where stopping the event here is too late. From a node with this
// attribute it looks for no binding in either. The attribute is off while Ctrl or Cmd is held, so that "save" works
// from a slider too. The event is stopped for those who know nothing of the attribute, such as themes whose arrows
// turn pages.
function keepKeys(input) {
  const command = (event) => event.ctrlKey || event.metaKey || event.key === "Control" || event.key === "Meta";
  input.setAttribute(SUPPRESS, "true");
  input.addEventListener("keydown", (event) => {
    if (command(event)) input.removeAttribute(SUPPRESS);
    else if (!KEYS_OF_THE_PAGE.includes(event.key)) event.stopPropagation();
  });
  for (const name of ["keyup", "blur"]) {
    input.addEventListener(name, (event) => {
      if (!event.ctrlKey && !event.metaKey) input.setAttribute(SUPPRESS, "true");
    });
  }
}

function makeControl(control, id, parent, choose) {
  const row = element("div", "ask-explorer-control", parent);
  const label = element("label", "", row);
  label.htmlFor = id;
  label.textContent = control.label;
  const input = element(control.kind === "range" ? "input" : "select", "", row);
  input.id = id;
  keepKeys(input);
  input.addEventListener("input", () => choose(Number(input.value)));
  if (control.kind === "select") {
    control.texts.forEach((text, at) => {
      const option = element("option", "", input);
      option.value = at;
      option.textContent = text;
    });
    return (at) => {
      input.value = at;
    };
  }
  Object.assign(input, { type: "range", min: 0, max: control.texts.length - 1, step: 1 });
  const value = element("span", "ask-explorer-value", row);
  value.setAttribute("aria-hidden", "true"); // aria-valuetext says it
  value.style.minWidth = `${Math.max(...control.texts.map((text) => text.length))}ch`;
  return (at) => {
    input.value = at;
    input.setAttribute("aria-valuetext", control.texts[at]);
    value.textContent = control.texts[at];
  };
}

function render({ model, el }) {
  const spec = model.get("spec");
  // Not a count: Jupyter loads this module once for each model, and two counts would give two sliders one id.
  const name = `ask-explorer-${Math.random().toString(36).slice(2)}`;
  const root = element("div", "ask-explorer", el);
  root.setAttribute("role", "group");
  root.setAttribute("aria-label", spec.controls.map((control) => control.label).join(", "));
  const panel = element("div", "ask-explorer-controls", root);
  const figure = element("figure", "ask-explorer-figure", root);
  const stage = element("div", "ask-explorer-stage", figure);
  const picture = element("img", "dark-light", stage); // pydata's name for a picture that dark mode leaves alone
  const overlay = element("canvas", "", stage);
  overlay.setAttribute("aria-hidden", "true"); // the picture's alt text says what is drawn over it
  const readout = element("output", "ask-explorer-readout", element("figcaption", "", figure));
  readout.setAttribute("role", "status");
  readout.setAttribute("aria-live", "polite");

  const urls = new Map(); // image -> blob URL
  const seen = new Map(); // setting -> what the kernel made of it
  const source = (image) => {
    if (image.url) return image.url;
    if (!urls.has(image)) urls.set(image, URL.createObjectURL(new Blob([image.data], { type: image.mime })));
    return urls.get(image);
  };
  const state = (index) =>
    spec.form === "frames" ? framesState(model, spec, index, seen) : layersState(model, spec, index);

  let layers = [];
  const controls = spec.controls.map((control, i) =>
    makeControl(control, `${name}-${i}`, panel, (at) => {
      model.set("index", model.get("index").map((old, j) => (j === i ? at : old)));
      model.save_changes();
      preload();
    }),
  );
  readout.htmlFor = spec.controls.map((_, i) => `${name}-${i}`).join(" ");

  // The rendered book keeps frames in files: fetch the neighbours once somebody moves a slider.
  function preload() {
    const index = model.get("index");
    if (spec.form !== "frames") return;
    for (const still of spec.stills) {
      const steps = still.at.reduce((sum, at, i) => sum + Math.abs(at - index[i]), 0);
      const image = model.get("images")[still.image];
      if (steps === 1 && image.url) new Image().src = image.url;
    }
  }

  function update() {
    const index = model.get("index");
    controls.forEach((show, i) => show(index[i]));
    const now = state(index);
    readout.textContent = now.readout;
    root.classList.toggle("ask-explorer-stale", !now.image);
    figure.setAttribute("aria-busy", String(Boolean(now.waiting)));
    if (!now.image) return; // the old picture stays, dimmed, with the text that describes it
    const address = source(now.image);
    if (picture.getAttribute("src") !== address) {
      Object.assign(picture, { width: now.image.width, height: now.image.height, src: address });
      stage.style.width = `${now.image.show}px`;
    }
    picture.alt = now.alt;
    layers = now.layers;
    draw(overlay, layers);
  }

  model.on("change:index", update);
  model.on("change:current", update);
  const resized = new ResizeObserver(() => draw(overlay, layers));
  resized.observe(stage);
  update();

  return () => {
    model.off("change:index", update);
    model.off("change:current", update);
    resized.disconnect();
    for (const url of urls.values()) URL.revokeObjectURL(url);
    root.remove();
  };
}

export default { render };
