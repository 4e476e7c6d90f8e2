"""What the HTTP API takes and gives about features, labels, lists and comparisons.

Invariant: field names equal the columns of the public views; unknown fields of a request are
refused, so that a misspelt one is never silently ignored.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, TypeAdapter

from engine.api import CohortComparison, CohortRequest, FeatureDirections, FiresOn, TaskView
from store.feature_records import FeatureList, FeatureListItem, FeatureRow, Label
from store.records import Context, FeatureStats, HistogramBin

Rows = list[dict[str, JsonValue]]
MAX_NAME_CHARS = 200
_ANY: TypeAdapter[object] = TypeAdapter(object)


class FeatureOut(BaseModel):
    """A feature over everything stored of its source, where it fires, and what goes with it."""

    source: str
    source_id: str
    feature: int
    n_tokens_active: int
    density: float
    max_value: float
    mean_value: float
    label: str | None
    url: str
    top_contexts: Rows
    labels: Rows = Field(description="All that are active, the current one first.")
    histogram: Rows = Field(description="Tokens by value; four bins to a doubling.")
    fires_on: dict[str, JsonValue] | None = Field(
        description="Tokens, sequences and circumstances that go with it, with n."
    )
    boosts: dict[str, JsonValue] | None = Field(
        description="Logit lens and nearest features; null where the source's files are not here."
    )


class FeaturesOut(BaseModel):
    """Some of the features that a search found."""

    source: str
    n_found: int = Field(description="In all; the hidden ones are not counted.")
    n_dense: int = Field(description="Hidden: they fire on more than a tenth of all tokens.")
    n_first: int = Field(description="Hidden: they fire on first tokens alone.")
    features: Rows


class LabelIn(BaseModel):
    """A label, or an edit of one."""

    model_config = ConfigDict(extra="forbid")

    text: str
    author: str | None = Field(default=None, max_length=MAX_NAME_CHARS, description="Who says so.")
    replaces: str | None = Field(
        default=None, description="label_id of the one that was read and is edited."
    )


class LabelChangeIn(BaseModel):
    """Who takes a label away, or brings an old one back."""

    model_config = ConfigDict(extra="forbid")

    author: str | None = Field(default=None, max_length=MAX_NAME_CHARS, description="Who says so.")


class ListIn(BaseModel):
    """A new list of features."""

    model_config = ConfigDict(extra="forbid")

    name: str
    note: str = ""
    author: str | None = Field(default=None, max_length=MAX_NAME_CHARS)


class ItemsIn(BaseModel):
    """Features to be put on a list."""

    model_config = ConfigDict(extra="forbid")

    source: str
    features: list[int] = Field(min_length=1, max_length=10_000)
    note: str = ""
    author: str | None = Field(default=None, max_length=MAX_NAME_CHARS)


class ListOut(BaseModel):
    """A list of features; `items` only where one list was asked for."""

    list_id: str
    name: str
    note: str
    created_by: str
    created_at: datetime
    updated_at: datetime | None
    n_features: int
    url: str
    items: Rows | None = None


class CompareIn(BaseModel):
    """Two cohorts of runs, each a filter such as `verdict:made_up AND tools:no`."""

    model_config = ConfigDict(extra="forbid")

    source: str
    a: str
    b: str
    positions: Literal["all", "generated", "prompt", "last_prompt"] = "generated"
    groups: Literal["question", "run"] = Field(
        default="question", description="What counts once: all runs of a question, or each run."
    )
    n_permutations: int = Field(default=1000, ge=1, le=10_000)
    seed: int = 0
    wait: bool = Field(default=True, description="False returns the task at once, status 202.")

    def to_request(self) -> CohortRequest:
        """The engine's request."""
        return CohortRequest(
            self.source,
            self.a,
            self.b,
            positions=self.positions,
            groups=self.groups,
            n_permutations=self.n_permutations,
            seed=self.seed,
        )


class TaskOut(BaseModel):
    """Long work at one moment."""

    task_id: str
    kind: str
    title: str
    state: str
    n_done: int
    n_total: int
    note: str
    asked_by: str
    elapsed_s: float
    left_s: float | None
    result: dict[str, JsonValue]
    failure: dict[str, str] | None
    url: str


class CompareOut(BaseModel):
    """Two cohorts compared, the strongest evidence first."""

    source_id: str
    n_runs_a: int
    n_runs_b: int
    effects: dict[str, JsonValue]
    censoring_note: str | None
    sampling_note: str | None
    is_toy: bool
    computed_s: float
    url: str


def feature_out(
    source: str,
    stats: FeatureStats,
    contexts: tuple[Context, ...],
    url: str,
    labels: tuple[Label, ...],
    histogram: tuple[HistogramBin, ...],
    fires_on: FiresOn | None,
    directions: FeatureDirections | None,
) -> FeatureOut:
    """A feature as the API gives it."""
    return FeatureOut(
        source=source,
        source_id=stats.source_id,
        feature=stats.feature,
        n_tokens_active=stats.n_tokens_active,
        density=stats.density,
        max_value=stats.max_value,
        mean_value=stats.mean_value,
        label=stats.label,
        url=url,
        top_contexts=to_rows(contexts),
        labels=to_rows(labels),
        histogram=to_rows(histogram),
        fires_on=None if fires_on is None else to_row(fires_on),
        boosts=None if directions is None else to_row(directions),
    )


def feature_row(row: FeatureRow, url: str) -> dict[str, JsonValue]:
    """A found feature as the API gives it."""
    return to_row(row) | {"url": url}


def list_out(
    item: FeatureList, url: str, items: tuple[FeatureListItem, ...] | None = None
) -> ListOut:
    """A list as the API gives it."""
    return ListOut(**asdict(item), url=url, items=None if items is None else to_rows(items))


def task_out(task: TaskView, url: str) -> TaskOut:
    """A task as the API gives it."""
    failure = task.failure
    return TaskOut(
        task_id=task.task_id,
        kind=task.kind,
        title=task.title,
        state=task.state,
        n_done=task.n_done,
        n_total=task.n_total,
        note=task.note,
        asked_by=task.asked_by,
        elapsed_s=task.elapsed_s,
        left_s=task.left_s,
        result=dict(task.result),
        failure=None
        if failure is None
        else {"type": failure.error_type, "message": failure.message, "hint": failure.hint},
        url=url,
    )


def compare_out(found: CohortComparison, url: str) -> CompareOut:
    """A comparison as the API gives it; the draws of its null are left out."""
    effects = to_row(found.effects)
    null = effects["null"]
    if isinstance(null, dict):
        del null["max_statistics"]
    return CompareOut(
        source_id=found.source_id,
        n_runs_a=found.n_runs_a,
        n_runs_b=found.n_runs_b,
        effects=effects,
        censoring_note=found.censoring_note,
        sampling_note=found.sampling_note,
        is_toy=found.is_toy,
        computed_s=found.computed_s,
        url=url,
    )


def to_rows(records: Iterable[object]) -> Rows:
    """Records as objects."""
    return [to_row(record) for record in records]


def to_row(record: object) -> dict[str, JsonValue]:
    """A record as an object of plain values; moments as ISO 8601."""
    row: dict[str, JsonValue] = _ANY.dump_python(record, mode="json")
    return row
