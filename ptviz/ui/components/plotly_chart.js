// A plotly figure that keeps its one DOM node, and with it the reader's zoom, while new data arrives.
// Streamlit calls the default export again whenever the data or the theme changes; it must be safe to repeat.

const kept = new WeakMap(); // node -> {zoom, figure, waiting, dragging, ...}: one entry per mounted chart

// One script for all charts of the tab, asked for ahead by pages that have none: four megabytes take a while to read.
function loadPlotly(address) {
  if (window.Plotly) return Promise.resolve(window.Plotly);
  window.ptvizPlotly ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = address;
    script.onload = () => resolve(window.Plotly);
    script.onerror = () => { window.ptvizPlotly = undefined; reject(new Error("no answer from " + address)); };
    document.head.appendChild(script);
  });
  return window.ptvizPlotly;
}

// "xaxis:10:60,yaxis:0.2:0.9" <-> {xaxis: [10, 60], yaxis: [0.2, 0.9]}
function parseZoom(text) {
  const zoom = {};
  for (const part of (text || "").split(",")) {
    const [axis, low, high] = part.split(":");
    if (/^[xy]axis\d*$/.test(axis) && isFinite(low) && isFinite(high) && low !== "" && high !== "") zoom[axis] = [+low, +high];
  }
  return zoom;
}

function printZoom(zoom) {
  const short = (number) => String(+number.toPrecision(5));
  return Object.keys(zoom).sort().map((axis) => [axis, ...zoom[axis].map(short)].join(":")).join(",");
}

function themed(layout, style) {
  const read = (name, otherwise) => {
    const value = style.getPropertyValue(name).trim();
    return value && value !== "unset" ? value : otherwise;
  };
  const text = read("--st-text-color", "#444");
  const grid = read("--st-border-color", "#ddd");
  const paper = read("--st-background-color", "#fff");
  layout.font = { ...layout.font, color: text, family: read("--st-font", "sans-serif") };
  layout.paper_bgcolor = paper;
  layout.plot_bgcolor = paper;
  layout.hoverlabel = {
    bgcolor: read("--st-secondary-background-color", paper), bordercolor: grid, font: { color: text }, ...layout.hoverlabel,
  };
  layout.modebar = { bgcolor: "rgba(0,0,0,0)", color: grid, activecolor: text, ...layout.modebar };
  for (const name of Object.keys(layout)) {
    if (!/^[xy]axis\d*$/.test(name)) continue;
    layout[name] = { gridcolor: grid, linecolor: grid, zerolinecolor: grid, ...layout[name] };
  }
  for (const axis of ["xaxis", "yaxis", "zaxis"]) {
    if (!layout.scene?.[axis]) continue;
    layout.scene[axis] = { gridcolor: grid, zerolinecolor: grid, backgroundcolor: paper, color: text, ...layout.scene[axis] };
  }
  return layout;
}

const NARROW = 480; // CSS pixels, a phone
const TICK_CHARACTERS = 14;
const FEW_LABELS = 5;
const LINE_HEIGHT = 17; // CSS pixels of a name at a tick
const BAR_HEIGHT = 52; // of a horizontal colour bar with its ticks and title

// The first characters of an escaped text: "&lt;" is one.
function firstCharacters(text, count) {
  const characters = text.match(/&#?\w+;|<br>|[^]/gu) || [];
  return characters.length <= count ? text : characters.slice(0, Math.max(count - 1, 0)).join("") + "…";
}

// A text in at most as many lines, broken between words; the rest is cut.
function wrapped(text, lines) {
  const rows = [""];
  for (const word of text.split(" ")) {
    const longer = (rows.at(-1) + " " + word).trim();
    if (longer.length <= TICK_CHARACTERS || rows.at(-1) === "" || rows.length === lines) rows[rows.length - 1] = longer;
    else rows.push(word);
  }
  return rows.map((row) => firstCharacters(row, TICK_CHARACTERS)).join("<br>");
}

function shortenTicks(layout, width) {
  for (const [name, axis] of Object.entries(layout)) {
    if (!/^[xy]axis\d*$/.test(name) || !Array.isArray(axis.ticktext)) continue;
    const lines = name[0] === "y" ? Math.max(1, Math.floor(layout.height / axis.ticktext.length / LINE_HEIGHT)) : 1;
    axis.ticktext = axis.ticktext.map((text) => wrapped(text, lines));
    if (axis.ticktext.some((text) => text.includes("<br>"))) layout.height += 9 * axis.ticktext.length;
    const characters = axis.ticktext.reduce((sum, text) => sum + text.length + 2, 0);
    if (name[0] === "x" && 7 * characters > width / 2) axis.tickangle = -90; // half: names of rows and a colour bar
  }
}

// Names beside many points need more room than a phone has: the legend below has them instead.
function namePointsInLegend(figure, layout) {
  const labels = (layout.annotations || []).filter((one) => one.name === "point label");
  if (labels.length <= FEW_LABELS) return;
  layout.annotations = layout.annotations.filter((one) => one.name !== "point label");
  layout.showlegend = true;
  for (const trace of figure.data) trace.showlegend = trace.mode === "markers";
  const columns = { entrywidth: 0.48, entrywidthmode: "fraction", font: { size: 12 } };
  Object.assign(layout.legend, { y: -0.2, yanchor: "top", ...columns });
  layout.height += 1.5 * LINE_HEIGHT * Math.ceil(labels.length / 2);
}

// Small panels stand side by side only as far as their titles have room: on a phone there are fewer in a row.
const PANELS_IN_ROW = 2;
const PANEL_TITLE_SIZE = 10;

function regroupPanels(layout) {
  const panels = layout.meta?.panels;
  if (!panels) return;
  const columns = Math.min(panels.columns, PANELS_IN_ROW);
  const rows = Math.ceil(panels.count / columns);
  const title = { x: "", y: "" };
  const axes = (letter) => Array.from({ length: panels.count }, (_, i) => layout[`${letter}axis${i ? i + 1 : ""}`]);
  for (const letter of ["x", "y"]) for (const axis of axes(letter)) title[letter] ||= axis.title?.text;
  const name = (axis, letter, shown) => {
    axis.showticklabels = shown;
    axis.title = { ...axis.title, text: shown ? title[letter] : "" };
  };
  axes("x").forEach((axis, i) => {
    axis.domain = axis.domain.map((edge) => (edge * panels.columns - (i % panels.columns) + (i % columns)) / columns);
    name(axis, "x", i + columns >= panels.count);
  });
  const before = Math.ceil(panels.count / panels.columns);
  axes("y").forEach((axis, i) => {
    const shift = Math.floor(i / panels.columns) - Math.floor(i / columns); // rows, from the top
    axis.domain = axis.domain.map((edge) => (edge * before - before + shift + rows) / rows);
    name(axis, "y", i % columns === 0);
  });
  for (const one of layout.annotations || []) {
    if (one.name === "panel title") one.font = { ...one.font, size: PANEL_TITLE_SIZE };
  }
  layout.height += panels.height * (rows - before);
}

// A colour bar at the side takes a third of a phone's width: it lies above the figure, or below where the names of the
// columns are above. Bars that have a place of their own stay.
function layColourBars(figure, layout) {
  const bars = figure.data.map((trace) => trace.colorbar || trace.marker?.colorbar).filter((bar) => bar && bar.x === undefined);
  if (bars.length !== 1) return;
  const below = Object.entries(layout).some(([name, axis]) => /^xaxis\d*$/.test(name) && axis.side === "top");
  Object.assign(bars[0], {
    orientation: "h", x: 0.5, xanchor: "center", y: below ? 0 : 1, yanchor: below ? "top" : "bottom", len: 1, ypad: 4,
  });
  bars[0].title = { ...bars[0].title, side: "top" };
  layout.height += BAR_HEIGHT;
}

// Text in the cells of a heat map ends where its cell does: a word is cut, a number is left out, since a part of it would
// be another number. The text on hover has all of them.
function fitCells(node) {
  for (const [index, trace] of node.data.entries()) {
    if (trace.type !== "heatmap" || trace.texttemplate !== "%{text}" || !trace.text?.length) continue;
    const full = node._fullData[index];
    const axis = node._fullLayout["xaxis" + (full.xaxis || "x").slice(1)];
    const cell = axis._length / Math.abs(axis.range[1] - axis.range[0]);
    const size = +full.textfont.size || node._fullLayout.font.size; // it is "auto" unless the figure sets it
    const most = Math.floor((cell - 4) / (0.55 * size));
    const fitted = trace.text.map((row) => Array.from(row, (text) => {
      const shown = text && firstCharacters(text, most);
      return shown === text ? text : /\d/.test(text) && !/\p{L}{2}/u.test(text) ? "" : shown;
    }));
    if (JSON.stringify(fitted) !== JSON.stringify(trace.text)) window.Plotly.restyle(node, { text: [fitted] }, [index]);
  }
}

// Every size of a font, and the room that plotly does not make for larger words by itself.
function enlargeText(part, scale) {
  if (!part || typeof part !== "object" || ArrayBuffer.isView(part)) return;
  for (const [name, value] of Object.entries(part)) {
    if (/font$/.test(name) && value?.size) {
      value.size = Array.isArray(value.size) ? value.size.map((size) => size * scale) : value.size * scale;
    } else if (name === "margin") {
      for (const side of "lrtb") if (value[side] > 20) value[side] *= scale;
    } else if (!["x", "y", "z", "text", "customdata"].includes(name)) enlargeText(value, scale);
  }
}

function follow(node, state) {
  node.on("plotly_relayout", (change) => {
    for (const axis of Object.keys(node._fullLayout).filter((name) => /^[xy]axis\d*$/.test(name))) {
      if (!Object.keys(change).some((name) => name.startsWith(axis + ".") )) continue;
      const range = node._fullLayout[axis].range.map(Number);
      const home = (state.home[axis] || {}).range;
      const back = change[axis + ".autorange"] === true || (home && home.every((edge, i) => Math.abs(edge - range[i]) < 1e-9));
      if (back) delete state.zoom[axis]; else state.zoom[axis] = range;
    }
    state.report(printZoom(state.zoom));
  });
  const pick = (event, more) => {
    const points = (event?.points || []).filter((point) => point.data.meta === "pick").map((point) => point.customdata);
    if (points.length) state.pick([...new Set(points)], more);
  };
  node.on("plotly_click", (event) => pick(event, true));
  node.on("plotly_selected", (event) => pick(event, false));
  // A redraw in the middle of a drag would drop the reader's rectangle: wait until the button is up.
  node.addEventListener("pointerdown", () => { state.dragging = true; }, true);
  state.release = () => {
    if (!state.dragging) return;
    state.dragging = false;
    setTimeout(() => state.waiting && state.draw(), 60);
  };
  window.addEventListener("pointerup", state.release, true);
  window.addEventListener("pointercancel", state.release, true);
  state.staged = () => {
    const turned = (node.clientWidth < NARROW) !== state.narrow; // a phone was turned, or a window made narrow
    if (turned || JSON.stringify(stageOf(node)) !== JSON.stringify(state.stage)) state.draw();
  };
  for (const name of ["ptviz-stage", "fullscreenchange", "resize"]) window.addEventListener(name, state.staged);
}

export default function (component) {
  const { data, parentElement, setStateValue, setTriggerValue } = component;
  if (!data.figure) {
    parentElement.querySelector(".ptviz-plot").hidden = true;
    setTimeout(() => loadPlotly(data.source).catch(() => {}), 300);
    return;
  }
  const node = parentElement.querySelector(".ptviz-plot");
  const message = parentElement.querySelector(".ptviz-plot-message");
  const first = !kept.has(node);
  if (first) kept.set(node, { zoom: parseZoom(data.zoom), updates: 0, sent: data.zoom || "" });
  const state = kept.get(node);

  node.setAttribute("role", "figure"); // an image could not hold the buttons of the toolbar
  node.setAttribute("aria-label", data.alt);
  state.report = (zoom) => {
    if (!data.follows || zoom === state.sent) return;
    state.sent = zoom;
    setStateValue("zoom", zoom);
  };
  state.pick = (points, more) => data.picks && setTriggerValue("picked", { points, more });
  state.draw = () => {
    if (state.dragging) { state.waiting = true; return; }
    state.waiting = false;
    const figure = JSON.parse(data.figure);
    state.home = structuredClone(figure.layout);
    const layout = themed(figure.layout, getComputedStyle(node));
    state.stage = stageOf(node);
    if (state.stage) {
      Object.assign(layout, { width: state.stage.width, height: state.stage.height });
      enlargeText(layout, state.stage.scale);
      enlargeText(figure.data, state.stage.scale);
    }
    state.narrow = node.clientWidth < NARROW;
    if (state.narrow) {
      regroupPanels(layout);
      layColourBars(figure, layout);
      namePointsInLegend(figure, layout);
      shortenTicks(layout, node.clientWidth);
      // A legend of many lines leaves a low plot, a part of whose height is too little for the title of the axis.
      if (layout.legend?.y < 0) layout.legend.y *= 2;
    }
    node.style.height = layout.height ? layout.height + "px" : ""; // what plotly goes back to when the window changes
    // What a box or a lasso caught comes back dimmed by the server, in every figure: plotly's own marking gives way.
    layout.selectionrevision = state.updates;
    layout.selections = [];
    for (const [axis, range] of Object.entries(state.zoom)) {
      if (layout[axis]) layout[axis] = { ...layout[axis], range, autorange: false };
    }
    const config = {
      responsive: true, displaylogo: false, displayModeBar: data.toolbar && node.clientWidth >= NARROW ? "hover" : false, scrollZoom: false,
      modeBarButtons: [
        layout.scene
          ? ["orbitRotation", "tableRotation", "zoom3d", "pan3d", "resetCameraDefault3d"]
          : ["zoom2d", "pan2d", ...(data.picks ? ["select2d", "lasso2d"] : []), "zoomIn2d", "zoomOut2d", "resetScale2d"],
      ],
    };
    return window.Plotly.react(node, figure.data, layout, config).then(() => fitCells(node)).then(() => {
      message.hidden = true;
      if (!state.followed) { state.followed = true; follow(node, state); }
      state.updates += 1;
      node.dataset.updates = state.updates;
    });
  };
  const save = (format, scale) => window.Plotly.downloadImage(node, {
    format, scale, filename: data.name, width: node.clientWidth, height: node.clientHeight,
  });
  connectTools(parentElement, data, { svg: () => save("svg", 1), png: () => save("png", 2) });
  loadPlotly(data.source).then(() => state.draw()).catch((error) => {
    message.hidden = false;
    message.textContent = "The figure cannot be drawn: the plotting library did not arrive. Start the app with ptviz app, then reload this page.";
    console.error(error);
  });
  return () => {
    window.removeEventListener("pointerup", state.release, true);
    window.removeEventListener("pointercancel", state.release, true);
    for (const name of ["ptviz-stage", "fullscreenchange", "resize"]) window.removeEventListener(name, state.staged);
    if (window.Plotly) window.Plotly.purge(node);
  };
}
