// Draws the tokens of a run as chips that wrap like text; tells Python which one was picked.
// Text enters the page by textContent only. One handler serves all chips.

const INVISIBLE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\u00a0\u2000-\u200a\u3000\ufe00-\ufe0f]/u;
const MARKS = { " ": "·", "\n": "↵", "\t": "⇥", "\r": "␍" };

function codePoint(character) {
  return "⟨" + character.codePointAt(0).toString(16).toUpperCase().padStart(4, "0") + "⟩";
}

function fillChip(chip, text) {
  if (text === "") {
    appendMark(chip, "∅");
    return;
  }
  let plain = "";
  let isBroken = false;
  for (const character of text) {
    if (isBroken) chip.append(document.createElement("br"));
    isBroken = character === "\n";
    const mark = MARKS[character] ?? (INVISIBLE.test(character) ? codePoint(character) : null);
    if (mark === null) {
      plain += character;
      continue;
    }
    if (plain) chip.append(plain);
    plain = "";
    appendMark(chip, mark);
  }
  if (plain) chip.append(plain);
}

function appendMark(chip, mark) {
  const span = document.createElement("span");
  span.className = "mark";
  span.textContent = mark;
  chip.append(span);
}

function number(value, digits) {
  if (value === null || value === undefined) return "–";
  return value.toFixed(digits).replace(/^-(0\.?0*)$/, "$1");
}

function percent(logprob) {
  if (logprob === null) return "–";
  const p = Math.exp(logprob);
  if (p >= 0.0995) return (100 * p).toFixed(0) + "%";
  return p >= 0.001 ? (100 * p).toFixed(1) + "%" : "<0.1%";
}

function describe(data, index) {
  const parts = [
    `position ${data.first + index}`,
    `id ${data.ids[index]}`,
    data.roles[index] + (data.generated[index] ? ", generated" : ""),
  ];
  if (data.logprobs[index] !== null) {
    parts.push(
      `probability ${percent(data.logprobs[index])}`,
      `logprob ${number(data.logprobs[index], 2)}`,
      `rank ${data.ranks[index]}`,
      `entropy ${number(data.entropies[index], 2)} nats`,
    );
  }
  parts.push(`${data.active[index]} active features`);
  if (data.legend !== null) {
    const value = data.shaded[index]?.[1];
    parts.push(`${data.legend.short} ${value === undefined ? data.legend.none : number(value, 2)}`);
  }
  return parts.join(" · ");
}

// Python sends roles by segment and special tokens by index: the rest of a long run is the rule.
function expanded(data) {
  const special = new Set(data.special);
  return {
    ...data,
    roles: data.segments.flatMap(([role, , n]) => Array(n).fill(role)),
    generated: data.segments.flatMap(([, isGenerated, n]) => Array(n).fill(isGenerated)),
    special: data.texts.map((_, index) => special.has(index)),
  };
}

function drawChips(strip, data) {
  const fragment = document.createDocumentFragment();
  const chips = [];
  let segment = null;
  let line = null;
  let previous = "";
  for (let index = 0; index < data.texts.length; index += 1) {
    const kind = data.roles[index] + (data.generated[index] ? "+" : "");
    if (kind !== previous) {
      segment = document.createElement("div");
      segment.className = "segment";
      segment.setAttribute("role", "presentation");
      const name = document.createElement("span");
      name.className = "role";
      name.setAttribute("aria-hidden", "true");
      name.textContent = data.roles[index];
      line = document.createElement("span");
      line.className = "line";
      line.setAttribute("role", "presentation");
      segment.append(name, line);
      fragment.append(segment);
      previous = kind;
    }
    const chip = document.createElement("span");
    chip.className =
      "chip" + (data.generated[index] ? " generated" : "") + (data.special[index] ? " special" : "");
    chip.id = `t${data.first + index}`;
    chip.dataset.index = String(index);
    chip.setAttribute("role", "option");
    fillChip(chip, data.texts[index]);
    // Marks are no spaces to a browser: lines may break where the text has white space.
    if (/^\s/.test(data.texts[index]) || data.special[index]) line.append(document.createElement("wbr"));
    line.append(chip);
    if (data.texts[index].endsWith("\n")) line.append(document.createElement("br"));
    chips.push(chip);
  }
  strip.replaceChildren(fragment);
  return chips;
}

function shade(state, old) {
  const { chips, data } = state;
  for (let index = 0; index < chips.length; index += 1) {
    const level = data.shaded[index]?.[0] ?? null;
    if (level === (old?.[index]?.[0] ?? null)) continue;
    if (level === null) chips[index].style.removeProperty("--shade");
    else chips[index].style.setProperty("--shade", `${(100 * Math.abs(level)).toFixed(1)}%`);
    chips[index].classList.toggle("shaded", level !== null);
    chips[index].classList.toggle("less", level !== null && level < 0);
  }
}

function select(state, index) {
  const old = state.selected;
  if (old !== null && state.chips[old]) state.chips[old].setAttribute("aria-selected", "false");
  state.selected = index;
  if (index !== null && state.chips[index]) state.chips[index].setAttribute("aria-selected", "true");
}

function activate(state, index) {
  const old = state.chips[state.active];
  if (old) old.classList.remove("active");
  state.active = index;
  const chip = state.chips[index];
  if (!chip) {
    state.strip.removeAttribute("aria-activedescendant");
    return;
  }
  chip.classList.add("active");
  chip.setAttribute("aria-label", `${JSON.stringify(state.data.texts[index])}, ${describe(state.data, index)}`);
  state.strip.setAttribute("aria-activedescendant", chip.id);
  const box = chip.getBoundingClientRect();
  const frame = state.strip.getBoundingClientRect();
  if (box.top < frame.top || box.bottom > frame.bottom) chip.scrollIntoView({ block: "nearest" });
  inform(state, index);
}

function inform(state, index) {
  const shown = index ?? state.selected;
  if (shown === null || shown >= state.chips.length) {
    state.detail.replaceChildren("Point at a token for its numbers; click it for its features.");
    return;
  }
  const name = document.createElement("b");
  fillChip(name, state.data.texts[shown]);
  state.detail.replaceChildren(name, " " + describe(state.data, shown));
}

function verticalNeighbour(state, index, direction) {
  const from = state.chips[index].getBoundingClientRect();
  const middle = (from.left + from.right) / 2;
  let best = index;
  let bestDistance = Infinity;
  let row = null;
  for (let i = index + direction; i >= 0 && i < state.chips.length; i += direction) {
    const box = state.chips[i].getBoundingClientRect();
    const isOther = direction > 0 ? box.top >= from.bottom - 2 : box.bottom <= from.top + 2;
    if (!isOther) continue;
    if (row === null) row = box.top;
    if (Math.abs(box.top - row) > 2) break;
    const distance = Math.abs((box.left + box.right) / 2 - middle);
    if (distance < bestDistance) [best, bestDistance] = [i, distance];
  }
  return best;
}

function onKey(state, event) {
  if (event.ctrlKey || event.metaKey || event.altKey || state.chips.length === 0) return;
  const last = state.chips.length - 1;
  const at = Math.max(0, Math.min(state.active ?? 0, last));
  const targets = {
    ArrowLeft: () => Math.max(0, at - 1),
    ArrowRight: () => Math.min(last, at + 1),
    ArrowUp: () => verticalNeighbour(state, at, -1),
    ArrowDown: () => verticalNeighbour(state, at, 1),
    Home: () => 0,
    End: () => last,
  };
  if (event.key in targets) activate(state, targets[event.key]());
  else if (event.key === "Enter" || event.key === " ") pick(state, at);
  else return;
  event.preventDefault();
}

function pick(state, index) {
  const isSame = state.selected === index;
  select(state, isSame ? null : index);
  inform(state, index);
  const position = isSame ? null : state.data.first + index;
  replaceAddress(state.data.order, { token: position, scope: null });
  state.send("picked", position ?? -1);
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

function indexOf(event) {
  const chip = event.target.closest?.(".chip");
  return chip ? Number(chip.dataset.index) : null;
}

function drawLegend(state) {
  const legend = state.data.legend;
  state.legend.hidden = legend === null;
  if (legend === null) return;
  state.legend.querySelector(".title").textContent = legend.title;
  state.legend.querySelector(".low").textContent = legend.low;
  state.legend.querySelector(".ramp").classList.toggle("signed", legend.signed);
  state.legend.querySelector(".high").textContent = legend.high;
}

function attach(root, send) {
  const strip = root.querySelector(".strip");
  const state = {
    strip, send, chips: [], data: null, selected: null, active: 0,
    detail: root.querySelector(".detail"), legend: root.querySelector(".legend"),
  };
  strip.onclick = (event) => {
    const index = indexOf(event);
    if (index === null) return;
    activate(state, index);
    pick(state, index);
  };
  strip.onpointerover = (event) => {
    const index = indexOf(event);
    if (index !== null) inform(state, index);
  };
  strip.onpointerleave = () => inform(state, null);
  strip.onkeydown = (event) => onKey(state, event);
  strip.onfocus = () => activate(state, Math.min(state.active ?? 0, state.chips.length - 1));
  return state;
}

const states = new WeakMap();

export default function (component) {
  const { data, parentElement, setTriggerValue } = component;
  let state = states.get(parentElement);
  if (!state || !state.strip.isConnected) {
    state = attach(parentElement, setTriggerValue);
    states.set(parentElement, state);
  }
  state.send = setTriggerValue;
  const isOther = state.data === null || state.data.id !== data.id;
  const oldShaded = isOther ? null : state.data.shaded;
  state.data = expanded(data);
  if (isOther) {
    state.chips = drawChips(state.strip, state.data);
    state.selected = null;
    state.active = data.selected ?? 0;
  }
  state.strip.setAttribute("aria-label", data.label);
  shade(state, oldShaded);
  drawLegend(state);
  if (state.selected !== data.selected) select(state, data.selected);
  if (isOther) {
    // A long prompt is scrolled past: what is chosen is in sight, or else where the answer begins.
    const chip = state.chips[data.selected ?? state.data.generated.indexOf(true)];
    const middle = state.strip.clientHeight / 2;
    if (chip) state.strip.scrollTop = Math.max(0, chip.offsetTop - middle);
  }
  inform(state, null);
}
