// Draws tokens, or sequences of them, as table rows with numbers. Text enters by textContent only.

const MARKS = { " ": "·", "\n": "↵", "\t": "⇥", "\r": "␍" };
const INVISIBLE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\u00a0\u2000-\u200a\u3000\ufe00-\ufe0f]/u;

function visible(text) {
  if (text === "") return "∅";
  return [...text]
    .map((sign) => MARKS[sign] ?? (INVISIBLE.test(sign)
      ? "⟨" + sign.codePointAt(0).toString(16).toUpperCase().padStart(4, "0") + "⟩" : sign))
    .join("");
}

function numberText(kind, value) {
  if (kind === "text") return String(value);
  if (kind === "count") return value.toLocaleString("en-US");
  if (kind === "percent") return (100 * value).toFixed(value < 0.0995 ? 1 : 0) + "%";
  const text = Number(value.toPrecision(3)).toString();
  return kind === "signed" && value > 0 ? "+" + text : text;
}

function numberCell(column, value, largest) {
  const cell = document.createElement("td");
  cell.className = column.kind;
  cell.textContent = numberText(column.kind, value);
  const isBar = column.bar || column.kind === "signed";
  if (isBar && largest > 0 && value !== 0) {
    cell.classList.add("bar", value > 0 ? "positive" : "negative");
    cell.style.setProperty("--part", `${(100 * Math.abs(value)) / largest}%`);
  }
  return cell;
}

export default function (component) {
  const { data, parentElement } = component;
  const head = document.createElement("tr");
  for (const [name, help] of [[data.title, ""], ...data.columns.map((item) => [item.name, item.help])]) {
    const cell = document.createElement("th");
    cell.scope = "col";
    cell.textContent = name;
    cell.title = help;
    head.append(cell);
  }
  const largest = data.columns.map((column, index) =>
    Math.max(0, ...data.rows.map(([, numbers]) => (typeof numbers[index] === "number" ? Math.abs(numbers[index]) : 0))));
  const body = document.createDocumentFragment();
  for (const [texts, numbers] of data.rows) {
    const line = document.createElement("tr");
    const cell = document.createElement("td");
    cell.className = data.is_tokens ? "tokens" : "words";
    for (const text of texts) {
      const chip = document.createElement("span");
      chip.className = data.is_tokens ? "chip" : "";
      chip.textContent = data.is_tokens ? visible(text) : text;
      cell.append(chip);
    }
    line.append(cell, ...numbers.map((value, index) => numberCell(data.columns[index], value, largest[index])));
    body.append(line);
  }
  parentElement.querySelector("thead").replaceChildren(head);
  parentElement.querySelector("tbody").replaceChildren(body);
}
