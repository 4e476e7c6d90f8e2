"""The command that labels features: by rules, and by a hosted model on this machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.label import main
from tests.engine.feature_bench import open_demo_bench
from tests.hosted.loopback import reply_json, serve_messages


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("label")
    with open_demo_bench(folder, 16) as bench:
        return bench.store.path


@pytest.fixture(autouse=True)
def _here(filled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEATUREBOOK_STORE", str(filled))
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)


def test_features_are_labelled_and_shown_with_their_scores(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["demo", "--examples", "3"]) == 0
    shown = capsys.readouterr().out
    assert "(toy)" in shown
    assert "stay unlabelled" in shown
    assert shown.count("fires on ") == 3
    assert main(["demo"]) == 0
    assert "labelled before" in capsys.readouterr().out


def test_a_feature_that_is_not_there_fails_with_one_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["demo", "--features", "4000"]) == 1
    assert capsys.readouterr().err.startswith("error: The source 'demo' has no feature 4000.")


def test_without_a_key_it_tells_the_cost_and_what_is_missing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["demo", "--hosted"]) == 1
    told = capsys.readouterr()
    assert "$" in told.out
    assert "ANTHROPIC_API_KEY" in told.err


def test_nothing_is_sent_before_yes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve_messages(reply_json({"label": "x"})) as hosted:
        monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-test")
        monkeypatch.setenv("ANTHROPIC_BASE_URL", hosted.url)
        assert main(["demo", "--hosted"]) == 0
        assert not hosted.requests
        assert main(["demo", "--hosted", "--yes", "--features", "5", "6", "7"]) == 0
        assert hosted.requests
        assert "cannot be read" in capsys.readouterr().out


def test_it_says_when_there_is_no_store(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FEATUREBOOK_STORE", str(tmp_path / "none.duckdb"))
    assert main(["demo"]) == 1
    assert "There is no store" in capsys.readouterr().err


def test_yes_goes_with_hosted_alone() -> None:
    with pytest.raises(SystemExit) as raised:
        main(["demo", "--yes"])
    assert raised.value.code == 2
