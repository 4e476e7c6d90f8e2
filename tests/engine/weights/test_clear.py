"""Clearing: the plan says what goes and what stays, and nothing else goes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from engine.definitions import SourceDefinition
from engine.errors import WeightsMissingError
from engine.registry import get_registered
from engine.weights.caches import Caches, converted_folder, repo_folder
from engine.weights.checksums import ChecksumStore
from engine.weights.clear import ClearPlan, ClearScope, clear, plan_clear
from engine.weights.link import link_repositories
from tests.engine.weights.conftest import (
    MODEL,
    SAE,
    link_to_shared,
    make_definition,
    model_files,
    sae_repository_files,
    save_repository,
    save_source,
    shard,
    write_files,
)

MODEL_BYTES = sum(len(content) for content in model_files().values())
SAE_BYTES = sum(len(content) for content in sae_repository_files().values())


class Clearing:
    """Plans over the caches of a test."""

    def __init__(self, caches: Caches, checksums: ChecksumStore) -> None:
        self.caches, self.checksums = caches, checksums
        self.definitions: dict[str, SourceDefinition] = {"mine": make_definition()}

    def plan(self, what: str = "mine", scope: ClearScope = "local") -> ClearPlan:
        return plan_clear(what, scope, self.definitions, self.caches, self.checksums)


@pytest.fixture
def clearing(caches: Caches, checksums: ChecksumStore) -> Clearing:
    return Clearing(caches, checksums)


def _names(plan: ClearPlan) -> list[tuple[str, str]]:
    return [(item.name, item.kind) for item in plan.items]


def test_the_plan_says_what_goes_before_anything_does(clearing: Clearing) -> None:
    save_source(clearing.caches.project)
    plan = clearing.plan()
    assert _names(plan) == [(MODEL, "folder"), (SAE, "folder")]
    # the references take forty bytes each
    assert plan.freed_bytes == MODEL_BYTES + SAE_BYTES + 2 * 40
    assert repo_folder(clearing.caches.project, MODEL).is_dir()
    clear(plan)
    assert list(clearing.caches.project.iterdir()) == []
    assert clearing.plan().items == ()
    clear(plan)


def test_a_link_goes_without_what_it_leads_to(clearing: Clearing) -> None:
    save_source(clearing.caches.shared)
    link_repositories(clearing.caches)
    plan = clearing.plan()
    assert _names(plan) == [(MODEL, "link"), (SAE, "link")]
    assert plan.freed_bytes == 0
    assert all("only the link" in kept for kept in plan.keeps)
    clear(plan)
    assert list(clearing.caches.project.iterdir()) == []
    assert len(list(clearing.caches.shared.rglob("*.safetensors"))) == 4


def test_locally_the_global_cache_is_never_touched(clearing: Clearing) -> None:
    save_source(clearing.caches.shared)
    plan = clearing.plan()
    assert plan.items == ()
    assert any("--global" in kept for kept in plan.keeps)


def test_globally_the_links_that_would_break_go_too(clearing: Clearing) -> None:
    save_source(clearing.caches.shared)
    link_to_shared(clearing.caches, MODEL)
    save_repository(clearing.caches.project, SAE, sae_repository_files())
    plan = clearing.plan(scope="global")
    assert _names(plan) == [(MODEL, "link"), (MODEL, "folder"), (SAE, "folder")]
    assert any("copy of its own" in kept for kept in plan.keeps)
    clear(plan)
    assert list(clearing.caches.shared.iterdir()) == []
    assert [path.name for path in clearing.caches.project.iterdir()] == ["models--org--sae"]


def test_a_folder_that_took_a_links_place_is_left(clearing: Clearing) -> None:
    save_source(clearing.caches.shared)
    link = link_to_shared(clearing.caches, MODEL)
    plan = clearing.plan()
    link.unlink()
    snapshot = save_repository(clearing.caches.project, MODEL, model_files())
    clear(plan)
    assert (snapshot / "config.json").is_file()


def test_a_link_that_took_a_folders_place_leads_to_no_removal(clearing: Clearing) -> None:
    save_source(clearing.caches.project)
    plan = clearing.plan(MODEL)
    repo_folder(clearing.caches.project, MODEL).rename(clearing.caches.project / "moved")
    save_source(clearing.caches.shared)
    link_to_shared(clearing.caches, MODEL)
    clear(plan)
    assert len(list(repo_folder(clearing.caches.shared, MODEL).rglob("*.safetensors"))) == 3


def test_what_another_whole_source_uses_stays(clearing: Clearing) -> None:
    save_source(clearing.caches.project)
    save_repository(clearing.caches.project, "org/other", sae_repository_files())
    clearing.definitions = {
        "mine": make_definition(),
        "other": make_definition(sae="org/other", name="other"),
    }
    plan = clearing.plan()
    assert _names(plan) == [(SAE, "folder")]
    assert plan.needed_by == {}
    assert plan.keeps == (f"{MODEL}: the source 'other' uses it too.",)
    clear(plan)
    # now the first one is not whole any more, and keeps nothing
    assert _names(clearing.plan("other")) == [(MODEL, "folder"), ("org/other", "folder")]
    assert _names(clearing.plan(MODEL)) == [(MODEL, "folder")]


def test_a_repository_that_is_named_goes_and_the_sources_that_need_it_are_named(
    clearing: Clearing,
) -> None:
    save_source(clearing.caches.project)
    clearing.definitions["other"] = make_definition(sae=None, name="other")
    clearing.definitions["absent"] = make_definition(sae="org/absent", name="absent")
    assert clearing.plan(MODEL).needed_by == {MODEL: ("mine", "other")}
    assert clearing.plan(SAE).needed_by == {SAE: ("mine",)}
    # in the other cache too: then nothing is lost
    save_source(clearing.caches.shared)
    assert clearing.plan(MODEL).needed_by == clearing.plan(MODEL, "global").needed_by == {}
    clear(clearing.plan())
    link_to_shared(clearing.caches, MODEL)
    assert clearing.plan(MODEL).needed_by == {}
    assert clearing.plan(MODEL, "global").needed_by == {MODEL: ("mine", "other")}


def test_sources_of_the_same_parts_do_not_keep_each_other(clearing: Clearing) -> None:
    save_source(clearing.caches.project)
    clearing.definitions = {"mine": make_definition(), "twin": make_definition(name="twin")}
    plan = clearing.plan()
    assert len(plan.items) == 2
    assert plan.needed_by == {MODEL: ("twin",), SAE: ("twin",)}


def test_folders_of_the_users_own_are_refused(clearing: Clearing, tmp_path: Path) -> None:
    folder = write_files(tmp_path / "own", model_files())
    clearing.definitions = {"mine": make_definition(str(folder), None)}
    with pytest.raises(WeightsMissingError, match="in a folder of their own"):
        clearing.plan()
    with pytest.raises(WeightsMissingError, match="a folder of your own"):
        clearing.plan(str(folder))
    save_source(clearing.caches.project)
    clearing.definitions = {"mine": make_definition(str(folder), SAE)}
    plan = clearing.plan()
    assert _names(plan) == [(SAE, "folder")]
    clear(plan)
    assert (folder / "config.json").is_file()


@pytest.mark.parametrize("what", ["absent", "../..", "sae-lens:x/y", "", "a/b/c"])
def test_what_is_neither_source_nor_repository_is_refused(clearing: Clearing, what: str) -> None:
    with pytest.raises(WeightsMissingError):
        clearing.plan(what)


def test_a_conversion_is_removed_with_its_source(clearing: Clearing) -> None:
    folder = converted_folder(clearing.caches, "release", "layer/width")
    write_files(folder, {"cfg.json": b"{}", "sae_weights.safetensors": shard()})
    clearing.definitions = {"mine": make_definition(sae="sae-lens:release/layer/width")}
    assert clearing.plan(scope="global").items == ()
    plan = clearing.plan()
    assert _names(plan) == [("sae-lens:release/layer/width", "conversion")]
    clear(plan)
    assert not folder.exists()


def test_an_sae_of_the_registry_is_removed_with_the_repository_it_came_from(
    clearing: Clearing,
) -> None:
    location = "sae-lens:gpt2-small-attn-out-v5-128k/blocks.0.hook_attn_out"
    published = get_registered(location)
    files = sae_repository_files(published.inside)
    save_repository(clearing.caches.project, published.repo_id, files)
    save_repository(clearing.caches.project, MODEL, model_files())
    clearing.definitions = {
        "mine": make_definition(sae=location),
        "other": make_definition(None, f"{published.repo_id}:{published.inside}", "other"),
    }
    assert _names(clearing.plan()) == [(MODEL, "folder"), (published.repo_id, "folder")]
    save_repository(clearing.caches.project, "org/other", model_files())
    clearing.definitions = clearing.definitions | {
        "other": make_definition("org/other", f"{published.repo_id}:{published.inside}", "other")
    }
    assert _names(clearing.plan()) == [(MODEL, "folder")]


def test_hard_links_elsewhere_are_not_counted_as_freed(clearing: Clearing, tmp_path: Path) -> None:
    snapshot = save_repository(clearing.caches.project, MODEL, model_files())
    name = "model-00001-of-00003.safetensors"
    size = len(model_files()[name])
    os.link(os.path.realpath(snapshot / name), tmp_path / "kept")
    (item,) = clearing.plan(MODEL).items
    assert item.shared_bytes == size
    assert item.freed_bytes == MODEL_BYTES + 40 - size
    clear(clearing.plan(MODEL))
    assert (tmp_path / "kept").stat().st_size == size


def _share(cache: Path, snapshot: Path, name: str) -> Path:
    """Moves a file's content to the cache's own store of blobs, as the hub client does with Xet."""
    digest = "ab" + "0" * 62
    store = cache / "blobs"
    kept = store / digest[:2] / digest
    kept.parent.mkdir(parents=True, exist_ok=True)
    (store / ".huggingface-shared-blobs").write_text("1\n")
    blob = Path(os.path.abspath(snapshot / os.readlink(snapshot / name)))
    if kept.exists():
        blob.unlink()
    else:
        blob.rename(kept)
    blob.symlink_to(f"../../blobs/{digest[:2]}/{digest}")
    with kept.with_name(f"{digest}.refs").open("a") as manifest:
        manifest.write(f"{blob.relative_to(cache).as_posix()}\n")
    return kept


def test_content_that_repositories_share_stays_until_the_last_one_goes(clearing: Clearing) -> None:
    cache = clearing.caches.project
    name = "model-00001-of-00003.safetensors"
    kept = _share(cache, save_repository(cache, MODEL, model_files()), name)
    _share(cache, save_repository(cache, "org/copy", model_files()), name)
    size = len(model_files()[name])
    (item,) = clearing.plan(MODEL).items
    assert (item.freed_bytes, item.shared_bytes) == (MODEL_BYTES + 40 - size, size)
    clear(clearing.plan(MODEL))
    assert kept.stat().st_size == size
    (item,) = clearing.plan("org/copy").items
    assert (item.freed_bytes, item.shared_bytes) == (MODEL_BYTES + 40, 0)
    clear(clearing.plan("org/copy"))
    assert not kept.exists()


def test_when_both_caches_are_one_it_has_to_be_said(clearing: Clearing, tmp_path: Path) -> None:
    clearing.caches = Caches(tmp_path / "hub", tmp_path / "hub")
    save_source(tmp_path / "hub")
    with pytest.raises(WeightsMissingError, match="is the global cache itself") as caught:
        clearing.plan()
    assert "--global" in caught.value.hint
    assert _names(clearing.plan(scope="global")) == [(MODEL, "folder"), (SAE, "folder")]


def test_what_cannot_be_removed_is_told(
    clearing: Clearing, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    save_source(clearing.caches.project)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("shutil.rmtree", refuse)
    with pytest.raises(
        WeightsMissingError, match=r"cannot be removed.*Permission denied"
    ) as caught:
        clear(clearing.plan())
    assert "writable" in caught.value.hint
