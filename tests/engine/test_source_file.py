"""Sources as data: the built-in ones, those of the settings, and those that users add to a file."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import ValidationError

from engine.catalog import Catalog
from engine.definitions import SaeOverrides, SourceDefinition
from engine.errors import (
    EngineError,
    RequestError,
    SourceMismatchError,
    UnknownSourceError,
    UnsupportedError,
    WeightsMissingError,
)
from engine.hook_names import parse_hook_name
from engine.registry import get_registered, is_registered_name
from engine.settings import EngineSettings
from engine.source_entries import InvalidSourceError, parse_entries, to_toml
from engine.source_file import SourceFile, SourceFileError
from engine.sources import NamedSources
from tests.engine.checkpoints import D_MODEL, save_sae

MINE = SourceDefinition(
    name="mine",
    title='A "quoted" title — with 日本語 \\ and \x7f',
    model="org/model",
    sae="org/sae:blocks.1.hook_resid_post",
    model_revision="refs/pr/3",
    dtype="bfloat16",
    overrides=SaeOverrides("blocks.1.hook_resid_post", "topk", 5, False),
    origin="user",
)


def _settings(tmp_path: Path, **values: object) -> EngineSettings:
    given = {
        "featurebook_sources": tmp_path / "sources.toml",
        "model_cache_dir": tmp_path / "models_cache",
        **values,
    }
    return EngineSettings(_env_file=None, **given)  # type: ignore[arg-type]


def test_the_built_in_sources_are_whole_and_agree_with_the_registry(tmp_path: Path) -> None:
    known = NamedSources(_settings(tmp_path)).definitions()
    assert list(known) == [
        "demo",
        "mistral-small-24b",
        "mistral-7b",
        "phi-3-mini",
        "gpt2-small",
        "gemma-2-2b",
        "llama-3.1-8b",
    ]
    for definition in known.values():
        claims = definition.claims
        assert definition.origin == "builtin"
        assert claims.license
        if definition.name == "demo":
            continue
        assert claims.model_bytes
        assert claims.n_layers
        assert claims.d_model
        if definition.sae is not None:
            assert claims.hook_name
            assert parse_hook_name(claims.hook_name).layer < claims.n_layers
            assert claims.d_sae
            assert claims.sae_bytes
        if is_registered_name(definition.sae):
            entry = get_registered(definition.sae or "")
            layer = parse_hook_name(claims.hook_name or "").layer
            assert str(layer) in entry.inside


def test_an_entry_reads_back_as_it_was_written() -> None:
    assert parse_entries(to_toml(MINE), "user") == {"mine": MINE}
    dotted = replace(MINE, name="a.b-c_d", title="A")
    assert parse_entries(to_toml(dotted), "user") == {"a.b-c_d": dotted}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"name": "Mine"}, "name must have"),
        ({"name": "a b"}, "name must have"),
        ({"name": "x" * 65}, "name must have"),
        ({"name": ""}, "name must have"),
        ({"model": ""}, "repository"),
        ({"model": "org/model:inside"}, "whole repository"),
        ({"model": "no such thing"}, "neither org/name nor a path"),
        ({"model": "a/b/c"}, "neither org/name nor a path"),
        ({"model": "org/mod\nel"}, "folder is needed"),
        ({"model": None}, "model"),
        ({"sae": "org/sae:../../etc"}, "neither"),
        ({"sae": "sae-lens:release"}, "RELEASE/SAE_ID"),
        ({"model_revision": "a b"}, "without blanks"),
        ({"overrides": SaeOverrides(hook_name="blocks.1.hook_mlp_out")}, "hook point"),
        ({"overrides": SaeOverrides(activation="relu", k=3)}, "topk alone"),
        ({"overrides": SaeOverrides(activation="topk", k=0)}, "greater than or equal to 1"),
        ({"overrides": SaeOverrides(activation="silu")}, "activation"),  # type: ignore[arg-type]
        ({"sae": None}, "names no sae"),
        ({"dtype": "int8"}, "dtype"),
        ({"name": "demo"}, "own has that name"),
        ({"name": "custom"}, "own has that name"),
        ({"name": "gpt2-small"}, "own has that name"),
        ({"title": "\ud800"}, "cannot be"),
        ({"title": "x" * 201}, "title"),
        ({"sae": "sae-lens:llama_scope_lxr_8x/l1r_8x", "sae_revision": "v1"}, "no sae_revision"),
    ],
)
def test_what_is_wrong_is_refused_in_one_sentence_and_nothing_is_saved(
    tmp_path: Path, change: dict[str, object], says: str
) -> None:
    sources = NamedSources(_settings(tmp_path))
    with pytest.raises(InvalidSourceError, match=says) as caught:
        sources.add(replace(MINE, **change))  # type: ignore[arg-type]
    assert "\n" not in caught.value.message
    assert isinstance(caught.value, RequestError)
    assert not (tmp_path / "sources.toml").exists()


def test_added_sources_are_there_for_other_readers_and_can_be_replaced_and_removed(
    tmp_path: Path,
) -> None:
    settings = _settings(tmp_path, featurebook_sources=tmp_path / "new folder" / "sources.toml")
    sources, others = NamedSources(settings), NamedSources(settings)
    sources.add(MINE)
    sources.add(replace(MINE, name="other", title="Other"))
    assert others.definitions()["mine"] == MINE
    changed = replace(MINE, title="Changed", model="org/another")
    others.add(changed)
    assert sources.definitions()["mine"] == changed
    assert list(sources.definitions())[-2:] == ["other", "mine"]
    others.remove("mine")
    assert "mine" not in sources.definitions()
    assert "other" in sources.definitions()
    with pytest.raises(UnknownSourceError):
        sources.remove("mine")
    with pytest.raises(InvalidSourceError):
        sources.remove("demo")


def test_an_edit_keeps_comments_and_entries_written_by_hand(tmp_path: Path) -> None:
    path = tmp_path / "sources.toml"
    by_hand = """\
# ours
[sources.first]
model = "org/first" # the good one
[sources.first.claims]
model_bytes = 5

# about the second
["sources"."second"]
model = 'org/second'"""
    path.write_text(by_hand, encoding="utf-8")
    file = SourceFile(path)
    file.add(MINE)
    assert path.read_text(encoding="utf-8").startswith(by_hand)
    assert list(file.read()[0]) == ["first", "second", "mine"]
    file.remove("first")
    text = path.read_text(encoding="utf-8")
    assert text.startswith("# ours\n")
    assert "org/first" not in text
    assert "model_bytes" not in text
    assert list(file.read()[0]) == ["second", "mine"]
    assert list(path.parent.glob(".*.new")) == []


def test_a_file_that_cannot_be_edited_safely_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "sources.toml"
    text = '[sources]\nfirst = { model = "org/first" }\n'
    path.write_text(text)
    file = SourceFile(path)
    assert list(file.read()[0]) == ["first"]
    with pytest.raises(SourceFileError, match="cannot be edited"):
        file.remove("first")
    assert path.read_text() == text


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"[sources.x", "cannot be read"),
        (b"\xff\xfe", "not UTF-8"),
        (b"[elsewhere]\na = 1", "may stand in it"),
        (b"sources = 3", "may stand in it"),
    ],
)
def test_a_broken_file_costs_its_own_sources_only_and_is_never_overwritten(
    tmp_path: Path, content: bytes, says: str
) -> None:
    path = tmp_path / "sources.toml"
    path.write_bytes(content)
    sources = NamedSources(_settings(tmp_path))
    assert "demo" in sources.definitions()
    assert says in (sources.problem() or "")
    with pytest.raises(EngineError):
        sources.add(MINE)
    assert path.read_bytes() == content


def test_a_wrong_entry_is_left_out_and_the_others_count(tmp_path: Path) -> None:
    (tmp_path / "sources.toml").write_text(
        '[sources.good]\nmodel = "org/good"\n[sources.bad]\nmodel = "org/bad"\nlayers = 3\n'
        '[sources.demo]\nmodel = "org/not-the-demo"\n'
    )
    sources = NamedSources(_settings(tmp_path))
    known = sources.definitions()
    assert "good" in known
    assert "bad" not in known
    assert known["demo"].origin == "builtin"
    assert "'bad'" in (sources.problem() or "")


def test_a_name_taken_by_a_built_in_source_is_told(tmp_path: Path) -> None:
    (tmp_path / "sources.toml").write_text('[sources.demo]\nmodel = "org/not-the-demo"\n')
    assert "'demo'" in (NamedSources(_settings(tmp_path)).problem() or "")


def test_a_mended_file_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "sources.toml"
    sources = NamedSources(_settings(tmp_path))
    path.write_text("[")
    assert sources.problem() is not None
    path.write_text(to_toml(MINE))
    assert sources.problem() is None
    assert sources.definitions()["mine"] == MINE


ADD_MANY = """
import sys
from pathlib import Path
from engine.definitions import SourceDefinition
from engine.source_file import SourceFile
path, prefix = sys.argv[1:]
for number in range(8):
    SourceFile(Path(path)).add(SourceDefinition(f"{prefix}{number}", "T", "org/model", None))
"""


def test_processes_and_threads_that_add_at_once_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "sources.toml"
    file = SourceFile(path)

    def add_many(prefix: str) -> None:
        for number in range(8):
            file.add(replace(MINE, name=f"{prefix}{number}"))

    processes = [
        subprocess.Popen([sys.executable, "-c", ADD_MANY, str(path), f"process{number}-"])
        for number in range(2)
    ]
    threads = [threading.Thread(target=add_many, args=(f"thread{number}-",)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [process.wait(60) for process in processes] == [0, 0]
    assert len(file.read()[0]) == 32


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(SourceFileError, match="cannot be changed"):
        SourceFile(tmp_path / "sources.toml").add(MINE)


def test_a_path_that_is_no_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "sources.toml").mkdir()
    sources = NamedSources(_settings(tmp_path))
    assert "cannot be read" in (sources.problem() or "")
    with pytest.raises(SourceFileError, match="cannot be changed"):
        sources.add(MINE)


def test_a_link_to_the_file_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "sources.toml").symlink_to(tmp_path / "kept.toml")
    SourceFile(tmp_path / "sources.toml").add(MINE)
    assert (tmp_path / "sources.toml").is_symlink()
    assert "org/model" in (tmp_path / "kept.toml").read_text(encoding="utf-8")


# ----------------------------------------------------------------- what is checked before saving


def test_a_repository_need_not_be_here_to_be_added(tmp_path: Path) -> None:
    catalog = Catalog(_settings(tmp_path))
    info = catalog.add(MINE)
    assert (info.origin, info.is_ready, info.sae_id) == ("user", False, MINE.sae)
    assert info.hook_name == "blocks.1.hook_resid_post"
    assert "weights.py download mine" in (info.problem or "")


def test_parts_that_are_here_are_checked_though_the_others_are_not(tmp_path: Path) -> None:
    catalog = Catalog(_settings(tmp_path))
    with pytest.raises(WeightsMissingError, match="no folder"):
        catalog.add(replace(MINE, sae=str(tmp_path / "absent"), sae_revision=None))
    with pytest.raises(UnknownSourceError):
        catalog.add(replace(MINE, sae="sae-lens:no-such-release/x"))
    save_sae(tmp_path / "sae", hook_name="blocks.2.hook_resid_post")
    hook = "blocks.1.hook_resid_post"
    with pytest.raises(UnsupportedError, match="reads blocks"):
        catalog.add(replace(MINE, sae=str(tmp_path / "sae"), overrides=SaeOverrides(hook)))
    assert "mine" not in NamedSources(_settings(tmp_path)).definitions()


def test_folders_are_checked_before_they_are_saved(checkpoints: Path, tmp_path: Path) -> None:
    catalog = Catalog(_settings(tmp_path))
    model, sae = str(checkpoints / "llama"), tmp_path / "a folder ü" / "sae"
    given = SourceDefinition("mine", "Mine", model, str(sae), origin="user")
    with pytest.raises(WeightsMissingError, match="no folder"):
        catalog.add(given)
    save_sae(sae, d_in=D_MODEL // 2)
    with pytest.raises(SourceMismatchError):
        catalog.add(given)
    with pytest.raises(WeightsMissingError, match="no folder"):
        catalog.add(replace(given, model=str(tmp_path / "absent"), sae=None))
    assert "mine" not in NamedSources(_settings(tmp_path)).definitions()
    save_sae(sae)
    assert catalog.add(given).is_ready
    assert catalog.resolve("mine").spec.layer == 1
    with pytest.raises(EngineError):
        catalog.add(replace(given, overrides=SaeOverrides(activation="gated")))
    assert catalog.definition("mine") == given


# -------------------------------------------------------------------------------------- settings


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DEVICE", "gpu"),
        ("DEVICE", "cuda:x"),
        ("SAE_K", "0"),
        ("SAE_K", "many"),
        ("SAE_ACTIVATION", "silu"),
        ("SAE_HOOK_NAME", "blocks.1.hook_mlp_out"),
        ("HF_ENDPOINT", "hub.example.org"),
        ("HF_HUB_OFFLINE", "perhaps"),
        ("MODEL_DTYPE", "int8"),
    ],
)
def test_a_wrong_setting_is_told_by_its_name(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ValidationError) as caught:
        EngineSettings(_env_file=None)
    [error] = caught.value.errors()
    assert error["loc"] == (name.lower(),)
    assert "\n" not in error["msg"]


def test_settings_come_from_the_environment_then_the_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    env_file = tmp_path / ".env"
    env_file.write_text("HF_HOME=/from/file\nHF_TOKEN=hf_secret\nDEVICE=cuda:0,cuda:1\nSAE_K=\n")
    monkeypatch.setenv("HF_HOME", "/from/environment")
    settings = EngineSettings(_env_file=env_file)
    assert settings.hf_home == Path("/from/environment")
    assert settings.device == "cuda:0,cuda:1"
    assert settings.sae_k is None
    assert "hf_secret" not in repr(settings)


def test_the_settings_of_the_sae_reach_the_custom_source(tmp_path: Path) -> None:
    settings = _settings(
        tmp_path, mistral_model="org/model", sae_path="org/sae", sae_activation="topk", sae_k=7
    )
    custom = NamedSources(settings).definitions()["custom"]
    assert custom.overrides == SaeOverrides(None, "topk", 7, None)
    assert custom.origin == "settings"
