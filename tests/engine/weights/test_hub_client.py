"""The real `hf download` from a loopback hub: what it leaves is understood, in both layouts."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.weights.adopt import adopt_folder
from engine.weights.caches import Caches, repo_folder
from engine.weights.checksums import ChecksumStore
from engine.weights.clear import clear, plan_clear
from engine.weights.inventory import list_components
from engine.weights.link import link_repositories
from engine.weights.parts import ComponentStatus
from tests.engine.weights.conftest import HOOK, MODEL, SAE, make_definition
from tests.hub.loopback import LoopbackHub, serve
from tests.hub.repositories import write_sae, write_sharded_model

SHARD = "model-00001-of-00003.safetensors"


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoopbackHub]:
    root = tmp_path_factory.mktemp("hub")
    write_sharded_model(root / "model")
    write_sae(root / "sae" / HOOK)
    with serve({MODEL: root / "model", SAE: root / "sae"}) as hub:
        yield hub


def _download(hub: LoopbackHub, repo_id: str, *options: str) -> None:
    environment = os.environ | {"HF_ENDPOINT": hub.endpoint, "HF_HUB_OFFLINE": "0"}
    subprocess.run(
        [str(Path(sys.executable).with_name("hf")), "download", repo_id, *options],
        env=environment | {"HF_HUB_DISABLE_UPDATE_CHECK": "1", "HF_HUB_DISABLE_TELEMETRY": "1"},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )


def _look(caches: Caches, checksums: ChecksumStore) -> dict[str, ComponentStatus]:
    components = list_components(make_definition(), caches, checksums)
    return {component.component: component for component in components}


def test_a_download_into_the_global_cache_is_linked_and_cleared(
    hub: LoopbackHub, caches: Caches, checksums: ChecksumStore
) -> None:
    for repo_id in (MODEL, SAE):
        _download(hub, repo_id, "--cache-dir", str(caches.shared))
    assert {component.state for component in _look(caches, checksums).values()} == {"global"}
    outcomes = link_repositories(caches)
    assert [outcome.action for outcome in outcomes] == ["linked", "linked"]
    found = _look(caches, checksums)
    assert {component.state for component in found.values()} == {"linked"}
    assert found["model"].revision == hub.find_commit(MODEL, "main")
    assert all(component.is_usable for component in found.values())
    clear(plan_clear(MODEL, "global", {}, caches, checksums))
    assert not os.path.lexists(repo_folder(caches.project, MODEL))
    assert not repo_folder(caches.shared, MODEL).exists()
    assert _look(caches, checksums)["sae"].is_usable


def test_a_download_into_a_folder_is_imported_with_its_commit_and_names(
    hub: LoopbackHub, caches: Caches, tmp_path: Path
) -> None:
    folder = tmp_path / "local dir"
    _download(hub, MODEL, "--local-dir", str(folder))
    located = adopt_folder(folder, MODEL, caches)
    assert located.commit == hub.find_commit(MODEL, "main")
    n_finished = hub.count(SHARD).finished
    assert n_finished > 0
    # the hub's own names of the content: the client finds every shard there already
    _download(
        hub, MODEL, "--cache-dir", str(caches.project), "--exclude", "*.bin", "cons*", "orig*/*"
    )
    assert hub.count(SHARD).finished == n_finished
