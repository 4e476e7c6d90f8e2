// Draws two aligned answers, one above the other, and says how likely each token is in either.
// Text enters the page by textContent only.

const MARKS = { " ": "·", "\n": "↵", "\t": "⇥", "\r": "␍" };
const INVISIBLE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\u00a0\u2000-\u200a\u3000\ufe00-\ufe0f]/u;
const FULL_NATS = 4;

function visible(text) {
  if (text === "") return "∅";
  return [...text]
    .map((c) => MARKS[c] ?? (INVISIBLE.test(c) ? `⟨${c.codePointAt(0).toString(16)}⟩` : c))
    .join("");
}

function percent(logprob) {
  if (logprob === null) return "–";
  const p = Math.exp(logprob);
  if (p >= 0.0995) return `${(100 * p).toFixed(0)}%`;
  return p >= 0.001 ? `${(100 * p).toFixed(1)}%` : "<0.1%";
}

// How much likelier steering makes the token: the same question for both rows.
function change(token, isSteered) {
  if (token === null || token[2] === null || token[3] === null) return null;
  return isSteered ? token[2] - token[3] : token[3] - token[2];
}

function chip(token, isSteered, differs) {
  const element = document.createElement("span");
  element.className = `chip${differs ? " differs" : ""}${token === null ? " gap" : ""}`;
  if (token === null) return element;
  element.textContent = visible(token[1]);
  const nats = change(token, isSteered);
  if (nats !== null) {
    const share = Math.min(1, Math.abs(nats) / FULL_NATS);
    if (share > 0.02) {
      element.style.setProperty("--shade", `${(100 * share).toFixed(0)}%`);
      element.classList.add(nats > 0 ? "more" : "less");
    }
  }
  return element;
}

function say(name, token, isSteered, measured) {
  if (token === null) return `${name}: nothing here`;
  const plain = isSteered ? token[3] : token[2];
  const steered = isSteered ? token[2] : token[3];
  const odds = measured
    ? `probability ${percent(plain)} without steering, ${percent(steered)} with it`
    : `probability ${percent(token[2])} as it was chosen`;
  return `${name}: ${JSON.stringify(token[1])} at position ${token[0]}, ${odds}`;
}

function describe(cell, measured) {
  return `${say("plain", cell[0], false, measured)} · ${say("steered", cell[1], true, measured)}`;
}

function draw(root, data) {
  const cells = root.querySelector(".cells");
  const detail = root.querySelector(".detail");
  const rest = "Point at a token for its probability with and without steering.";
  root.querySelector(".names").textContent = "plain above, steered below; what differs is underlined";
  const scale = root.querySelector(".scale");
  scale.replaceChildren();
  if (data.measured) {
    const ramp = document.createElement("span");
    ramp.className = "ramp";
    scale.append("steering makes it less likely ", ramp, " likelier");
  }
  cells.replaceChildren(
    ...data.cells.map((cell, index) => {
      const column = document.createElement("span");
      column.className = "cell";
      column.setAttribute("role", "listitem");
      column.setAttribute("aria-label", describe(cell, data.measured));
      column.dataset.index = String(index);
      column.append(chip(cell[0], false, cell[2]), chip(cell[1], true, cell[2]));
      return column;
    }),
  );
  detail.textContent = rest;
  const find = (event) => event.target.closest?.(".cell");
  cells.onpointerover = (event) => {
    const column = find(event);
    if (column) detail.textContent = describe(data.cells[Number(column.dataset.index)], data.measured);
  };
  cells.onpointerleave = () => {
    detail.textContent = rest;
  };
  let at = -1;
  cells.onkeydown = (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step || event.ctrlKey || event.metaKey || event.altKey) return;
    at = Math.max(0, Math.min(data.cells.length - 1, at + step));
    for (const column of cells.children) column.classList.toggle("active", Number(column.dataset.index) === at);
    detail.textContent = describe(data.cells[at], data.measured);
    event.preventDefault();
  };
}

const drawn = new WeakMap();

export default function (component) {
  const { data, parentElement } = component;
  const content = JSON.stringify(data);
  if (drawn.get(parentElement) === content) return;
  drawn.set(parentElement, content);
  draw(parentElement, data);
}
