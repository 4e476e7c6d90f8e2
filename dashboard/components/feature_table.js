// Draws features as table rows with a bar for the value; tells Python which row was chosen, or
// opens its feature's page where nothing is to be chosen.
// Text enters the page by textContent only. Sorting happens here; one handler serves all rows.

const PAGE_ROWS = 200;

function cellText(column, value) {
  if (value === null || value === undefined) return "–";
  if (column.kind === "percent") {
    const percent = 100 * value;
    if (percent === 0) return "0%";
    if (percent < 0.01) return "<0.01%";
    return percent.toFixed(percent < 1 ? 2 : percent < 10 ? 1 : 0) + "%";
  }
  if (column.kind === "value") return Number(value.toPrecision(3)).toString();
  if (column.kind === "signed") return (value > 0 ? "+" : "") + Number(value.toPrecision(3)).toString();
  if (column.kind === "count") return value.toLocaleString("en-US");
  return String(value);
}

const SVG = "http://www.w3.org/2000/svg";

function histogram(heights) {
  const chart = document.createElementNS(SVG, "svg");
  chart.setAttribute("viewBox", `0 0 ${heights.length} 1`);
  chart.setAttribute("preserveAspectRatio", "none");
  heights.forEach((height, index) => {
    const bar = document.createElementNS(SVG, "rect");
    const shown = height > 0 ? Math.max(height, 0.06) : 0;
    bar.setAttribute("x", String(index));
    bar.setAttribute("y", String(1 - shown));
    bar.setAttribute("width", "0.85");
    bar.setAttribute("height", String(shown));
    chart.append(bar);
  });
  return chart;
}

function drawCell(cell, column, value, largest, link) {
  cell.className = column.kind;
  if (column.kind === "feature") {
    if (link === null) {
      cell.textContent = String(value);
      return;
    }
    const anchor = document.createElement("a");
    anchor.href = link + String(value);
    anchor.target = "_self";
    anchor.textContent = String(value);
    cell.append(anchor);
    return;
  }
  if (column.kind === "histogram") {
    if (value?.length) cell.append(histogram(value));
    return;
  }
  const text = document.createElement("span");
  text.textContent = cellText(column, value);
  cell.append(text);
  if (column.kind === "label" && value) cell.title = value;
  if (column.kind === "signed" && value && largest > 0) {
    cell.style.setProperty("--part", `${(50 * Math.abs(value)) / largest}%`);
    cell.classList.add("bar", value > 0 ? "positive" : "negative");
  } else if (column.bar && value > 0 && largest > 0) {
    cell.style.setProperty("--part", `${(100 * value) / largest}%`);
    cell.classList.add("bar");
  }
}

function compare(a, b) {
  if (a === b) return 0;
  if (a === null) return 1;
  if (b === null) return -1;
  return typeof a === "string" || typeof b === "string" ? String(a).localeCompare(String(b)) : a - b;
}

function ordered(state) {
  const { data, sort } = state;
  const rows = data.rows.map((row, index) => ({ row, index }));
  if (sort !== null) rows.sort((x, y) => sort.direction * compare(x.row[sort.column], y.row[sort.column]) || x.index - y.index);
  return rows.map((item) => item.row);
}

function draw(state) {
  const { data } = state;
  const head = document.createElement("tr");
  data.columns.forEach((column, index) => {
    const cell = document.createElement("th");
    cell.scope = "col";
    cell.className = column.kind;
    const button = document.createElement("button");
    button.type = "button";
    button.dataset.column = String(index);
    button.textContent = column.name;
    button.title = column.help;
    if (state.sort?.column === index) {
      cell.setAttribute("aria-sort", state.sort.direction > 0 ? "ascending" : "descending");
      button.append(state.sort.direction > 0 ? " ↑" : " ↓");
    }
    cell.append(button);
    head.append(cell);
  });
  const largest = data.columns.map((column, index) =>
    column.bar || column.kind === "signed" ? Math.max(0, ...data.rows.map((row) => Math.abs(row[index] ?? 0))) : 0);
  const body = document.createDocumentFragment();
  for (const row of ordered(state).slice(0, state.limit)) {
    const line = document.createElement("tr");
    line.dataset.feature = String(row[0]);
    line.tabIndex = 0;
    line.setAttribute("aria-selected", String(row[0] === state.selected));
    data.columns.forEach((column, index) => {
      const cell = document.createElement("td");
      drawCell(cell, column, row[index], largest[index], data.link);
      line.append(cell);
    });
    body.append(line);
  }
  state.root.querySelector("thead").replaceChildren(head);
  state.root.querySelector("tbody").replaceChildren(body);
  const more = state.root.querySelector(".more");
  more.hidden = data.rows.length <= state.limit;
  more.textContent = `Show all ${data.rows.length.toLocaleString("en-US")} features`;
}

function mark(state) {
  for (const line of state.root.querySelectorAll("tbody tr")) {
    line.setAttribute("aria-selected", String(Number(line.dataset.feature) === state.selected));
  }
}

function pick(state, line) {
  if (!state.data.is_picked) {
    line.querySelector("td.feature a")?.click();
    return;
  }
  const feature = Number(line.dataset.feature);
  state.selected = state.selected === feature ? null : feature;
  mark(state);
  replaceAddress(state.data.order, { feature: state.selected, colour: null });
  state.send("picked", state.selected === null ? -1 : feature);
}

// A click replaces the address, so that Back leaves the run instead of walking through its tokens.
// Python then describes the same state in the same order, which changes nothing more.
function replaceAddress(order, changes) {
  const now = new URLSearchParams(window.location.search);
  for (const [name, value] of Object.entries(changes)) {
    if (value === null) now.delete(name);
    else now.set(name, value);
  }
  const next = new URLSearchParams();
  for (const name of order) if (now.has(name)) next.set(name, now.get(name));
  window.history.replaceState(window.history.state, "", `${window.location.pathname}?${next}`);
}

function onKey(state, event) {
  const line = event.target.closest("tbody tr");
  if (!line || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Enter" || event.key === " ") pick(state, line);
  else if (event.key === "ArrowDown") line.nextElementSibling?.focus();
  else if (event.key === "ArrowUp") line.previousElementSibling?.focus();
  else return;
  event.preventDefault();
}

function onClick(state, event) {
  const button = event.target.closest("th button");
  if (button) {
    const column = Number(button.dataset.column);
    const kind = state.data.columns[column].kind;
    if (kind === "histogram") return;
    const isText = kind === "label" || kind === "text";
    const same = state.sort?.column === column;
    state.sort = { column, direction: same ? -state.sort.direction : isText ? 1 : -1 };
    draw(state);
    return;
  }
  if (event.target.closest(".more")) {
    state.limit = Infinity;
    draw(state);
    return;
  }
  if (event.target.closest("td a")) return;
  const line = event.target.closest("tbody tr");
  if (line && String(getSelection()) === "") pick(state, line);
}

const states = new WeakMap();

export default function (component) {
  const { data, parentElement, setTriggerValue } = component;
  let state = states.get(parentElement);
  const root = parentElement.querySelector(".frame");
  if (!state || state.root !== root) {
    state = { root, data: null, sort: null, selected: null, limit: PAGE_ROWS };
    root.onclick = (event) => onClick(state, event);
    root.onkeydown = (event) => onKey(state, event);
    states.set(parentElement, state);
  }
  state.send = setTriggerValue;
  root.classList.toggle("tall", data.is_tall);
  const names = data.columns.map((column) => column.name).join();
  if (state.names !== names) {
    state.sort = null;
    state.limit = PAGE_ROWS;
    state.names = names;
  }
  const content = JSON.stringify([data.rows, data.link]);
  const isOther = state.content !== content;
  state.content = content;
  state.data = data;
  const isChosen = state.selected !== data.selected;
  state.selected = data.selected;
  if (isOther) draw(state);
  else if (isChosen) mark(state);
}
