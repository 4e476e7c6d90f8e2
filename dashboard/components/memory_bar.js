// Draws parts of a memory side by side. Text enters the page by textContent only.

export default function (component) {
  const { data, parentElement } = component;
  const bar = parentElement.querySelector(".bar");
  const legend = parentElement.querySelector(".legend");
  const end = bar.querySelector(".end");
  bar.setAttribute("aria-label", [...data.parts.map((part) => part.text), data.rest].join(", "));
  const segments = data.parts.map((part) => {
    const segment = document.createElement("div");
    segment.className = `part ${part.kind}`;
    segment.style.width = `${part.width}%`;
    segment.title = part.text;
    return segment;
  });
  end.hidden = data.end === null;
  end.style.left = `${data.end ?? 100}%`;
  bar.classList.toggle("over", data.end !== null);
  bar.replaceChildren(...segments, end);
  const keys = data.parts.map((part) => {
    const key = document.createElement("span");
    key.className = `key ${part.kind}`;
    key.textContent = part.text;
    return key;
  });
  const rest = document.createElement("span");
  rest.textContent = data.rest;
  legend.replaceChildren(...keys, rest);
}
