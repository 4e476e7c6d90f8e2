"""scripts/run.sh: what it refuses, what it installs and when, and what it starts."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator

import pytest

from tests.scripts.conftest import StubProject, write_program

RUN = "scripts/run.sh"


@pytest.fixture
def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield int(listener.getsockname()[1])


def _served(output: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in output.splitlines())


def test_help_is_printed_and_nothing_else_happens(project: StubProject) -> None:
    done = project.run(RUN, "--help")
    assert done.returncode == 0
    assert done.stdout.startswith("usage: scripts/run.sh")
    assert project.log.read_text() == ""


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--port"], "--port needs a value."),
        (["--host", ""], "--host needs a value."),
        (["--port", "http"], "--port takes a number from 1 to 65535, not 'http'."),
        (["--port=0"], "--port takes a number from 1 to 65535, not '0'."),
        (["--port", "65536"], "--port takes a number from 1 to 65535, not '65536'."),
        (["--port", "-1"], "--port takes a number from 1 to 65535, not '-1'."),
        (["--prot", "8501"], "'--prot' is not an option of this command."),
        (["8501"], "'8501' is not an option of this command."),
    ],
)
def test_wrong_usage_is_said_before_anything_is_installed(
    project: StubProject, arguments: list[str], sentence: str
) -> None:
    done = project.run(RUN, *arguments)
    assert done.returncode == 2
    assert done.stderr.splitlines()[0] == sentence
    assert project.log.read_text() == ""


@pytest.mark.parametrize("source", ["environment", "file"])
def test_a_port_that_is_none_in_the_settings_is_named(project: StubProject, source: str) -> None:
    if source == "file":
        (project.root / ".env").write_text("PORT=99999\n")
    done = project.run(RUN, **({"PORT": "99999"} if source == "environment" else {}))
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("PORT is set to '99999': ")
    assert project.calls("dashboard") == []


def test_the_server_starts_where_it_was_asked_to(project: StubProject, free_port: int) -> None:
    done = project.run(RUN, "--port", str(free_port), "--host=localhost", PORT="1", HOST="nowhere")
    assert done.returncode == 0
    assert project.calls("dashboard") == [f"--server.address localhost --server.port {free_port}"]
    served = _served(done.stdout)
    assert (served["HOST"], served["PORT"]) == ("localhost", str(free_port))


def test_the_environment_comes_before_the_file_of_settings(
    project: StubProject, free_port: int
) -> None:
    (project.root / ".env").write_text("PORT=1\nHOST=localhost\n")
    served = _served(project.run(RUN, PORT=str(free_port)).stdout)
    assert (served["HOST"], served["PORT"]) == ("localhost", str(free_port))


def test_insecure_reaches_the_server_only_when_it_is_asked_for(
    project: StubProject, free_port: int
) -> None:
    arguments = ["--port", str(free_port)]
    assert _served(project.run(RUN, *arguments).stdout)["INSECURE"] == ""
    assert _served(project.run(RUN, "--insecure", *arguments).stdout)["INSECURE"] == "1"


def test_the_server_takes_the_place_of_the_script_so_that_a_signal_reaches_it(
    project: StubProject, free_port: int
) -> None:
    with subprocess.Popen(
        [project.root / RUN, "--port", str(free_port)],
        env=project.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as started:
        output, _ = started.communicate(timeout=60)
    assert _served(output)["pid"] == str(started.pid)


def test_a_taken_port_is_said_in_one_line(project: StubProject, taken_port: int) -> None:
    project.run(RUN, "--port", str(taken_port))
    done = project.run(RUN, "--port", str(taken_port))
    assert done.returncode == 1
    assert done.stderr == (
        f"Port {taken_port} of 127.0.0.1 is taken: "
        "end what listens there, or choose another with --port.\n"
    )
    assert project.calls("dashboard") == []


def test_an_address_of_another_machine_is_refused(project: StubProject, free_port: int) -> None:
    done = project.run(RUN, "--host", "192.0.2.1", "--port", str(free_port))
    assert done.returncode == 1
    assert "192.0.2.1" in done.stderr.splitlines()[-1]
    assert project.calls("dashboard") == []


def test_only_the_first_start_installs(project: StubProject, free_port: int) -> None:
    for _ in range(2):
        assert project.run(RUN, "--port", str(free_port)).returncode == 0
    assert len(project.calls("pip")) == 1
    assert project.calls("pip")[0].endswith("-r requirements.txt -e .")


@pytest.mark.parametrize("name", ["requirements.txt", "pyproject.toml"])
def test_what_is_asked_for_is_installed_again_when_it_changes(
    project: StubProject, free_port: int, name: str
) -> None:
    project.run(RUN, "--port", str(free_port))
    with (project.root / name).open("a") as file:
        file.write("# another line\n")
    project.run(RUN, "--port", str(free_port))
    assert len(project.calls("pip")) == 2


def test_a_moved_project_is_installed_again(project: StubProject, free_port: int) -> None:
    project.run(RUN, "--port", str(free_port))
    moved = StubProject(
        project.root.rename(project.root.with_name("moved")), project.log, project.environment
    )
    assert moved.run(RUN, "--port", str(free_port)).returncode == 0
    assert len(project.calls("pip")) == 2


def test_a_failed_installation_is_tried_again(project: StubProject, free_port: int) -> None:
    project.fail("pip")
    failed = project.run(RUN, "--port", str(free_port))
    assert failed.returncode == 1
    assert failed.stderr.splitlines()[-1].startswith("The installation failed")
    (project.root / "fail/pip").unlink()
    assert project.run(RUN, "--port", str(free_port)).returncode == 0
    assert len(project.calls("pip")) == 2


def test_what_the_tests_need_serves_the_dashboard_too(project: StubProject, free_port: int) -> None:
    project.run("scripts/test.sh")
    project.run(RUN, "--port", str(free_port))
    assert len(project.calls("pip")) == 1


@pytest.mark.parametrize(
    ("program", "problem"),
    [("#!/bin/sh\nprintf 3.9.2\n", "3.9.2"), ("#!/bin/sh\nexit 1\n", "broken"), (None, "missing")],
)
def test_a_python_that_does_not_serve_is_said_in_one_line(
    project: StubProject, program: str | None, problem: str
) -> None:
    (project.root / ".venv/bin/python").unlink()
    other = project.root.parent / "other-python"
    if program is not None:
        write_program(other, program)
    done = project.run(RUN, PYTHON=os.fspath(other))
    assert done.returncode == 1
    assert done.stderr.startswith(
        f"Featurebook needs Python 3.11 or newer, and {other} is {problem}."
    )
    assert done.stderr.count("\n") == 1


def test_a_virtual_environment_that_is_missing_is_made(
    project: StubProject, free_port: int
) -> None:
    stub = project.root.parent / "python"
    (project.root / ".venv/bin/python").rename(stub)
    done = project.run(RUN, "--port", str(free_port), PYTHON=os.fspath(stub))
    assert project.calls("venv") == [f"--clear {project.root}/.venv"]
    # The stub makes nothing, so the script cannot go on; it must not pretend to.
    assert done.returncode != 0
    assert project.calls("dashboard") == []
