"""Names: what leads out of its folder, and what a message calls a folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.file_names import is_inside, shown_name


@pytest.mark.parametrize("name", ["a", "a/b.safetensors", "original/c", "a b/é", "..a"])
def test_what_stays_inside(name: str) -> None:
    assert is_inside(name)


@pytest.mark.parametrize("name", ["", "..", "a/../b", "/etc", "~", "a//b", "a\\b", "a\0", "./a"])
def test_what_leads_outside(name: str) -> None:
    assert not is_inside(name)


def test_a_folder_of_a_cache_is_called_by_its_repository() -> None:
    snapshot = Path("/cache/models--org--a-model") / "snapshots" / ("0123456789" * 4)
    assert shown_name(snapshot) == "org/a-model"
    assert shown_name(snapshot / "blocks.1" / "x") == "org/a-model:blocks.1/x"
    assert shown_name(Path("/home/me/my model")) == "my model"
    assert shown_name(Path("/home/snapshots/abc")) == "abc"
