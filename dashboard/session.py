"""The state of one browser session: what the link says, and the little that is not in it.

Invariant: the only module that touches st.session_state and st.query_params. Everything that a
person would want back after a refresh, or share, is in the link; the rest may be lost at any time.
"""

from __future__ import annotations

import getpass
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace

import streamlit as st

from dashboard.links import ParsedLink, ViewState, parse_link, to_params
from dashboard.settings import ServerSettings
from engine.api import RunRequest
from store.records import PastQuery

_REQUESTS = "requests_by_job"
_MAX_REQUESTS = 50
_QUERY = "query_job"
_HISTORY = "past_queries"
_MAX_HISTORY = 50
_NOTICE = "notice"
_PAIRS = "jobs_by_steered_job"
_EDITED = "edited"
_MAX_PAST = 50


def read_link() -> ParsedLink:
    """What the address of this page says now."""
    return parse_link(st.query_params.to_dict())


def view() -> ViewState:
    """The state that the address describes; what is malformed in it is left out."""
    return read_link().state


def show(state: ViewState) -> None:
    """Makes the address describe this state. Does nothing where it already does.

    What is chosen after a link was opened is no longer that link: its time goes.
    """
    wanted = to_params(state)
    if {**wanted, "at": ""} != {**st.query_params.to_dict(), "at": ""}:
        wanted.pop("at", None)
    if st.query_params.to_dict() != wanted:
        st.query_params.from_dict(wanted)


def select_source(name: str | None) -> None:
    """Chooses a source; a name that cannot be one is none."""
    show(parse_link({"source": name} if name else {}).state)


def select_token(position: int | None) -> None:
    """Chooses a token, or none."""
    show(replace(view(), token=position, scope=None))


def select_feature(feature: int | None) -> None:
    """Chooses a feature, or none; a chosen one colours the tokens."""
    show(replace(view(), feature=feature, colour=None))


def select_colour(name: str | None) -> None:
    """Chooses what colours the tokens; a name that is not one of ours is nothing."""
    colour = parse_link({"colour": name} if name else {}).state.colour
    show(replace(view(), colour=colour))


def select_scope(name: str | None) -> None:
    """Chooses whose features are listed."""
    scope = parse_link({"scope": name} if name else {}).state.scope
    show(replace(view(), scope=scope))


def mirror(key: str, value: str | None) -> None:
    """Makes a widget show what the link says, before it is drawn."""
    st.session_state[key] = value


def mirror_many(key: str, values: Sequence[str]) -> None:
    """Makes a widget of several choices show what the link says, before it is drawn."""
    st.session_state[key] = list(values)


def widget_values(key: str) -> tuple[str, ...]:
    """What a widget of several choices holds now."""
    values = st.session_state.get(key)
    if not isinstance(values, list):
        return ()
    return tuple(value for value in values if isinstance(value, str))


def widget_value(key: str) -> str | None:
    """What a widget of choices holds now."""
    value = st.session_state.get(key)
    return value if isinstance(value, str) else None


def tell(message: str, hint: str = "") -> None:
    """Keeps a notice for the next drawing of the page: a callback cannot draw it itself."""
    st.session_state[_NOTICE] = (message, hint)


def take_notice() -> tuple[str, str] | None:
    """The notice that a callback left, once."""
    found: tuple[str, str] | None = st.session_state.pop(_NOTICE, None)
    return found


def user_name() -> str:
    """Who asks: the signed-in person, else the account that runs this server."""
    return signed_in_name() or _account()


def signed_in_name() -> str | None:
    """The person who signed in; None where nobody had to."""
    claims = st.user.to_dict()
    for claim in ("email", "name"):
        value = claims.get(claim)
        if isinstance(value, str) and value:
            return value
    return None


def known_person() -> str | None:
    """Whose history this is: who signed in, or the account of a server that serves only itself.

    None where many share a token, or nothing guards: nobody can be told from anybody then.
    """
    settings = ServerSettings()
    is_shared = settings.featurebook_api_token is not None or settings.featurebook_insecure
    return signed_in_name() or (None if is_shared else _account())


def client() -> str:
    """What tells this browser session from others; it says nothing about the person."""
    return str(st.session_state.setdefault("client", f"session-{uuid.uuid4().hex}"))


def _account() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def remember_request(job_id: str, request: RunRequest) -> None:
    """Keeps what was asked, so that a failed or cancelled job can be asked again."""
    requests: dict[str, RunRequest] = st.session_state.setdefault(_REQUESTS, {})
    requests[job_id] = request
    while len(requests) > _MAX_REQUESTS:
        del requests[next(iter(requests))]


def find_request(job_id: str) -> RunRequest | None:
    """What was asked in this session under a job's id."""
    requests: dict[str, RunRequest] = st.session_state.get(_REQUESTS, {})
    return requests.get(job_id)


def picked(key: str, name: str) -> int | None:
    """The whole number that a component of this page sent in its last event, if it is one."""
    value = st.session_state.get(key, {}).get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def picked_name(key: str, name: str) -> str | None:
    """The text that a component of this page sent in its last event, if it is one."""
    value = st.session_state.get(key, {}).get(name)
    return value if isinstance(value, str) else None


def picked_object(key: str, name: str) -> dict[str, object]:
    """The object that a component of this page sent in its last event; empty if it is none."""
    value = st.session_state.get(key, {}).get(name)
    return dict(value) if isinstance(value, Mapping) else {}


def remember_query(sql: str, job_id: str) -> None:
    """Keeps which job runs, or ran, a statement for this session: the last one only."""
    st.session_state[_QUERY] = (sql, job_id)


def find_query(sql: str) -> str | None:
    """The job that this session ran the statement with, if it was its last."""
    known, job_id = st.session_state.get(_QUERY, (None, None))
    return job_id if known == sql else None


def forget_query() -> None:
    """Makes the next drawing of the page run its statement again."""
    st.session_state.pop(_QUERY, None)


def remember_past_query(past: PastQuery) -> None:
    """Notes what was run, where nobody's name is known; it ends with the session."""
    older = [item for item in past_queries() if item.sql != past.sql]
    st.session_state[_HISTORY] = (past, *older)[:_MAX_HISTORY]


def past_queries() -> tuple[PastQuery, ...]:
    """What this session ran, the last first."""
    found: tuple[PastQuery, ...] = st.session_state.get(_HISTORY, ())
    return found


def forget_past_queries() -> None:
    """Forgets what this session ran."""
    st.session_state.pop(_HISTORY, None)


def selected_cell(key: str) -> tuple[int, str] | None:
    """Row and column of the one cell that is selected in a table."""
    cells = st.session_state.get(key, {}).get("selection", {}).get("cells", [])
    return (int(cells[0][0]), str(cells[0][1])) if cells else None


def remember_pair(steered_job: str, plain_job: str) -> None:
    """Keeps which job answers plainly what another one answers steered."""
    pairs: dict[str, str] = st.session_state.setdefault(_PAIRS, {})
    pairs[steered_job] = plain_job
    while len(pairs) > _MAX_REQUESTS:
        del pairs[next(iter(pairs))]


def find_pair(steered_job: str) -> str | None:
    """The plain job of a steered one that was asked in this session."""
    pairs: dict[str, str] = st.session_state.get(_PAIRS, {})
    return pairs.get(steered_job)


def editor_round(name: str, content: str) -> int:
    """A number for the keys of an editor's widgets: another one when others changed the content.

    What was there before can be had back by `take_past`.
    """
    known, number, past = st.session_state.get(f"{_EDITED}-{name}", (None, 0, ()))
    if known != content:
        past = past if known is None else (*past, known)[-_MAX_PAST:]
        number += 1
        st.session_state[f"{_EDITED}-{name}"] = (content, number, past)
    return int(number)


def note_edit(name: str, content: str) -> None:
    """The widgets themselves hold this content now: they stay, and what was before is past."""
    known, number, past = st.session_state.get(f"{_EDITED}-{name}", (None, 0, ()))
    if known != content:
        past = past if known is None else (*past, known)[-_MAX_PAST:]
        st.session_state[f"{_EDITED}-{name}"] = (content, number, past)


def has_past(name: str) -> bool:
    """Whether there is anything to undo in an editor."""
    return bool(st.session_state.get(f"{_EDITED}-{name}", (None, 0, ()))[2])


def take_past(name: str) -> str | None:
    """The content before the last change, which is undone by showing it; None if there is none."""
    _, number, past = st.session_state.get(f"{_EDITED}-{name}", (None, 0, ()))
    if not past:
        return None
    st.session_state[f"{_EDITED}-{name}"] = (past[-1], number + 1, past[:-1])
    return str(past[-1])


def copy_number(from_key: str, to_key: str, low: float, high: float) -> None:
    """Makes one number widget show what another one holds, within the range of the first."""
    value = st.session_state.get(from_key)
    if isinstance(value, int | float):
        st.session_state[to_key] = min(max(float(value), low), high)


def selected_number(key: str, selection: str, name: str) -> int | None:
    """The whole number that a click on a chart selected, if it selected one mark."""
    marks = st.session_state.get(key, {}).get("selection", {}).get(selection, [])
    value = marks[0].get(name) if isinstance(marks, list) and marks else None
    return int(value) if isinstance(value, int | float) else None
