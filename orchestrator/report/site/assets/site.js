// What pages do beyond being read: sort, filter, draw, put two scripts side by side, and follow a run.
"use strict";

const content = document.getElementById("content");
const sorted = new Map(); // by the number of a table: its column and direction, kept when the tables are renewed

// --- Tables ----------------------------------------------------------------------------------------------------------
function value(row, column) {
  const cell = row.cells[column];
  const text = cell.dataset.value ?? cell.textContent.trim();
  const number = Number(text.replaceAll(",", ""));
  return text === "" || text === "–" ? null : Number.isNaN(number) ? text.toLowerCase() : number;
}

function compare(a, b) {
  if (typeof a === typeof b) return typeof a === "string" ? a.localeCompare(b) : a - b;
  return typeof a === "number" ? -1 : 1;
}

function sort(table, column, direction) {
  const bodies = [...table.tBodies].map((body) => [body, body.rows.length]);
  const keyed = bodies.flatMap(([body]) => [...body.rows]).map((row) => [value(row, column), row]);
  keyed.sort(([a], [b]) => (a === null) - (b === null) || (a === null ? 0 : direction * compare(a, b)));
  const rows = keyed.map(([, row]) => row);
  for (const [body, size] of bodies) body.append(...rows.splice(0, size));
  for (const head of table.tHead.rows[0].cells) head.removeAttribute("aria-sort");
  table.tHead.rows[0].cells[column].setAttribute("aria-sort", direction > 0 ? "ascending" : "descending");
}

function makeSortable(table, number) {
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const direction = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
      sorted.set(number, [column, direction]);
      sort(table, column, direction);
    });
  });
  if (sorted.has(number)) sort(table, ...sorted.get(number));
}

function filter(form) {
  const words = form.elements.words.value.toLowerCase().split(/\s+/).filter(Boolean);
  const status = form.elements.status.value;
  const workload = form.elements.workload.value;
  let shown = 0;
  const rows = content.querySelectorAll("table.sortable tbody tr");
  const asked = Boolean(status || workload || words.length);
  for (const row of rows) {
    const place = row.closest("[data-workload]");
    const text = words.length ? row.textContent.toLowerCase() : "";
    const fits =
      (!status || row.dataset.status.split(" ").includes(status)) &&
      (!workload || place.dataset.workload === workload) &&
      words.every((word) => text.includes(word));
    if (row.hidden === fits) row.hidden = !fits;
    shown += fits;
  }
  const fits = (place) => place.querySelector("tbody tr:not([hidden])") !== null;
  for (const section of content.querySelectorAll("section[data-workload]"))
    section.hidden = asked && (workload ? section.dataset.workload !== workload : !fits(section));
  for (const place of content.querySelectorAll("details.machine")) {
    place.hidden = asked && !fits(place);
    if (asked && fits(place)) place.open = true; // a hit that nobody sees is none
  }
  const found = `${shown.toLocaleString("en")} of ${rows.length.toLocaleString("en")} rows`;
  const output = form.querySelector("output");
  output.textContent = shown || !asked ? found : `Nothing fits this filter: ${found}.`;
  output.classList.toggle("nothing", !shown && asked);
}

// --- Charts ----------------------------------------------------------------------------------------------------------
// Colours are the style sheet's own variables: a chart follows the page into the dark, and onto paper, by itself.
function theme() {
  const colour = (name) => `var(--${name})`;
  const text = { labelColor: colour("ink"), titleColor: colour("soft") };
  return {
    background: "transparent",
    font: "system-ui, sans-serif",
    axis: { ...text, gridColor: colour("line"), domainColor: colour("soft"), tickColor: colour("soft"), labelLimit: 260, labelFontSize: 11, titleFontWeight: "normal" },
    legend: text,
    view: { stroke: null },
    bar: { color: colour("bar"), stroke: colour("bar") },
    rect: { color: colour("bar") },
    point: { color: colour("bar") },
    line: { color: colour("bar") },
    rule: { color: colour("interval") },
    text: { color: colour("ink") },
    range: { category: ["#3b7ea6", "#c4681f", "#5d8f3c", "#9a66bd", "#c2505b", "#80848c"] },
  };
}

function draw() {
  for (const spec of content.querySelectorAll("script.chart")) {
    const next = spec.nextElementSibling;
    const place = next ?? document.createElement("div");
    place.className = "drawing";
    if (!next) spec.after(place);
    // logLevel 1: errors only; ast: expressions are interpreted, since the page allows no code that is made of text
    const options = { ast: true, actions: false, logLevel: 1, defaultStyle: false, renderer: "svg", config: theme(), tooltip: { disableDefaultStyle: true } };
    vegaEmbed(place, JSON.parse(spec.textContent), options).catch((error) => console.error(error));
  }
}

// --- Two scripts side by side ------------------------------------------------------------------------------------------
function choose(form) {
  const articles = [...content.querySelectorAll("article")];
  const names = articles.map((article) => article.id);
  const asked = location.hash.slice(1).split("+").filter((name) => names.includes(name));
  const usual = ["pytorch", "tensorflow"].filter((name) => names.includes(name));
  const [left, right] = asked.length === 2 ? asked : usual;
  form.elements.left.value = left;
  form.elements.right.value = right;
  for (const article of articles) {
    article.hidden = article.id !== left && article.id !== right;
    article.className = article.id === left ? "left" : "right";
  }
  content.prepend(document.getElementById(left)); // read, and reached by the keyboard, before the right one
  for (const link of form.querySelectorAll("a")) link.hash = `${left}+${right}`;
}

// --- The matrix as a picture -------------------------------------------------------------------------------------------
// Tab leads to one field of a picture, arrow keys from there to the next; what is said of a field stands below it.
const STEPS = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };

function beyond(link, [down, right]) {
  const rows = [...link.closest("tbody").rows];
  let row = link.closest("tr").sectionRowIndex + down;
  let column = link.closest("td").cellIndex + right;
  for (; rows[row]?.cells[column]; row += down, column += right) {
    const next = rows[row].cells[column].querySelector("a");
    if (next) return next;
  }
  return null;
}

function placeTip(link) {
  const tip = link.querySelector(".tip");
  const field = link.getBoundingClientRect();
  tip.classList.add("placed");
  const width = document.documentElement.clientWidth;
  const below = field.bottom + tip.offsetHeight + 8 < innerHeight;
  tip.style.left = `${Math.max(8, Math.min(field.left, width - tip.offsetWidth - 8))}px`;
  tip.style.top = `${below ? field.bottom + 4 : field.top - tip.offsetHeight - 4}px`;
}

function enhancePictures() {
  for (const table of document.querySelectorAll("table.map")) {
    const links = [...table.querySelectorAll("tbody a")];
    links.forEach((link, number) => (link.tabIndex = number ? -1 : 0));
    table.addEventListener("keydown", (event) => {
      const link = event.target.closest("tbody a");
      if (event.key === "Escape") link?.classList.add("quiet");
      const next = link && STEPS[event.key] && beyond(link, STEPS[event.key]);
      if (!next) return;
      event.preventDefault();
      next.focus();
    });
    table.addEventListener("focusin", (event) => {
      const link = event.target.closest("tbody a");
      if (!link) return;
      for (const each of links) each.tabIndex = each === link ? 0 : -1;
      link.classList.remove("quiet");
      placeTip(link);
    });
    table.addEventListener("mouseover", (event) => {
      const link = event.target.closest("tbody a");
      if (link && !link.contains(event.relatedTarget)) placeTip(link);
    });
  }
}

// --- A run that goes on ------------------------------------------------------------------------------------------------
function say(now) {
  const place = document.getElementById("now");
  if (!place) return;
  place.replaceChildren(
    ...now.lines.map((line) => Object.assign(document.createElement("p"), { textContent: line })),
  );
  place.hidden = now.lines.length === 0;
}

async function renew() {
  const page = new DOMParser().parseFromString(await (await fetch(location.pathname)).text(), "text/html");
  for (const place of document.querySelectorAll(".renewed")) {
    const focused = [...place.querySelectorAll("a, button, summary")].indexOf(document.activeElement);
    const open = [...place.querySelectorAll("details")].map((details) => details.open);
    place.replaceChildren(...page.getElementById(place.id).childNodes);
    place.querySelectorAll("details").forEach((details, number) => (details.open = open[number] ?? details.open));
    if (place === content) enhance();
    else enhancePictures();
    if (focused >= 0) place.querySelectorAll("a, button, summary")[focused]?.focus({ preventScroll: true });
  }
}

async function follow(address) {
  let seen = null;
  for (;;) {
    try {
      const now = await (await fetch(address)).json();
      say(now);
      if (seen !== null && seen !== now.version && !content.classList.contains("stone")) await renew();
      seen = now.version;
    } catch {
      say({ lines: ["The server does not answer; these are its last words."] });
    }
    await new Promise((resolve) => setTimeout(resolve, 1500));
  }
}

// --- All together --------------------------------------------------------------------------------------------------------
function enhance() {
  content.querySelectorAll("table.sortable").forEach(makeSortable);
  const filters = document.querySelector("form.filters");
  if (filters && [...filters.elements].some((element) => element.value)) filter(filters);
  if (window.vegaEmbed) draw();
}

for (const form of document.querySelectorAll("form")) {
  form.hidden = false;
  form.addEventListener("submit", (event) => event.preventDefault());
}
const filters = document.querySelector("form.filters");
filters?.addEventListener("input", () => filter(filters));
const choice = document.querySelector("form.choice");
if (choice) {
  content.classList.add("pair");
  choice.addEventListener("change", () => {
    location.hash = `${choice.elements.left.value}+${choice.elements.right.value}`;
  });
  addEventListener("hashchange", () => choose(choice));
  choose(choice);
}
enhance();
enhancePictures();
const live = document.querySelector('meta[name="live"]');
if (live) follow(live.content);
