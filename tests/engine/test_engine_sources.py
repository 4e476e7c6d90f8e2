"""The engine looks after its sources: loads and frees them, prepares them, works offline."""

from __future__ import annotations

import json
import shutil
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import engine.estimates
import engine.source_folders
from engine.api import JobView, RunRequest, SaeOverrides, SourceDefinition
from engine.errors import (
    DeviceError,
    RequestError,
    UnknownSourceError,
    WeightsMissingError,
)
from engine.memory import DeviceMemory
from engine.registry import RegisteredSae, get_registered
from engine.sae_conversion import ORIGIN_FILE
from engine.source_folders import SourceFinder
from store.keys import run_key, source_id
from store.specs import Message, ModelSpec, RunSpec, SamplingSpec, SourceSpec
from tests.engine.checkpoints import D_MODEL, save_sae
from tests.engine.conftest import Bench

MakeBench = Callable[..., Bench]
COMMIT = "a" * 40


@pytest.fixture
def bench(checkpoints: Path, make_bench: MakeBench) -> Bench:
    """An engine on the tiny Llama with its SAE."""
    return make_bench(checkpoints / "llama", checkpoints / "sae-topk")


def _request(source: str | None = None, text: str = "Where does Anna live?") -> RunRequest:
    return RunRequest(
        (Message("user", text),), source=source, sampling=SamplingSpec(max_new_tokens=6)
    )


def _run(bench: Bench, request: RunRequest) -> JobView:
    return bench.engine.wait(bench.engine.submit(request).job_id, timeout_s=60)


def _wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "waited 30 s in vain"
        time.sleep(0.005)


def _settle(bench: Bench) -> None:
    _wait_until(
        lambda: (
            bench.engine.status().n_queued == 0 and bench.engine.status().state in ("idle", "error")
        )
    )


def test_a_source_is_loaded_shown_and_freed(bench: Bench) -> None:
    before = bench.engine.status()
    assert (before.source, before.memory, before.loaded_s) == (None, None, None)
    bench.engine.load("custom")
    _wait_until(lambda: bench.engine.status().memory is not None)
    _settle(bench)
    loaded = bench.engine.status()
    estimate = bench.engine.estimate("custom")
    assert (loaded.state, loaded.source, loaded.device) == ("idle", "custom", "cpu")
    assert loaded.memory is not None
    assert loaded.memory.used_bytes == estimate.model_bytes + estimate.sae_bytes
    assert loaded.memory.total_bytes
    assert loaded.loaded_s is not None
    assert loaded.loaded_s > 0
    assert _run(bench, _request()).state == "done"
    bench.engine.unload()
    _wait_until(lambda: bench.engine.status().memory is None)
    assert bench.engine.status().source is None
    assert _run(bench, _request(text="And where does Karim live?")).state == "done"


def test_loading_another_source_takes_the_place_of_the_first(bench: Bench) -> None:
    bench.engine.load("custom")
    bench.engine.load("demo")
    _settle(bench)
    assert bench.engine.status().source == "demo"


def test_a_source_that_does_not_fit_is_refused_and_nothing_is_replaced(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.engine.load("custom")
    _settle(bench)
    small = DeviceMemory("cpu", 1_000_000, 0, 10)
    monkeypatch.setattr(engine.estimates, "read_device_memory", lambda setting: small)
    with pytest.raises(DeviceError, match="free") as caught:
        bench.engine.load("demo")
    assert caught.value.hint
    assert bench.engine.status().source == "custom"


def test_a_run_on_a_device_that_is_too_small_fails_with_advice(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = DeviceMemory("cpu", 1_000_000, 0, 10)
    monkeypatch.setattr(engine.estimates, "read_device_memory", lambda setting: small)
    view = _run(bench, _request())
    assert view.failure is not None
    assert view.failure.error_type == "DeviceError"
    assert bench.engine.status().state == "error"


def test_missing_weights_are_told_with_the_command_that_fetches_them(
    make_bench: MakeBench,
) -> None:
    bench = make_bench()
    weights = bench.engine.weights("phi-3-mini")
    assert not weights.is_complete
    for call in (
        lambda: bench.engine.submit(_request("phi-3-mini")),
        lambda: bench.engine.load("phi-3-mini"),
    ):
        with pytest.raises(WeightsMissingError) as caught:
            call()
        assert "weights.py download phi-3-mini" in caught.value.hint
    assert bench.engine.status().state == "idle"
    with pytest.raises(UnknownSourceError):
        bench.engine.weights("nope")


def test_a_cache_that_is_a_file_neither_blocks_nor_ends_the_start(
    tmp_path: Path, make_bench: MakeBench
) -> None:
    (tmp_path / "models_cache").write_text("a file")
    bench = make_bench()
    problems = [source.problem or "" for source in bench.engine.sources()]
    assert all("MODEL_CACHE_DIR" in problem for problem in problems)
    with pytest.raises(WeightsMissingError):
        bench.engine.weights("demo")
    (tmp_path / "models_cache").unlink()
    assert bench.engine.sources()[0].is_ready


def test_a_model_without_an_sae_leaves_tokens_and_no_activations(
    checkpoints: Path, make_bench: MakeBench
) -> None:
    bench = make_bench(checkpoints / "llama")
    view = _run(bench, _request())
    assert view.state == "done", view.failure
    stored = bench.runs.get_run(view.run_key)
    assert all(token.n_active == 0 for token in stored.tokens)
    assert all(token.entropy is not None for token in stored.tokens[1:])
    assert len(bench.activations.get_run_activations(view.run_key)) == 0
    with bench.store.read() as cursor:
        row = cursor.execute(
            "SELECT model_id, sae_id, sae_revision, hook_name, layer, d_sae, architecture, d_in "
            "FROM sources"
        ).fetchall()
    assert row == [("llama", None, None, None, None, None, None, D_MODEL)]


def test_keys_of_runs_and_sources_are_what_they_were() -> None:
    source = SourceSpec(
        name="demo",
        model=ModelSpec("org/model", "0" * 40, "float32"),
        sae_id="org/sae",
        sae_revision="1" * 40,
        hook_name="blocks.1.hook_resid_post",
        layer=1,
        d_in=128,
        d_sae=1024,
        architecture="topk",
    )
    assert source_id(source) == "demo-d4674b29c49c"
    assert (
        run_key(RunSpec(source, (Message("user", "hi"),)), "1")
        == "87f927897db6937b1fed0ce1e3e6af5776c36b2b97050841be58457bda6cadf2"
    )


def test_what_decides_how_an_sae_encodes_is_part_of_its_revision(
    checkpoints: Path, make_bench: MakeBench, tmp_path: Path
) -> None:
    bench = make_bench()
    sae = Path(shutil.copytree(checkpoints / "sae-standard", tmp_path / "sae"))
    same = SaeOverrides(hook_name="blocks.1.hook_resid_post", activation="relu")
    given = SourceDefinition("mine", "Mine", str(checkpoints / "llama"), str(sae), overrides=same)
    bench.engine.add_source(given)
    plain = bench.engine._catalog.resolve("mine").spec
    assert ";" not in plain.sae_revision
    (sae / "cfg.json").write_text('{"d_in": 32, "d_sae": 96}')
    decided = bench.engine._catalog.resolve("mine").spec
    assert decided.sae_revision.endswith(";activation=relu;hook_name=blocks.1.hook_resid_post")


def test_sources_are_added_listed_asked_and_removed(
    checkpoints: Path, make_bench: MakeBench
) -> None:
    bench = make_bench()
    info = bench.engine.add_source(
        SourceDefinition("mine", "Mine", str(checkpoints / "llama"), str(checkpoints / "sae-topk"))
    )
    assert (info.origin, info.is_ready, info.n_layers, info.layer) == ("user", True, 3, 1)
    assert "mine" in [source.name for source in bench.engine.sources()]
    assert _run(bench, _request("mine")).state == "done"
    bench.engine.remove_source("mine")
    with pytest.raises(UnknownSourceError):
        bench.engine.submit(_request("mine"))
    with pytest.raises(RequestError):
        bench.engine.remove_source("demo")
    assert bench.engine.sources_problem() is None


# ------------------------------------------------------------------------------ preparing a source


@pytest.fixture
def slow_hashing(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Every local folder is large; its revision is there once the event is set."""
    go = threading.Event()
    revision = SourceFinder.revision
    monkeypatch.setattr(SourceFinder, "is_revision_at_hand", lambda self, located: go.is_set())

    def slow(self: SourceFinder, located: object) -> str:
        assert threading.current_thread().name == "engine" or go.is_set()
        assert go.wait(30)
        return revision(self, located)  # type: ignore[arg-type]

    monkeypatch.setattr(SourceFinder, "revision", slow)
    return go


def test_a_large_folder_is_read_on_the_engines_thread_and_the_job_goes_on(
    bench: Bench, slow_hashing: threading.Event
) -> None:
    started = time.monotonic()
    view = bench.engine.submit(_request())
    assert time.monotonic() - started < 5
    assert (view.run_key, view.memoized, view.is_active) == ("", False, True)
    _wait_until(lambda: bench.engine.job(view.job_id).state == "loading")
    assert bench.engine.status().source == "custom"
    slow_hashing.set()
    done = bench.engine.wait(view.job_id, 60)
    assert done.state == "done", done.failure
    assert bench.runs.find_run(done.run_key) is not None
    assert bench.engine.submit(_request()).memoized


def test_a_job_that_is_cancelled_while_its_source_is_prepared_computes_nothing(
    bench: Bench, slow_hashing: threading.Event
) -> None:
    first, second = bench.engine.submit(_request()), bench.engine.submit(_request(text="Why?"))
    assert bench.engine.job(second.job_id).queue_position >= 0
    for view in (first, second):
        assert bench.engine.cancel(view.job_id).state == "cancelled"
    slow_hashing.set()
    _settle(bench)
    assert bench.runs.summarise().n_runs == 0
    assert bench.engine.job(first.job_id).state == "cancelled"
    assert _run(bench, _request()).state == "done"


def test_a_source_that_cannot_be_prepared_fails_the_job_with_its_reason(
    bench: Bench, slow_hashing: threading.Event, checkpoints: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: SourceFinder, located: object) -> str:
        raise WeightsMissingError("The folder cannot be read.", "Mend it.")

    monkeypatch.setattr(SourceFinder, "revision", broken)
    view = _run(bench, _request())
    assert view.state == "failed"
    assert view.failure is not None
    assert view.failure.hint == "Mend it."


def test_closing_ends_a_job_that_waits_for_its_source(
    bench: Bench, slow_hashing: threading.Event
) -> None:
    first, second = bench.engine.submit(_request()), bench.engine.submit(_request(text="Why?"))
    _wait_until(lambda: bench.engine.job(first.job_id).state == "loading")
    threading.Timer(0.1, slow_hashing.set).start()
    bench.engine.close()
    assert bench.engine.job(second.job_id).state == "cancelled"
    assert not bench.engine.job(first.job_id).is_active


def test_an_sae_that_must_be_converted_is_when_its_source_is_first_asked(
    checkpoints: Path, make_bench: MakeBench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    converted: list[str] = []

    def convert(
        entry: RegisteredSae, original: Path, commit: str, folder: Path, is_cancelled: object
    ) -> None:
        assert threading.current_thread().name == "engine"
        assert (original / entry.needed).is_file()
        save_sae(folder)
        (folder / ORIGIN_FILE).write_text(json.dumps({"commit": commit}))
        converted.append(entry.name)

    monkeypatch.setattr(engine.source_folders, "convert_sae", convert)
    entry = get_registered("sae-lens:llama_scope_lxr_8x/l1r_8x")
    _cache(tmp_path / "models_cache", entry.repo_id, checkpoints / "sae-standard", entry.inside)
    (next(tmp_path.rglob("cfg.json")).parent / entry.needed).write_text("{}")
    bench = make_bench()
    given = SourceDefinition("mine", "Mine", str(checkpoints / "llama"), entry.name)
    assert bench.engine.add_source(given).is_ready
    assert converted == []
    first = _run(bench, _request("mine"))
    assert first.state == "done", first.failure
    again = bench.engine.submit(_request("mine"))
    assert (again.memoized, again.run_key) == (True, first.run_key)
    assert converted == [entry.name]
    with bench.store.read() as cursor:
        assert cursor.execute("SELECT sae_id FROM sources").fetchall() == [(entry.name,)]


# ----------------------------------------------------------------------------------------- offline


def test_a_transfer_that_needs_the_hub_fails_at_once_where_the_hub_is_not_asked(
    make_bench: MakeBench,
) -> None:
    engine_ = make_bench().engine
    assert engine_.transfers() == ()
    view = engine_.start_transfer("plan", "phi-3-mini", "ada")
    _wait_until(lambda: not engine_.transfer(view.transfer_id).is_active)
    [done] = engine_.transfers()
    assert (done.state, done.source, done.asked_by) == ("failed", "phi-3-mini", "ada")
    assert done.failure is not None
    assert done.failure.error_type == "OfflineError"
    assert done.elapsed_s < 5
    assert engine_.cancel_transfer(view.transfer_id).state == "failed"
    with pytest.raises(RequestError):
        engine_.transfer("nope")
    with pytest.raises(UnknownSourceError):
        engine_.start_transfer("plan", "nope", "ada")


def _cache(cache: Path, repo_id: str, folder: Path, inside: str = "") -> None:
    repository = cache / f"models--{repo_id.replace('/', '--')}"
    shutil.copytree(folder, repository / "snapshots" / COMMIT / inside)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)


def test_what_is_cached_loads_and_answers_without_a_connection(
    checkpoints: Path, make_bench: MakeBench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "models_cache"
    _cache(cache, "org/model", checkpoints / "llama")
    _cache(cache, "org/sae", checkpoints / "sae-topk", "blocks.1.hook_resid_post")
    attempts: list[object] = []

    def refuse(self: socket.socket, address: object) -> None:
        attempts.append(address)
        raise OSError("no network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket.socket, "connect_ex", refuse)
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda *args, **kwargs: refuse(socket.socket(), args)
    )
    bench = make_bench()
    bench.engine.add_source(SourceDefinition("mine", "Mine", "org/model", "org/sae"))
    for source in ("demo", "mine"):
        bench.engine.load(source)
        view = _run(bench, _request(source))
        assert view.state == "done", view.failure
    started = time.monotonic()
    with pytest.raises(WeightsMissingError):
        bench.engine.submit(_request("phi-3-mini"))
    assert time.monotonic() - started < 2
    assert attempts == []
    resolved = bench.engine._catalog.resolve("mine").spec
    assert (resolved.model.revision, resolved.sae_revision) == (COMMIT, COMMIT)
    assert resolved.sae_id == "org/sae:blocks.1.hook_resid_post"
