"""scripts/detect.py: one command from questions to measured detectors; the second time it reads."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def _detect(store: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "scripts/detect.py", *arguments],
        cwd=ROOT,
        env={
            **os.environ,
            "FEATUREBOOK_STORE": str(store),
            "DEVICE": "cpu",
            "OMP_NUM_THREADS": "1",
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )


def test_a_set_is_asked_judged_trained_on_and_measured_by_one_command(tmp_path: Path) -> None:
    store = tmp_path / "store.duckdb"
    evaluate = ("evaluate", "--source", "demo", "--set", "demo", "--limit", "100", "--json")
    first = _detect(store, *evaluate)
    assert first.returncode == 0, first.stderr
    found = json.loads(first.stdout)
    assert found["is_toy"]
    assert set(found["outcomes"]) == {"on", "off"}
    assert sum(found["outcomes"]["off"].values()) == 100
    assert {"name", "is_red", "auroc"} <= set(found["audits"][0])
    wanted = {"name", "kind", "slice", "auroc", "auroc_low", "auroc_high"}
    assert all({*wanted, "n_positive", "n_negative"} <= set(entry) for entry in found["detectors"])
    assert {"candidate", "baseline"} == {entry["kind"] for entry in found["detectors"]}
    assert {"all", "easy", "hard"} <= {entry["slice"] for entry in found["detectors"]}
    again = json.loads(_detect(store, *evaluate).stdout)
    assert again["detectors"] == found["detectors"]
    assert again["fill"]["n_asked"] == 0
    shown = _detect(store, *evaluate[:-1])
    assert "(toy)" in shown.stdout
    cards = json.loads(_detect(store, "list", "--json").stdout)
    assert {card["kind"] for card in cards} == {"candidate"}
    scored = _detect(store, "score", cards[0]["detector_id"], "--where", "tools:yes")
    assert "runs scored" in scored.stdout, scored.stderr
    assert "is retired" in _detect(store, "retire", cards[0]["detector_id"]).stdout
    assert cards[0]["name"] not in _detect(store, "list").stdout.replace("\n", " ")


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (("evaluate", "--set", "nothing", "--source", "demo"), 1, "nothing"),
        (("evaluate", "--set", "demo", "--source", "nope"), 1, "nope"),
        (("evaluate", "--set", "demo", "--sites", "here", "--source", "demo"), 1, "not a site"),
        (("retire", "nothing"), 1, "No detector"),
        (("score", "nothing"), 1, "No detector"),
        ((), 2, "COMMAND"),
    ],
)
def test_what_cannot_be_done_is_one_clear_line(
    tmp_path: Path, arguments: tuple[str, ...], status: int, says: str
) -> None:
    done = _detect(tmp_path / "store.duckdb", *arguments)
    assert done.returncode == status
    assert says in done.stderr
    assert "Traceback" not in done.stderr
