"""The HTTP API over a real store and the fake engine: what it answers, and how it refuses."""

from __future__ import annotations

import asyncio
import io
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from starlette.testclient import TestClient
from starlette.types import Message

from dashboard import limited_stream
from dashboard.api import MAX_BODY_BYTES, create_api
from dashboard.services import Services
from store.errors import StoreLockedError
from tests.dashboard.conftest import Bench

STEER = {"kind": "add", "feature": 3, "strength": 0.5}


@pytest.fixture
def client(bench: Bench) -> Iterator[TestClient]:
    with TestClient(
        create_api(lambda: bench.services, "1.2.3", wait_limit_s=0.05),
        raise_server_exceptions=False,
    ) as client:
        yield client


def error_of(response: object) -> dict[str, str]:
    """The one shape of an error, checked."""
    content = response.json()  # type: ignore[attr-defined]
    assert set(content) == {"error"}
    assert set(content["error"]) == {"type", "message", "hint"}
    error: dict[str, str] = content["error"]
    assert error["message"]
    assert "Traceback" not in error["message"]
    return error


def test_a_run_is_computed_once_and_then_read(client: TestClient, bench: Bench) -> None:
    first = client.post("/runs", json={"prompt": "Who plays the harp?"}).json()
    again = client.post("/runs", json={"prompt": "Who plays the harp?"}).json()
    read = client.get(f"/runs/{first['run_key']}").json()
    assert (first["memoized"], again["memoized"], read["memoized"]) == (False, True, True)
    assert bench.engine.n_computed == 1
    assert first["response"] == "Nobody plays the harp."
    assert first["finish_reason"] == "stop"
    assert first["url"] == f"http://testserver/ask?run={first['run_key']}"
    assert [token["position"] for token in first["tokens"]] == list(range(len(first["tokens"])))
    assert again["tokens"] == first["tokens"] == read["tokens"]
    assert again["hits"] == 1


def test_a_chat_with_calls_of_tools_comes_back_as_it_was_asked(client: TestClient) -> None:
    call = {"name": "lookup", "arguments": '{"person": "Anna"}'}
    messages: list[dict[str, object]] = [
        {"role": "user", "content": "Where does Anna live?"},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": "Lisbon"},
    ]
    assert client.post("/runs", json={"messages": messages}).json()["messages"] == messages
    messages[1]["tool_calls"] = [call | {"arguments": "no object"}]
    assert client.post("/runs", json={"messages": messages}).status_code == 400


def test_a_chat_is_asked_with_its_messages(client: TestClient) -> None:
    messages = [
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "Yes?"},
        {"role": "user", "content": "Who plays?"},
    ]
    answer = client.post("/runs", json={"messages": messages}).json()
    assert answer["messages"] == messages
    assert answer["prompt"] == "Who plays?"


def test_a_text_is_read_without_generating(client: TestClient) -> None:
    answer = client.post("/runs", json={"prompt": "Just a text.", "kind": "text"}).json()
    assert answer["kind"] == "text"
    assert answer["n_generated_tokens"] == 0


def test_a_run_is_steered_as_it_is_asked(client: TestClient) -> None:
    gate = {"threshold": 0.5, "features": [7, 9], "weights": [1, -1], "at": "last_prompt"}
    gated = STEER | {"unit": "norm", "positions": "answering", "condition": gate}
    keys = {
        client.post("/runs", json={"prompt": "Who plays?", "steering": steering}).json()["run_key"]
        for steering in ([], [STEER], [gated], [gated, STEER], [{"kind": "ablate", "feature": 3}])
    }
    assert len(keys) == 5


def test_a_run_that_is_not_awaited_is_a_job_that_can_be_followed_and_cancelled(
    client: TestClient,
) -> None:
    response = client.post("/runs", json={"prompt": "slow one", "wait": False})
    job = response.json()
    assert response.status_code == 202
    assert job["state"] == "running"
    assert job["text"] == "Nobody"
    assert client.get(f"/jobs/{job['job_id']}").json()["state"] == "running"
    assert client.delete(f"/jobs/{job['job_id']}").json()["state"] == "cancelled"


def test_a_wait_over_the_limit_becomes_a_job(client: TestClient) -> None:
    assert client.post("/runs", json={"prompt": "slow one"}).status_code == 202


def test_a_failed_run_is_an_error_with_its_hint(client: TestClient) -> None:
    response = client.post("/runs", json={"prompt": "fail now"})
    assert response.status_code == 503
    assert error_of(response) == {
        "type": "DeviceError",
        "message": "The device is out of memory.",
        "hint": "Use a smaller one.",
    }


@pytest.mark.parametrize(
    ("body", "status", "error_type"),
    [
        ({"prompt": ""}, 400, "InvalidSpecError"),
        ({"prompt": "   \n"}, 400, "InvalidSpecError"),
        ({"prompt": "x" * 1_000_001}, 400, "InvalidSpecError"),
        ({"messages": []}, 400, "InvalidSpecError"),
        ({"messages": [{"role": "assistant", "content": "x"}]}, 400, "InvalidSpecError"),
        ({"prompt": "x", "source": "nowhere"}, 404, "UnknownSourceError"),
        ({"prompt": "x", "steering": [{"kind": "add"}]}, 400, "InvalidSpecError"),
        ({"prompt": "x", "steering": [STEER | {"positions": "9:2"}]}, 400, "InvalidSpecError"),
        ({"prompt": "x", "steering": [STEER | {"kind": "push"}]}, 400, "InvalidSpecError"),
        ({"prompt": "x", "steering": [STEER | {"amount": 2}]}, 422, "ValidationError"),
        (
            {"prompt": "x", "steering": [STEER | {"condition": {"threshold": 1}}]},
            400,
            "InvalidSpecError",
        ),
        ({"prompt": "x", "temperature": -0.1}, 400, "InvalidSpecError"),
        ({"prompt": "x", "top_p": 0}, 400, "InvalidSpecError"),
        ({"prompt": "x", "seed": -1}, 400, "InvalidSpecError"),
        ({"prompt": "x", "max_new_tokens": 0}, 400, "InvalidSpecError"),
        ({"prompt": "x", "max_new_tokens": 1.5}, 422, "ValidationError"),
        ({"prompt": "x", "promt": "y"}, 422, "ValidationError"),
        ({"prompt": "x", "messages": []}, 422, "ValidationError"),
        ({"messages": [{"role": "root", "content": "x"}]}, 422, "ValidationError"),
        ({"prompt": 7}, 422, "ValidationError"),
        ({}, 422, "ValidationError"),
    ],
)
def test_a_bad_request_is_refused_with_a_reason(
    client: TestClient, bench: Bench, body: dict[str, object], status: int, error_type: str
) -> None:
    response = client.post("/runs", json=body)
    assert (response.status_code, error_of(response)["type"]) == (status, error_type)
    assert bench.services.runs.summarise().n_runs == 0


@pytest.mark.parametrize("content", ['{"prompt": "x", "temperature": NaN}', '{"prompt": "x"', "[]"])
def test_a_body_that_is_not_good_json_is_refused(client: TestClient, content: str) -> None:
    response = client.post("/runs", content=content, headers={"content-type": "application/json"})
    assert response.status_code in {400, 422}
    error_of(response)


def test_a_number_that_is_none_is_refused(client: TestClient) -> None:
    content = json.dumps({"prompt": "x", "temperature": float("inf")})
    response = client.post("/runs", content=content, headers={"content-type": "application/json"})
    assert error_of(response)["type"] == "InvalidSpecError"


def test_a_body_over_the_limit_is_refused_before_it_is_read(client: TestClient) -> None:
    response = client.post("/runs", json={"prompt": "x" * MAX_BODY_BYTES})
    assert response.status_code == 413
    assert error_of(response)["type"] == "TooLarge"


def test_a_body_over_the_limit_is_refused_when_its_size_is_not_declared(
    client: TestClient,
) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(11):
            yield b"x" * 1_000_000

    response = client.post("/runs", content=chunks(), headers={"content-type": "application/json"})
    assert response.status_code == 413


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", f"/runs/{'0' * 64}", 404),
        ("GET", "/runs/not-a-key", 404),
        ("GET", "/jobs/none", 404),
        ("DELETE", "/jobs/none", 404),
        ("GET", "/features/nowhere/3", 404),
        ("GET", "/features/demo/three", 422),
        ("GET", "/features/demo/99999999999999999999", 422),
        ("GET", "/nothing", 404),
        ("PUT", "/runs", 405),
        ("GET", "/sql", 422),
        ("GET", "/sql?q=select+1&format=xml", 422),
        ("GET", "/sql?q=select+1&limit=0", 422),
        ("GET", "/sql?q=drop+table+runs", 400),
        ("GET", "/sql?q=select+nonsense+from+nowhere", 400),
    ],
)
def test_what_is_not_there_or_not_allowed_has_the_shape_of_an_error(
    client: TestClient, method: str, path: str, status: int
) -> None:
    response = client.request(method, path)
    assert response.status_code == status
    error_of(response)


def test_text_of_a_prompt_comes_back_as_it_was(client: TestClient) -> None:
    hostile = "<script>alert(1)</script>\x00\x1b[31m\u202e![x](http://x) $x$ :red[x] 👩‍🚀"
    answer = client.post("/runs", json={"prompt": hostile})
    assert answer.status_code == 200
    assert answer.json()["prompt"] == hostile
    assert answer.headers["content-type"] == "application/json"


def test_a_feature_is_described_with_its_contexts(client: TestClient) -> None:
    run = client.post("/runs", json={"prompt": "Who plays the harp?"}).json()
    feature = client.get("/features/demo/500").json()
    assert feature["n_tokens_active"] == len(run["tokens"])
    assert feature["density"] == pytest.approx(1.0)
    assert feature["max_value"] == pytest.approx(2.0)
    assert {context["run_key"] for context in feature["top_contexts"]} == {run["run_key"]}


def test_a_query_returns_its_rows_as_json_and_csv(client: TestClient) -> None:
    client.post("/runs", json={"prompt": "Who plays the harp?"})
    q = "SELECT prompt, n_prompt_tokens FROM runs"
    content = client.get("/sql", params={"q": q}).json()
    assert [column["name"] for column in content["columns"]] == ["prompt", "n_prompt_tokens"]
    assert content["rows"] == [["Who plays the harp?", 5]]
    assert content["truncated"] is False
    csv = client.get("/sql", params={"q": q, "format": "csv"})
    assert csv.text.splitlines() == ["prompt,n_prompt_tokens", "Who plays the harp?,5"]


def test_a_query_returns_its_rows_as_arrow_and_parquet(client: TestClient) -> None:
    q = "SELECT range AS i, range / 7 AS x FROM range(50000)"
    params = {"q": q, "limit": "100000"}
    arrow = client.get("/sql", params={**params, "format": "arrow"})
    parquet = client.get("/sql", params={**params, "format": "parquet"})
    rows = pa.ipc.open_stream(arrow.content).read_all()
    assert rows.num_rows == 50_000
    assert pq.read_table(io.BytesIO(parquet.content)).equals(rows)
    assert (arrow.headers["x-truncated"], parquet.headers["x-truncated"]) == ("false", "false")


def test_rows_are_sent_in_pieces(client: TestClient) -> None:
    params = {"q": "SELECT range FROM range(50000)", "limit": "50000", "format": "csv"}
    with client.stream("GET", "/sql", params=params) as response:
        assert "content-length" not in response.headers
        pieces = list(response.iter_raw())
    assert len(pieces) > 5
    assert b"".join(pieces).count(b"\n") == 50_001


def test_more_answers_than_may_be_sent_at_once_are_put_off(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    slots = threading.BoundedSemaphore(1)
    monkeypatch.setattr(limited_stream, "_slots", slots)
    with slots:
        response = client.get("/sql", params={"q": "SELECT 1"})
    assert (response.status_code, error_of(response)["type"]) == (503, "Busy")
    assert client.get("/sql", params={"q": "SELECT 1"}).status_code == 200


def test_an_answer_that_is_read_too_slowly_is_cut_off(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limited_stream, "SEND_TIMEOUT_S", 0.2)
    sent: list[Message] = []

    async def receive() -> Message:
        await asyncio.sleep(60)
        return {"type": "http.disconnect"}

    async def send_slowly(message: Message) -> None:
        sent.append(message)
        await asyncio.sleep(0.05)

    stream = limited_stream.LimitedStream(iter([b"x"] * 1_000), "text/csv", {})
    scope = {"type": "http", "asgi": {"spec_version": "2.4"}}
    with ThreadPoolExecutor(1) as thread:  # the browser tests leave a loop on this one
        thread.submit(lambda: asyncio.run(stream(scope, receive, send_slowly))).result()
    assert 1 < len(sent) < 100
    assert sent[-1].get("more_body", True)


def test_rows_over_the_limit_are_cut_and_this_is_said(client: TestClient) -> None:
    content = client.get("/sql", params={"q": "SELECT * FROM range(10)", "limit": 3}).json()
    assert len(content["rows"]) == 3
    assert content["truncated"] is True


def test_the_docs_page_names_every_call_and_loads_nothing_from_elsewhere(
    client: TestClient,
) -> None:
    page = client.get("/docs").text
    paths = client.get("/openapi.json").json()["paths"]
    assert set(paths) >= {"/runs", "/runs/{run_key}", "/jobs/{job_id}", "/sql"}
    assert all(f"/api{path}" in page for path in paths)
    assert "<script" not in page
    assert 'src="http' not in page
    assert 'href="http' not in page


def test_a_store_that_cannot_be_opened_is_said_with_503() -> None:
    def locked() -> Services:
        raise StoreLockedError("data/x.duckdb")

    with TestClient(create_api(locked, "1"), raise_server_exceptions=False) as client:
        response = client.get(f"/runs/{'0' * 64}")
    assert response.status_code == 503
    assert error_of(response)["type"] == "StoreLockedError"


def test_a_fault_of_the_server_tells_no_secrets() -> None:
    def broken() -> Services:
        raise RuntimeError("secret path /root/x")

    with TestClient(create_api(broken, "1"), raise_server_exceptions=False) as client:
        response = client.get(f"/runs/{'0' * 64}")
    assert response.status_code == 500
    assert "secret" not in response.text
