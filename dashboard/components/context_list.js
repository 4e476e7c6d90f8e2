// Draws places where a feature fired, each a link to its run. Text enters by textContent only.

function span(className, text) {
  const element = document.createElement("span");
  element.className = className;
  element.textContent = text;
  return element;
}

function visible(text) {
  return text.replace(/\n/g, "↵").replace(/\t/g, "⇥");
}

export default function (component) {
  const { data, parentElement } = component;
  const list = document.createDocumentFragment();
  for (const [href, value, shade, before, text, after] of data.rows) {
    const link = document.createElement("a");
    link.href = href;
    link.target = "_self";
    const line = span("context", "");
    const hit = span("hit", visible(text) || "∅");
    hit.style.setProperty("--shade", `${(100 * shade).toFixed(1)}%`);
    line.append(span("", visible(before)), hit, span("", visible(after)));
    link.append(span("value", value), line);
    const item = document.createElement("li");
    item.append(link);
    list.append(item);
  }
  parentElement.querySelector("ol").replaceChildren(list);
}
