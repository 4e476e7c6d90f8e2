// Draws sources as lines of a listbox; tells Python which one was chosen.
// Text enters the page by textContent only. Lines are kept while they say the same.

function add(parent, className, text) {
  const element = document.createElement("span");
  element.className = className;
  element.textContent = text;
  parent.append(element);
  return element;
}

function fill(line, item) {
  const content = JSON.stringify(item);
  if (line.dataset.content === content) return;
  line.dataset.content = content;
  line.dataset.name = item.name;
  line.id = `source-${item.name}`;
  line.replaceChildren();
  const head = add(line, "head", "");
  add(head, "name", item.name);
  for (const mark of item.marks) add(head, "mark", mark);
  add(head, `state ${item.tone}`, item.state);
  const title = add(line, "title", item.title);
  title.title = item.model;
  const facts = add(line, "facts", "");
  add(facts, "sae", item.sae);
  add(facts, "size", item.size);
}

function mark(state) {
  for (const line of state.root.children) {
    line.setAttribute("aria-selected", String(line.dataset.name === state.selected));
  }
  if (state.selected) state.root.setAttribute("aria-activedescendant", `source-${state.selected}`);
}

// Scrolls the list alone, never the page.
function reveal(state) {
  const line = [...state.root.children].find((item) => item.dataset.name === state.selected);
  if (!line) return;
  const top = line.offsetTop, bottom = top + line.offsetHeight;
  const { scrollTop, clientHeight } = state.root;
  if (top < scrollTop || bottom > scrollTop + clientHeight) state.root.scrollTop = top - clientHeight / 2;
}

// A click replaces the address, so that Back leaves the page instead of walking through sources.
// Python then describes the same state in the same order, which changes nothing more.
function pick(state, line) {
  if (state.selected === line.dataset.name) return;
  state.selected = line.dataset.name;
  mark(state);
  reveal(state);
  const query = new URLSearchParams({ source: state.selected });
  window.history.replaceState(window.history.state, "", `${window.location.pathname}?${query}`);
  state.send("picked", state.selected);
}

function onKey(state, event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const lines = [...state.root.children];
  const now = lines.findIndex((line) => line.dataset.name === state.selected);
  const next = { ArrowDown: now + 1, ArrowUp: now - 1, Home: 0, End: lines.length - 1 }[event.key];
  if (next === undefined) return;
  event.preventDefault();
  const line = lines[Math.max(0, Math.min(lines.length - 1, next))];
  if (line) pick(state, line);
}

const states = new WeakMap();

export default function (component) {
  const { data, parentElement, setTriggerValue } = component;
  const root = parentElement.querySelector(".list");
  let state = states.get(parentElement);
  if (!state || state.root !== root) {
    state = { root, selected: null };
    root.onclick = (event) => {
      const line = event.target.closest(".line");
      if (line && String(getSelection()) === "") pick(state, line);
    };
    root.onkeydown = (event) => onKey(state, event);
    states.set(parentElement, state);
  }
  state.send = setTriggerValue;
  while (root.children.length > data.lines.length) root.lastChild.remove();
  data.lines.forEach((item, index) => {
    let line = root.children[index];
    if (!line) {
      line = document.createElement("div");
      line.className = "line";
      line.setAttribute("role", "option");
      root.append(line);
    }
    fill(line, item);
  });
  const isOther = state.selected !== data.selected;
  state.selected = data.selected;
  mark(state);
  if (isOther) reveal(state);
}
