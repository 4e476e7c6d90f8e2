"""scripts/weights.py download: the plan, the question, the bytes, and every way that it ends."""

from __future__ import annotations

import io
import json
import re
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.errors import WEIGHTS_COMMAND
from engine.weights.parts import TransferProgress
from scripts.weights_commands.transfer_progress import describe
from tests.hub.repositories import INDEX
from tests.scripts.weights_hub import SHARDS, WeightsBench, make_bench


@pytest.fixture
def bench(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[WeightsBench]:
    yield from make_bench(tmp_path, capsys, monkeypatch)


class _Person(io.StringIO):
    """Someone who answers."""

    def isatty(self) -> bool:
        return True


def test_without_a_person_the_plan_is_printed_and_nothing_is_fetched(
    bench: WeightsBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    status, out, err = bench.run("download", "custom")
    assert status == 1
    assert "org/tiny at " in out
    assert "org/saes at " in out
    assert "8 files, 180," in out
    assert "0 bytes are here already" in out
    assert " free" in out
    assert all(name in out for name in SHARDS)
    assert err.count("\n") == 1
    assert "Give --yes to fetch without asking." in err
    assert bench.hub.count(SHARDS[0]).gets == 0
    assert not bench.cache.exists()


@pytest.mark.parametrize(("answer", "is_fetched"), [("y\n", True), ("n\n", False), ("", False)])
def test_a_person_is_asked(
    bench: WeightsBench, monkeypatch: pytest.MonkeyPatch, answer: str, is_fetched: bool
) -> None:
    monkeypatch.setattr(sys, "stdin", _Person(answer))
    status, out, err = bench.run("download", "custom")
    assert "Fetch 18" in out
    assert (status == 0) == is_fetched
    assert (bench.hub.count(SHARDS[0]).finished == 1) == is_fetched
    assert ("Nothing was fetched." in err) != is_fetched


def test_with_yes_everything_is_fetched_once_and_verified(bench: WeightsBench) -> None:
    status, out, err = bench.run("download", "custom", "--yes", "--max-workers", "2")
    assert (status, err) == (0, "")
    assert "org/tiny: 8 files, 18" in out
    assert "verified: " in out
    status, out, err = bench.run("download", "custom")
    assert (status, err) == (0, "")
    assert "0 bytes to fetch" in out
    assert [bench.hub.count(name).finished for name in SHARDS] == [1, 1, 1]
    _, out, _ = bench.run("status", "custom", "--json")
    components = json.loads(out)["sources"][0]["components"]
    assert {item["check"] for item in components} == {"verified"}


def test_json_holds_the_plan_and_what_was_done(
    bench: WeightsBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    status, out, _ = bench.run("download", "custom", "--json")
    assert status == 1
    planned = json.loads(out)
    assert planned["missing_bytes"] > 180_000
    assert planned["folders"] == []
    status, out, _ = bench.run("download", "custom", "--json", "--yes")
    assert status == 0
    done = json.loads(out)
    assert [plan["repo_id"] for plan in done["plans"]] == ["org/tiny", "org/saes"]
    assert all(Path(folder).is_dir() for folder in done["folders"])


def test_another_revision_is_fetched_beside(bench: WeightsBench) -> None:
    (bench.root / "model" / "config.json").write_text("{}")
    commit = bench.hub.publish("org/tiny", bench.root / "model", "v2")
    status, out, _ = bench.run("download", "custom", "--yes", "--revision", "v2")
    assert status == 0
    assert f"org/tiny at {commit[:12]} (v2)" in out
    assert "The source reads another revision" in out
    status, _, err = bench.run("download", "custom", "--yes", "--revision", "v3")
    assert status == 1
    assert "has no revision 'v3'" in err


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("gated", "is gated"),
        ("private", "has no repository 'org/tiny', or does not show it to you"),
        ("token", "does not accept the token that was sent for 'org/tiny'"),
        ("absent", "has no repository 'org/absent'"),
        ("revision", "'org/tiny' has no revision 'v9'"),
        ("cut", "connection to the hub broke while 'org/tiny'"),
        ("unreachable", "cannot be reached for 'org/tiny': Connection refused"),
        ("full", "GB, and the disk of"),
        ("pickle", "offers no safetensors that can be loaded, only pytorch_model.bin"),
        ("shard", "names 1 file that the repository does not have: model-00002"),
        ("outside", "names a file outside of its folder: '../../x.safetensors'"),
        ("link", "leads nowhere"),
        ("damaged", "arrived damaged and were removed: model-00002"),
        ("ambiguous", "holds 2 SAEs"),
        ("unknown", "There is no source named 'nothing'"),
        ("offline", "HF_HUB_OFFLINE is set"),
        ("file", "is a file"),
    ],
)
def test_each_failure_is_one_line_with_a_hint(
    bench: WeightsBench, monkeypatch: pytest.MonkeyPatch, fault: str, words: str
) -> None:
    source, more = "custom", []
    model = bench.root / "model"
    if fault == "gated":
        bench.hub.gate("org/tiny")
    elif fault in ("private", "token"):
        bench.hub.require_token("org/tiny", "hf_right")
        if fault == "token":
            monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    elif fault == "absent":
        monkeypatch.setenv("MISTRAL_MODEL", "org/absent")
    elif fault == "revision":
        more = ["--revision", "v9"]
    elif fault == "cut":
        bench.hub.cut("metadata", "org/tiny", times=None)
    elif fault == "unreachable":
        monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    elif fault == "full":
        monkeypatch.setattr("engine.weights.plan.free_bytes", lambda folder: 1000)
    elif fault == "pickle":
        for path in model.glob("model*"):
            path.unlink()
        (model / "consolidated.safetensors").unlink()
        shutil.rmtree(model / "original")
        bench.hub.publish("org/tiny", model)
    elif fault == "shard":
        (model / SHARDS[1]).unlink()
        bench.hub.publish("org/tiny", model)
    elif fault == "outside":
        index = {"weight_map": {"a": "../../x.safetensors"}}
        (model / INDEX).write_text(json.dumps(index), encoding="utf-8")
        bench.hub.publish("org/tiny", model)
    elif fault == "link":
        bench.cache.mkdir()
        (bench.cache / "models--org--tiny").symlink_to(bench.root / "unplugged")
    elif fault == "damaged":
        bench.hub.corrupt(SHARDS[1])
    elif fault == "ambiguous":
        monkeypatch.setenv("SAE_PATH", "org/saes")
    elif fault == "unknown":
        source = "nothing"
    elif fault == "offline":
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    elif fault == "file":
        bench.cache.write_text("")
    status, _, err = bench.run("download", source, "--yes", *more)
    assert status == 1
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert words in err
    assert err.rstrip().endswith(")")


def test_a_link_whose_target_is_gone_is_removed_as_the_hint_says(bench: WeightsBench) -> None:
    bench.cache.mkdir()
    link = bench.cache / "models--org--tiny"
    link.symlink_to(bench.root / "unplugged")
    _, _, err = bench.run("download", "custom", "--yes")
    assert f"{WEIGHTS_COMMAND} link org/tiny" in err
    assert f"{WEIGHTS_COMMAND} clear org/tiny" in err
    assert bench.run("link", "org/tiny")[0] == 1
    status, out, _ = bench.run("clear", "org/tiny", "--yes")
    assert status == 0, out
    assert bench.run("download", "custom", "--yes")[0] == 0
    assert not link.is_symlink()


def test_the_number_of_workers_is_a_small_whole_number(
    bench: WeightsBench, capsys: pytest.CaptureFixture[str]
) -> None:
    for wrong in ("0", "33", "x", "-1", "1.5"):
        with pytest.raises(SystemExit) as caught:
            bench.run("download", "custom", f"--max-workers={wrong}")
        assert caught.value.code == 2
        assert "a whole number from 1 to 32" in capsys.readouterr().err


def test_ctrl_c_keeps_finished_shards_and_the_next_call_fetches_the_rest(
    bench: WeightsBench,
) -> None:
    bench.hub.slow(60_000)
    process = bench.start("download", "custom", "--yes", "--max-workers", "1")
    while not bench.hub.count(SHARDS[0]).finished and process.poll() is None:
        time.sleep(0.02)
    while not bench.hub.count(SHARDS[1]).n_bytes and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 1
    assert err == "Stopped. Finished files are kept; the next call fetches the rest.\n"
    assert not list(bench.cache.rglob("*.incomplete"))
    bench.hub.mend()
    status, out, _ = bench.run("download", "custom", "--yes")
    assert status == 0
    assert re.search(r"60\.\d kB are here already", out), out
    assert bench.hub.count(SHARDS[0]).finished == 1


def test_progress_says_bytes_rate_time_left_and_files() -> None:
    told = TransferProgress("downloading", 3, 23, 12_000_000_000, 48_000_000_000, 5e7, 720.0, "a")
    assert describe(told) == "12.0 GB of 48.0 GB, 50.0 MB/s, 12 min 00 s left, 3 of 23 files"
    first = TransferProgress("downloading", 0, 2, 0, 1000, 0.0, None)
    assert describe(first) == "0 bytes of 1.0 kB, 0 of 2 files"


def test_a_person_sees_the_progress_on_a_terminal(
    bench: WeightsBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
    bench.hub.slow(150_000)
    status, _, err = bench.run("download", "custom", "--yes")
    assert status == 0
    assert "downloading" in err
    assert "of 182" in err
    assert "files" in err
