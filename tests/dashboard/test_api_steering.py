"""Vectors and sweeps over HTTP on the demo: fetched, brought back, refused; started and read."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from safetensors.numpy import load, save
from starlette.testclient import TestClient

from dashboard.api import create_api
from dashboard.services import Services
from tests.dashboard.steer_lab import LAYER, STEPS_S, open_steer_lab
from tests.dashboard.test_api import error_of


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    with open_steer_lab(tmp_path_factory.mktemp("api-steering")) as services:
        yield services


@pytest.fixture
def client(lab: Services) -> Iterator[TestClient]:
    api = create_api(lambda: lab, "1.2.3")
    with TestClient(api, raise_server_exceptions=False) as client:
        yield client


def test_vectors_are_listed_and_read_without_their_values(client: TestClient) -> None:
    found = client.get(
        "/vectors", params={"source": "demo", "concept": "refusal", "layer": LAYER}
    ).json()
    assert [item["layer"] for item in found] == [LAYER]
    assert found[0]["content"]["profile"]["is_reliable"]
    one = client.get(f"/vectors/{found[0]['vector_id']}").json()
    assert one == found[0]
    assert client.get("/vectors", params={"layer": 99}).json() == []
    missing = client.get(f"/vectors/{'0' * 20}")
    assert missing.status_code == 404
    assert error_of(missing)["type"] == "VectorNotFoundError"


@pytest.mark.parametrize("form", ["safetensors", "gguf"])
def test_a_fetched_file_brings_the_same_vector_back(client: TestClient, form: str) -> None:
    [vector] = client.get("/vectors", params={"concept": "refusal", "layer": LAYER}).json()
    file = client.get(f"/vectors/{vector['vector_id']}/file", params={"format": form})
    assert file.status_code == 200
    assert form in file.headers["content-disposition"]
    made = client.post("/vectors", params={"source": "demo"}, content=file.content)
    assert made.status_code == 201
    # the same values at the same place are the same vector
    assert [item["vector_id"] for item in made.json()] == [vector["vector_id"]]


def test_a_changed_vector_is_another_one_under_its_own_name(client: TestClient) -> None:
    [vector] = client.get("/vectors", params={"concept": "refusal", "layer": LAYER}).json()
    file = client.get(f"/vectors/{vector['vector_id']}/file").content
    [values] = load(file).values()
    data = save({f"layer.{LAYER}": (values * 2).astype(np.float32)})
    made = client.post("/vectors", params={"source": "demo", "name": "twice"}, content=data).json()
    assert made[0]["vector_id"] != vector["vector_id"]
    assert made[0]["concept"] == "twice"
    assert made[0]["norm"] == pytest.approx(2 * vector["norm"], rel=1e-5)
    assert made[0]["created_by"] == "api"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "neither safetensors nor GGUF"),
        (b"GGUF" + b"\0" * 40, "GGUF"),
        (b"\xff" * 200, "neither safetensors nor GGUF"),
        (save({"layer.1": np.ones(7, np.float32)}), "7 wide"),
        (save({"layer.99": np.ones(128, np.float32)}), "layer 99"),
        (save({"layer.1": np.full(128, np.nan, np.float32)}), "no numbers"),
        (save({"other": np.ones(128, np.float32)}), "names no layer"),
    ],
)
def test_a_file_that_is_broken_or_does_not_fit_is_refused_whole(
    client: TestClient, lab: Services, data: bytes, said: str
) -> None:
    before = len(lab.engine.steering.vectors())
    refused = client.post("/vectors", params={"source": "demo"}, content=data)
    assert refused.status_code == 400
    assert said in error_of(refused)["message"]
    assert len(lab.engine.steering.vectors()) == before


def test_a_file_for_a_source_that_is_not_there_is_refused(client: TestClient) -> None:
    refused = client.post("/vectors", params={"source": "nowhere"}, content=b"x")
    assert refused.status_code == 404
    assert client.post("/vectors", content=b"x").status_code == 422


def test_a_sweep_is_started_followed_and_read(client: TestClient, lab: Services) -> None:
    [vector] = client.get("/vectors", params={"concept": "refusal", "layer": LAYER}).json()
    arm = {"name": "pushed", "vector_id": vector["vector_id"], "unit": "norm", "strengths": [0.5]}
    spec = {
        "name": "small",
        "arms": [arm],
        "words": ["know"],
        "n_random": 1,
        "max_new_tokens": 8,
        "prompts": [f"What is the job of {name} Costa?" for name in ("Elena", "Ida", "Ana", "Bo")],
    }
    started = client.post("/sweeps", json={"source": "demo", "spec": spec})
    assert started.status_code == 202
    task_id = started.json()["task_id"]
    assert started.json()["url"].endswith(f"/tasks/{task_id}")
    assert lab.engine.tasks.wait(task_id, STEPS_S).state == "done"
    task = client.get(f"/tasks/{task_id}").json()
    report = client.get(f"/sweeps/{task['result']['sweep_id']}").json()
    assert report["is_finished"]
    assert report["is_toy"]
    assert report["best"]["arm"] == "pushed"
    assert {"value", "low", "high"} == set(report["best"]["success"])
    assert report["url"].startswith("http://testserver/steer?source=demo&tab=sweeps&sweep=")
    listed = client.get("/sweeps", params={"source": "demo"}).json()
    assert listed[0]["sweep_id"] == report["sweep_id"]
    assert listed[0]["n_cells"] == len(report["cells"])


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({}, 400, "names no sweep"),
        ({"source": "demo", "spec": {"name": "x"}}, 400, "at least one arm"),
        ({"source": "demo", "spec": {"nmae": "x"}}, 400, "no value named 'nmae'"),
        ({"source": "nowhere"}, 404, "nowhere"),
        ({"source": "demo", "n_questions": 3}, 400, "20"),
        ({"source": "demo", "sepc": {}}, 422, "sepc"),
        ({"spec": {"name": "x"}, "n_questions": 30}, 422, "n_questions"),
    ],
)
def test_a_sweep_that_cannot_be_done_is_refused(
    client: TestClient, body: dict[str, object], status: int, said: str
) -> None:
    refused = client.post("/sweeps", json=body)
    assert refused.status_code == status
    assert said in error_of(refused)["message"]


def test_a_sweep_that_is_not_there_is_404(client: TestClient) -> None:
    assert client.get(f"/sweeps/{'0' * 20}").status_code == 404


def test_a_steered_run_of_a_vector_is_asked_by_http(client: TestClient) -> None:
    [vector] = client.get("/vectors", params={"concept": "refusal", "layer": LAYER}).json()
    pushed = {"kind": "add", "vector_id": vector["vector_id"], "strength": 1, "unit": "norm"}
    question = {"prompt": "Which instrument does Elena Costa play?", "max_new_tokens": 8}
    run = client.post("/runs", json={**question, "source": "demo", "steering": [pushed]}).json()
    assert run["interventions"][0]["vector_id"] == vector["vector_id"]
    assert run["interventions"][0]["achieved_after"] is not None


def test_the_calls_are_described(client: TestClient) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    assert {"/vectors", "/vectors/{vector_id}", "/vectors/{vector_ids}/file"} <= set(paths)
    assert {"/sweeps", "/sweeps/{sweep_id}", "/tasks/{task_id}"} <= set(paths)
