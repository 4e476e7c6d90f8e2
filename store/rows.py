"""Records to Arrow tables and back: the only place that knows the columns of a run's tables.

Invariant: a value that goes in comes out equal (float32 activations bit for bit), and a bundle that
is not whole and consistent is refused before anything is written.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa

from store.errors import InvalidSpecError
from store.records import Activations, Run, Token
from store.specs import Message, SourceSpec

RUN_COLUMNS = tuple(item.name for item in fields(Run) if item.name != "hits")
"""Fields of a Run that are stored with it, in their order."""

TOKEN_TYPES: Mapping[str, pa.DataType] = {
    "position": pa.int32(),
    "token_id": pa.int32(),
    "text": pa.string(),
    "role": pa.string(),
    "is_generated": pa.bool_(),
    "is_special": pa.bool_(),
    "logprob": pa.float64(),
    "rank": pa.int32(),
    "entropy": pa.float64(),
    "n_active": pa.int32(),
}
"""Fields of a Token, in their order."""


def tokens_table(run_no: int, tokens: Sequence[Token]) -> pa.Table:
    """One row a token, in order, with the run's number before its columns."""
    columns: dict[str, pa.Array] = {"run_no": pa.array([run_no] * len(tokens), pa.int32())}
    for name, kind in TOKEN_TYPES.items():
        columns[name] = pa.array([getattr(token, name) for token in tokens], kind)
    return pa.table(columns)


def activations_table(run_no: int, activations: Activations) -> pa.Table:
    """One row an activation, with the run's number before its columns."""
    return pa.table(
        {
            "run_no": np.full(len(activations), run_no, dtype=np.int32),
            "position": activations.position,
            "feature": activations.feature,
            "value": activations.value,
        }
    )


def to_activations(table: pa.Table) -> Activations:
    """The columns position, feature and value of a table read from the store."""
    return Activations(
        position=table.column("position").to_numpy().astype(np.int32, copy=False),
        feature=table.column("feature").to_numpy().astype(np.int32, copy=False),
        value=table.column("value").to_numpy().astype(np.float32, copy=False),
    )


def to_run(row: Sequence[object], hits: int) -> Run:
    """A Run from its columns in the order of RUN_COLUMNS, and the count of its hits."""
    values = dict(zip(RUN_COLUMNS, row, strict=True))
    values["hits"] = hits
    values["messages"] = tuple(
        Message(item["role"], item["content"]) for item in json.loads(str(values["messages"]))
    )
    values["created_at"] = from_utc(values["created_at"])
    return Run(**values)  # type: ignore[arg-type]  # the columns have the fields' types


def messages_json(messages: Sequence[Message]) -> str:
    """A chat as JSON text: a list of role and content."""
    plain = [{"role": item.role, "content": item.content} for item in messages]
    return json.dumps(plain, ensure_ascii=False)


def to_utc(moment: datetime) -> datetime:
    """As stored: UTC without a zone. A time without a zone is taken as UTC."""
    return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment


def from_utc(moment: object) -> datetime:
    """As given out: UTC with its zone."""
    if not isinstance(moment, datetime):
        raise TypeError(f"{moment!r} is not a time")
    return moment.replace(tzinfo=UTC)


def check_run(
    source: SourceSpec, run: Run, tokens: Sequence[Token], activations: Activations
) -> None:
    """Refuses a run that is not whole, or whose parts do not fit each other.

    Raises:
        InvalidSpecError: if tokens are missing or out of order, columns differ in length, or an
            activation lies outside the run or the SAE, is not above zero, or appears twice.
    """
    if [token.position for token in tokens] != list(range(len(tokens))) or not tokens:
        raise InvalidSpecError("tokens", "The tokens of a run must have the positions 0, 1, 2, ...")
    position, feature, value = activations.position, activations.feature, activations.value
    if not position.shape == feature.shape == value.shape or position.ndim != 1:
        raise InvalidSpecError("activations", "The columns of activations differ in length.")
    if not len(activations):
        return
    if position.min() < 0 or position.max() >= len(tokens):
        raise InvalidSpecError("activations", "An activation lies outside the run's tokens.")
    if feature.min() < 0 or feature.max() >= source.d_sae:
        raise InvalidSpecError("activations", f"A feature is outside 0 to {source.d_sae - 1}.")
    if not bool(np.all(np.isfinite(value) & (value > 0))):
        raise InvalidSpecError("activations", "An activation is not a finite number above zero.")
    place = position.astype(np.int64) * source.d_sae + feature
    if not bool(np.all(place[1:] > place[:-1])):
        raise InvalidSpecError(
            "activations", "Activations must be ordered by position and feature, each only once."
        )
    n_stored = np.bincount(position, minlength=len(tokens))
    if bool(np.any(n_stored > np.array([token.n_active for token in tokens]))):
        raise InvalidSpecError("tokens", "A token has more activations than its n_active says.")
    if run.n_prompt_tokens < 0 or run.n_generated_tokens < 0:
        raise InvalidSpecError("tokens", "A run cannot have fewer than no tokens.")
