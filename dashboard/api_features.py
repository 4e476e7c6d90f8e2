"""Features over HTTP: one, a search, labels, lists, and comparisons of cohorts and of runs.

Invariant: nothing blocks the event loop; what takes long is a task that can be followed and
cancelled. Who writes is named: as given by a program on this machine, and marked as the API's
elsewhere, where nobody can be told from anybody.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Annotated, Literal

from fastapi import FastAPI, Query, Request
from fastapi import Path as PathParameter
from fastapi.responses import JSONResponse
from pydantic import JsonValue
from starlette.concurrency import run_in_threadpool

from dashboard import api_errors
from dashboard.access import is_loopback
from dashboard.api_feature_models import (
    CompareIn,
    CompareOut,
    FeatureOut,
    FeaturesOut,
    ItemsIn,
    LabelChangeIn,
    LabelIn,
    ListIn,
    ListOut,
    Rows,
    TaskOut,
    compare_out,
    feature_out,
    feature_row,
    list_out,
    task_out,
    to_row,
    to_rows,
)
from dashboard.links import MAX_INDEX, MAX_WORDS_CHARS, ViewState, to_path
from dashboard.services import Services
from engine.api import FeatureDirections, TaskView
from engine.errors import EngineError
from store.feature_search import FeatureSort

N_CONTEXTS = 20
MAX_FEATURES = 1_000
_POLL_S = 0.05
_UNKNOWN = "api"
Feature = Annotated[int, PathParameter(ge=0, le=MAX_INDEX)]
Words = Annotated[str, Query(max_length=MAX_WORDS_CHARS)]


def add_feature_calls(api: FastAPI, get: Callable[[], Services], wait_limit_s: float) -> None:
    """Adds the calls about features and their labels to the API.

    Args:
        wait_limit_s: after this long, a waiting request gets its task instead of the result.
    """

    @api.get("/features/{source}")
    async def get_features(
        request: Request,
        source: str,
        q: Words = "",
        token: Words = "",
        sort: FeatureSort = "relevance",
        descending: bool = True,
        limit: Annotated[int, Query(ge=1, le=MAX_FEATURES)] = 25,
        offset: Annotated[int, Query(ge=0, le=MAX_INDEX)] = 0,
        show_all: bool = False,
    ) -> FeaturesOut:
        """Features that pass a filter, `q`; or, with `token`, those that fire on a text.

        `q` is words of labels and conditions: `language density<1% AND labelled:yes`. Features of
        very many tokens, and of first tokens alone, are counted and left out, but for `show_all`.
        """
        services = await run_in_threadpool(get)

        def url(feature: int) -> str:
            return page_url(request, "feature", ViewState(source=source, feature=feature))

        rows: Rows
        if token:
            fires = await run_in_threadpool(
                services.firing.search_by_text, source, token, limit, show_all
            )
            rows = []
            for item in fires.rows:
                row = to_row(item)
                del row["row"]
                rows.append(feature_row(item.row, url(item.row.feature)) | row)
            return FeaturesOut(
                source=source,
                n_found=len(rows),
                n_dense=fires.n_dense,
                n_first=fires.n_first,
                features=rows,
            )
        page = await run_in_threadpool(
            services.search.search_features, source, q, sort, descending, limit, offset, show_all
        )
        return FeaturesOut(
            source=source,
            n_found=page.n_found,
            n_dense=page.n_dense,
            n_first=page.n_first,
            features=[feature_row(row, url(row.feature)) for row in page.rows],
        )

    @api.get("/features/{source}/{feature}")
    async def get_feature(request: Request, source: str, feature: Feature) -> FeatureOut:
        """Statistics, labels, strongest contexts, what it fires on and what it boosts."""
        services = await run_in_threadpool(get)
        url = page_url(request, "feature", ViewState(source=source, feature=feature))
        return await run_in_threadpool(_read_feature, services, source, feature, url)

    @api.get("/features/{source}/{feature}/labels")
    async def get_labels(source: str, feature: Feature) -> Rows:
        """All labels that the feature ever had, the newest first."""
        services = await run_in_threadpool(get)
        labels = await run_in_threadpool(services.labels.list_history, source, feature)
        return to_rows(labels)

    @api.post("/features/{source}/{feature}/labels", status_code=201)
    async def post_label(
        request: Request, source: str, feature: Feature, body: LabelIn
    ) -> dict[str, JsonValue]:
        """Writes a label by hand; 409 if the one that it replaces was changed meanwhile.

        What came too late is kept in the history all the same.
        """
        services = await run_in_threadpool(get)
        label = await run_in_threadpool(
            services.labels.insert_label,
            source,
            feature,
            body.text,
            "human",
            author_of(request, body.author),
            None,
            None,
            body.replaces,
        )
        return to_row(label)

    @api.post("/labels/{label_id}/restore", status_code=201)
    async def restore_label(
        request: Request, label_id: str, body: LabelChangeIn
    ) -> dict[str, JsonValue]:
        """Writes an older label anew, in the place of what it was edited to."""
        services = await run_in_threadpool(get)
        author = author_of(request, body.author)
        return to_row(await run_in_threadpool(services.labels.restore_label, label_id, author))

    @api.post("/labels/{label_id}/withdraw")
    async def withdraw_label(
        request: Request, label_id: str, body: LabelChangeIn
    ) -> dict[str, JsonValue]:
        """Takes a label out of what is shown; 409 if it is not active. The history keeps it."""
        services = await run_in_threadpool(get)
        author = author_of(request, body.author)
        return to_row(await run_in_threadpool(services.labels.withdraw_label, label_id, author))

    _add_list_calls(api, get)
    _add_compare_calls(api, get, wait_limit_s)


def _add_list_calls(api: FastAPI, get: Callable[[], Services]) -> None:
    def url(request: Request, list_id: str) -> str:
        return page_url(request, "features", ViewState(tab="lists", list=list_id))

    @api.get("/lists")
    async def get_lists(request: Request) -> list[ListOut]:
        """All lists of features, the last made or renamed first."""
        services = await run_in_threadpool(get)
        lists = await run_in_threadpool(services.lists.list_lists)
        return [list_out(item, url(request, item.list_id)) for item in lists]

    @api.post("/lists", status_code=201)
    async def post_list(request: Request, body: ListIn) -> ListOut:
        """Makes an empty list."""
        services = await run_in_threadpool(get)
        author = author_of(request, body.author)
        made = await run_in_threadpool(services.lists.insert_list, body.name, author, body.note)
        return list_out(made, url(request, made.list_id), ())

    @api.get("/lists/{list_id}")
    async def get_list(request: Request, list_id: str) -> ListOut:
        """A list by its id or name, with what is on it."""
        services = await run_in_threadpool(get)
        found = await run_in_threadpool(services.lists.get_list, list_id)
        items = await run_in_threadpool(services.lists.list_items, found.list_id)
        return list_out(found, url(request, found.list_id), items)

    @api.post("/lists/{list_id}/features")
    async def post_items(request: Request, list_id: str, body: ItemsIn) -> ListOut:
        """Puts features on a list; one that is on it gets the new note."""
        services = await run_in_threadpool(get)
        author = author_of(request, body.author)
        await run_in_threadpool(
            services.lists.add_features, list_id, body.source, body.features, author, body.note
        )
        return await get_list(request, list_id)

    @api.delete("/lists/{list_id}/features/{source}/{feature}")
    async def delete_item(request: Request, list_id: str, source: str, feature: Feature) -> ListOut:
        """Takes a feature off a list."""
        services = await run_in_threadpool(get)
        await run_in_threadpool(services.lists.remove_features, list_id, source, [feature])
        return await get_list(request, list_id)


def _add_compare_calls(api: FastAPI, get: Callable[[], Services], wait_limit_s: float) -> None:
    @api.post("/compare", response_model=CompareOut, responses={202: {"model": TaskOut}})
    async def post_compare(request: Request, body: CompareIn) -> CompareOut | JSONResponse:
        """Compares two cohorts of runs feature by feature; 202 and a task if it is not awaited."""
        services = await run_in_threadpool(get)
        return await _compare(request, services, body, wait_limit_s)

    @api.get("/compare", response_model=CompareOut, responses={202: {"model": TaskOut}})
    async def get_compare(
        request: Request,
        source: str,
        a: Words,
        b: Words,
        positions: Literal["all", "generated", "prompt", "last_prompt"] = "generated",
        groups: Literal["question", "run"] = "question",
    ) -> CompareOut | JSONResponse:
        """The same as a link: two cohorts by their filters."""
        services = await run_in_threadpool(get)
        body = CompareIn(source=source, a=a, b=b, positions=positions, groups=groups)
        return await _compare(request, services, body, wait_limit_s)

    @api.get("/compare/runs")
    async def get_compare_runs(
        a: str, b: str, limit: Annotated[int, Query(ge=1, le=MAX_FEATURES)] = 50
    ) -> dict[str, JsonValue]:
        """Two runs side by side: where they part, and the features that differ most."""
        services = await run_in_threadpool(get)
        found = await run_in_threadpool(services.engine.features.compare_runs, a, b, limit)
        return to_row(found)

    @api.get("/tasks/{task_id}")
    async def get_task(request: Request, task_id: str) -> TaskOut:
        """State and progress of long work."""
        services = await run_in_threadpool(get)
        return _task(request, await run_in_threadpool(services.engine.tasks.task, task_id))

    @api.delete("/tasks/{task_id}")
    async def delete_task(request: Request, task_id: str) -> TaskOut:
        """Cancels long work; what it has finished stays."""
        services = await run_in_threadpool(get)
        return _task(request, await run_in_threadpool(services.engine.tasks.cancel, task_id))


def author_of(request: Request, given: str | None) -> str:
    """Who writes: as given on this machine; elsewhere everybody who has the token is `api`."""
    host = request.client.host if request.client else ""
    if given and given.strip():
        return given if is_loopback(host) else f"{_UNKNOWN}: {given}"
    return _UNKNOWN


def page_url(request: Request, page: str, state: ViewState) -> str:
    """The address of a page; the API is mounted one level below the pages."""
    base = str(request.base_url).rstrip("/").removesuffix("/api")
    return base + to_path(page, state)


def _read_feature(services: Services, source: str, feature: int, url: str) -> FeatureOut:
    stats = services.features.get_feature_stats(source, feature)
    directions: FeatureDirections | None = None
    try:
        directions = services.engine.features.find_directions(stats.source_id, feature)
    except EngineError:
        directions = None  # the source's files are not here; all else is
    return feature_out(
        source,
        stats,
        services.features.list_top_contexts(source, feature, N_CONTEXTS),
        url,
        services.labels.list_labels(source, feature),
        services.features.get_feature_histogram(source, feature),
        services.engine.features.fires_on(stats.source_id, feature),
        directions,
    )


async def _compare(
    request: Request, services: Services, body: CompareIn, wait_limit_s: float
) -> CompareOut | JSONResponse:
    asked = body.to_request()
    lab = services.engine.features
    url = page_url(
        request,
        "compare",
        ViewState(
            source=body.source,
            show="chart",
            a=body.a,
            b=body.b,
            positions=body.positions,
            groups=body.groups,
        ),
    )
    found = await run_in_threadpool(lab.find_comparison, asked)
    if found is not None:
        return compare_out(found, url)
    task = await run_in_threadpool(lab.start_comparison, asked, _UNKNOWN)
    end = time.monotonic() + wait_limit_s
    while body.wait and task.is_active and time.monotonic() < end:
        await asyncio.sleep(_POLL_S)
        task = await run_in_threadpool(services.engine.tasks.task, task.task_id)
    if task.state == "failed":
        return api_errors.failure_response(task.failure)
    if task.state == "cancelled":
        return api_errors.error_response(409, "Cancelled", "The comparison was cancelled.")
    found = None if task.is_active else await run_in_threadpool(lab.find_comparison, asked)
    if found is None:
        return JSONResponse(_task(request, task).model_dump(mode="json"), 202)
    return compare_out(found, url)


def _task(request: Request, task: TaskView) -> TaskOut:
    base = str(request.base_url).rstrip("/")
    return task_out(task, f"{base}/tasks/{task.task_id}")
