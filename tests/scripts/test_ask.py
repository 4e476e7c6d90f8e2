"""scripts/ask.py: an answer on standard output, one clear line where there is none."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from engine.demo.examples import EXAMPLES

ROOT = Path(__file__).parents[2]


def _ask(store: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "scripts/ask.py", *arguments],
        cwd=ROOT,
        env={**os.environ, "FEATUREBOOK_STORE": str(store), "DEVICE": "cpu", **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_the_second_time_the_answer_comes_from_the_store(tmp_path: Path) -> None:
    store = tmp_path / "store.duckdb"
    first = _ask(store, EXAMPLES[0].prompt, "--json")
    assert first.returncode == 0, first.stderr
    assert first.stderr == ""
    run = json.loads(first.stdout)
    assert not run["memoized"]
    assert run["response"]
    assert len(run["tokens"]) == run["n_prompt_tokens"] + run["n_generated_tokens"]
    # a device that is not there: only a stored run can be answered
    again = _ask(store, EXAMPLES[0].prompt, DEVICE="cuda:99")
    assert again.returncode == 0, again.stderr
    assert again.stdout.strip() == run["response"]
    assert "from the store" in again.stderr
    assert run["run_key"] in again.stderr


def test_an_answer_is_steered(tmp_path: Path) -> None:
    steer = '[{"kind": "erase", "feature": 531, "positions": "answering"}]'
    done = _ask(tmp_path / "store.duckdb", EXAMPLES[0].prompt, "--json", "--steer", steer)
    assert done.returncode == 0, done.stderr
    [resolved] = json.loads(done.stdout)["steering"]
    assert (resolved["kind"], resolved["raw_strength"]) == ("erase", 1)


def test_offered_tools_are_called(tmp_path: Path) -> None:
    done = _ask(tmp_path / "store.duckdb", EXAMPLES[2].prompt, "--tools")
    assert done.stdout == "Gaia Torres speaks Japanese.\n", done.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([""], "The prompt is empty."),
        (["hi", "--temperature", "nan"], "temperature must be between 0 and 10, not nan"),
        (["hi", "--temperature", "-1"], "temperature must be between"),
        (["hi", "--source", "nope"], "no source named 'nope'"),
        (["hi", "--steer", "add"], "--steer is no JSON"),
        (["hi", "--steer", '[{"kind": "add", "feature": 99999}]'], "has no feature 99,999"),
        (["hi " * 3000], "reads at most"),
        (["hi", "--read", "--tools"], "read without tools"),
    ],
)
def test_what_cannot_be_run_is_one_line_with_a_hint(
    tmp_path: Path, arguments: list[str], says: str
) -> None:
    done = _ask(tmp_path / "store.duckdb", *arguments)
    assert (done.returncode, done.stdout) == (1, "")
    [line] = done.stderr.strip().splitlines()
    assert line.startswith("error: ")
    assert says in line
    assert line.endswith(")"), "a hint in parentheses"


def test_a_store_that_cannot_be_is_one_line(tmp_path: Path) -> None:
    done = _ask(tmp_path, "hi")
    assert done.returncode == 1
    [line] = done.stderr.strip().splitlines()
    assert "is a folder, not a file" in line


def test_wrong_usage_exits_with_2(tmp_path: Path) -> None:
    assert _ask(tmp_path / "store.duckdb").returncode == 2
    assert _ask(tmp_path / "store.duckdb", "hi", "--seed", "x").returncode == 2
    helped = _ask(tmp_path / "store.duckdb", "--help")
    assert helped.returncode == 0
    assert "--max-new-tokens" in helped.stdout
