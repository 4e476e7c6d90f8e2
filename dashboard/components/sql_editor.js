// The editor of the SQL page: CodeMirror with the views and columns of the store, and these beside it.
// Text enters the page by textContent or through CodeMirror only; nothing is loaded from another host.

const FUNCTIONS = ("abs any_value approx_count_distinct arg_max arg_min avg bool_and bool_or ceil coalesce corr count " +
  "date_trunc exp floor greatest if ifnull lag lead least left len length list ln log lower ltrim max median min mode " +
  "nullif quantile_cont rank regexp_matches replace right round row_number sqrt starts_with stddev string_agg strftime " +
  "substring sum trim upper").split(" ");
const KEYWORDS = "all and anti any as asc asof between by case cast collate columns cross cube date desc describe distinct " +
  "else end escape except exclude exists explain extract false filter first following for from full glob group grouping " +
  "having ignore ilike in inner intersect interval into is join lambda last lateral left like limit natural not null nulls " +
  "offset on or order outer over partition percent pivot positional preceding qualify range recursive replace respect " +
  "right rollup row rows sample select semi sets show similar some summarize table tablesample then timestamp to true " +
  "try_cast unbounded union unnest unpivot using values when where window with within";

// Names that DuckDB would not take as they are, in quotes.
function quoted(name) {
  return /^[a-z_][a-z0-9_]*$/i.test(name) ? name : `"${name.replace(/"/g, '""')}"`;
}

// Columns of the views that the statement names come first.
function columnSource(views) {
  return (context) => {
    const word = context.matchBefore(/[\w"]+$/);
    if (!word && !context.explicit) return null;
    const before = context.state.sliceDoc(Math.max(0, (word?.from ?? context.pos) - 1), word?.from ?? context.pos);
    if (before === ".") return null;
    const text = context.state.doc.toString();
    const used = new Set(views.filter((view) => new RegExp(`\\b${view.name}\\b`, "i").test(text)).map((view) => view.name));
    const columns = new Map();
    for (const view of views) {
      for (const [name, type, comment] of view.columns) {
        const known = columns.get(name);
        if (!known) columns.set(name, { label: name, apply: quoted(name), type: "property", views: [view.name], kind: type, info: comment });
        else known.views.push(view.name);
      }
    }
    const options = [...columns.values()].map((column) => ({
      ...column,
      detail: `${column.kind.toLowerCase()} · ${column.views.length > 2 ? `${column.views.length} views` : column.views.join(", ")}`,
      boost: column.views.some((name) => used.has(name)) ? 60 : 5,
    }));
    for (const view of views) options.push({ label: view.name, type: "class", detail: "view", info: view.comment, boost: 40 });
    for (const name of FUNCTIONS) options.push({ label: name, type: "function", detail: "function", apply: `${name}(`, boost: -10 });
    return { from: word ? word.from : context.pos, options, validFor: /^\w*$/ };
  };
}

function makeEditor(cm, state) {
  const { views } = state.data;
  const dialect = cm.SQLDialect.define({
    ...cm.PostgreSQL.spec,
    keywords: KEYWORDS,
  });
  const schema = Object.fromEntries(views.map((view) => [view.name,
    view.columns.map(([name, type, comment]) => ({ label: name, apply: quoted(name), type: "property", detail: type.toLowerCase(), info: comment }))]));
  const sources = [columnSource(views), cm.schemaCompletionSource({ dialect, schema }), cm.keywordCompletionSource(dialect, true)];
  const style = cm.HighlightStyle.define([
    { tag: cm.tags.keyword, class: "tok-keyword" },
    { tag: [cm.tags.string, cm.tags.special(cm.tags.string)], class: "tok-string" },
    { tag: [cm.tags.number, cm.tags.bool, cm.tags.null], class: "tok-number" },
    { tag: [cm.tags.lineComment, cm.tags.blockComment], class: "tok-comment" },
    { tag: [cm.tags.typeName, cm.tags.standard(cm.tags.name)], class: "tok-type" },
  ]);
  const act = (name) => () => { send(state, name); return true; };
  return new cm.EditorView({
    parent: state.root.querySelector(".editor"),
    root: state.root.getRootNode(),
    state: cm.EditorState.create({
      doc: state.given,
      extensions: [
        cm.Prec.highest(cm.keymap.of([
          { key: "Mod-Enter", run: act("run") },
          { key: "Mod-Shift-Enter", run: act("explain") },
          { key: "Tab", run: cm.acceptCompletion },
        ])),
        cm.lineNumbers(), cm.history(), cm.drawSelection(), cm.highlightActiveLine(), cm.bracketMatching(),
        cm.closeBrackets(), cm.highlightSelectionMatches(), cm.search({ top: true }),
        cm.autocompletion({ override: sources, maxRenderedOptions: 80, icons: false }),
        cm.sql({ dialect, upperCaseKeywords: true }), cm.syntaxHighlighting(style),
        cm.placeholder("SELECT prompt, response FROM runs ORDER BY created_at DESC"),
        cm.EditorState.tabSize.of(2), cm.EditorView.lineWrapping,
        cm.EditorView.contentAttributes.of({ "aria-label": "SQL query", spellcheck: "false", autocapitalize: "off" }),
        cm.keymap.of([...cm.closeBracketsKeymap, ...cm.completionKeymap, ...cm.searchKeymap, ...cm.historyKeymap,
          ...cm.defaultKeymap, cm.indentWithTab]),
        cm.EditorView.updateListener.of((update) => { if (update.docChanged) noteDraft(state); }),
      ],
    }),
  });
}

// Where CodeMirror cannot be loaded, a plain field does.
function makeField(state) {
  const field = document.createElement("textarea");
  field.value = state.given;
  field.setAttribute("aria-label", "SQL query");
  field.onkeydown = (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) send(state, event.shiftKey ? "explain" : "run");
  };
  field.oninput = () => noteDraft(state);
  state.root.querySelector(".editor").append(field);
  return field;
}

function getText(state) {
  if (state.view) return state.view.state.doc.toString();
  return state.field ? state.field.value : state.given;
}

function setText(state, text) {
  if (state.view) {
    state.view.dispatch({ changes: { from: 0, to: state.view.state.doc.length, insert: text } });
  } else if (state.field) state.field.value = text;
  noteDraft(state);
}

function insertName(state, name) {
  if (state.view) {
    const { from, to } = state.view.state.selection.main;
    const before = state.view.state.sliceDoc(Math.max(0, from - 1), from);
    const insert = before && /[\w"]/.test(before) ? ` ${name}` : name;
    state.view.dispatch({ changes: { from, to, insert }, selection: { anchor: from + insert.length }, scrollIntoView: true });
    state.view.focus();
  } else if (state.field) state.field.setRangeText(name, state.field.selectionStart, state.field.selectionEnd, "end");
}

function noteDraft(state) {
  state.root.querySelector(".draft").hidden = getText(state).trim() === state.given.trim();
}

function send(state, action) {
  state.trigger("asked", { action, sql: getText(state) });
}

function drawSchema(state) {
  const wanted = state.root.querySelector(".find").value.trim().toLowerCase();
  const list = document.createDocumentFragment();
  for (const view of state.data.views) {
    const isNamed = view.name.includes(wanted);
    const columns = view.columns.filter(([name, , comment]) =>
      isNamed || name.includes(wanted) || comment.toLowerCase().includes(wanted));
    if (!columns.length) continue;
    const block = document.createElement("details");
    block.open = wanted !== "" || state.open.has(view.name);
    block.ontoggle = () => {
      if (wanted !== "") return;
      if (block.open) state.open.add(view.name);
      else state.open.delete(view.name);
    };
    const head = document.createElement("summary");
    head.append(nameButton(view.name, view.name), text("span", "note", view.comment));
    block.append(head);
    for (const [name, type, comment] of columns) {
      const line = text("div", "column", "");
      line.append(nameButton(name, quoted(name)), text("span", "type", type.toLowerCase()), text("span", "note", comment));
      block.append(line);
    }
    list.append(block);
  }
  if (!list.childNodes.length) list.append(text("p", "note", "No view or column says this."));
  state.root.querySelector(".views").replaceChildren(list);
}

function nameButton(name, insert) {
  const button = text("button", "name", name);
  button.type = "button";
  button.dataset.insert = insert;
  button.title = `Insert ${name}`;
  return button;
}

function text(tag, className, content) {
  const element = document.createElement(tag);
  element.className = className;
  element.textContent = content;
  return element;
}

function listen(state) {
  const { root } = state;
  root.onclick = (event) => {
    const name = event.target.closest(".name");
    if (name) {
      event.preventDefault(); // in a summary, it would open or close it
      insertName(state, name.dataset.insert);
      return;
    }
    const button = event.target.closest("button[data-action]");
    if (!button) return;
    if (button.dataset.action === "schema") {
      const isOpen = root.classList.toggle("with-schema");
      button.setAttribute("aria-expanded", String(isOpen));
    } else if (button.dataset.action === "revert") setText(state, state.given);
    else send(state, button.dataset.action);
  };
  root.querySelector(".find").oninput = () => drawSchema(state);
}

async function start(state) {
  try {
    const cm = await import(new URL("/vendor/codemirror.js", window.location.origin).href);
    state.view = makeEditor(cm, state);
  } catch {
    state.field = makeField(state);
  }
  state.root.querySelector(".editor").classList.add("ready");
}

const states = new WeakMap();

export default function (component) {
  const { data, parentElement, setTriggerValue } = component;
  const root = parentElement.querySelector(".bench");
  let state = states.get(parentElement);
  if (!state || state.root !== root) {
    state = { root, data, given: data.sql, open: new Set(data.open), view: null, field: null, names: null };
    states.set(parentElement, state);
    listen(state);
    start(state);
  }
  state.trigger = setTriggerValue;
  state.data = data;
  const names = JSON.stringify(data.views);
  if (state.names !== names) drawSchema(state);
  state.names = names;
  root.querySelector('[data-action="update"]').hidden = !data.updatable;
  if (data.sql !== state.given) {
    const isOther = getText(state) !== data.sql;
    state.given = data.sql;
    if (isOther) setText(state, data.sql);
  }
  noteDraft(state);
}
