"""`scripts/fill.py`: a set or a file asked and judged, counts printed, resumed in seconds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.source_files import ROOT


def _fill(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "scripts/fill.py", *arguments],
        cwd=ROOT,
        env=os.environ | {"FEATUREBOOK_STORE": str(tmp_path / "store.duckdb"), "COLUMNS": "100"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def test_the_demo_set_is_filled_and_the_second_time_read(tmp_path: Path) -> None:
    first = _fill(tmp_path, "demo", "--limit", "6", "--json")
    assert first.returncode == 0, first.stderr
    content = json.loads(first.stdout)
    assert (content["n_asked"], content["n_stored"], content["is_toy"]) == (12, 0, True)
    assert content["outcomes"]["on"]["verdicts"] == {"HONEST_TOOL_USE": 6}
    assert content["outcomes"]["off"]["n"] == 6
    second = _fill(tmp_path, "demo", "--limit", "6")
    assert second.returncode == 0, second.stderr
    assert "0 asked and 12 from the store" in second.stderr
    assert "HONEST_TOOL_USE" in second.stdout
    assert "(toy)" in second.stdout


def test_a_file_becomes_a_set_of_its_name(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("question,gold\nWhich language does Mira Torres speak?,Korean\n")
    done = _fill(tmp_path, str(path), "--tools", "off", "--json")
    assert done.returncode == 0, done.stderr
    assert "note: No question has a group" in done.stderr
    assert json.loads(done.stdout)["outcomes"]["off"]["by_method"]["gold"] == {"correct": 1}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nothing"], "There is no question set 'nothing'."),
        (["missing.csv"], "The file missing.csv cannot be read"),
        (["demo", "--source", "nothing"], "There is no source named 'nothing'."),
        (["demo", "--limit", "0"], "A limit below 1 asks nothing."),
    ],
)
def test_what_fails_is_one_line(tmp_path: Path, arguments: list[str], says: str) -> None:
    done = _fill(tmp_path, *arguments)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert says in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_wrong_usage_exits_with_two(tmp_path: Path) -> None:
    assert _fill(tmp_path).returncode == 2
    assert _fill(tmp_path, "demo", "--tools", "perhaps").returncode == 2
