"""scripts/bench.py: what it measures is named, compared in one run, and readable by programs."""

from __future__ import annotations

import json

import pytest

import scripts.benchmarks.memo
from scripts import bench
from scripts.benchmarks.figures import alternate, to_side


def test_sides_are_measured_in_turns_after_one_warm_up() -> None:
    calls: list[str] = []
    first, second = alternate([lambda: calls.append("a"), lambda: calls.append("b")], 3)
    assert "".join(calls) == "ab" * 4
    assert (len(first), len(second)) == (3, 3)


def test_a_side_tells_median_and_spread() -> None:
    side = to_side("x", [3.0, 1.0, 2.0], "s")
    assert (side.median, side.low, side.high) == (2.0, 1.0, 3.0)


@pytest.mark.slow
def test_the_memo_is_measured_end_to_end(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scripts.benchmarks.memo, "N_TOKENS", 40)
    assert bench.main(["memo", "--repeats", "2", "--json"]) == 0
    [figure] = json.loads(capsys.readouterr().out)["figures"]
    computed, stored = figure["sides"]
    assert figure["ratio"] == pytest.approx(computed["median"] / stored["median"])


@pytest.mark.slow
def test_the_store_is_measured_beside_its_peers(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.main(["store", "--activations", "64000", "--repeats", "2", "--json"]) == 0
    printed = capsys.readouterr()
    figures = json.loads(printed.out)
    assert figures["n_activations"] >= 64_000
    for name in (
        "bytes_per_activation",
        "top_contexts_ms",
        "run_read_ms",
        "ingest_per_s",
        "read_during_ingest_ratio",
        "peak_memory_bytes",
    ):
        assert figures[name] > 0
    names = [peer["name"] for peer in figures["peers"]]
    assert len(names) == 4 - ("PostgreSQL 15 is not installed" in printed.err)
    assert all(peer["n_activations"] == 64_000 for peer in figures["peers"])
    assert figures["figures"][0]["title"].startswith("Bytes")


def test_an_unknown_benchmark_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        bench.main(["nope"])
    assert caught.value.code == 2
    assert "generation" in capsys.readouterr().err


def test_a_device_that_is_not_there_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.main(["generation", "--device", "cuda:99"]) == 1
    [line] = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("error: The device 'cuda:99'")
