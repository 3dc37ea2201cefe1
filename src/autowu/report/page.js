
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

const figures = JSON.parse(document.getElementById("figures").textContent);
const places = document.querySelectorAll(".figure");
const config = {
  responsive: true,
  displaylogo: false,
  displayModeBar: touch.matches || narrow.matches ? false : "hover",
  modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]],
};

figures.forEach((figure, i) => Plotly.newPlot(places[i], figure.data, { ...figure.layout, ...layout() }, config));

for (const query of [dark, narrow]) {
  query.addEventListener("change", () => places.forEach((place) => Plotly.relayout(place, layout())));
}
