"""The SQL editor: the statement with colours and completion, and the views of the store beside it.

Invariant: the component gets the statement and the views, and says what was asked with the text as
it stood; it never fetches. A draft lives in the browser until it is run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import streamlit as st

from dashboard import session
from store.schema import ViewInfo

Action = Literal["run", "explain", "save", "update"]
OPEN_VIEWS = ("runs",)

_HERE = Path(__file__).parent
_HTML = """
<div class="bench">
<div class="editor"></div>
<div class="bar">
<button type="button" class="main" data-action="run">Run <kbd>Ctrl ⏎</kbd></button>
<button type="button" data-action="explain" title="Ctrl+Shift+Enter">Explain</button>
<button type="button" data-action="save">Save as…</button>
<button type="button" data-action="update" hidden>Save changes</button>
<button type="button" data-action="schema" aria-expanded="false">Views</button>
<span class="draft" hidden>Not run yet
<button type="button" data-action="revert">Revert</button></span>
</div>
<aside class="schema" aria-label="Views and columns">
<input class="find" type="search" placeholder="Find a view or column"
 aria-label="Find a view or column">
<div class="views"></div></aside>
</div>
"""

_mount = st.components.v2.component(
    "featurebook_sql_editor",
    html=_HTML,
    css=(_HERE / "sql_editor.css").read_text("utf-8"),
    js=(_HERE / "sql_editor.js").read_text("utf-8"),
)


@dataclass(frozen=True, slots=True)
class Asked:
    """What somebody asked the editor for, with its text at that moment."""

    action: Action
    sql: str


def sql_editor(
    sql: str,
    views: Sequence[ViewInfo],
    key: str,
    on_ask: Callable[[], None],
    is_updatable: bool = False,
) -> None:
    """Draws the editor.

    Args:
        sql: what the link says; it replaces a draft only when it changes.
        key: of the component; `asked(key)` is what was asked, in `on_ask`.
        on_ask: called before the rerun that asking causes.
        is_updatable: whether the statement is a saved query of this person.
    """
    data = {
        "sql": sql,
        "views": [
            {
                "name": view.name,
                "comment": view.comment,
                "columns": [[item.name, item.type, item.comment] for item in view.columns],
            }
            for view in views
        ],
        "open": list(OPEN_VIEWS),
        "updatable": is_updatable,
    }
    _mount(key=key, data=data, on_asked_change=on_ask)


def asked(key: str) -> Asked | None:
    """What the editor sent in its last event, if it is well-formed."""
    value = session.picked_object(key, "asked")
    action = next((item for item in get_args(Action) if item == value.get("action")), None)
    sql = value.get("sql")
    if action is None or not isinstance(sql, str):
        return None
    return Asked(action, sql)
