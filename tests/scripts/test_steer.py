"""scripts/steer.py: sweeps and vectors from the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def _steer(store: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "scripts/steer.py", *arguments],
        cwd=ROOT,
        env={**os.environ, "FEATUREBOOK_STORE": str(store), "DEVICE": "cpu"},
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )


@pytest.mark.slow
def test_the_ready_made_sweep_reports_what_was_chosen_beside_its_controls(tmp_path: Path) -> None:
    store = tmp_path / "store.duckdb"
    done = _steer(store, "sweep", "demo", "--questions", "40", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["is_toy"]
    best = report["best"]
    for name in ("reduction", "known_accuracy_loss"):
        estimate = best[name]
        assert estimate["low"] <= estimate["value"] <= estimate["high"]
    assert best["n_unknown"] == best["n_known"] == 40
    assert best["chosen_by"]["known_accuracy_loss"] <= 0.05
    assert best["reduction"]["value"] > 0.2
    controls = report["controls"]
    everything = controls["refuse everything"]
    assert everything["reduction"]["value"] > best["reduction"]["value"]
    assert everything["known_accuracy_loss"]["value"] > 0.5
    assert controls["random directions"]["n"] == 10
    assert controls["random directions"]["largest_reduction"] < best["reduction"]["value"]
    assert controls["instruction"]["reduction"]["value"] < best["reduction"]["value"]
    arms = report["arms"]
    assert any("SAE features, gated" in name for name in arms)
    assert any("dense" in name for name in arms)
    cells = report["cells"]
    assert all(cell["success"]["value"] is not None for cell in cells)
    names = {"intervention", "strength", "layer", "success", "coherence", "side_effects"}
    assert names <= cells[0].keys()
    # nothing that was chosen by is reported: the halves ask other people
    assert {cell["split"] for cell in cells} == {"choose", "report"}
    again = _steer(store, "sweep", "demo", "--questions", "40")
    assert again.returncode == 0, again.stderr
    assert "toy" in again.stdout
    assert report["sweep_id"] in again.stdout


def test_vectors_are_made_listed_written_and_read(tmp_path: Path) -> None:
    store, pairs = tmp_path / "store.duckdb", tmp_path / "baker.jsonl"
    lines = [{"positive": f"A is a baker {n}", "negative": f"A lives in {n}"} for n in range(20)]
    pairs.write_text("\n".join(json.dumps(line) for line in lines), encoding="utf-8")
    made = _steer(store, "vectors", "make", str(pairs), "--json")
    assert made.returncode == 0, made.stderr
    assert [row["layer"] for row in json.loads(made.stdout)] == [0, 1, 2, 3]
    written = _steer(store, "vectors", "export", "baker", "--gguf", "--to", str(tmp_path), "--json")
    assert written.returncode == 0, written.stderr
    [file] = [Path(row["file"]) for row in json.loads(written.stdout)]
    assert file.read_bytes()[:4] == b"GGUF"
    read = _steer(store, "vectors", "import", str(file), "--json")
    assert [row["layer"] for row in json.loads(read.stdout)] == [1, 2, 3]
    listed = _steer(store, "vectors", "list", "--json")
    assert len(json.loads(listed.stdout)) == 4
    broken = _steer(store, "vectors", "import", str(pairs))
    assert broken.returncode == 1
    assert len(broken.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["sweep", "no/such.toml"], "cannot be used"),
        (["sweep", "demo", "--source", "nope"], "no source named 'nope'"),
        (["sweep", "demo", "--questions", "3"], "n_questions"),
        (["vectors", "export", "nothing"], "No vector 'nothing'"),
        (["vectors", "prepare", "sleepy"], "no concept 'sleepy'"),
    ],
)
def test_what_cannot_be_done_is_one_line(tmp_path: Path, arguments: list[str], says: str) -> None:
    done = _steer(tmp_path / "store.duckdb", *arguments)
    assert done.returncode == 1
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1
