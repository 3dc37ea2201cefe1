
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
  return {
    layout: {
      font: { family: "system-ui, sans-serif", size: narrow.matches ? 12 : 14, color: ink },
      paper_bgcolor: paper,
      plot_bgcolor: "transparent",
      xaxis: axis,
      yaxis: axis,
      hoverlabel: { bgcolor: paper, bordercolor: grid, font: { color: ink } },
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
    margin: narrow.matches ? { l: 50, r: 8, t: 30, b: 40 } : { l: 64, r: 16, t: 40, b: 48 },
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

// uirevision stays the same: what the reader has zoomed to or hidden outlives new data.
function draw(figures) {
  places().forEach((place, i) => {
    const heading = place.getAttribute("aria-label");
    const { data, layout: own } = at(figures[i], chosen.get(heading));
    const first = !place.data;
    Plotly.react(place, data, { ...own, ...layout(), uirevision: "reader" }, config);
    if (!first || !own.sliders) return;
    place.on("plotly_sliderchange", ({ slider, step }) => {
      if (step.label === slider.steps.at(-1).label) chosen.delete(heading); // follows the run again
      else chosen.set(heading, step.label);
    });
  });
}

for (const query of [dark, narrow]) {
  query.addEventListener("change", () => places().forEach((place) => Plotly.relayout(place, layout())));
}

draw(JSON.parse(document.getElementById("figures").textContent));

// --- the live view: `autowu report --watch` ---------------------------------------------------------

const PERIOD = 2000; // milliseconds
const live = document.getElementById("live");
let seen = "";

const headings = () => [...places()].map((place) => place.getAttribute("aria-label")).join("\n");

function show(news) {
  seen = news.revision;
  document.title = news.title;
  document.getElementById("head").innerHTML = news.head;
  if (document.getElementById("tail").innerHTML !== news.tail && !document.querySelector("details[open]")) {
    document.getElementById("tail").innerHTML = news.tail;
  }
  if (headings() !== news.headings) {
    places().forEach((place) => Plotly.purge(place));
    document.getElementById("sections").innerHTML = news.sections;
  }
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
