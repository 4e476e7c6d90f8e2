"""Records to Arrow tables and back: the only place that knows the columns of a run's tables.

Invariant: a value that goes in comes out equal (activations as codes.py says), and a bundle that is
not whole and consistent is refused before anything is written.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from datetime import UTC, datetime
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa

from store.codes import to_values
from store.errors import InvalidSpecError
from store.ordering import stable_order
from store.records import Activations, IntColumn, Run, Token, TokenColumns
from store.specs import Message, SourceSpec, ToolRequest

PASSAGE_TOKENS = 64
"""Tokens of a passage; part of the layout."""

RUN_COLUMNS = tuple(item.name for item in fields(Run) if item.name != "hits")
"""Fields of a Run that are stored with it, in their order."""

TOKEN_COLUMNS = tuple(item.name for item in fields(Token))
"""Fields of a Token, in their order."""

_RUN_SCHEMA = pa.schema(
    {
        "run_no": pa.int32(),
        "run_key": pa.string(),
        "source_no": pa.int32(),
        "kind": pa.string(),
        "prompt": pa.string(),
        "response": pa.string(),
        "messages": pa.string(),
        "n_tokens": pa.int32(),
        "n_prompt_tokens": pa.int32(),
        "n_generated_tokens": pa.int32(),
        "max_new_tokens": pa.int32(),
        "temperature": pa.float64(),
        "top_p": pa.float64(),
        "top_k": pa.int32(),
        "seed": pa.int64(),
        "tools": pa.bool_(),
        "steering": pa.string(),
        "finish_reason": pa.string(),
        "compute_s": pa.float64(),
        "created_by": pa.string(),
        "created_at": pa.timestamp("us"),
    }
)
_PLAIN_RUN_COLUMNS = set(RUN_COLUMNS) & set(_RUN_SCHEMA.names) - {"messages", "created_at"}


def to_token_columns(tokens: Sequence[Token]) -> TokenColumns:
    """The same tokens as columns.

    Raises:
        InvalidSpecError: if their positions are not 0, 1, 2, ...
    """
    if [token.position for token in tokens] != list(range(len(tokens))):
        raise InvalidSpecError("tokens", "The tokens of a run must have the positions 0, 1, 2, ...")
    return TokenColumns(
        token_id=np.array([token.token_id for token in tokens], np.int32),
        text=[token.text for token in tokens],
        role=[token.role for token in tokens],
        is_generated=np.array([token.is_generated for token in tokens], np.bool_),
        is_special=np.array([token.is_special for token in tokens], np.bool_),
        logprob=np.array([_or(token.logprob, np.nan) for token in tokens], np.float64),
        rank=np.array([_or(token.rank, -1) for token in tokens], np.int32),
        entropy=np.array([_or(token.entropy, np.nan) for token in tokens], np.float64),
        n_active=np.array([token.n_active for token in tokens], np.int32),
    )


def _or(value: float | None, missing: float) -> float:
    return missing if value is None else value


def tokens_table(run_nos: Sequence[int], runs: Sequence[TokenColumns]) -> pa.Table:
    """One row a token, run by run, with the run's number before its columns."""
    n_tokens = [len(tokens) for tokens in runs]
    rank = np.concatenate([tokens.rank for tokens in runs])
    columns = {
        "run_no": np.repeat(np.array(run_nos, np.int32), n_tokens),
        "position": np.concatenate([np.arange(count, dtype=np.int32) for count in n_tokens]),
        "token_id": np.concatenate([tokens.token_id for tokens in runs]),
        "text": pa.array(list(chain.from_iterable(tokens.text for tokens in runs)), pa.string()),
        "role": pa.array(list(chain.from_iterable(tokens.role for tokens in runs)), pa.string()),
        "is_generated": np.concatenate([tokens.is_generated for tokens in runs]),
        "is_special": np.concatenate([tokens.is_special for tokens in runs]),
        "logprob": pa.array(np.concatenate([t.logprob for t in runs]), from_pandas=True),
        "rank": pa.array(rank, mask=rank < 0),
        "entropy": pa.array(np.concatenate([t.entropy for t in runs]), from_pandas=True),
        "n_active": np.concatenate([tokens.n_active for tokens in runs]),
    }
    return pa.table(columns)


def passages_table(
    first_passage_no: int,
    run_nos: Sequence[int],
    run_keys: Sequence[str],
    texts: Sequence[Sequence[str]],
) -> pa.Table:
    """PASSAGE_TOKENS tokens a row, run by run, their texts as a JSON list."""
    rows = [
        (run_no, run_key, start, _json_list(pieces[start : start + PASSAGE_TOKENS]))
        for run_no, run_key, pieces in zip(run_nos, run_keys, texts, strict=True)
        for start in range(0, len(pieces), PASSAGE_TOKENS)
    ]
    run_no, run_key, position, encoded = zip(*rows, strict=True)
    return pa.table(
        {
            "passage_no": np.arange(len(rows), dtype=np.int32) + np.int32(first_passage_no),
            "run_no": pa.array(run_no, pa.int32()),
            "run_key": pa.array(run_key, pa.string()),
            "position": pa.array(position, pa.int32()),
            "texts": pa.array(encoded, pa.string()),
        }
    )


def _json_list(texts: Sequence[str]) -> str:
    return json.dumps(list(texts), ensure_ascii=False, separators=(",", ":"))


def runs_table(
    run_nos: Sequence[int], source_no: int, runs: Sequence[Run], n_tokens: Sequence[int]
) -> pa.Table:
    """One row a run, with the columns of the table of runs."""
    rows = [
        {
            "run_no": run_no,
            "source_no": source_no,
            "n_tokens": count,
            **{name: getattr(run, name) for name in _PLAIN_RUN_COLUMNS},
            "messages": messages_json(run.messages),
            "created_at": to_utc(run.created_at),
        }
        for run_no, run, count in zip(run_nos, runs, n_tokens, strict=True)
    ]
    return pa.Table.from_pylist(rows, schema=_RUN_SCHEMA)


def to_activations(table: pa.Table, n_tokens: int, shift: int) -> Activations:
    """Activations of one run, read in the order of their features, in that of their positions."""
    columns = {name: table.column(name).to_numpy() for name in table.column_names}
    order = stable_order(columns["position"], n_tokens)
    return Activations(
        position=columns["position"][order],
        feature=columns["feature"][order],
        value=to_values(columns["code"][order], shift),
    )


def to_run(row: Sequence[object], hits: int) -> Run:
    """A Run from its columns in the order of RUN_COLUMNS, and the count of its hits."""
    values = dict(zip(RUN_COLUMNS, row, strict=True))
    values["hits"] = hits
    values["messages"] = tuple(to_message(item) for item in json.loads(str(values["messages"])))
    values["created_at"] = from_utc(values["created_at"])
    return Run(**values)  # type: ignore[arg-type]  # the columns have the fields' types


def messages_json(messages: Sequence[Message]) -> str:
    """A chat as JSON text: a list of role and content, and of the calls that a message makes."""
    plain = [
        {"role": item.role, "content": item.content}
        | ({"tool_calls": [asdict(call) for call in item.tool_calls]} if item.tool_calls else {})
        for item in messages
    ]
    return json.dumps(plain, ensure_ascii=False)


def to_message(item: Mapping[str, Any]) -> Message:
    """A message from what `messages_json` made of it."""
    calls = item.get("tool_calls", ())
    return Message(
        item["role"],
        item["content"],
        tuple(ToolRequest(call["name"], call["arguments"]) for call in calls),
    )


def to_utc(moment: datetime) -> datetime:
    """As stored: UTC without a zone. A time without a zone is taken as UTC."""
    return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment


def from_utc(moment: object) -> datetime:
    """As given out: UTC with its zone."""
    if not isinstance(moment, datetime):
        raise TypeError(f"{moment!r} is not a time")
    return moment.replace(tzinfo=UTC)


def check_run(source: SourceSpec, run: Run, tokens: TokenColumns, activations: Activations) -> None:
    """Refuses a run that is not whole, or whose parts do not fit each other.

    Raises:
        InvalidSpecError: says what does not fit.
    """
    columns = [getattr(tokens, item.name) for item in fields(tokens)]
    if not len(tokens) or any(len(column) != len(tokens) for column in columns):
        raise InvalidSpecError("tokens", "A run has one token or more, each with all its columns.")
    if run.n_prompt_tokens < 0 or run.n_generated_tokens < 0:
        raise InvalidSpecError("tokens", "A run cannot have fewer than no tokens.")
    position, feature, value = activations.position, activations.feature, activations.value
    if not position.shape == feature.shape == value.shape or position.ndim != 1:
        raise InvalidSpecError("activations", "The columns of activations differ in length.")
    if not len(activations):
        return
    if position.min() < 0 or position.max() >= len(tokens):
        raise InvalidSpecError("activations", "An activation lies outside the run's tokens.")
    if feature.min() < 0 or feature.max() >= source.d_sae:
        raise InvalidSpecError("activations", f"A feature is outside 0 to {source.d_sae - 1}.")
    # NaN is neither above zero nor below infinity
    if not (value.min() > 0 and value.max() < np.inf):
        raise InvalidSpecError("activations", "An activation is not a finite number above zero.")
    if not _is_ordered(position, feature):
        raise InvalidSpecError(
            "activations", "Activations must be ordered by position and feature, each only once."
        )
    if bool(np.any(np.bincount(position, minlength=len(tokens)) > tokens.n_active)):
        raise InvalidSpecError("tokens", "A token has more activations than its n_active says.")


def _is_ordered(position: IntColumn, feature: IntColumn) -> bool:
    """Whether each activation but the first comes after the one before it."""
    later = position[1:] > position[:-1]
    same = position[1:] == position[:-1]
    return bool(np.all(later | (same & (feature[1:] > feature[:-1]))))
