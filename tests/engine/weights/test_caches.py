"""Which folders the settings name: the three ways to move the cache, and what cannot be one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from engine.errors import WeightsMissingError
from engine.settings import EngineSettings
from engine.weights.caches import (
    Caches,
    converted_folder,
    find_caches,
    is_repo_id,
    repo_folder,
    repo_of_folder,
)
from engine.weights.checksums import ChecksumStore
from engine.weights.locate import Locator
from tests.engine.weights.conftest import MODEL, model_files, save_repository

ROOT = Path(__file__).parents[3]


def _from_environment(folder: Path, **variables: str) -> list[str]:
    """Both caches as a process sees them that starts in a folder, with its `.env`."""
    program = (
        "from engine.settings import EngineSettings\n"
        "from engine.weights.caches import find_caches\n"
        "s = EngineSettings()\n"
        "c = find_caches(s.model_cache_dir, s.hf_home, s.hf_hub_cache)\n"
        "print(c.project, c.shared, sep='\\n')\n"
    )
    unset = {"HF_HOME", "HF_HUB_CACHE", "MODEL_CACHE_DIR", "XDG_CACHE_HOME"}
    environment = {name: value for name, value in os.environ.items() if name not in unset}
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=folder,
        env=environment | {"PYTHONPATH": str(ROOT), "HOME": str(folder)} | variables,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return done.stdout.splitlines()


def test_without_settings_they_are_in_the_project_and_where_the_hub_client_has_its_own(
    tmp_path: Path,
) -> None:
    assert _from_environment(tmp_path) == [
        str(tmp_path / "models_cache"),
        str(tmp_path / ".cache" / "huggingface" / "hub"),
    ]


def test_the_environment_moves_them(tmp_path: Path) -> None:
    home, cache = tmp_path / "large disk" / "hf", tmp_path / "größer"
    assert _from_environment(tmp_path, HF_HOME=str(home), MODEL_CACHE_DIR=str(cache)) == [
        str(cache),
        str(home / "hub"),
    ]
    assert _from_environment(tmp_path, XDG_CACHE_HOME=str(tmp_path / "x"))[1] == str(
        tmp_path / "x" / "huggingface" / "hub"
    )


def test_a_dotenv_file_moves_them_and_the_environment_comes_first(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("HF_HOME=~/other\nMODEL_CACHE_DIR=$HOME/cache\n")
    assert _from_environment(tmp_path) == [
        str(tmp_path / "cache"),
        str(tmp_path / "other" / "hub"),
    ]
    assert _from_environment(tmp_path, HF_HUB_CACHE="/srv/hub")[1] == "/srv/hub"


def test_a_linked_folder_moves_the_global_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = tmp_path / "large disk" / "huggingface-cache"
    snapshot = save_repository(disk / "hub", MODEL, model_files(1))
    (tmp_path / ".cache").mkdir()
    (tmp_path / ".cache" / "huggingface").symlink_to(disk)
    monkeypatch.setenv("HOME", str(tmp_path))
    caches = find_caches(tmp_path / "project", None, None)
    assert caches.shared == tmp_path / ".cache" / "huggingface" / "hub"
    found = Locator(caches, ChecksumStore(caches.records)).locate(MODEL, "config.json")
    assert found.place == "global"
    assert found.folder.samefile(snapshot)


def test_hf_hub_cache_beats_hf_home(tmp_path: Path) -> None:
    caches = find_caches("here", tmp_path / "home", tmp_path / "cache")
    assert caches.shared == tmp_path / "cache"
    assert caches.project == Path.cwd() / "here"


def test_both_may_be_one_folder_also_through_a_link(tmp_path: Path) -> None:
    hub = tmp_path / "hf" / "hub"
    hub.mkdir(parents=True)
    (tmp_path / "link").symlink_to(hub)
    assert find_caches(tmp_path / "link", tmp_path / "hf", None).is_one
    assert not find_caches(tmp_path / "other", tmp_path / "hf", None).is_one


def _file(path: Path) -> None:
    path.write_text("")


def _broken_link(path: Path) -> None:
    path.symlink_to(path.with_name("gone"))


def _circle(path: Path) -> None:
    path.symlink_to(path.with_name("other"))
    path.with_name("other").symlink_to(path)


@pytest.mark.parametrize(
    ("make", "says"), [(_file, "is a file"), (_broken_link, "nowhere"), (_circle, "nowhere")]
)
@pytest.mark.parametrize("setting", ["MODEL_CACHE_DIR", "HF_HOME", "HF_HUB_CACHE"])
def test_what_is_no_folder_is_refused_with_the_setting_that_names_it(
    tmp_path: Path, make: object, says: str, setting: str
) -> None:
    place = tmp_path / "taken"
    assert callable(make)
    make(place)
    values: dict[str, Path | None] = dict.fromkeys(("HF_HOME", "HF_HUB_CACHE"))
    values |= {"MODEL_CACHE_DIR": tmp_path / "cache", setting: place}
    with pytest.raises(WeightsMissingError, match=says) as caught:
        find_caches(values["MODEL_CACHE_DIR"] or "", values["HF_HOME"], values["HF_HUB_CACHE"])
    assert setting in caught.value.hint


def test_a_folder_that_may_not_be_read_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "is_dir", refuse)
    with pytest.raises(WeightsMissingError, match="Permission denied") as caught:
        find_caches(tmp_path, None, None)
    assert "MODEL_CACHE_DIR" in caught.value.hint


def test_names_of_repositories_become_folders_and_back() -> None:
    folder = repo_folder(Path("cache"), "mistralai/Mistral-7B-Instruct-v0.2")
    assert folder == Path("cache/models--mistralai--Mistral-7B-Instruct-v0.2")
    assert repo_of_folder(folder) == "mistralai/Mistral-7B-Instruct-v0.2"
    assert repo_of_folder(Path("datasets--org--name")) is None
    assert is_repo_id("gpt2")


@pytest.mark.parametrize(
    "name", ["", "a/b/c", "../x", "org/..", "org/a--b", "/org/x", "org/", "o rg/x", "org/x.git"]
)
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(WeightsMissingError, match="neither a folder nor a repository"):
        repo_folder(Path(), name)


def test_conversions_stay_in_their_folder(tmp_path: Path) -> None:
    caches = Caches(tmp_path, tmp_path / "hub")
    folder = converted_folder(caches, "release", "layer_1/width_16k")
    assert folder == tmp_path / ".featurebook" / "converted" / "release" / "layer_1" / "width_16k"
    for release, sae_id in (("..", "x"), ("release", "../../x"), ("release", "/etc"), ("a/b", "c")):
        with pytest.raises(WeightsMissingError, match="no SAE of sae-lens"):
            converted_folder(caches, release, sae_id)


def test_the_settings_of_the_tests_are_not_this_users() -> None:
    settings = EngineSettings(_env_file=None)
    assert "featurebook-tests" in str(settings.hf_home)
