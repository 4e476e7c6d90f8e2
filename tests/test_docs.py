"""The README, .env.example and CHANGELOG say what the code has: no more, and no less.

Each table of the README is read by its first column, below the heading of its section.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from pydantic_settings import BaseSettings

from dashboard.settings import ServerSettings
from engine.settings import EngineSettings
from store.connection import Store
from store.schema import list_views
from store.settings import StoreSettings
from tests.source_files import ROOT

SETTINGS: tuple[type[BaseSettings], ...] = (ServerSettings, EngineSettings, StoreSettings)
NOTES = ("dashboard/README.md", "engine/README.md", "store/README.md")


def _read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def _section(title: str) -> str:
    """The README's text below a heading, up to the next of its level."""
    found = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", _read("README.md"), re.S | re.M)
    assert found, f"README.md has no section {title!r}"
    return found[1]


def _rows(title: str) -> list[list[str]]:
    """The cells of the section's tables, without their heads."""
    lines = [line for line in _section(title).splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in lines]
    rules = [index for index, line in enumerate(lines) if set(line) <= set("|-: ")]
    heads = {index - 1 for index in rules} | set(rules)
    return [row for index, row in enumerate(rows) if index not in heads]


def _first_column(title: str) -> list[str]:
    return sorted(row[0].strip("`") for row in _rows(title))


def _defaults() -> dict[str, str]:
    """Name and default, as text, of every setting."""
    return {
        name.upper(): "" if field.default is None else str(field.default)
        for settings in SETTINGS
        for name, field in settings.model_fields.items()
    }


def _example_settings() -> dict[str, str]:
    assignments = re.findall(r"^#? ?([A-Z_]+)=(.*)$", _read(".env.example"), re.M)
    return dict(assignments)


def test_the_readme_lists_every_setting_with_its_default() -> None:
    listed = {row[0].strip("`"): row[1].strip("`") for row in _rows("Settings")}
    assert listed == _defaults()


def test_the_example_file_lists_every_setting_with_its_default() -> None:
    assert {name: value.lower() for name, value in _example_settings().items()} == {
        name: value.lower() for name, value in _defaults().items()
    }


def test_the_example_file_changes_nothing_when_it_is_copied(tmp_path: Path) -> None:
    lines = [re.sub(r"^# ?(?=[A-Z_]+=)", "", line) for line in _read(".env.example").splitlines()]
    copy = tmp_path / ".env"
    copy.write_text("\n".join(lines), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        for name in _defaults():
            patch.delenv(name, raising=False)
        for settings in SETTINGS:
            nothing = settings(_env_file=None)
            assert settings(_env_file=copy).model_dump() == nothing.model_dump()


def test_the_readme_lists_every_public_view_with_its_columns(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "views.duckdb")
    try:
        views = {view.name: [column.name for column in view.columns] for view in list_views(store)}
    finally:
        store.close()
    listed = {row[0].strip("`"): re.findall(r"`(\w+)`", row[2]) for row in _rows("SQL views")}
    assert listed == views


def test_the_readme_lists_every_page() -> None:
    pages = [path.stem for path in (ROOT / "dashboard/views").glob("[!_]*.py")]
    assert _first_column("Pages") == sorted(pages)


def test_the_readme_lists_every_command() -> None:
    commands = [
        f"scripts/{path.name}"
        for path in (ROOT / "scripts").glob("[!_]*")
        if path.suffix in {".py", ".sh"}
    ]
    shown = [re.findall(r"scripts/\w+\.(?:py|sh)", row[0])[0] for row in _rows("Commands")]
    assert sorted(shown) == sorted(commands)


def test_the_readme_gives_a_reason_for_every_dependency() -> None:
    pinned = re.findall(r"^([\w.-]+)(?:\[\w+\])?==", _read("requirements.txt"), re.M)
    assert _first_column("Dependencies") == sorted(pinned)
    assert [row[0] for row in _rows("Dependencies") if len(row[1]) < 10] == []


def test_the_readme_begins_with_what_it_is_and_the_two_commands() -> None:
    beginning = _read("README.md").partition("\n## Pages")[0]
    assert re.findall(r"^scripts/(?:run|test)\.sh", beginning, re.M) == [
        "scripts/run.sh",
        "scripts/test.sh",
    ]


@pytest.mark.parametrize("name", ["README.md", "CHANGELOG.md", "BENCHMARKS.md", *NOTES])
def test_relative_links_and_images_lead_somewhere(name: str) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", _read(name))
    relative = [target for target in targets if not re.match(r"[a-z]+:", target)]
    folder = (ROOT / name).parent
    assert [target for target in relative if not (folder / target).exists()] == []


def test_the_changelog_has_an_entry_for_this_version() -> None:
    version = tomllib.loads(_read("pyproject.toml"))["project"]["version"]
    pattern = rf"^## \[?{re.escape(version)}\]?[^\n]*\n(.*?)(?=^## |\Z)"
    found = re.search(pattern, _read("CHANGELOG.md"), re.S | re.M)
    assert found
    assert re.search(r"^- \S", found[1], re.M)
