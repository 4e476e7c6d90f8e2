"""scripts/weights.py verify: what is right, what is not, and whether it can be loaded and run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine.checkpoints import D_SAE, save_llama, save_sae
from tests.scripts.weights_hub import SHARDS, WeightsBench, make_bench


@pytest.fixture
def bench(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[WeightsBench]:
    yield from make_bench(tmp_path, capsys, monkeypatch)


def test_a_download_is_right_against_the_hub_and_against_the_record(bench: WeightsBench) -> None:
    bench.run("download", "custom", "--yes")
    status, out, err = bench.run("verify", "custom")
    assert (status, err) == (0, "")
    assert out.count("custom, ") == 3
    assert out.count("compared with the hub") == 3
    status, out, _ = bench.run("verify", "custom", "--offline")
    assert status == 0
    assert out.count("compared with what was noted before") == 3


def test_a_damaged_shard_is_named_and_a_failure(bench: WeightsBench) -> None:
    bench.run("download", "custom", "--yes")
    blob = next(bench.cache.glob(f"models--*/snapshots/*/{SHARDS[2]}")).resolve()
    blob.write_bytes(blob.read_bytes()[:-1] + b"!")
    status, out, _ = bench.run("verify", "custom")
    assert status == 1
    assert f"  {SHARDS[2]}: Its bytes are not those that were published." in out
    status, out, _ = bench.run("verify", "custom", "--json", "--offline")
    assert status == 1
    (found,) = json.loads(out)
    assert not found["is_sound"]
    assert found["reports"][0]["faults"][0]["path"] == SHARDS[2]


def test_what_is_missing_is_a_failure_where_it_is_named_and_left_out_elsewhere(
    bench: WeightsBench,
) -> None:
    status, out, _ = bench.run("verify", "custom")
    assert status == 1
    assert ".venv/bin/python scripts/weights.py download custom" in out
    assert "custom, model: missing" in out
    status, out, _ = bench.run("verify")
    assert status == 0
    assert "custom" not in out
    assert "demo, model: " in out


def test_without_a_name_only_what_is_here_is_looked_at(bench: WeightsBench) -> None:
    bench.run("download", "custom", "--yes")
    next(bench.cache.glob("models--org--saes")).rename(bench.root / "elsewhere")
    status, out, err = bench.run("verify")
    assert (status, err) == (0, "")
    assert out.count("custom, ") == 2
    status, out, _ = bench.run("verify", "custom")
    assert status == 1
    assert "custom, sae: missing" in out


def test_one_fault_is_one_fault(bench: WeightsBench) -> None:
    bench.run("download", "custom", "--yes")
    next(bench.cache.glob(f"models--*/snapshots/*/{SHARDS[2]}")).unlink()
    _, out, _ = bench.run("verify", "custom")
    assert "custom, model: 1 fault; 4 files, " in out
    assert f"  {SHARDS[2]}: It is missing." in out


def test_an_sae_of_another_model_is_right_byte_for_byte_but_does_not_load(
    bench: WeightsBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_llama(bench.root / "llama")
    bench.hub.publish("org/llama", bench.root / "llama")
    monkeypatch.setenv("MISTRAL_MODEL", "org/llama")
    assert bench.run("download", "custom", "--yes")[0] == 0
    status, out, err = bench.run("verify", "custom", "--load")
    assert status == 1
    assert out.count("compared with the hub") == 3
    assert err.startswith(
        "error: The SAE reads 8 dimensions, but the model is 32 wide. (Use an SAE"
    )


def test_a_model_in_a_cache_is_called_by_its_name_and_not_by_its_commit(
    bench: WeightsBench,
) -> None:
    bench.run("download", "custom", "--yes")
    status, _, err = bench.run("verify", "custom", "--load")
    assert status == 1
    assert "The config of 'org/tiny' names no architecture." in err


def test_load_runs_model_and_sae_once_and_prints_what_they_are(
    bench: WeightsBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_llama(bench.root / "llama")
    save_sae(bench.root / "sae" / "blocks.1.hook_resid_post")
    bench.hub.publish("org/llama", bench.root / "llama")
    bench.hub.publish("org/sae", bench.root / "sae")
    monkeypatch.setenv("MISTRAL_MODEL", "org/llama")
    monkeypatch.setenv("SAE_PATH", "org/sae")
    monkeypatch.setenv("DEVICE", "cpu")
    assert bench.run("download", "custom", "--yes")[0] == 0
    status, out, err = bench.run("verify", "custom", "--load")
    assert status == 0, err
    assert "Model loaded: 3 layers, 32 wide, float32 on cpu" in out
    assert f"SAE loaded: {D_SAE} features at blocks.1.hook_resid_post" in out
    assert "features fired" in out
    assert "weights take" in out
    status, out, _ = bench.run("verify", "custom", "--load", "--json", "--offline")
    assert status == 0
    (found,) = json.loads(out)
    assert found["loaded"]["n_features"] == D_SAE
    assert found["loaded"]["n_layers"] == 3
