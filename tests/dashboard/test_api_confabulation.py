"""Outcomes, detectors and question sets over HTTP: read, judged, brought, and refused."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from starlette.testclient import TestClient

from dashboard.api import create_api
from dashboard.services import Services

CSV = "question,gold,aliases\nWho plays the harp?,Nobody,no one|none\nWho plays?,Ann,\n"


@pytest.fixture
def client(trained: Services) -> Iterator[TestClient]:
    """The API over a store with answers and detectors."""
    with TestClient(create_api(lambda: trained, "1.2.3"), raise_server_exceptions=False) as client:
        yield client


def _error(response: object, status: int) -> dict[str, str]:
    assert response.status_code == status  # type: ignore[attr-defined]
    error: dict[str, str] = response.json()["error"]  # type: ignore[attr-defined]
    assert set(error) == {"type", "message", "hint"}
    return error


def _answer(services: Services, tools: bool = False, number: int = 0) -> str:
    answers = services.engine.confabulation.answers("demo", "demo", tools)
    return answers[number].run_key


def test_judgements_of_a_run_are_read_with_the_one_that_holds(
    client: TestClient, trained: Services
) -> None:
    found = client.get(f"/outcomes/{_answer(trained)}").json()
    assert found["verdict"]["meaning"] in ("made_up", "honest", "abstained")
    assert {item["method"] for item in found["outcomes"]} >= {"world"}
    world = next(item for item in found["outcomes"] if item["method"] == "world")
    assert world["evidence"]["question_no"] == 0


def test_a_person_judges_and_the_stronger_method_still_holds(
    client: TestClient, trained: Services
) -> None:
    key = _answer(trained, number=40)
    before = client.get(f"/outcomes/{key}").json()
    said = "incorrect" if before["verdict"]["meaning"] == "honest" else "correct"
    sent = {"outcome": said, "person": "bo", "note": "<b>I looked</b>"}
    after = client.post(f"/outcomes/{key}", json=sent).json()
    assert after["outcomes"][-1]["judge"] == "bo"
    assert after["outcomes"][-1]["evidence"]["note"] == "<b>I looked</b>"
    assert after["verdict"]["outcome"] == before["verdict"]["outcome"]
    assert after["verdict"]["is_contested"]


def test_what_cannot_be_judged_is_refused(client: TestClient, trained: Services) -> None:
    key = _answer(trained)
    unknown = {"outcome": "correct", "person": "bo"}
    assert _error(client.post(f"/outcomes/{'f' * 64}", json=unknown), 404)["type"] == (
        "RunNotFoundError"
    )
    assert _error(client.get(f"/outcomes/{'f' * 64}"), 404)
    odd = client.post(f"/outcomes/{key}", json={"outcome": "splendid", "person": "bo"})
    assert "splendid" in _error(odd, 400)["message"]
    assert _error(client.post(f"/outcomes/{key}", json={"outcome": "correct"}), 422)


def test_detectors_are_listed_and_score_stored_runs(client: TestClient, trained: Services) -> None:
    cards = client.get("/detectors", params={"source": "demo"}).json()
    [chosen] = [card for card in cards if card["is_chosen"]]
    assert chosen["kind"] == "candidate"
    assert chosen["can_score"]
    key = _answer(trained)
    scores = [
        client.get(f"/detectors/{chosen['detector_id']}/score/{key}", params={"rate": rate}).json()
        for rate in (0.01, 0.5)
    ]
    assert scores[0]["run_key"] == key
    assert scores[0]["score"] == scores[1]["score"]
    assert scores[0]["threshold"]["score"] >= scores[1]["threshold"]["score"]
    assert 0 <= scores[0]["probability"] <= 1


def test_a_score_that_cannot_be_had_is_refused(client: TestClient, trained: Services) -> None:
    key = _answer(trained)
    missing = client.get(f"/detectors/{'a' * 20}/score/{key}")
    assert _error(missing, 404)["type"] == "DetectorNotFoundError"
    [chosen] = [card for card in client.get("/detectors").json() if card["is_chosen"]]
    assert _error(client.get(f"/detectors/{chosen['detector_id']}/score/{'f' * 64}"), 404)
    beyond = client.get(f"/detectors/{chosen['detector_id']}/score/{key}", params={"rate": 2})
    assert _error(beyond, 422)


def test_questions_come_as_json_csv_lines_and_parquet_and_are_the_same(client: TestClient) -> None:
    rows = [
        {"question": "Who plays the harp?", "gold": "Nobody", "aliases": ["no one", "none"]},
        {"question": "Who plays?", "gold": "Ann"},
    ]
    table = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), table)
    lines = "\n".join(
        [
            '{"question": "Who plays the harp?", "gold": "Nobody", "aliases": ["no one", "none"]}',
            '{"question": "Who plays?", "gold": "Ann"}',
        ]
    )
    sent = [
        client.post("/question-sets", json={"name": "harps-json", "questions": rows}),
        client.post(
            "/question-sets",
            params={"name": "harps-csv"},
            content=CSV,
            headers={"content-type": "text/csv"},
        ),
        client.post(
            "/question-sets",
            params={"name": "harps-lines", "file_name": "harps.jsonl"},
            content=lines,
        ),
        client.post(
            "/question-sets",
            params={"name": "harps-parquet"},
            content=table.getvalue(),
            headers={"content-type": "application/vnd.apache.parquet"},
        ),
    ]
    assert [response.status_code for response in sent] == [201] * 4
    kept = [client.get(f"/question-sets/{item.json()['name']}").json() for item in sent]
    assert all(item["questions"] == kept[0]["questions"] for item in kept)
    assert kept[0]["questions"][0]["aliases"] == ["no one", "none"]
    assert {item["name"] for item in client.get("/question-sets").json()} >= {"demo", "harps-csv"}
    part = client.get("/question-sets/harps-csv", params={"offset": 1}).json()
    assert [item["question"] for item in part["questions"]] == ["Who plays?"]


@pytest.mark.parametrize(
    ("content", "kind", "params", "said"),
    [
        ("who\nAnn\n", "text/csv", {"name": "x"}, "no column `question`"),
        ("question\n", "text/csv", {"name": "x"}, ""),
        ("{", "application/json", {}, "cannot be read"),
        ('{"name": "x", "questions": [{"gold": "y"}]}', "application/json", {}, "question"),
        (CSV, "text/csv", {"name": "demo"}, "demo"),
        (CSV, "text/csv", {"name": "a/b"}, "a/b"),
        (CSV, "text/csv", {}, ""),
        ("PAR1", "application/vnd.apache.parquet", {"name": "x"}, "Parquet"),
        (CSV, "application/x-unknown", {"name": "x"}, ""),
    ],
)
def test_questions_that_cannot_be_kept_are_refused_in_words(
    client: TestClient, content: str, kind: str, params: dict[str, str], said: str
) -> None:
    response = client.post(
        "/question-sets", params=params, content=content, headers={"content-type": kind}
    )
    error = _error(response, 400)
    assert said in error["message"]
    assert error["hint"]


def test_a_set_that_is_not_kept_is_not_found(client: TestClient) -> None:
    assert _error(client.get("/question-sets/nothing"), 404)["type"] == "QuestionSetNotFoundError"


def test_the_description_says_how_questions_are_sent(client: TestClient) -> None:
    calls = client.get("/openapi.json").json()["paths"]
    body = calls["/question-sets"]["post"]["requestBody"]["content"]
    assert set(body) >= {"application/json", "text/csv"}
    assert "questions" in body["application/json"]["schema"]["properties"]
    assert "/api/outcomes/{run_key}" in client.get("/docs").text
