"""ViewState and query parameters: what a link says about what a page shows. Pure.

Invariant: `parse_link(to_params(state)).state == state` for every valid state, and no text in a
query string can make `parse_link` fail: what cannot be used is left out and reported.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Literal, get_args
from urllib.parse import urlencode

Colour = Literal["feature", "surprise", "entropy", "features", "detector"]
Show = Literal["chart", "plan"]
SHOWS: tuple[str, ...] = get_args(Show)
Mark = Literal["bar", "line", "point", "area"]
MARKS: tuple[str, ...] = get_args(Mark)
COLOURS: tuple[str, ...] = get_args(Colour)
Scope = Literal["token", "run", "generated"]
SCOPES: tuple[str, ...] = get_args(Scope)
Positions = Literal["all", "generated", "prompt", "last_prompt"]
POSITIONS: tuple[str, ...] = get_args(Positions)
Groups = Literal["question", "run"]
GROUPS: tuple[str, ...] = get_args(Groups)
Role = Literal["system", "user", "assistant", "tool"]
ROLES: tuple[str, ...] = get_args(Role)
Dense = Literal["shown"]
Tools = Literal["off", "on"]
TOOLS: tuple[str, ...] = get_args(Tools)
MAX_SOURCE_CHARS = 80
MAX_SQL_CHARS = 20_000
MAX_COLUMN_CHARS = 200
MAX_WORDS_CHARS = 8_000
MAX_STEER_CHARS = 45_000
"""A gate over hundreds of features is long; such a link goes under a short id."""
MAX_LINK_CHARS = 2_000
"""Longer states go under a short id in the store: mail and chat cut longer addresses."""
MAX_INDEX = 2**31 - 1
_RUN_KEY = re.compile(r"[0-9a-f]{64}")
_JOB_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_SOURCE = re.compile(r"[A-Za-z0-9._-]{1,80}")
_STATE_ID = re.compile(r"[0-9a-f]{8,64}")
_MOMENT = re.compile(r"\d{8}T\d{6}\.\d{3}Z", re.ASCII)
_MOMENT_FORMAT = "%Y%m%dT%H%M%S.%fZ"
_RATE = re.compile(r"0\.[0-9]{1,3}", re.ASCII)
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
        query: id of a saved query, whose text is that which it has now.
        show: what of the query's result: a chart, or its plan; None is the table.
        mark: how the chart draws a row; x, y, by: columns of its axes and of its colour.
        find: words that are looked for.
        where: a filter of features or runs, as a filter expression.
        text: a text that is tried.
        tab: which part of a page is shown.
        a, b: two sets of runs that are compared, each a filter expression.
        other: key of a second run, compared with `run`.
        list: id of a list of features.
        sort: name of what rows are ordered by.
        page: of many rows, counted from 0.
        dense: whether features of very many tokens, and of first tokens alone, are shown too.
        role: whose tokens are meant.
        positions: tokens of a run whose largest value counts for it; groups: what counts once.
        prompt: a question to steer.
        steer: interventions, as compact JSON.
        vector: id of a steering vector.
        sweep: id of a sweep; cell: number of one of its cells.
        set: name or id of a set of questions.
        tools: answers without tools, or with them.
        outcome: what holds of the answers that are shown.
        detector: id of a detector.
        rate: share of right answers that may be flagged, 0 to 1.
        slice: part of the answers.
        curves: detectors whose curves are drawn: beginnings of their ids, divided by commas.
        task: id of long work on the server that runs it.
        state: short id of a state that is too long for an address, kept in the store.
        at: when the link was made; a page says what changed since.
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
    query: str | None = None
    show: Show | None = None
    mark: Mark | None = None
    x: str | None = None
    y: str | None = None
    by: str | None = None
    find: str | None = None
    where: str | None = None
    text: str | None = None
    tab: str | None = None
    a: str | None = None
    b: str | None = None
    other: str | None = None
    list: str | None = None
    sort: str | None = None
    page: int | None = None
    dense: Dense | None = None
    role: Role | None = None
    positions: Positions | None = None
    groups: Groups | None = None
    prompt: str | None = None
    steer: str | None = None
    vector: str | None = None
    sweep: str | None = None
    cell: int | None = None
    set: str | None = None
    tools: Tools | None = None
    outcome: str | None = None
    detector: str | None = None
    rate: float | None = None
    slice: str | None = None
    curves: str | None = None
    task: str | None = None
    state: str | None = None
    at: datetime | None = None


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

    def column(name: str) -> str | None:
        value = params.get(name)
        if value is None or len(value) <= MAX_COLUMN_CHARS:
            return value or None
        problems.append(f"The link's {name} is no column: it is too long.")
        return None

    def words(name: str, most: int = MAX_WORDS_CHARS) -> str | None:
        value = params.get(name)
        if value is None or len(value) <= most:
            return value or None
        problems.append(f"The link's {name} is longer than {most:,} characters.")
        return None

    q = params.get("q")
    if q is not None and len(q) > MAX_SQL_CHARS:
        problems.append(f"The link's query is longer than {MAX_SQL_CHARS:,} characters.")
        q = None
    colour, scope = choice("colour", COLOURS), choice("scope", SCOPES)
    show, mark = choice("show", SHOWS), choice("mark", MARKS)
    role, dense = choice("role", ROLES), choice("dense", get_args(Dense))
    positions, groups = choice("positions", POSITIONS), choice("groups", GROUPS)
    tools, rate = choice("tools", TOOLS), matching("rate", _RATE, "a share such as 0.1")
    at = matching("at", _MOMENT, "a time such as 20260131T120000.000Z")
    moment = None if at is None else _parse_moment(at)
    if at is not None and moment is None:
        problems.append(f"The link's at {_shown(at)} is not a time.")
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
        query=matching("query", _STATE_ID, "the id of a saved query"),
        show=next((item for item in get_args(Show) if item == show), None),
        mark=next((item for item in get_args(Mark) if item == mark), None),
        x=column("x"),
        y=column("y"),
        by=column("by"),
        find=words("find"),
        where=words("where"),
        text=words("text"),
        tab=matching("tab", _JOB_ID, "a part of the page"),
        a=words("a"),
        b=words("b"),
        other=matching("other", _RUN_KEY, "a run key of 64 hexadecimal digits"),
        list=matching("list", _STATE_ID, "the id of a list"),
        sort=matching("sort", _JOB_ID, "an order"),
        page=index("page"),
        dense=next((item for item in get_args(Dense) if item == dense), None),
        role=next((item for item in get_args(Role) if item == role), None),
        positions=next((item for item in get_args(Positions) if item == positions), None),
        groups=next((item for item in get_args(Groups) if item == groups), None),
        prompt=words("prompt"),
        steer=words("steer", MAX_STEER_CHARS),
        vector=matching("vector", _STATE_ID, "the id of a vector"),
        sweep=matching("sweep", _STATE_ID, "the id of a sweep"),
        cell=index("cell"),
        set=matching("set", _JOB_ID, "the id of a set of questions"),
        tools=next((item for item in get_args(Tools) if item == tools), None),
        outcome=matching("outcome", _JOB_ID, "an outcome"),
        detector=matching("detector", _STATE_ID, "the id of a detector"),
        rate=None if rate is None else float(rate),
        slice=column("slice"),
        curves=column("curves"),
        task=matching("task", _JOB_ID, "a task's id"),
        state=matching("state", _STATE_ID, "the id of a kept state"),
        at=moment,
    )
    return ParsedLink(state, tuple(problems))


def to_params(state: ViewState) -> dict[str, str]:
    """The query parameters of a state, in the order in which links show them."""
    values = {name: getattr(state, name) for name in ORDER}
    return {name: _text(value) for name, value in values.items() if value is not None}


def to_path(page: str, state: ViewState) -> str:
    """A page and its state as the path of a link, such as `/ask?run=...&token=17`."""
    query = urlencode(to_params(state))
    return f"/{page}?{query}" if query else f"/{page}"


def _text(value: object) -> str:
    if isinstance(value, datetime):
        utc = value.astimezone(UTC)
        return f"{utc:%Y%m%dT%H%M%S}.{utc.microsecond // 1000:03d}Z"
    return str(value)


def _parse_moment(text: str) -> datetime | None:
    try:
        return datetime.strptime(text, _MOMENT_FORMAT).replace(tzinfo=UTC)
    except ValueError:
        return None


def _shown(value: str) -> str:
    return repr(value if len(value) <= 40 else value[:40] + "…")
