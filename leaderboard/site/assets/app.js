// Sorting, filtering, chart switches, tooltips and the theme. The pages are complete without it.
"use strict";

const STEP = 250; // rows drawn at once

// ---------------------------------------------------------------- theme
function themeButton() {
  const button = document.getElementById("theme");
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);
  const show = () => button.setAttribute("aria-pressed", String(isDark()));
  button.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    try { localStorage.setItem("theme", root.dataset.theme); } catch { /* not kept, still shown */ }
    show();
  });
  system.addEventListener("change", show);
  show();
}

// ---------------------------------------------------------------- tables
// A row is {cells: [[parts, sort, notes], ...], text, id}; a part is text or [text, link]. Text is only ever set as text.
const chunks = [];
globalThis.speedrunRows = (rows) => { chunks.push(...rows); };

function readPart(node) {
  return node.nodeType === Node.TEXT_NODE ? node.data : [node.textContent, node.getAttribute("href")];
}

function readCell(td) {
  const small = td.querySelector("small");
  const own = [...td.childNodes].filter((node) => node !== small);
  const sort = td.dataset.sort;
  const number = sort !== undefined && sort !== "" && Number.isFinite(Number(sort)) ? Number(sort) : sort;
  return [own.map(readPart), number ?? null, small ? [...small.childNodes].map(readPart) : []];
}

const textOf = (parts) => parts.map((part) => (typeof part === "string" ? part : part[0])).join(" ");

function makeRow(cells, id) {
  const text = cells.map((cell) => `${textOf(cell[0])} ${textOf(cell[2] ?? [])}`).join(" ").toLowerCase();
  return { cells, id, text };
}

function appendParts(parent, parts, separated) {
  parts.forEach((part, i) => {
    if (i && separated) parent.append(", ");
    if (typeof part === "string") { parent.append(part); return; }
    const link = document.createElement("a");
    link.href = part[1];
    link.textContent = part[0];
    parent.append(link);
  });
}

function draw(row, heads, separated) {
  const tr = document.createElement("tr");
  if (row.id) tr.id = row.id;
  row.cells.forEach((cell, i) => {
    const td = document.createElement("td");
    td.className = heads[i].className;
    td.dataset.label = heads[i].textContent.trim();
    appendParts(td, cell[0], separated);
    if (cell[2]?.length) {
      const small = document.createElement("small");
      appendParts(small, cell[2], separated);
      td.append(small);
    }
    tr.append(td);
  });
  return tr;
}

function compare(a, b) {
  return typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en");
}

function loadScript(source) {
  return new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.addEventListener("load", resolve);
    script.addEventListener("error", reject);
    script.src = source;
    document.head.append(script);
  });
}

class Grid {
  constructor(root) {
    this.root = root;
    this.table = root.querySelector("table");
    this.body = this.table.tBodies[0];
    this.heads = [...this.table.tHead.rows[0].cells];
    this.form = root.querySelector(".filters");
    this.more = root.querySelector(".more");
    this.pages = root.parentElement.querySelector(".pages");
    this.shown = STEP;
    this.sorted = null;
    this.heads.forEach((head, i) => head.querySelector("button").addEventListener("click", () => this.sort(i)));
    this.more.addEventListener("click", () => { this.shown += STEP; this.update(); });
    this.form?.addEventListener("input", () => { this.shown = STEP; this.update(); });
    this.form?.addEventListener("submit", (event) => event.preventDefault());
  }

  async load() { // rows are read the first time that somebody asks for another order
    if (this.rows) return;
    const sources = (this.root.dataset.chunks ?? "").split(" ").filter(Boolean);
    if (sources.length) {
      for (const source of sources) await loadScript(source);
      this.rows = chunks.splice(0).map((cells) => makeRow(cells, ""));
      this.separated = true;
    } else {
      this.rows = [...this.body.rows].map((tr) => makeRow([...tr.cells].map(readCell), tr.id));
    }
  }

  sort(i) {
    const down = this.sorted?.i === i ? -this.sorted.down : 1;
    this.sorted = { i, down };
    this.heads.forEach((head, j) => {
      if (j === i) head.setAttribute("aria-sort", down > 0 ? "ascending" : "descending");
      else head.removeAttribute("aria-sort");
    });
    this.update();
  }

  wanted() {
    const words = (this.form?.elements.text?.value ?? "").toLowerCase().split(/\s+/).filter(Boolean);
    const tier = this.form?.elements.tier?.value ?? "";
    const column = this.heads.findIndex((head) => head.dataset.key === "tier");
    return this.rows.filter((row) => words.every((word) => row.text.includes(word))
      && (!tier || textOf(row.cells[column][0]) === tier));
  }

  async update() {
    await this.load();
    const rows = this.wanted();
    if (this.sorted) {
      const { i, down } = this.sorted;
      const known = rows.filter((row) => row.cells[i][1] !== null);
      known.sort((a, b) => down * compare(a.cells[i][1], b.cells[i][1]));
      rows.splice(0, rows.length, ...known, ...rows.filter((row) => row.cells[i][1] === null));
    }
    this.body.replaceChildren(...rows.slice(0, this.shown).map((row) => draw(row, this.heads, this.separated)));
    this.more.hidden = rows.length <= this.shown;
    if (this.pages) this.pages.hidden = true; // the table is whole now
    if (this.form) this.form.querySelector("output").textContent = `${rows.length.toLocaleString("en")} row${rows.length === 1 ? "" : "s"}`;
  }
}

// ---------------------------------------------------------------- charts
function chartSwitch(figure) {
  const buttons = [...figure.querySelectorAll(".switch button")];
  const drawings = [...figure.querySelectorAll(".drawing")];
  buttons.forEach((button, i) => button.addEventListener("click", () => {
    buttons.forEach((other, j) => other.setAttribute("aria-pressed", String(i === j)));
    drawings.forEach((drawing, j) => { drawing.hidden = i !== j; });
  }));
}

function tooltips() {
  const tip = document.createElement("div");
  tip.className = "tip";
  tip.setAttribute("role", "tooltip");
  tip.hidden = true;
  document.body.append(tip);
  const show = (event) => {
    const mark = event.target.closest?.(".chart a");
    if (!mark) { tip.hidden = true; return; }
    const label = mark.querySelector("[aria-label]")?.getAttribute("aria-label");
    const box = mark.getBoundingClientRect();
    tip.textContent = label ?? "";
    tip.hidden = !label;
    const left = Math.min(box.left + box.width / 2 + scrollX, scrollX + document.documentElement.clientWidth - tip.offsetWidth - 8);
    tip.style.setProperty("left", `${Math.max(left, 8)}px`); // CSSOM: no inline style stands in the page
    tip.style.setProperty("top", `${box.bottom + scrollY + 8}px`);
  };
  for (const name of ["mouseover", "focusin"]) document.addEventListener(name, show);
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") tip.hidden = true; });
}

themeButton();
document.querySelectorAll(".grid").forEach((root) => new Grid(root));
document.querySelectorAll(".chart").forEach(chartSwitch);
tooltips();
