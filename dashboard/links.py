"""ViewState and query parameters: what a link says about what a page shows. Pure.

Invariant: `parse_link(to_params(state)).state == state` for every valid state, and no text in a
query string can make `parse_link` fail: what cannot be used is left out and reported.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Literal, get_args
from urllib.parse import urlencode

Colour = Literal["feature", "surprise", "entropy", "features"]
COLOURS: tuple[str, ...] = get_args(Colour)
Scope = Literal["token", "run", "generated"]
SCOPES: tuple[str, ...] = get_args(Scope)
MAX_SOURCE_CHARS = 80
MAX_SQL_CHARS = 20_000
MAX_INDEX = 2**31 - 1
_RUN_KEY = re.compile(r"[0-9a-f]{64}")
_JOB_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_SOURCE = re.compile(r"[A-Za-z0-9._-]{1,80}")
_INDEX = re.compile(r"[0-9]{1,10}", re.ASCII)


@dataclass(frozen=True, slots=True)
class ViewState:
    """What a page shows; every field None is the page as it opens from the menu.

    Attributes:
        source: name of a source.
        example: index of an example of the source, from 0; opening it asks it.
        run: key of a run, 64 hexadecimal digits.
        job: id of the job that computes the run, on the server that runs it.
        token: a position of the run.
        feature: index of a feature of the source.
        colour: what shades the tokens; None is the chosen feature, or nothing.
        scope: whether features are listed of the token, of the run, or of its generated tokens;
            None is the token if one is chosen, else the run.
        q: a query of the SQL page.
    """

    source: str | None = None
    example: int | None = None
    run: str | None = None
    job: str | None = None
    token: int | None = None
    feature: int | None = None
    colour: Colour | None = None
    scope: Scope | None = None
    q: str | None = None


ORDER = tuple(field.name for field in fields(ViewState))
"""Names of the parameters, in the order in which links show them."""


@dataclass(frozen=True, slots=True)
class ParsedLink:
    """A link as understood.

    Attributes:
        problems: one sentence for each parameter that could not be used.
    """

    state: ViewState
    problems: tuple[str, ...]


def parse_link(params: Mapping[str, str]) -> ParsedLink:
    """Reads query parameters strictly; names that are not ours are ignored."""
    problems: list[str] = []

    def matching(name: str, pattern: re.Pattern[str], wanted: str) -> str | None:
        value = params.get(name)
        if value is None:
            return None
        if pattern.fullmatch(value):
            return value
        problems.append(f"The link's {name} {_shown(value)} is not {wanted}.")
        return None

    def index(name: str) -> int | None:
        value = matching(name, _INDEX, "a whole number")
        if value is None:
            return None
        if int(value) <= MAX_INDEX:
            return int(value)
        problems.append(f"The link's {name} {value} is too large.")
        return None

    def choice(name: str, choices: tuple[str, ...]) -> str | None:
        value = params.get(name)
        if value is None or value in choices:
            return value
        problems.append(f"The link's {name} {_shown(value)} is not one of {', '.join(choices)}.")
        return None

    q = params.get("q")
    if q is not None and len(q) > MAX_SQL_CHARS:
        problems.append(f"The link's query is longer than {MAX_SQL_CHARS:,} characters.")
        q = None
    colour = choice("colour", COLOURS)
    scope = choice("scope", SCOPES)
    state = ViewState(
        source=matching("source", _SOURCE, "a source's name"),
        example=index("example"),
        run=matching("run", _RUN_KEY, "a run key of 64 hexadecimal digits"),
        job=matching("job", _JOB_ID, "a job's id"),
        token=index("token"),
        feature=index("feature"),
        colour=next((item for item in get_args(Colour) if item == colour), None),
        scope=next((item for item in get_args(Scope) if item == scope), None),
        q=q or None,
    )
    return ParsedLink(state, tuple(problems))


def to_params(state: ViewState) -> dict[str, str]:
    """The query parameters of a state, in the order in which links show them."""
    values = {name: getattr(state, name) for name in ORDER}
    return {name: str(value) for name, value in values.items() if value is not None}


def to_path(page: str, state: ViewState) -> str:
    """A page and its state as the path of a link, such as `/ask?run=...&token=17`."""
    query = urlencode(to_params(state))
    return f"/{page}?{query}" if query else f"/{page}"


def _shown(value: str) -> str:
    return repr(value if len(value) <= 40 else value[:40] + "…")
