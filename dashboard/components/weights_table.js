// Draws the components of a source. Text enters the page by textContent only.

function cell(line, className, text, title) {
  const element = document.createElement("td");
  element.className = className;
  element.textContent = text;
  if (title) element.title = title;
  line.append(element);
  return element;
}

function below(body, className, text) {
  if (!text) return;
  const line = document.createElement("tr");
  line.className = "below";
  cell(line, className, text).colSpan = 5;
  body.append(line);
}

export default function (component) {
  const { data, parentElement } = component;
  const root = parentElement.querySelector("tbody");
  parentElement.querySelector(".foot").textContent = data.foot;
  const content = JSON.stringify(data.rows);
  if (root.dataset.content === content) return;
  root.dataset.content = content;
  const body = document.createDocumentFragment();
  for (const row of data.rows) {
    const line = document.createElement("tr");
    line.className = "component";
    cell(line, "name", row.component);
    cell(line, `state ${row.tone}`, row.where);
    cell(line, `check ${row.check_tone}`, row.check);
    cell(line, "number", row.size);
    cell(line, "revision", row.revision, row.full_revision);
    body.append(line);
    below(body, "place", row.place);
    below(body, "problem", row.problem);
    below(body, "hint", row.hint);
  }
  root.replaceChildren(body);
}
