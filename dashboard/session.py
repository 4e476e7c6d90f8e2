"""The state of one browser session: what the link says, and the little that is not in it.

Invariant: the only module that touches st.session_state and st.query_params. Everything that a
person would want back after a refresh, or share, is in the link; the rest may be lost at any time.
"""

from __future__ import annotations

import getpass
from dataclasses import replace

import streamlit as st

from dashboard.links import ParsedLink, ViewState, parse_link, to_params
from engine.api import RunRequest

_REQUESTS = "requests_by_job"
_MAX_REQUESTS = 50


def read_link() -> ParsedLink:
    """What the address of this page says now."""
    return parse_link(st.query_params.to_dict())


def view() -> ViewState:
    """The state that the address describes; what is malformed in it is left out."""
    return read_link().state


def show(state: ViewState) -> None:
    """Makes the address describe this state. Does nothing where it already does."""
    wanted = to_params(state)
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


def widget_value(key: str) -> str | None:
    """What a widget of choices holds now."""
    value = st.session_state.get(key)
    return value if isinstance(value, str) else None


def user_name() -> str:
    """Who asks: the signed-in person, else the account that runs this server."""
    claims = st.user.to_dict()
    for claim in ("email", "name"):
        value = claims.get(claim)
        if isinstance(value, str) and value:
            return value
    return _account()


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
