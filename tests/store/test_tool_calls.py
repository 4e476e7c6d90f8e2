"""Exchanges with tools: written with the run that ends them, found by their first round."""

from __future__ import annotations

import json

import pytest

from store.errors import RunNotFoundError, StoreError
from store.exchange_records import Exchange, ToolCall
from store.keys import run_key
from store.records import WholeRun
from store.removal import delete_runs
from store.rows import messages_json, to_message
from store.runs import RunRepository
from store.specs import Message, RunSpec, ToolRequest
from store.tool_calls import ToolCallRepository
from tests.store.samples import SOURCE, make_activations, make_run, make_tokens

FIRST, LAST, OTHER = (make_run(index).run_key for index in (1, 2, 3))


def _call(step: int = 0, key: str = FIRST) -> ToolCall:
    return ToolCall(step, "lookup", '{"a": 1}', '"Lisbon"', "ok", "", key, 0.25)


def _insert(runs: RunRepository, index: int, exchange: Exchange | None = None) -> None:
    whole = WholeRun(make_run(index), make_tokens(), make_activations(), exchange=exchange)
    runs.insert_runs(SOURCE, [whole])


@pytest.fixture
def calls(runs: RunRepository) -> ToolCallRepository:
    """Of a store with an exchange of two rounds."""
    failed = ToolCall(1, "", '"lookup(An"', None, "failed", "malformed", LAST)
    _insert(runs, 1)
    _insert(runs, 2, Exchange(FIRST, 2, (_call(), failed)))
    return ToolCallRepository(runs.store)


def test_calls_come_back_as_they_went_in(calls: ToolCallRepository) -> None:
    [ok, failed] = calls.list_calls(LAST)
    assert ok == _call()
    assert (failed.status, failed.detail, failed.call_run_key) == ("failed", "malformed", LAST)
    assert (failed.result, failed.elapsed_s) == (None, None)
    assert calls.list_calls(FIRST) == ()


def test_an_exchange_is_found_by_its_first_round(calls: ToolCallRepository) -> None:
    assert calls.find_last(FIRST) == LAST
    assert calls.find_last(LAST) is None
    assert calls.find_last_of([FIRST, OTHER]) == {FIRST: LAST}


def test_an_exchange_without_calls_ends_with_its_first_round(runs: RunRepository) -> None:
    _insert(runs, 1, Exchange(FIRST, 1, ()))
    assert ToolCallRepository(runs.store).find_last(FIRST) == FIRST


def test_a_run_and_its_exchange_are_one_transaction(runs: RunRepository) -> None:
    broken = ToolCall(0, "lookup", "{}", "no JSON", "ok", "", FIRST)
    _insert(runs, 1)
    with pytest.raises(StoreError):
        _insert(runs, 2, Exchange(FIRST, 2, (broken,)))
    assert not runs.has_run(LAST)


def test_an_exchange_of_a_stored_run_is_noted_once(
    runs: RunRepository, calls: ToolCallRepository
) -> None:
    _insert(runs, 3)
    other = Exchange(OTHER, 2, (_call(key=OTHER),))
    assert calls.insert_exchange(LAST, other)
    assert not calls.insert_exchange(LAST, other)
    assert calls.find_last_of([FIRST, OTHER]) == {FIRST: LAST, OTHER: LAST}
    assert len(calls.list_calls(LAST)) == 2
    with pytest.raises(RunNotFoundError):
        calls.insert_exchange("f" * 64, other)


def test_removed_rounds_are_found_no_more(runs: RunRepository, calls: ToolCallRepository) -> None:
    delete_runs(runs.store, [FIRST])
    assert calls.find_last(FIRST) is None
    assert [call.call_run_key for call in calls.list_calls(LAST)] == ["", LAST]
    delete_runs(runs.store, [LAST])
    _insert(runs, 3)
    assert calls.list_calls_of([FIRST, LAST, OTHER]) == {}


def test_messages_with_calls_come_back_and_have_keys_of_their_own() -> None:
    request = ToolRequest("lookup", '{"person": "Anna"}')
    chat = (
        Message("user", "Where?"),
        Message("assistant", "", (request,)),
        Message("tool", "Lisbon"),
    )
    assert tuple(to_message(item) for item in json.loads(messages_json(chat))) == chat
    plain = (chat[0], Message("assistant", ""), chat[2])
    assert run_key(RunSpec(SOURCE, chat), "1") != run_key(RunSpec(SOURCE, plain), "1")
