// Draws the name of a source and what is known of it. Text enters the page by textContent only.

function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.textContent = text;
  return made;
}

export default function (component) {
  const { data, parentElement } = component;
  const marks = data.marks.map((mark) => element("span", "mark", mark));
  parentElement
    .querySelector("h2")
    .replaceChildren(element("span", "name", data.name), element("span", "title", data.title), ...marks);
  const facts = data.facts.map(([name, value]) => {
    const pair = element("div", "pair", "");
    pair.append(element("dt", "", name), element("dd", "", value));
    return pair;
  });
  parentElement.querySelector("dl").replaceChildren(...facts);
}
