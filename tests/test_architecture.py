"""Rules of the source that no linter holds: sizes, docstrings, what may stand in one place only.

Directions between packages and modules are import-linter's contracts, in pyproject.toml.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

from tests.source_files import (
    PACKAGES,
    ROOT,
    iter_imports,
    iter_texts,
    list_python_files,
    module_name,
    parse,
)

MAX_LINES = 400
BENCHMARKS = Path("scripts/benchmarks")
HEAVY = ("torch", "transformers", "sae_lens")
EVERYWHERE = (*PACKAGES, "tests")
VAGUE_FILE_NAMES = {"utils", "util", "helpers", "helper", "common", "manager", "misc"}
VAGUE_CLASS_NAME = re.compile(r"Manager|Helper|Utils?$|Util[A-Z]")
SQL = re.compile(
    r"\bSELECT\b.+\bFROM\b|\bINSERT\s+INTO\b|\bDELETE\s+FROM\b"
    r"|\bCREATE\s+(OR\s+REPLACE\s+)?(TABLE|VIEW)\b|\bUPDATE\s+\S+\s+SET\b"
    r"|^\s*(SELECT|select|insert\s+into|create\s+(table|view)|delete\s+from)\s",
    re.DOTALL,
)
DESCRIBING_ARGUMENTS = {"help", "description", "epilog", "placeholder"}


def _calls_with(path: Path, switches: dict[str, bool]) -> list[int]:
    """Lines that pass one of these keyword arguments with this value."""
    return [
        node.lineno
        for node in ast.walk(parse(path))
        if isinstance(node, ast.Call)
        for argument in node.keywords
        if argument.arg in switches
        and isinstance(argument.value, ast.Constant)
        and argument.value.value is switches[argument.arg]
    ]


def _reads_of(path: Path, *names: str, of: str | None = None) -> list[int]:
    """Lines that read `x.name`, whatever x, or only where x is the name `of`; imports of it too."""
    lines = [
        node.lineno
        for node in ast.walk(parse(path))
        if isinstance(node, ast.Attribute)
        and node.attr in names
        and (of is None or (isinstance(node.value, ast.Name) and node.value.id == of))
    ]
    imported = any(name.rpartition(".")[2] in names for name in iter_imports(path))
    return [*lines, 0] if imported else lines


def _listed(places: dict[Path, list[int]]) -> list[str]:
    return [f"{path}:{line}" for path, lines in places.items() for line in lines]


def test_a_file_is_at_most_400_lines_long() -> None:
    lengths = {
        str(path): len((ROOT / path).read_text(encoding="utf-8").splitlines())
        for path in list_python_files(*EVERYWHERE)
    }
    assert {path: length for path, length in lengths.items() if length > MAX_LINES} == {}


def test_a_module_that_holds_anything_says_what_in_its_docstring() -> None:
    silent = [
        str(path)
        for path in list_python_files(*EVERYWHERE)
        if parse(path).body and not ast.get_docstring(parse(path))
    ]
    assert not silent


def test_every_package_of_the_project_is_under_the_import_contracts() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    found = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests"}
    assert found == set(PACKAGES) == set(settings["tool"]["importlinter"]["root_packages"])


def test_names_of_files_and_classes_say_what_is_in_them() -> None:
    vague = [
        str(path)
        for path in list_python_files(*EVERYWHERE)
        if VAGUE_FILE_NAMES & set(path.with_suffix("").parts)
    ]
    vague += [
        f"{path}:{node.lineno} {node.name}"
        for path in list_python_files(*EVERYWHERE)
        for node in ast.walk(parse(path))
        if isinstance(node, ast.ClassDef) and VAGUE_CLASS_NAME.search(node.name)
    ]
    assert not vague


def _iter_sql(path: Path) -> Iterator[int]:
    described = {
        id(part)
        for node in ast.walk(parse(path))
        if isinstance(node, ast.keyword) and node.arg in DESCRIBING_ARGUMENTS
        for part in ast.walk(node.value)
    }
    for text in iter_texts(path):
        if id(text) not in described and SQL.search(str(text.value)):
            yield text.lineno


def test_sql_is_written_only_in_the_store() -> None:
    outside = list_python_files("dashboard", "engine", "scripts")
    assert not _listed({path: list(_iter_sql(path)) for path in outside})


def test_session_state_and_query_parameters_are_touched_only_by_the_session() -> None:
    places = {
        path: _reads_of(path, "session_state", "query_params", of="st")
        for path in list_python_files("dashboard")
        if path != Path("dashboard/session.py")
    }
    assert not _listed(places)


def test_process_wide_objects_are_made_only_by_the_services() -> None:
    places = {
        path: _reads_of(path, "cache_resource")
        for path in list_python_files("dashboard")
        if path != Path("dashboard/services.py")
    }
    assert not _listed(places)


def test_models_are_loaded_only_by_the_loader() -> None:
    # a conversion is sae-lens's own loading of an SAE, in a process that ends with it
    excepted = {
        Path("engine/loading.py"),
        Path("engine/sae_conversion.py"),
        Path("scripts/train_demo.py"),
    }
    places = {
        path: _reads_of(path, "from_pretrained")
        for path in list_python_files(*PACKAGES)
        if path not in excepted and not path.is_relative_to("engine/demo")
    }
    assert not _listed(places)


def test_nothing_is_unpickled() -> None:
    unpicklers = {"pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
    importing = [
        str(path)
        for path in list_python_files(*PACKAGES)
        if unpicklers & {name.partition(".")[0] for name in iter_imports(path)}
    ]
    loading = _listed(
        {path: _reads_of(path, "load", of="torch") for path in list_python_files(*PACKAGES)}
    )
    assert not importing + loading


def test_what_would_run_foreign_code_or_markup_is_never_switched_on() -> None:
    switches = {"trust_remote_code": True, "unsafe_allow_html": True, "weights_only": False}
    places = {path: _calls_with(path, switches) for path in list_python_files(*EVERYWHERE)}
    assert not _listed(places)


@cache
def _distribution(module: str) -> str:
    """The normalised name of the distribution that brings a top-level module."""
    return _normal(_installed().get(module, [module])[0])


@cache
def _installed() -> Mapping[str, list[str]]:
    return packages_distributions()


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _distributions(path: Path) -> set[str]:
    tops = {name.partition(".")[0] for name in iter_imports(path)}
    return {_distribution(top) for top in tops - {*EVERYWHERE, *sys.stdlib_module_names}}


def _required(lines: list[str]) -> set[str]:
    pins = (line.partition("#")[0].strip() for line in lines)
    return {_normal(re.split(r"[=\[]", pin)[0]) for pin in pins if pin}


def test_what_is_imported_is_a_direct_dependency() -> None:
    needed = _required((ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines())
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    developing = needed | _required(settings["project"]["optional-dependencies"]["dev"])
    missing = {
        f"{path} imports {name}"
        for path in list_python_files(*EVERYWHERE)
        for name in _distributions(path)
        - (
            developing
            if path.is_relative_to("tests") or path.is_relative_to(BENCHMARKS)
            else needed
        )
    }
    assert not missing


def test_every_requirement_is_pinned_to_one_version() -> None:
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line.strip() and not line.startswith("#")]
    assert [pin for pin in pins if not re.fullmatch(r"[\w.\-\[\]]+==[\w.]+", pin)] == []


def _run_python(program: str, store: Path) -> str:
    """Runs a program in a process of its own; what went wrong, or nothing."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        cwd=ROOT,
        env=os.environ | {"FEATUREBOOK_STORE": str(store)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.stderr if done.returncode else ""


LIGHT_MODULES = [
    module_name(path)
    for path in (*list_python_files("dashboard", "store"), Path("engine/api.py"))
    if "views" not in path.parts and path != Path("dashboard/app.py")
]
PAGES = [path.name for path in list_python_files("dashboard/views") if path.stem != "__init__"]


def test_importing_dashboard_store_or_engine_api_loads_no_model_library(tmp_path: Path) -> None:
    program = (
        "import importlib, sys\n"
        f"for name in {LIGHT_MODULES!r}:\n"
        "    importlib.import_module(name)\n"
        f"    loaded = [heavy for heavy in {HEAVY!r} if heavy in sys.modules]\n"
        "    if loaded: sys.exit(f'{name} loads {loaded}')\n"
    )
    assert _run_python(program, tmp_path / "store.duckdb") == ""


def test_opening_the_pages_loads_no_model_library(tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from streamlit.testing.v1 import AppTest\n"
        f"for name in {PAGES!r}:\n"
        "    page = AppTest.from_file('dashboard/app.py', default_timeout=60)\n"
        "    page = page.switch_page(f'views/{name}').run()\n"
        "    if page.exception: sys.exit(f'{name}: {page.exception}')\n"
        f"    loaded = [heavy for heavy in {HEAVY!r} if heavy in sys.modules]\n"
        "    if loaded: sys.exit(f'{name} loads {loaded}')\n"
        "from dashboard.services import close_services\n"
        "close_services()\n"
    )
    assert _run_python(program, tmp_path / "store.duckdb") == ""
