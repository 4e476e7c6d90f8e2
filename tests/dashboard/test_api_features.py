"""Features over HTTP: search, labels with their authors, lists, comparisons; and bad input."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from dashboard.api import create_api
from tests.dashboard.conftest import Bench

HOSTILE = "<script>alert(1)</script> $x$ ![x](http://x/y.png)"
HERE = ("127.0.0.1", 50000)
ELSEWHERE = ("192.0.2.7", 50000)


@pytest.fixture
def client(bench: Bench) -> Iterator[TestClient]:
    with TestClient(
        create_api(lambda: bench.services, "1.2.3"), raise_server_exceptions=False, client=HERE
    ) as client:
        yield client


@pytest.fixture
def asked(client: TestClient) -> str:
    """A stored run; its key."""
    answer = client.post("/runs", json={"prompt": "Who plays the harp?"}).json()
    return str(answer["run_key"])


def label(client: TestClient, text: str = "harps", **more: str) -> dict[str, str]:
    answer = client.post("/features/demo/500/labels", json={"text": text, **more})
    assert answer.status_code == 201, answer.text
    written: dict[str, str] = answer.json()
    return written


def test_a_label_is_written_with_its_author_and_shown_everywhere(
    client: TestClient, asked: str
) -> None:
    written = label(client, HOSTILE, author="ann")
    assert (written["author"], written["origin"], written["text"]) == ("ann", "human", HOSTILE)
    feature = client.get("/features/demo/500").json()
    assert feature["label"] == HOSTILE
    assert [item["label_id"] for item in feature["labels"]] == [written["label_id"]]
    found = client.get("/features/demo", params={"q": "script", "show_all": True}).json()
    assert [item["feature"] for item in found["features"]] == [500]
    assert found["features"][0]["label"] == HOSTILE
    assert asked in [item["run_key"] for item in feature["top_contexts"]]


def test_elsewhere_an_author_is_marked_as_the_apis(bench: Bench, asked: str) -> None:
    api = create_api(lambda: bench.services, "1.2.3")
    with TestClient(api, client=ELSEWHERE) as client:
        assert label(client, author="ann")["author"] == "api: ann"
        assert label(client)["author"] == "api"


def test_of_two_edits_of_one_label_neither_is_lost(client: TestClient, asked: str) -> None:
    first = label(client, "first", author="ann")
    label(client, "second", author="bob", replaces=first["label_id"])
    late = client.post(
        "/features/demo/500/labels",
        json={"text": "third", "author": "cleo", "replaces": first["label_id"]},
    )
    assert late.status_code == 409
    assert "bob" in late.json()["error"]["message"]
    history = client.get("/features/demo/500/labels").json()
    assert {item["text"]: item["status"] for item in history} == {
        "first": "replaced",
        "second": "active",
        "third": "late",
    }
    assert client.get("/features/demo/500").json()["label"] == "second"


def test_a_label_is_withdrawn_and_an_older_one_restored(client: TestClient, asked: str) -> None:
    first = label(client, "first", author="ann")
    second = label(client, "second", author="bob", replaces=first["label_id"])
    restored = client.post(f"/labels/{first['label_id']}/restore", json={"author": "cleo"})
    assert restored.status_code == 201, restored.text
    assert (restored.json()["text"], restored.json()["author"]) == ("first", "cleo")
    assert client.get("/features/demo/500").json()["label"] == "first"
    gone = client.post(f"/labels/{restored.json()['label_id']}/withdraw", json={})
    assert (gone.status_code, gone.json()["status"]) == (200, "withdrawn")
    assert client.get("/features/demo/500").json()["label"] is None
    again = client.post(f"/labels/{second['label_id']}/withdraw", json={})
    assert again.status_code == 409
    assert client.post("/labels/nothing/restore", json={}).status_code == 404
    assert len(client.get("/features/demo/500/labels").json()) == 3


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"text": "x" * 100_000}, 400),
        ({"text": "  "}, 400),
        ({"text": "a", "replaces": "nothing"}, 404),
        ({"text": "a", "autor": "ann"}, 422),
        ({}, 422),
    ],
)
def test_a_label_that_cannot_be_is_refused(
    client: TestClient, asked: str, body: dict[str, str], status: int
) -> None:
    answer = client.post("/features/demo/500/labels", json=body)
    assert answer.status_code == status
    assert answer.json()["error"]["message"]
    assert client.get("/features/demo/500/labels").json() == []


def test_features_out_of_the_way_are_counted_and_can_be_shown(
    client: TestClient, asked: str
) -> None:
    hidden = client.get("/features/demo", params={"q": "feature:500"}).json()
    shown = client.get("/features/demo", params={"q": "feature:500", "show_all": True}).json()
    assert (hidden["n_found"], hidden["n_dense"], hidden["features"]) == (0, 1, [])
    assert (shown["n_found"], shown["n_dense"]) == (1, 0)
    assert shown["features"][0]["density"] == 1.0
    assert shown["features"][0]["url"] == "http://testserver/feature?source=demo&feature=500"


def test_features_that_fire_on_a_token(client: TestClient, asked: str) -> None:
    found = client.get("/features/demo", params={"token": "harp", "show_all": True}).json()
    firing = {item["feature"]: item for item in found["features"]}
    tokens = client.get(f"/runs/{asked}").json()["tokens"]
    places = [token["position"] for token in tokens if token["text"].strip() == "harp"]
    assert 100 + places[-1] in firing
    assert firing[500]["n_on"] == len(places)


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("/features/demo?q=densty<1", 400, "densty"),
        ("/features/demo?q=(density<1", 400, "parenthesis"),
        ("/features/demo?q=list:nobody", 404, "nobody"),
        ("/features/nothing", 404, "nothing"),
        ("/features/demo/512", 400, "512"),
        ("/features/demo/-1", 422, ""),
        ("/lists/nobody", 404, "nobody"),
        ("/tasks/nobody", 404, "nobody"),
        ("/compare/runs?a=x&b=y", 404, ""),
    ],
)
def test_what_is_not_there_is_said(
    client: TestClient, asked: str, path: str, status: int, said: str
) -> None:
    answer = client.get(path)
    assert answer.status_code == status
    assert said in answer.json()["error"]["message"]


def test_a_list_is_made_filled_used_as_a_filter_and_emptied(client: TestClient, asked: str) -> None:
    made = client.post("/lists", json={"name": "Harps", "note": "why", "author": "ann"})
    assert made.status_code == 201
    list_id = made.json()["list_id"]
    assert made.json()["created_by"] == "ann"
    filled = client.post(
        f"/lists/{list_id}/features",
        json={"source": "demo", "features": [500, 3], "note": "look", "author": "bob"},
    ).json()
    assert [(item["feature"], item["added_by"]) for item in filled["items"]] == [
        (3, "bob"),
        (500, "bob"),
    ]
    found = client.get("/features/demo", params={"q": "list:Harps", "show_all": True}).json()
    assert {item["feature"] for item in found["features"]} == {3, 500}
    assert client.get("/lists").json()[0]["n_features"] == 2
    left = client.delete(f"/lists/{list_id}/features/demo/3").json()
    assert [item["feature"] for item in left["items"]] == [500]
    assert client.post("/lists", json={"name": "harps"}).status_code == 400


def test_two_cohorts_are_compared_and_the_answer_is_a_link(client: TestClient) -> None:
    for index in range(12):
        client.post("/runs", json={"prompt": f"one {index}"})
        client.post("/runs", json={"prompt": f"two and more words {index}"})
    body = {"source": "demo", "a": "prompt:one", "b": "prompt:two", "n_permutations": 50}
    answer = client.post("/compare", json=body)
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert (found["n_runs_a"], found["n_runs_b"]) == (12, 12)
    assert found["effects"]["gate"] == "exploratory"
    assert "max_statistics" not in found["effects"]["null"]
    assert found["url"].startswith("http://testserver/compare?source=demo&show=chart")
    # prompts of cohort B are longer: its generated tokens are at positions that A's never reach
    assert found["effects"]["rows"][0]["q"] <= 0.05


@pytest.mark.parametrize(
    ("a", "b", "said"),
    [
        ("prompt:harp", "prompt:nobody", "empty"),
        ("prompt:harp", "kind:generation", "share"),
        ("prompt:harp", "prmpt:x", "prmpt"),
        ('sql:"SELECT feature FROM features"', "prompt:harp", "run_key"),
    ],
)
def test_cohorts_that_cannot_be_compared_are_refused(
    client: TestClient, asked: str, a: str, b: str, said: str
) -> None:
    answer = client.get("/compare", params={"source": "demo", "a": a, "b": b})
    assert answer.status_code == 400
    assert said in answer.json()["error"]["message"]


def test_a_comparison_that_is_not_awaited_is_a_task(client: TestClient, asked: str) -> None:
    client.post("/runs", json={"prompt": "another"})
    body = {"source": "demo", "a": "prompt:harp", "b": "prompt:another", "wait": False}
    task = client.post("/compare", json=body)
    assert task.status_code == 202
    followed = client.get(task.json()["url"].removeprefix("http://testserver")).json()
    assert followed["kind"] == "compare"
    assert client.post("/compare", json={**body, "wait": True}).json()["effects"]["gate"] == "none"


def test_two_runs_are_compared(client: TestClient, asked: str) -> None:
    other = client.post("/runs", json={"prompt": "Who plays the lute now?"}).json()["run_key"]
    found = client.get("/compare/runs", params={"a": asked, "b": other}).json()
    assert found["parts_at"] is not None
    assert found["n_features"] == len(found["features"]) > 0
