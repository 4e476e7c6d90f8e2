"""scripts/prune.py: what takes space is shown, and what would go is said before it goes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from scripts.prune import main
from store.connection import Store
from store.retention import RetentionRule, list_space, plan_removal
from store.runs import RunRepository
from tests.store.samples import SOURCE, make_activations, make_run, make_tokens, renamed

OLD = datetime(2020, 1, 1, tzinfo=UTC)
OTHER = renamed("other")


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Five runs of two sources: 0, 1 and 2 are old, 1 was used lately, 2 is judged."""
    path = tmp_path / "store.duckdb"
    store = Store.open(path)
    runs = RunRepository(store)
    for index in range(5):
        source = OTHER if index == 4 else SOURCE
        run = make_run(index, source=source)
        if index < 3:
            run = replace(run, created_at=OLD)
        runs.insert_run(source, run, make_tokens(), make_activations(index))
    runs.insert_hit(make_run(1).run_key, "ada")
    with store.write() as cursor:
        cursor.execute(
            "INSERT INTO base.outcomes BY NAME "
            "SELECT run_no, 'CORRECT' AS outcome, 'human' AS method, '{}' AS evidence, "
            "'ada' AS judge, 1.0 AS confidence, 'ada' AS created_by, "
            "now()::TIMESTAMP AS created_at FROM base.runs WHERE run_key = ?",
            [make_run(2).run_key],
        )
    store.close()
    monkeypatch.setenv("FEATUREBOOK_STORE", str(path))
    return path


@pytest.fixture
def opened(path: Path) -> Iterator[Store]:
    store = Store.open(path)
    yield store
    store.close()


def keys(*indexes: int) -> tuple[str, ...]:
    return tuple(make_run(index).run_key for index in indexes)


def n_runs(path: Path) -> int:
    store = Store.open(path)
    try:
        return RunRepository(store).summarise().n_runs
    finally:
        store.close()


def test_space_is_told_by_source_and_kind(opened: Store) -> None:
    use = {item.source_id.rsplit("-", 1)[0]: item for item in list_space(opened)}
    assert {name: item.n_runs for name, item in use.items()} == {"demo": 4, "other": 1}
    assert use["demo"].n_activations == 4 * 18
    assert use["demo"].oldest.year == 2020


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (RetentionRule(created_before=datetime(2025, 1, 1, tzinfo=UTC)), keys(0, 1)),
        (
            RetentionRule(created_before=datetime(2025, 1, 1, tzinfo=UTC), with_judged=True),
            keys(0, 1, 2),
        ),
        (RetentionRule(unused_since=datetime(2025, 1, 1, tzinfo=UTC)), keys(0)),
        (RetentionRule(source="other"), keys(4)),
        (RetentionRule(source="none"), ()),
        (RetentionRule(kind="text"), ()),
    ],
)
def test_a_rule_means_the_runs_to_which_all_of_it_applies(
    opened: Store, rule: RetentionRule, expected: tuple[str, ...]
) -> None:
    plan = plan_removal(opened, rule)
    assert plan.run_keys == expected
    assert plan.n_tokens == 6 * len(expected)
    assert plan.share == pytest.approx(len(expected) / 5)


def test_without_a_rule_space_is_shown_and_nothing_removed(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([]) == 0
    assert "demo-" in capsys.readouterr().out
    assert n_runs(path) == 5


def test_what_would_go_is_said_and_without_agreement_nothing_goes(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--older-than", "365"]) == 1
    said = capsys.readouterr()
    assert "2 runs with 12 tokens and 36 activations would go" in said.out
    assert "question 0" in said.out
    assert "--yes" in said.err
    assert n_runs(path) == 5


def test_with_agreement_the_runs_go(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--older-than", "365", "--yes"]) == 0
    assert "2 removed." in capsys.readouterr().out
    assert n_runs(path) == 3


def test_a_rule_that_means_no_run_says_so(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--source", "none", "--yes"]) == 0
    assert "No run is meant" in capsys.readouterr().out
    assert n_runs(path) == 5


def test_a_store_that_is_held_is_told(opened: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--older-than", "1"]) == 1
    assert "is held by this process" in capsys.readouterr().err
