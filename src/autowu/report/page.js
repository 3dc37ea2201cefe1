
// Draws the figures of the page, in the reader's colour scheme and at the width there is.
"use strict";

const dark = matchMedia("(prefers-color-scheme: dark)");
const narrow = matchMedia("(max-width: 640px)");
const touch = matchMedia("(pointer: coarse)");

function template() {
  const [ink, grid, paper] = dark.matches
    ? ["#e6e9ec", "#363d45", "#15181c"]
    : ["#1c2024", "#d9dee3", "#ffffff"];
  const axis = { gridcolor: grid, linecolor: grid, zeroline: false, automargin: true, title: { standoff: 8 } };
  Object.assign(axis, { ticks: "outside", ticklen: 4, tickcolor: "transparent" }); // labels apart in a corner
  return {
    layout: {
      font: { family: "system-ui, sans-serif", size: narrow.matches ? 12 : 14, color: ink },
      paper_bgcolor: paper,
      plot_bgcolor: "transparent",
      xaxis: axis,
      yaxis: axis,
      hoverlabel: { bgcolor: paper, bordercolor: grid, font: { color: ink }, namelength: -1 },
      legend: { orientation: "h", x: 0, xanchor: "left", y: 1.02, yanchor: "bottom" },
      annotationdefaults: { arrowcolor: ink, font: { color: ink }, bgcolor: paper, borderpad: 2 },
      updatemenudefaults: { bgcolor: paper, bordercolor: grid, font: { color: ink } },
      sliderdefaults: { bgcolor: grid, activebgcolor: "#0b7bbd", bordercolor: grid, tickcolor: grid },
    },
  };
}

// A finger that scrolls the page must not zoom the figure under it.
function layout() {
  return {
    template: template(),
    margin: narrow.matches ? { l: 50, r: 20, t: 30, b: 40 } : { l: 64, r: 24, t: 40, b: 48 },
    dragmode: touch.matches ? false : "zoom",
  };
}

const config = {
  responsive: true,
  displaylogo: false,
  displayModeBar: touch.matches || narrow.matches ? false : "hover",
  modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]],
};

const places = () => document.querySelectorAll(".figure");
const chosen = new Map(); // by the figure's heading: the test that the reader has moved its slider to

// The figure as its slider shows it: what its step changes of data and layout, put in place.
function at(figure, label) {
  const slider = figure.layout.sliders?.[0];
  const i = slider ? slider.steps.findIndex((step) => step.label === label) : -1;
  if (i < 0) return figure;
  const [changes, layout, traces] = slider.steps[i].args;
  const data = [...figure.data];
  traces.forEach((trace, k) => (data[trace] = { ...data[trace], x: changes.x[k], y: changes.y[k] }));
  return { data, layout: { ...figure.layout, ...layout, sliders: [{ ...slider, active: i }] } };
}

// --- what the reader chooses of the first figure ----------------------------------------------------

const choice = (name) => document.querySelector(`[data-control="${name}"]`)?.value;
const TIMES = [[3600, "hours"], [60, "minutes"], [1, "seconds"]];

// y at x on the line through the points (xs, ys), which goes straight on beyond its last one.
function along(xs, ys, x) {
  let i = 1;
  while (i < xs.length - 1 && xs[i] < x) i++;
  return ys[i - 1] + ((x - xs[i - 1]) * (ys[i] - ys[i - 1])) / (xs[i] - xs[i - 1]);
}

// A Gaussian over the points of a curve, within each stretch between gaps.
function smoothed(y) {
  const width = Math.max(2, 0.04 * y.length), reach = Math.ceil(3 * width);
  return y.map((value, i) => {
    if (value === null) return null;
    let sum = 0, weight = 0;
    for (const way of [1, -1]) {
      for (let k = way > 0 ? 0 : 1; k <= reach; k++) {
        const other = y[i + way * k];
        if (other === null || other === undefined) break;
        const share = Math.exp(-0.5 * (k / width) ** 2);
        sum += share * other;
        weight += share;
      }
    }
    return sum / weight;
  });
}

// `top` is the highest value, where there is room for words above it: the same share of it stays.
function scaled(axis, wanted, top) {
  const type = axis.type ?? "linear";
  if (!wanted || wanted === "own" || wanted === type) return axis;
  let range = axis.range;
  if (range && top > 0 && wanted === "linear") {
    range = [0, (top * (range[1] - range[0])) / (Math.log10(top) - range[0])];
  } else if (range) range = wanted === "linear" ? [0, 10 ** range[1]] : [Math.log10(Math.max(range[0], 0.05 * range[1])), Math.log10(range[1])];
  if (range && !range.every(Number.isFinite)) range = undefined;
  return { ...axis, type: wanted, range, tickformat: undefined };
}

function asChosen(figure) {
  const units = figure.layout.meta?.units;
  if (!units) return figure;
  const unit = choice("x") ?? "step", curves = units[unit];
  let [factor, name] = [1, ""];
  if (unit === "time") [factor, name] = TIMES.find(([size]) => Math.max(...curves.map((c) => c[1].at(-1))) >= 2 * size) ?? TIMES[2];
  const to = (run, x) => (curves && x !== null && x !== undefined ? along(...curves[run], x) / factor : x);
  const smoothing = choice("smoothing");
  const data = figure.data.map((trace) => {
    const { run, kind } = trace.meta;
    const changed = curves ? { ...trace, x: trace.x.map((x) => to(run, x)) } : { ...trace };
    if (smoothing === "none" && kind === "smooth") changed.visible = false;
    if (smoothing === "none" && kind === "raw") Object.assign(changed, { line: { ...trace.line, color: trace.line.color.replace(/[\d.]+\)$/, "0.8)") }, hoverinfo: "all" });
    if (smoothing === "strong" && kind === "smooth") changed.y = smoothed(trace.y);
    return changed;
  });
  const layout = { ...figure.layout };
  const rates = data.filter((trace) => trace.meta.kind === "lr").flatMap((trace) => trace.y);
  layout.yaxis = scaled(layout.yaxis, choice("lr"), Math.max(...rates));
  layout.yaxis2 = scaled(layout.yaxis2, choice("loss"));
  const title = { step: "step (updates done)", epoch: "epoch", time: name }[unit];
  const ends = data.map((trace) => trace.x.at(-1)).filter(Number.isFinite); // words at the side ask for no room
  layout.xaxis = { ...layout.xaxis, title: { text: title }, range: ends.length ? [0, Math.max(...ends)] : undefined };
  const height = (own, now, y) => {
    if ((own.type ?? "linear") === (now.type ?? "linear")) return y;
    return now.type === "log" ? Math.log10(y) : 10 ** y;
  };
  layout.shapes = layout.shapes.map((shape) => ({ ...shape, x0: to(shape.name, shape.x0), x1: to(shape.name, shape.x1) }));
  layout.annotations = layout.annotations.map((note) => {
    const moved = { ...note, x: to(note.name, note.x) };
    const axis = { y: "yaxis", y2: "yaxis2" }[note.yref];
    if (axis) moved.y = height(figure.layout[axis], layout[axis], note.y);
    if (note.axref === "x") moved.ax = to(note.name, note.ax);
    if (note.axref === "x" && axis) moved.ay = height(figure.layout[axis], layout[axis], note.ay);
    return moved;
  });
  return { data, layout };
}

// --- drawing --------------------------------------------------------------------------------------------

let known = []; // the figures as they came

const chosenNear = new Set(); // headings of figures that the reader has zoomed to the minimum

function listen(place, heading) {
  place.on("plotly_sliderchange", ({ slider, step }) => {
    if (step.label === slider.steps.at(-1).label) chosen.delete(heading); // follows the run again
    else chosen.set(heading, step.label);
    const { whole, near } = place.layout.meta;
    const range = (chosenNear.has(heading) && near[slider.steps.indexOf(step)]) || whole;
    if (chosenNear.has(heading)) Plotly.relayout(place, { "yaxis.range": range });
  });
  place.on("plotly_buttonclicked", ({ button }) => {
    if (button.label === "all losses") return chosenNear.delete(heading);
    chosenNear.add(heading);
    const { near } = place.layout.meta, active = place.layout.sliders[0].active;
    if (near[active]) Plotly.relayout(place, { "yaxis.range": near[active] });
  });
}

// Of many runs the names stand in columns, and the figure grows by their rows.
function named(place, data) {
  const names = data.filter((trace) => trace.showlegend !== false && trace.visible !== false).map((trace) => trace.name);
  place.style.height = "";
  if (names.length <= 4) return {};
  let wide = (narrow.matches ? 7.5 : 8.5) * Math.max(...names.map((name) => name.length));
  const beside = narrow.matches ? 90 : 180; // margins, and the buttons in the corner
  const columns = Math.max(1, Math.floor((place.clientWidth - beside) / (wide + 45)));
  wide = Math.max(wide, (place.clientWidth - 90) / columns - 46); // or plotly.js would find room for one more
  const rows = 30 * Math.ceil(names.length / columns);
  place.style.height = `${place.clientHeight + rows}px`;
  return { legend: { entrywidth: wide, maxheight: rows + 30 } };
}

// A range that differs from the last would end the reader's zoom: while there is one the last stays.
function zoomed(place, own, units) {
  const last = place.asked;
  const range = own.xaxis?.range;
  const now = place._fullLayout?.xaxis?.range;
  const keep = last?.range && range && last.units === units && `${now}` !== `${last.range}`;
  place.asked = { units, range: keep ? last.range : range };
  return range ? { xaxis: { ...own.xaxis, range: [...place.asked.range] } } : {};
}

// plotly.js would name each of 2 to 9 between two powers of ten, one over the other.
function ticked({ data, layout }) {
  const named = (axis, wide) => {
    if (axis?.type !== "log" || !axis.range) return axis;
    const decades = axis.range[1] - axis.range[0];
    const powers = Math.max(1, Math.floor(decades / 0.71)); // none between them
    return { ...axis, nticks: decades < 1 ? (wide ? 5 : 2) : decades > 3 || !wide ? powers : decades < 1.6 ? 3 : 5 };
  };
  const axes = Object.keys(layout).filter((name) => /^[xy]axis/.test(name));
  const ours = axes.map((name) => [name, named(layout[name], name[0] === "y" || !narrow.matches)]);
  return { data, layout: { ...layout, ...Object.fromEntries(ours) } };
}

// uirevision stays the same: what the reader has zoomed to or hidden outlives new data.
function draw(figures) {
  known = figures;
  places().forEach((place, i) => {
    if (place.closest("details:not([open]), [hidden]")) return; // folded away: drawn once it is opened
    const heading = place.getAttribute("aria-label");
    const { data, layout: own } = ticked(without(asChosen(at(figures[i], chosen.get(heading)))));
    const first = !place.data;
    const units = own.meta?.units ? [choice("x"), choice("lr"), choice("loss")].join() : "";
    Plotly.react(place, data, { ...own, ...zoomed(place, own, units), ...named(place, data), ...layout(), uirevision: `reader ${units}` }, config);
    fit(place);
    if (first && own.sliders) listen(place, heading);
  });
}

// Words that a narrow figure would cut, or write over its ticks, are moved in.
function fit(place) {
  const { left, right: end } = place.getBoundingClientRect(), moves = {};
  const start = left + place._fullLayout._size.l;
  place.querySelectorAll(".infolayer .annotation").forEach((drawn) => {
    const i = drawn.dataset.index, note = place.layout.annotations[i], box = drawn.getBoundingClientRect();
    if (!note || note.showarrow || !box.width) return;
    const over = Math.max(0, box.right - end) || Math.min(0, box.left - start);
    if (over) moves[`annotations[${i}].xshift`] = (note.xshift ?? 0) - over;
  });
  if (Object.keys(moves).length) Plotly.relayout(place, moves);
}

for (const query of [dark, narrow]) {
  query.addEventListener("change", () =>
    places().forEach((place) => place.data && Plotly.relayout(place, layout())),
  );
}

function again() {
  arrange();
  draw(known);
}

document.addEventListener("change", (event) => event.target.dataset.control && draw(known));
filter?.addEventListener("input", again);
document.addEventListener("toggle", (event) => event.target.open && draw(known), true);

// A link of the contents opens what is folded away.
function open() {
  const details = location.hash && document.querySelector(`${location.hash} > details`);
  if (details) details.open = true;
}
addEventListener("hashchange", open);

arrange();
draw(JSON.parse(document.getElementById("figures").textContent));
open();

// --- the live view: `autowu report --watch` ---------------------------------------------------------

const PERIOD = 2000; // milliseconds
const live = document.getElementById("live");
let seen = "";

const headings = () => [...places()].map((place) => place.getAttribute("aria-label")).join("\n");

function show(news) {
  seen = news.revision;
  document.title = news.title;
  const told = document.querySelector("#stories[open]");
  document.getElementById("head").innerHTML = news.head;
  if (told) document.getElementById("stories").open = true;
  if (document.getElementById("tail").innerHTML !== news.tail && !document.querySelector("details[open]")) {
    document.getElementById("tail").innerHTML = news.tail;
  }
  if (headings() !== news.headings) {
    places().forEach((place) => Plotly.purge(place));
    document.getElementById("sections").innerHTML = news.sections;
    document.getElementById("contents").innerHTML = news.contents;
  }
  arrange();
  draw(news.figures);
}

async function poll() {
  try {
    const answer = await fetch(`data.json?seen=${encodeURIComponent(seen)}`, { cache: "no-store" });
    if (!answer.ok) throw new Error(await answer.text());
    if (answer.status === 200) show(await answer.json());
    live.textContent = `Live: as of ${new Date().toLocaleTimeString()}, read again every ${PERIOD / 1000} s.`;
  } catch (error) {
    live.textContent = `Not live: ${error.message || "no answer"}. The page stays as it was.`;
  }
  setTimeout(poll, PERIOD);
}

if (live) poll();
