// Draws answers as rows; tells Python which one was picked. A link in each row opens its run.
// Text enters the page by textContent only. One handler serves all rows.

const HEADS = ["no", "question", "answer", "tools", "outcome", "method", "run"];

function cell(row, className, text) {
  const td = document.createElement("td");
  td.className = className;
  td.textContent = text;
  row.append(td);
  return td;
}

function fill(row, item) {
  const content = JSON.stringify(item);
  if (row.dataset.content === content) return;
  row.dataset.content = content;
  row.dataset.key = item.key;
  row.replaceChildren();
  cell(row, "no", String(item.no));
  cell(row, "text", item.question);
  cell(row, "text", item.answer);
  cell(row, "tools", item.tools);
  const outcome = cell(row, "outcome", "");
  const dot = document.createElement("span");
  dot.className = "dot";
  dot.style.background = item.colour;
  outcome.append(dot, item.word);
  if (item.isContested) {
    const mark = document.createElement("span");
    mark.className = "mark";
    mark.textContent = "contested";
    outcome.append(mark);
  }
  outcome.title = item.outcome;
  cell(row, "method", item.method);
  const link = document.createElement("a");
  link.href = item.href;
  link.target = "_self";
  link.textContent = "open";
  link.setAttribute("aria-label", `Open the run of answer ${item.no}`);
  cell(row, "open", "").append(link);
}

function mark(state) {
  for (const row of state.body.children) {
    row.setAttribute("aria-selected", String(row.dataset.key === state.selected));
  }
}

// Scrolls the list alone, never the page.
function reveal(state) {
  const row = [...state.body.children].find((item) => item.dataset.key === state.selected);
  if (!row) return;
  const { scrollTop, clientHeight } = state.scroll;
  const top = row.offsetTop, bottom = top + row.offsetHeight;
  if (top < scrollTop + 30 || bottom > scrollTop + clientHeight) state.scroll.scrollTop = top - clientHeight / 2;
}

function pick(state, row) {
  if (state.selected === row.dataset.key) return;
  state.selected = row.dataset.key;
  mark(state);
  reveal(state);
  // A click replaces the address, so that Back leaves the page instead of walking through answers.
  const now = new URLSearchParams(window.location.search);
  now.set("run", state.selected);
  const next = new URLSearchParams();
  for (const name of state.order) if (now.has(name)) next.set(name, now.get(name));
  window.history.replaceState(window.history.state, "", `${window.location.pathname}?${next}`);
  state.send("picked", state.selected);
}

function onKey(state, event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const rows = [...state.body.children];
  const now = rows.findIndex((row) => row.dataset.key === state.selected);
  const next = { ArrowDown: now + 1, ArrowUp: now - 1, Home: 0, End: rows.length - 1 }[event.key];
  if (next === undefined || !rows.length) return;
  event.preventDefault();
  pick(state, rows[Math.max(0, Math.min(rows.length - 1, next))]);
}

function attach(scroll) {
  const head = document.createElement("tr");
  for (const name of HEADS) {
    const th = document.createElement("th");
    th.className = name;
    th.scope = "col";
    th.textContent = name;
    head.append(th);
  }
  scroll.querySelector("thead").replaceChildren(head);
  const state = { scroll, body: scroll.querySelector("tbody"), selected: null };
  scroll.onclick = (event) => {
    if (event.target.closest("a")) return;
    const row = event.target.closest("tbody tr");
    if (row && String(getSelection()) === "") pick(state, row);
  };
  scroll.onkeydown = (event) => onKey(state, event);
  return state;
}

const states = new WeakMap();

export default function (component) {
  const { data, parentElement, setTriggerValue } = component;
  const scroll = parentElement.querySelector(".scroll");
  let state = states.get(parentElement);
  if (!state || state.scroll !== scroll) {
    state = attach(scroll);
    states.set(parentElement, state);
  }
  state.send = setTriggerValue;
  state.order = data.order;
  while (state.body.children.length > data.rows.length) state.body.lastChild.remove();
  data.rows.forEach((item, index) => {
    let row = state.body.children[index];
    if (!row) {
      row = document.createElement("tr");
      state.body.append(row);
    }
    fill(row, item);
  });
  const isOther = state.selected !== data.selected;
  state.selected = data.selected;
  mark(state);
  if (isOther) reveal(state);
}
