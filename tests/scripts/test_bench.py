"""scripts/bench.py: what it measures is named, compared in one run, and readable by programs."""

from __future__ import annotations

import json

import pytest
import torch

import scripts.benchmarks.memo
from scripts import bench
from scripts.benchmarks.figures import alternate, to_side
from scripts.benchmarks.shapes import SHAPES, build_model


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


@pytest.mark.slow
def test_what_pages_about_features_read_is_measured_with_its_bounds(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert bench.main(["features", "--activations", "64000", "--repeats", "1", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["features"]["n_activations"] >= 64_000
    assert all(figure["sides"][0]["median"] > 0 for figure in printed["figures"])
    titles = " ".join(figure["title"] for figure in printed["figures"])
    for part in ("feature page", "search by token", "search by filters", "compare"):
        assert part in titles


def test_an_unknown_benchmark_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        bench.main(["nope"])
    assert caught.value.code == 2
    assert "generation" in capsys.readouterr().err


def test_a_device_that_is_not_there_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.main(["generation", "--device", "cuda:99"]) == 1
    [line] = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("error: The device 'cuda:99'")


def test_the_engine_is_measured_at_a_small_size_of_the_same_kind(
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = ["engine", "--shape", "tiny", "--features", "2048", "--repeats", "2"]
    assert bench.main([*arguments, "--tokens", "8", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    facts = printed["engine"]
    assert (facts["shape"], facts["n_features"], facts["device"]) == ("tiny", 2048, "cpu")
    assert facts["model_bytes"] == 2 * facts["n_parameters"]
    assert facts["sae_bytes"] == 2 * 2048 * facts["d_model"]
    assert facts["peak_bytes"] > facts["model_bytes"] + facts["sae_bytes"]
    assert 16 < facts["active_per_token"] < 256
    numbers = [value for value in facts.values() if isinstance(value, (int, float))]
    assert min(numbers) > 0
    generation, encoding, loading = printed["figures"]
    assert facts["plain_tokens_per_s"] == generation["sides"][0]["median"]
    assert facts["encode_ms_per_token"] == encoding["sides"][0]["median"]
    assert facts["load_gb_per_s"] == loading["sides"][0]["median"]


def test_the_shapes_that_are_offered_are_those_that_can_be_built() -> None:
    assert set(bench.SHAPES) == set(SHAPES)


def test_the_published_sizes_are_those_of_mistral_small() -> None:
    shape = SHAPES["mistral-small-24b"]
    with torch.device("meta"):
        model = build_model(shape, torch.device("meta"))
    config = model.config.get_text_config()
    assert (config.num_hidden_layers, config.hidden_size, config.vocab_size) == (40, 5120, 131_072)
    assert (config.num_attention_heads, config.num_key_value_heads) == (32, 8)
    # 23.57 thousand million without the tower for images
    assert 23.5e9 < sum(parameter.numel() for parameter in model.parameters()) < 23.7e9
    assert shape.d_sae == 286_720
