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

// As above_mean does; a constant map has no cell above its mean.
function aboveMean(values, limit) {
  const constant = values.every((value) => value === values[0]);
  return Uint8Array.from(values, (value) => (!constant && value > limit ? 1 : 0));
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

function scenesState(model, spec, index) {
  const fields = {};
  const put = (name, number, text = String(number)) => {
    fields[name] = { number, text };
  };
  spec.controls.forEach((c, i) => put(c.name, c.numbers[index[i]], c.texts[index[i]]));
  const chosen = spec.controls.slice(0, spec.choosing);
  const scene = spec.scenes[chosen.reduce((at, c, i) => at * c.texts.length + index[i], 0)];
  const buffer = (part) => model.get("arrays")[part.array];
  const { shape, mean } = scene.map;
  const values = floats(buffer(scene.map));
  const passing = aboveMean(values, fields.threshold.number * mean);
  const largest = index[spec.controls.findIndex((c) => c.name === "component")] === 0; // the first one offered
  const mask = largest ? largestComponent(passing, shape) : passing;
  const kept = mask.reduce((sum, cell) => sum + cell, 0);
  put("kept", kept);
  put("cells", mask.length);
  put("percent", (100 * kept) / mask.length);
  put("mean", mean);
  const drawn = { shape, values, mask };
  if (scene.truth) {
    drawn.truth = { shape: scene.truth.shape, mask: bits(buffer(scene.truth), scene.truth.shape[0] * scene.truth.shape[1]) };
    put("iou", overlap(mask, shape, drawn.truth.mask, drawn.truth.shape));
  }
  if (scene.points) {
    const count = Math.min(fields.top ? fields.top.number : Infinity, scene.points.shape[0]);
    drawn.points = floats(buffer(scene.points)).subarray(0, 2 * count);
    put("points", count);
  }
  return { image: model.get("images")[scene.image], drawn, alt: fill(spec.alt, fields), readout: fill(spec.readout, fields) };
}

function framesState(model, spec, index, seen) {
  const key = index.join();
  const still = spec.stills.find((one) => one.at.join() === key);
  if (still) return { ...still, image: model.get("images")[still.image] };
  const current = model.get("current");
  if (current && current.at) seen.set(current.at.join(), current); // the kernel's answer, maybe to an earlier question
  const known = seen.get(key);
  if (known && known.error) return { readout: `This setting could not be computed. ${known.error}` };
  return known || { readout: WAITING, waiting: true };
}

// ---- drawing over the picture

function outline(context, edgeOf, { shape: [rows, columns], mask }, colour, thickness) {
  const inside = (row, column) =>
    row >= 0 && column >= 0 && row < rows && column < columns && mask[row * columns + column] === 1;
  const edges = new Path2D();
  for (let row = 0; row <= rows; row++) {
    for (let column = 0; column <= columns; column++) {
      const [left, top, right, bottom] = edgeOf(row, column, rows, columns);
      edges.moveTo(left, top);
      if (inside(row, column) !== inside(row, column - 1)) edges.lineTo(left, bottom);
      edges.moveTo(left, top);
      if (inside(row, column) !== inside(row - 1, column)) edges.lineTo(right, top);
    }
  }
  context.lineCap = "square";
  for (const [style, width] of [["#000", thickness + 2], [colour, thickness]]) {
    context.strokeStyle = style;
    context.lineWidth = width * (window.devicePixelRatio || 1);
    context.stroke(edges);
  }
}

function drawCells(context, edgeOf, { shape: [rows, columns], values, mask }) {
  const low = values.reduce((a, b) => Math.min(a, b));
  const span = values.reduce((a, b) => Math.max(a, b)) - low || 1;
  values.forEach((value, cell) => {
    const [left, top, right, bottom] = edgeOf(Math.floor(cell / columns), cell % columns, rows, columns);
    context.globalAlpha = mask[cell] ? 0.05 + 0.4 * ((value - low) / span) : 0.6;
    context.fillStyle = mask[cell] ? KEPT : "#000";
    context.fillRect(left, top, right - left, bottom - top);
  });
  context.globalAlpha = 1;
}

function drawPoints(context, width, height, [rows, columns], points) {
  const unit = window.devicePixelRatio || 1;
  for (let i = 0; i < points.length; i += 2) {
    context.beginPath();
    const [x, y] = [((points[i] + 0.5) * width) / columns, ((points[i + 1] + 0.5) * height) / rows]; // cells' centres
    context.arc(x, y, 5 * unit, 0, 2 * Math.PI);
    for (const [style, thickness] of [["#000", 5], ["#fff", 3]]) {
      context.strokeStyle = style;
      context.lineWidth = thickness * unit;
      context.stroke();
    }
    context.fillStyle = POINT;
    context.fill();
  }
}

function draw(canvas, drawn) {
  const unit = window.devicePixelRatio || 1;
  const [width, height] = [Math.round(canvas.clientWidth * unit), Math.round(canvas.clientHeight * unit)];
  if (!width || !height || !drawn) return;
  canvas.width = width; // also clears it
  canvas.height = height;
  const context = canvas.getContext("2d");
  const along = (at, count, length) => Math.round((at * length) / count);
  const edgeOf = (row, column, rows, columns) => [
    along(column, columns, width), along(row, rows, height), along(column + 1, columns, width), along(row + 1, rows, height),
  ];
  drawCells(context, edgeOf, drawn);
  outline(context, edgeOf, drawn, KEPT, 2.5);
  if (drawn.truth) outline(context, edgeOf, drawn.truth, TRUTH, 2);
  if (drawn.points) drawPoints(context, width, height, drawn.shape, drawn.points);
}

// ---- the page

function element(name, className, parent) {
  const node = document.createElement(name);
  node.className = className;
  parent.append(node);
  return node;
}

// The keys of a focused slider or select belong to it. JupyterLab would take them: its notebook binds arrows and letters
// (cut, delete) while the focused element is not `:read-write`, which a slider or a select is not, and Lumino cancels the
// event. It listens on the document, in JupyterLab 4.6 as events bubble up, by its own default in the capture phase,
// where stopping the event here is too late; from a node with this attribute it looks for no binding in either. The
// attribute is off while Ctrl or Cmd is held, so that "save" works from a slider too. The event is stopped for those who
// know nothing of the attribute, such as themes whose arrows turn pages.
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
    spec.form === "frames" ? framesState(model, spec, index, seen) : scenesState(model, spec, index);

  let drawn = null;
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
    drawn = now.drawn;
    draw(overlay, drawn);
  }

  model.on("change:index", update);
  model.on("change:current", update);
  const resized = new ResizeObserver(() => draw(overlay, drawn));
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
