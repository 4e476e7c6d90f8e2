"""scripts/setup_local_cache.sh: installs what is missing and passes everything on to `link`."""

from __future__ import annotations

import pytest

from tests.scripts.conftest import StubProject

SCRIPT = "scripts/setup_local_cache.sh"


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_is_printed_and_nothing_else_happens(project: StubProject, option: str) -> None:
    done = project.run(SCRIPT, option)
    assert done.returncode == 0
    assert done.stdout.startswith("usage: scripts/setup_local_cache.sh")
    assert project.log.read_text() == ""


def test_it_links_with_the_projects_python_and_passes_arguments_on(project: StubProject) -> None:
    done = project.run(SCRIPT)
    assert done.returncode == 0, done.stderr
    assert project.calls("scripts.weights") == ["link"]
    project.run(SCRIPT, "org/a model", "--unlink")
    assert project.calls("scripts.weights") == ["link", "link org/a model --unlink"]


def test_its_exit_status_is_that_of_the_command(project: StubProject) -> None:
    project.fail("scripts.weights")
    assert project.run(SCRIPT).returncode == 1
