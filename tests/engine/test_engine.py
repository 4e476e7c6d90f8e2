"""The engine: stored runs are returned, equal requests compute once, faults are told and kept."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import engine.worker
from engine.api import JobView, RunRequest
from engine.errors import (
    DeviceError,
    JobNotFoundError,
    RequestError,
    UnknownSourceError,
)
from engine.flights import Flight
from store.records import Failure
from store.runs import RunRepository
from store.specs import Intervention, Message, SamplingSpec, SteeringSpec
from tests.engine.conftest import Bench


@pytest.fixture
def bench(checkpoints: Path, make_bench: Callable[..., Bench]) -> Bench:
    """An engine on the tiny Llama."""
    return make_bench(checkpoints / "llama", checkpoints / "sae-topk")


def _request(text: str = "Where does Anna live?", n: int = 12, by: str = "ada") -> RunRequest:
    return RunRequest(
        (Message("user", text),), sampling=SamplingSpec(max_new_tokens=n), created_by=by
    )


def _run(bench: Bench, request: RunRequest) -> JobView:
    return bench.engine.wait(bench.engine.submit(request).job_id, timeout_s=60)


def _wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "waited 30 s in vain"
        time.sleep(0.005)


def _failures(bench: Bench) -> list[str]:
    with bench.store.read() as cursor:
        return [row[0] for row in cursor.execute("SELECT error_type FROM failures").fetchall()]


def test_a_stored_run_is_returned_and_counted_instead_of_computed(bench: Bench) -> None:
    first = _run(bench, _request())
    again = _run(bench, _request(by="bob"))
    assert (first.state, first.memoized) == ("done", False)
    assert (again.state, again.memoized, again.run_key) == ("done", True, first.run_key)
    run = bench.runs.get_run(first.run_key).run
    assert (run.hits, run.created_by) == (1, "ada")
    assert bench.runs.summarise().n_runs == 1


def test_a_second_engine_finds_what_the_first_has_stored(
    bench: Bench, checkpoints: Path, make_bench: Callable[..., Bench]
) -> None:
    key = _run(bench, _request()).run_key
    other = make_bench(checkpoints / "llama", checkpoints / "sae-topk", device="cuda:99")
    view = _run(other, _request())
    assert (view.memoized, view.run_key) == (True, key)


@pytest.mark.parametrize(
    "other",
    [
        _request("Where does Karim live?"),
        _request(n=13),
        RunRequest((Message("user", "Where does Anna live?"),), kind="text"),
        RunRequest(
            (Message("user", "Where does Anna live?"),),
            sampling=SamplingSpec(max_new_tokens=12, temperature=0.5),
        ),
    ],
)
def test_another_request_is_another_run(bench: Bench, other: RunRequest) -> None:
    assert _run(bench, _request()).run_key != _run(bench, other).run_key
    assert bench.runs.summarise().n_runs == 2


def test_twenty_threads_that_ask_the_same_cause_one_generation(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    inserted: list[str] = []
    insert = RunRepository.insert_runs

    def spy(self: RunRepository, *args: Any) -> int:
        inserted.append("run")
        return insert(self, *args)

    monkeypatch.setattr(RunRepository, "insert_runs", spy)
    barrier = threading.Barrier(20)
    views: list[JobView] = []

    def ask() -> None:
        barrier.wait()
        views.append(_run(bench, _request(n=60)))

    threads = [threading.Thread(target=ask) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(inserted) == 1
    assert [view.state for view in views] == ["done"] * 20
    answers = {bench.runs.get_run(view.run_key).run.response for view in views}
    assert len({view.run_key for view in views}) == len(answers) == 1
    assert sum(not (view.memoized or view.shared) for view in views) == 1
    assert bench.runs.get_run(views[0].run_key).run.hits == 19


def test_progress_names_every_token_of_the_answer(bench: Bench) -> None:
    view = _run(bench, _request())
    stored = bench.runs.get_run(view.run_key)
    generated = [token for token in stored.tokens if token.is_generated]
    assert [token.token_id for token in view.tokens] == [token.token_id for token in generated]
    assert [token.text for token in view.tokens] == [token.text for token in generated]
    assert (view.n_done, view.n_prompt_tokens) == (len(generated), stored.run.n_prompt_tokens)


def _long(seed: int = 0) -> RunRequest:
    return RunRequest(
        (Message("user", "Where does Anna live?"),),
        sampling=SamplingSpec(max_new_tokens=220, temperature=2.0, seed=seed),
    )


def _hold(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Lets the worker wait before each load or run until the event is set."""
    go = threading.Event()
    board = engine.worker.Worker._board

    def held(self: engine.worker.Worker, flight: Flight) -> None:
        assert go.wait(30)
        board(self, flight)

    monkeypatch.setattr(engine.worker.Worker, "_board", held)
    return go


def test_waiting_jobs_know_their_place_and_can_be_cancelled(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = _hold(monkeypatch)
    first = bench.engine.submit(_long(1))
    _wait_until(lambda: bench.engine.status().n_queued == 0)
    second, third = bench.engine.submit(_long(2)), bench.engine.submit(_long(3))
    assert bench.engine.job(second.job_id).queue_position == 1
    assert bench.engine.job(third.job_id).queue_position == 2
    assert bench.engine.status().n_queued == 2
    assert bench.engine.cancel(second.job_id).state == "cancelled"
    go.set()
    assert bench.engine.wait(first.job_id, 60).state == "done"
    assert bench.engine.wait(third.job_id, 60).state == "done"
    assert bench.runs.find_run(second.run_key) is None


def test_a_cancelled_run_stops_and_leaves_nothing(bench: Bench) -> None:
    view = bench.engine.submit(_long())
    _wait_until(lambda: bench.engine.job(view.job_id).n_done > 2)
    assert bench.engine.cancel(view.job_id).state == "cancelled"
    _wait_until(lambda: bench.engine.status().state == "idle")
    assert bench.runs.find_run(view.run_key) is None
    assert _run(bench, _long()).state == "done"


def test_one_of_two_who_cancels_does_not_stop_the_other(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = _hold(monkeypatch)
    first, second = bench.engine.submit(_long()), bench.engine.submit(_long())
    assert second.shared
    assert bench.engine.cancel(first.job_id).state == "cancelled"
    assert bench.engine.cancel(first.job_id).state == "cancelled"
    go.set()
    assert bench.engine.wait(second.job_id, 60).state == "done"
    assert bench.engine.wait(first.job_id, 1).state == "cancelled"


def test_an_over_long_prompt_fails_with_both_numbers_and_is_kept(bench: Bench) -> None:
    view = _run(bench, _request("Anna " * 400))
    assert view.state == "failed"
    assert view.failure is not None
    assert view.failure.is_request_fault
    assert "at most 256" in view.failure.message
    assert bench.runs.find_run(view.run_key) is None
    assert _failures(bench) == ["PromptTooLongError"]
    assert _run(bench, _request()).state == "done", "the engine goes on after a failed job"


def test_a_device_that_is_not_there_is_told_and_kept(
    checkpoints: Path, make_bench: Callable[..., Bench]
) -> None:
    bench = make_bench(checkpoints / "llama", checkpoints / "sae-topk", device="cuda:99")
    view = _run(bench, _request())
    assert view.failure is not None
    assert view.failure.error_type == DeviceError.__name__
    assert "DEVICE" in view.failure.hint
    assert bench.engine.status().state == "error"
    assert _failures(bench) == ["DeviceError"]


def test_a_fault_of_a_library_fails_the_job_and_not_the_engine(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    import engine.compute

    def broken(*_args: object) -> None:
        raise RuntimeError("kernel fault")

    with monkeypatch.context() as patch:
        patch.setattr(engine.compute, "generate", broken)
        view = _run(bench, _request())
    assert view.failure is not None
    assert "kernel fault" in view.failure.message
    assert _run(bench, _request()).state == "done"


def test_a_store_that_refuses_the_run_fails_the_job(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    from store.errors import StoreUnusableError

    def full(*_args: object) -> bool:
        raise StoreUnusableError("store.duckdb", "The disk is full.", "Free some space.")

    def keep_nothing(self: RunRepository, failure: Failure) -> None:
        raise StoreUnusableError("store.duckdb", "The disk is full.", "Free some space.")

    with monkeypatch.context() as patch:
        patch.setattr(RunRepository, "insert_runs", full)
        patch.setattr(RunRepository, "insert_failure", keep_nothing)
        view = _run(bench, _request())
    assert view.failure is not None
    assert "disk is full" in view.failure.message
    assert bench.runs.find_run(view.run_key) is None


def test_what_cannot_be_run_is_refused_at_once(bench: Bench) -> None:
    message = (Message("user", "hi"),)
    with pytest.raises(UnknownSourceError):
        bench.engine.submit(RunRequest(message, source="nope"))
    with pytest.raises(RequestError, match="without tools"):
        bench.engine.submit(RunRequest(message, source="demo", tools=True, kind="text"))
    steering = SteeringSpec((Intervention("add", 1.0, feature=96),))
    with pytest.raises(RequestError, match="no feature 96"):
        bench.engine.submit(RunRequest(message, steering=steering))
    with pytest.raises(JobNotFoundError):
        bench.engine.job("nope")


def test_a_model_without_features_has_no_tools(
    make_bench: Callable[..., Bench], checkpoints: Path
) -> None:
    bench = make_bench(checkpoints / "llama")
    with pytest.raises(RequestError, match="no tools"):
        bench.engine.submit(RunRequest((Message("user", "hi"),), tools=True))


def test_a_closed_engine_ends_its_jobs(bench: Bench) -> None:
    running, waiting = bench.engine.submit(_long(1)), bench.engine.submit(_long(2))
    _wait_until(lambda: bench.engine.job(running.job_id).state == "running")
    bench.engine.close()
    assert bench.engine.job(running.job_id).state == "cancelled"
    assert bench.engine.job(waiting.job_id).state == "cancelled"


def test_markup_and_control_characters_are_plain_text(bench: Bench) -> None:
    hostile = "<script>alert(1)</script> \x00\x07\x1b[31m ![x](http://e) $x$ 'OR 1=1; --"
    view = _run(bench, _request(hostile))
    assert view.state == "done", view.failure
    stored = bench.runs.get_run(view.run_key)
    assert stored.run.prompt == hostile
    assert hostile in "".join(token.text for token in stored.tokens)


def test_the_demo_offers_its_tool_in_another_run(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench()
    message = (Message("user", "Where does Anna live?"),)
    off = _run(bench, RunRequest(message))
    on = _run(bench, RunRequest(message, tools=True))
    assert off.run_key != on.run_key
    assert bench.runs.get_run(on.run_key).run.tools
    assert not bench.runs.get_run(off.run_key).run.tools


def test_a_stored_run_is_answered_without_torch(
    bench: Bench, checkpoints: Path, tmp_path: Path
) -> None:
    _run(bench, _request())
    bench.engine.close()
    bench.store.close()
    script = f"""
import sys
from pathlib import Path
from engine.api import Engine, EngineSettings, RunRequest
from store.connection import Store
from store.runs import RunRepository
from store.specs import Message, SamplingSpec
store = Store.open(Path({str(tmp_path / "store.duckdb")!r}))
settings = EngineSettings(mistral_model={str(checkpoints / "llama")!r},
    sae_path={str(checkpoints / "sae-topk")!r}, device="cpu", _env_file=None)
engine = Engine(RunRepository(store), settings)
view = engine.submit(RunRequest((Message("user", "Where does Anna live?"),),
    sampling=SamplingSpec(max_new_tokens=12)))
assert view.memoized, view
assert "torch" not in sys.modules and "transformers" not in sys.modules
print("hit")
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "hit", done.stderr
