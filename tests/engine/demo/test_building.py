"""Building: a tiny training runs through, is measured, and never leaves half a folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engine.demo.building import BuildConfig, build, check, replace_folder
from engine.demo.sae_training import SaeTrainingConfig
from engine.demo.training import TrainingConfig, learning_rate
from scripts.train_demo import main

KEYS = {
    "recall_unseen_template",
    "refusal_taught",
    "confabulation_untaught",
    "tool_call",
    "tool_copy",
    "sae_fvu",
    "sae_l0",
    "sae_dead",
}
TINY = BuildConfig(
    seed=5,
    model=TrainingConfig(steps=2, batch_tokens=512),
    sae=SaeTrainingConfig(d_sae=64, k=4, tokens=512, steps=3, batch_size=64),
    questions=4,
)


@pytest.mark.filterwarnings("ignore")
def test_tiny_build_replaces_the_folder_whole(tmp_path: Path) -> None:
    out = tmp_path / "weights"
    out.mkdir()
    (out / "stale").touch()
    stages: dict[str, int] = {}

    def progress(stage: str):  # type: ignore[no-untyped-def]
        def on_step(done: int, total: int, loss: float) -> None:
            assert done <= total
            stages[stage] = done

        return on_step

    figures = build(out, TINY, progress)
    assert stages == {"model": 2, "SAE": 3, "control SAE": 3}
    assert {f.key for f in figures} >= KEYS | {"sae_fvu_random_model", "sae_loss_recovered"}
    assert {path.name for path in out.iterdir()} == {"README.md", "model", "sae", "training.json"}
    assert [path.name for path in tmp_path.iterdir()] == ["weights"]
    assert check(out, TINY.questions) == figures
    rows = [line for line in (out / "README.md").read_text().splitlines() if line.startswith("| `")]
    assert len(rows) == len(figures)
    assert all("(toy)" in row for row in rows)


def test_interrupted_build_leaves_the_old_weights(tmp_path: Path) -> None:
    out = tmp_path / "weights"
    out.mkdir()
    (out / "old").touch()

    def progress(stage: str):  # type: ignore[no-untyped-def]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(out, TINY, progress)
    assert [path.name for path in tmp_path.rglob("*")] == ["weights", "old"]


def test_failed_replacement_puts_the_old_folder_back(tmp_path: Path) -> None:
    out = tmp_path / "weights"
    out.mkdir()
    with pytest.raises(FileNotFoundError):
        replace_folder(tmp_path / "missing", out)
    assert out.is_dir()


def test_check_prints_the_figures_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--check", "--json", "--questions", "4"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed.keys() >= KEYS
    assert printed["n"].keys() >= KEYS


def test_failure_is_one_line_and_code_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--check", "--out", str(tmp_path)]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_wrong_usage_is_code_two() -> None:
    with pytest.raises(SystemExit) as exit_info:
        main(["--json"])
    assert exit_info.value.code == 2


def test_learning_rate_warms_up_and_falls() -> None:
    config = TrainingConfig(steps=100, warmup_steps=10)
    rates = [learning_rate(config, step) for step in range(100)]
    assert rates[0] < rates[5] < max(rates) <= config.learning_rate
    assert rates[-1] < 0.05 * config.learning_rate
