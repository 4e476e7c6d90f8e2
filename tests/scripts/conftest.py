"""A copy of the project's scripts in a folder with a space, with a stub in place of its Python.

Invariant: nothing is installed, downloaded or served; the stub writes down what would be.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.source_files import ROOT

COPIED = (
    ".ci/run",
    "dashboard/__init__.py",
    "dashboard/settings.py",
    "pyproject.toml",
    "requirements.txt",
    "scripts/_environment.sh",
    "scripts/run.sh",
    "scripts/setup_local_cache.sh",
    "scripts/test.sh",
)
# Runs what the scripts compute for themselves; writes down modules that would act, and the settings
# that they would see. `fail/NAME` in the project makes one of them fail.
STUB = """#!/usr/bin/env bash
if [ "$1" = -m ]; then
  printf '%s\\n' "$*" >>"$STUB_LOG"
  case $2 in
    dashboard) printf 'pid=%s\\nHOST=%s\\nPORT=%s\\nINSECURE=%s\\n' \
      "$$" "$HOST" "$PORT" "${FEATUREBOOK_INSECURE-}" ;;
    pytest) printf 'CI=%s\\n1 passed in 0.01s\\n' "${CI-}" ;;
  esac
  [ ! -e "fail/$2" ] || exit 1
  exit 0
fi
exec "$REAL_PYTHON" "$@"
"""
STUB_TOOL = """#!/usr/bin/env bash
printf '%s\\n' "${0##*/}" >>"$STUB_LOG"
[ ! -e "fail/${0##*/}" ] || exit 1
"""


@dataclass(frozen=True, slots=True)
class StubProject:
    """The copy, and what its stubs have written down."""

    root: Path
    log: Path
    environment: dict[str, str]

    def run(
        self, script: str, *arguments: str, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """Runs one of its scripts from another folder, to its end."""
        return subprocess.run(
            [self.root / script, *arguments],
            cwd=self.root.parent,
            env=self.environment | variables,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def calls(self, module: str) -> list[str]:
        """The arguments of every `python -m module` so far."""
        prefix = f"-m {module} "
        lines = [f"{line} " for line in self.log.read_text(encoding="utf-8").splitlines()]
        return [line.removeprefix(prefix).rstrip() for line in lines if line.startswith(prefix)]

    def fail(self, name: str) -> None:
        """Makes one module or tool fail from now on."""
        (self.root / "fail").mkdir(exist_ok=True)
        (self.root / "fail" / name).touch()


def write_program(path: Path, text: str) -> None:
    """Writes an executable file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)


@pytest.fixture
def project(tmp_path: Path) -> StubProject:
    """A project whose virtual environment is there, and holds nothing yet."""
    root = tmp_path / "a folder" / "feature book"
    for name in COPIED:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, root / name)
    write_program(root / ".venv/bin/python", STUB)
    for tool in ("lint-imports", "shellcheck"):
        write_program(root / ".venv/bin" / tool, STUB_TOOL)
    # No test may install a browser: these stand before the machine's own commands.
    for command in ("apt-get", "sudo"):
        write_program(tmp_path / "bin" / command, "#!/bin/sh\nexit 1\n")
    log = tmp_path / "log"
    log.touch()
    inherited = {name: value for name, value in os.environ.items() if name != "CI"}
    changed = {
        "PATH": f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "REAL_PYTHON": sys.executable,
        "STUB_LOG": str(log),
    }
    return StubProject(root, log, inherited | changed)
