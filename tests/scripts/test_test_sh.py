"""scripts/test.sh and .ci/run: every gate runs, each can fail the whole, pytest ends the output."""

from __future__ import annotations

import pytest

from tests.scripts.conftest import StubProject

TEST = "scripts/test.sh"


def test_help_is_printed_and_nothing_else_happens(project: StubProject) -> None:
    done = project.run(TEST, "--help")
    assert done.returncode == 0
    assert done.stdout.startswith("usage: scripts/test.sh")
    assert project.log.read_text() == ""


def test_every_gate_runs_and_the_output_ends_on_the_summary_of_pytest(
    project: StubProject,
) -> None:
    done = project.run(TEST)
    assert done.returncode == 0
    assert done.stdout.splitlines()[-1] == "1 passed in 0.01s"
    ran = project.log.read_text().splitlines()
    assert ran[0].endswith("-r requirements.txt -e .[dev]")
    assert ran[-6:] == [
        "-m ruff check .",
        "-m ruff format --check .",
        "-m mypy",
        "lint-imports",
        "shellcheck",
        "-m pytest",
    ]


def test_arguments_go_to_pytest(project: StubProject) -> None:
    project.run(TEST, "-k", "memo and not browser")
    assert project.calls("pytest") == ["-k memo and not browser"]


@pytest.mark.parametrize("gate", ["ruff", "mypy", "lint-imports", "shellcheck"])
def test_a_failing_gate_fails_the_whole_and_hides_no_test(project: StubProject, gate: str) -> None:
    project.fail(gate)
    done = project.run(TEST)
    assert done.returncode == 1
    assert len(project.calls("pytest")) == 1
    name = {"lint-imports": "import-linter"}.get(gate, gate)
    assert done.stderr.splitlines()[-1].startswith(f"Failed before pytest: {name}")


def test_a_failing_test_fails_the_whole(project: StubProject) -> None:
    project.fail("pytest")
    done = project.run(TEST)
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1] == "1 passed in 0.01s"


def test_without_a_browser_its_tests_are_left_out_and_this_is_said(project: StubProject) -> None:
    project.fail("tests.chromium")
    done = project.run(TEST)
    assert done.returncode == 0
    assert "the browser tests are left out" in done.stderr
    assert project.calls("pytest") == ["-m not browser"]
    assert project.calls("playwright") == ["install chromium"]


def test_with_a_browser_nothing_is_left_out_and_none_is_installed(project: StubProject) -> None:
    project.run(TEST)
    assert project.calls("pytest") == [""]
    assert project.calls("playwright") == []


def test_continuous_integration_does_not_pass_without_a_browser(project: StubProject) -> None:
    project.fail("tests.chromium")
    done = project.run(".ci/run")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("No Chromium was found")
    assert project.calls("pytest") == []


def test_continuous_integration_runs_what_a_person_runs(project: StubProject) -> None:
    done = project.run(".ci/run", "-x")
    assert done.stdout.splitlines() == ["CI=true", "1 passed in 0.01s"]
    assert project.calls("pytest") == ["-x"]
