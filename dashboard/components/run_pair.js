// Draws two aligned runs in two columns, stretch by stretch. Text enters by textContent only.

const MARKS = { " ": "·", "\n": "↵", "\t": "⇥", "\r": "␍" };
const INVISIBLE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\u00a0\u2000-\u200a\u3000\ufe00-\ufe0f]/u;

function visible(text) {
  if (text === "") return "∅";
  return [...text]
    .map((sign) => MARKS[sign] ?? (INVISIBLE.test(sign)
      ? "⟨" + sign.codePointAt(0).toString(16).toUpperCase().padStart(4, "0") + "⟩" : sign))
    .join("");
}

function chip([position, text, isSpecial, isGenerated, shade], link) {
  const element = document.createElement("a");
  element.href = link + String(position);
  element.target = "_self";
  element.className = "chip" + (isSpecial ? " special" : "") + (isGenerated ? " generated" : "");
  element.textContent = visible(text);
  element.title = `position ${position}`;
  if (shade > 0) {
    element.classList.add("shaded");
    element.style.setProperty("--shade", `${(100 * Math.max(shade, 0.08)).toFixed(0)}%`);
  }
  return element;
}

function side(tokens, link) {
  const cell = document.createElement("div");
  cell.className = tokens.length ? "side" : "side empty";
  for (const token of tokens) {
    if (/^\s/.test(token[1]) || token[2]) cell.append(document.createElement("wbr"));
    cell.append(chip(token, link));
  }
  return cell;
}

export default function (component) {
  const { data, parentElement } = component;
  parentElement.querySelector(".legend").textContent = data.legend;
  const rows = document.createDocumentFragment();
  for (const [kind, a, b] of data.rows) {
    const row = document.createElement("div");
    row.className = kind === "equal" ? "row equal" : "row differs";
    row.append(side(a, data.links[0]), side(b, data.links[1]));
    rows.append(row);
  }
  parentElement.querySelector(".rows").replaceChildren(rows);
}
