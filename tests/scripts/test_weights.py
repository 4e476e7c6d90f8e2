"""scripts/weights.py: status, link, clear and import, on caches of their own."""

from __future__ import annotations

import io
import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from engine.errors import HF_COMMAND, WEIGHTS_COMMAND
from engine.weights.caches import Caches, repo_folder
from scripts.weights import main
from tests.engine.weights.conftest import (
    COMMIT,
    MODEL,
    SAE,
    model_files,
    sae_repository_files,
    save_repository,
    save_source,
    write_files,
)
from tests.source_files import ROOT

Output = pytest.CaptureFixture[str]


@pytest.fixture
def caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Caches:
    """Caches that the settings name, and the source `custom` of the two repositories."""
    caches = Caches(tmp_path / "projet à moi", tmp_path / "home" / "hub")
    monkeypatch.setenv("MODEL_CACHE_DIR", str(caches.project))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("FEATUREBOOK_SOURCES", str(tmp_path / "sources.toml"))
    monkeypatch.setenv("MISTRAL_MODEL", MODEL)
    monkeypatch.setenv("SAE_PATH", SAE)
    return caches


def _row(output: str, source: str, component: str) -> list[str]:
    """The cells of one row of the table."""
    rows = [line.split("  ") for line in output.splitlines()]
    cells = [[cell.strip() for cell in row if cell.strip()] for row in rows]
    return next(row for row in cells if row[:2] == [source, component])


def _error(output: Output) -> str:
    """The one line on standard error."""
    captured = output.readouterr()
    assert captured.err.count("\n") == 1, captured.err
    assert captured.err.startswith("error: ")
    return captured.err


def test_status_has_a_row_a_component_of_every_source(caches: Caches, capsys: Output) -> None:
    save_repository(caches.shared, MODEL, model_files())
    assert main(["link"]) == 0
    capsys.readouterr()
    assert main(["status"]) == 0
    output = capsys.readouterr().out
    model = _row(output, "custom", "model")
    assert model[2:5] == ["linked", "unverified", COMMIT[:12]]
    assert model[6].startswith(f"{MODEL} ->")
    assert str(repo_folder(caches.shared, MODEL)).replace(" ", "") in "".join(output.split())
    assert _row(output, "custom", "sae")[2:] == ["missing", SAE]
    assert _row(output, "demo", "model")[2:4] == ["own folder", "unverified"]
    assert f"custom, sae: '{SAE}' is not on this machine." in output
    assert "    Fetch it with: .venv/bin/python scripts/weights.py download custom" in output
    assert f" free in {caches.project}" in output


def test_status_of_one_source_as_json(caches: Caches, capsys: Output) -> None:
    files = model_files()
    del files["model-00002-of-00003.safetensors"]
    save_repository(caches.project, MODEL, files)
    assert main(["status", "custom", "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["project_cache"] == str(caches.project)
    assert content["free_bytes"] > 0
    (source,) = content["sources"]
    assert (source["source"], source["is_complete"]) == ("custom", False)
    model, tokenizer, sae = source["components"]
    assert (model["state"], model["missing"]) == ("partial", ["model-00002-of-00003.safetensors"])
    assert (tokenizer["state"], tokenizer["is_usable"]) == ("local", True)
    assert (sae["state"], sae["folder"], sae["revision"]) == ("missing", None, None)


def test_names_are_printed_as_they_are(
    caches: Caches, capsys: Output, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = write_files(tmp_path / "[red]m[/red] :smile: [bold", model_files())
    monkeypatch.setenv("MISTRAL_MODEL", str(folder))
    assert main(["status", "custom"]) == 0
    joined = "".join(capsys.readouterr().out.split())
    assert "[red]m[/red]:smile:[bold" in joined


def test_an_unknown_source_is_a_failure_with_the_known_ones(caches: Caches, capsys: Output) -> None:
    assert main(["status", "nope"]) == 1
    error = _error(capsys)
    assert "no source named 'nope'" in error
    assert "demo" in error


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["stat"],
        ["status", "a", "b"],
        ["clear"],
        ["clear", "a", "--local", "--global"],
        ["import", "a"],
    ],
)
def test_wrong_usage_is_status_2(caches: Caches, arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2


def test_a_cache_that_is_a_file_is_one_line(caches: Caches, capsys: Output) -> None:
    caches.project.write_text("")
    assert main(["status"]) == 1
    assert "MODEL_CACHE_DIR" in _error(capsys)


def test_a_wrong_setting_is_one_line(
    caches: Caches, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODEL_DTYPE", "int3")
    assert main(["status"]) == 1
    assert "MODEL_DTYPE is 'int3'" in _error(capsys)


def test_link_says_what_was_linked_and_what_that_saves(caches: Caches, capsys: Output) -> None:
    save_source(caches.shared)
    assert main(["link"]) == 0
    output = capsys.readouterr().out
    assert f"{MODEL}: linked, " in output
    assert "2 repositories are linked, which saves 1." in output
    assert main(["link"]) == 0
    assert f"{MODEL}: was linked already" in capsys.readouterr().out
    assert main(["link", "--unlink", "custom"]) == 0
    assert "2 links removed; the global cache is as it was." in capsys.readouterr().out


def test_linking_a_name_that_is_nowhere_is_a_failure(caches: Caches, capsys: Output) -> None:
    assert main(["link"]) == 0
    assert "The global cache has no model" in capsys.readouterr().out
    assert main(["link", "org/absent"]) == 1
    assert "org/absent: is not in the global cache" in capsys.readouterr().out
    assert main(["link", "../x"]) == 1
    assert "neither a folder nor a repository" in _error(capsys)


def test_when_both_caches_are_one_link_says_so(
    caches: Caches, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODEL_CACHE_DIR", str(caches.shared))
    assert main(["link"]) == 1
    assert "is the global cache itself" in _error(capsys)
    assert main(["status", "demo"]) == 0
    assert "is the global cache itself" in capsys.readouterr().out


def test_clear_without_a_terminal_needs_yes(
    caches: Caches, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_source(caches.project)
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    assert main(["clear", "custom"]) == 1
    assert "--yes" in capsys.readouterr().err
    assert repo_folder(caches.project, MODEL).is_dir()
    assert main(["clear", "custom", "--yes"]) == 0
    assert not repo_folder(caches.project, MODEL).exists()
    assert main(["clear", "custom", "--yes"]) == 0
    assert "Nothing of 'custom' is to be removed" in capsys.readouterr().out


@pytest.mark.parametrize(("answer", "is_removed"), [("n", False), ("", False), ("yes", True)])
def test_clear_asks_with_the_number_of_bytes(caches: Caches, answer: str, is_removed: bool) -> None:
    save_repository(caches.shared, MODEL, model_files())
    controller, terminal = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "scripts/weights.py", "clear", MODEL, "--global"],
        cwd=ROOT,
        stdin=terminal,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        os.close(terminal)
        os.write(controller, f"{answer}\n".encode())
        output, errors = process.communicate(timeout=60)
        os.close(controller)
    n_bytes = sum(map(len, model_files().values())) + 40
    assert f"removes {MODEL}: {n_bytes:,} bytes" in output
    assert f"Remove {n_bytes:,} bytes" in output
    assert "from the global cache? [y/N]" in output
    assert process.returncode == (0 if is_removed else 1), errors
    assert repo_folder(caches.shared, MODEL).exists() is not is_removed


def test_clear_says_what_it_keeps(caches: Caches, capsys: Output) -> None:
    save_source(caches.shared)
    assert main(["link"]) == 0
    assert main(["clear", "custom", "--yes"]) == 0
    output = capsys.readouterr().out
    assert output.count("(not what it leads to)") == 2
    assert "only the link to it goes" in output
    assert (repo_folder(caches.shared, MODEL) / "refs" / "main").is_file()


def test_clear_refuses_what_is_in_no_cache(caches: Caches, capsys: Output) -> None:
    assert main(["clear", "demo", "--yes"]) == 1
    assert "only the caches are cleared" in _error(capsys)
    assert main(["clear", "nope", "--yes"]) == 1
    assert "no source named 'nope'" in _error(capsys)


def test_import_makes_an_entry_that_status_shows(
    caches: Caches, capsys: Output, tmp_path: Path
) -> None:
    model = write_files(tmp_path / "by hand", model_files())
    sae = write_files(tmp_path / "sae", sae_repository_files())
    assert main(["import", str(model), MODEL, "--revision", COMMIT]) == 0
    assert main(["import", str(sae), SAE]) == 0
    assert f"{MODEL} is in the cache: {caches.project}" in capsys.readouterr().out
    assert main(["status", "custom"]) == 0
    output = capsys.readouterr().out
    assert _row(output, "custom", "model")[2:5] == ["local", "unverified", COMMIT[:12]]
    assert _row(output, "custom", "sae")[2] == "local"
    assert main(["import", str(tmp_path / "none"), MODEL]) == 1
    assert "There is no folder" in _error(capsys)


def test_clear_names_the_sources_that_need_a_repository(caches: Caches, capsys: Output) -> None:
    save_source(caches.project)
    assert main(["clear", MODEL, "--yes"]) == 0
    assert f"{MODEL} is needed by the source custom" in capsys.readouterr().out


def test_clear_of_a_link_asks_for_the_link(caches: Caches, capsys: Output) -> None:
    save_source(caches.shared)
    assert main(["link", MODEL]) == 0
    assert "1 repository is linked, which saves 1." in capsys.readouterr().out
    assert main(["clear", MODEL]) == 1
    assert "Removing 1 link needs a confirmation" in _error(capsys)
    assert main(["link", MODEL, "--unlink"]) == 0
    output = capsys.readouterr().out
    assert "link removed, it led to" in output
    assert "1 link removed; the global cache is as it was." in output


def test_a_broken_file_of_sources_is_said_and_costs_its_own_sources_only(
    caches: Caches, capsys: Output, tmp_path: Path
) -> None:
    (tmp_path / "sources.toml").write_text("[sources.mine\n", encoding="utf-8")
    assert main(["status", "demo"]) == 0
    captured = capsys.readouterr()
    assert captured.err.startswith("warning: ")
    assert "sources.toml" in captured.err
    assert "own folder" in captured.out


def test_a_reader_that_has_seen_enough_is_no_failure(caches: Caches) -> None:
    process = subprocess.Popen(
        [sys.executable, "scripts/weights.py", "status", "--json"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.close()
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, b"")


def test_the_commands_of_hints_are_those_of_the_projects_environment() -> None:
    program, script = WEIGHTS_COMMAND.split()
    assert (ROOT / script).is_file()
    environment = (ROOT / "scripts" / "_environment.sh").read_text(encoding="utf-8")
    assert f"$root/{program}" in environment
    assert Path(HF_COMMAND).parent == Path(program).parent


def test_as_a_program_it_prints_one_line_where_it_fails(caches: Caches) -> None:
    done = subprocess.run(
        [sys.executable, "scripts/weights.py", "status", "nope"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: ")
