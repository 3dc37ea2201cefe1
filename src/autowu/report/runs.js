// The table of many runs: sorted, and of those that have the words that the reader looks for.
"use strict";

const filter = document.getElementById("filter");
let order = null; // the column that sorts, and which way
let left = new Set(); // runs that are left out

const cell = (row, i) => row.cells[i].textContent;
const value = (text) => Number.parseFloat(text.replace(/[,%]/g, ""));

function compare(a, b) {
  const [x, y] = [value(a), value(b)];
  if (Number.isNaN(x) !== Number.isNaN(y)) return Number.isNaN(x) ? 1 : -1;
  return Number.isNaN(x) ? a.localeCompare(b, undefined, { numeric: true }) : x - y;
}

function arrange() {
  const table = document.querySelector(".runs"), rows = [...table.tBodies[0].rows];
  if (rows.length < 2) return;
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, i) => {
    if (!head.querySelector("button")) {
      const button = document.createElement("button");
      button.textContent = head.textContent;
      button.addEventListener("click", () => {
        order = [i, order && order[0] === i ? -order[1] : 1];
        arrange();
      });
      head.replaceChildren(button);
    }
    head.removeAttribute("aria-sort");
  });
  if (order) {
    const [i, way] = order;
    heads[i].setAttribute("aria-sort", way > 0 ? "ascending" : "descending");
    const none = (row) => cell(row, i) === "–"; // last, either way
    rows.sort((a, b) => none(a) - none(b) || (i ? way * compare(cell(a, i), cell(b, i)) : way * (a.dataset.run - b.dataset.run)));
    table.tBodies[0].append(...rows);
  }
  const words = (filter?.value ?? "").toLowerCase().split(/[\s,]+/).filter(Boolean);
  const kept = (row) => words.every((word) => row.textContent.toLowerCase().includes(word));
  left = new Set(rows.filter((row) => !kept(row)).map((row) => Number(row.dataset.run)));
  document.querySelectorAll("[data-run]").forEach((part) => (part.hidden = left.has(Number(part.dataset.run))));
  const matching = document.getElementById("matching");
  if (matching) matching.textContent = words.length ? `${rows.length - left.size} of ${rows.length}` : "";
}

function without(figure) {
  if (!left.size) return figure;
  const of = (part) => part.name !== undefined && left.has(Number(part.name));
  const data = figure.data.map((trace) => (left.has(trace.meta?.run) ? { ...trace, visible: false } : trace));
  if (!figure.data.some((trace) => trace.meta)) return figure; // of one run alone
  const { shapes = [], annotations = [] } = figure.layout;
  const rest = { shapes: shapes.filter((shape) => !of(shape)), annotations: annotations.filter((note) => !of(note)) };
  return { data, layout: { ...figure.layout, ...rest } };
}
