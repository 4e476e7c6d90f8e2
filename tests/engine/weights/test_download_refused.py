"""What the hub refuses, and what it sends that is not what it should be."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial

import pytest

from engine.errors import (
    HF_COMMAND,
    ConnectionLostError,
    DownloadError,
    GatedError,
    RepositoryError,
    UnsupportedError,
)
from engine.weights.download import download
from engine.weights.hub import Hub
from engine.weights.parts import DownloadPlan
from engine.weights.plan import plan_download
from tests.engine.weights.downloads import REPO, SHARDS, Bench, refused
from tests.hub.loopback import serve
from tests.hub.repositories import INDEX


def test_a_repository_that_does_not_exist_is_told_with_and_without_a_token(bench: Bench) -> None:
    words = "has no repository 'org/tiny', or does not show it to you"
    with serve({}) as empty:
        stranger = replace(bench.client, endpoint=empty.endpoint)
        known = replace(stranger, token="hf_mine")
        for client in (stranger, known):
            error = refused(partial(_plan_with, bench, client), RepositoryError, words)
            assert "hf auth login" in error.hint


def _plan_with(bench: Bench, client: Hub) -> DownloadPlan:
    return plan_download(REPO, None, bench.caches, client, "model")


def test_a_private_repository_wants_a_token_and_takes_the_right_one(bench: Bench) -> None:
    bench.hub.require_token(REPO, "hf_right")
    wrong = replace(bench.client, token="hf_wrong")
    error = refused(lambda: _plan_with(bench, wrong), RepositoryError, "does not accept the token")
    assert "HF_TOKEN" in error.hint
    right = replace(bench.client, token="hf_right")
    plan = _plan_with(bench, right)
    download(plan, right, bench.checksums, bench.told.append, lambda: False)
    assert bench.hub.count(SHARDS[0]).finished == 1


def test_a_gated_repository_names_the_page_where_its_licence_is_accepted(bench: Bench) -> None:
    bench.hub.gate(REPO)
    stranger = refused(bench.download, GatedError, "'org/tiny' is gated.*and no token was sent")
    known = replace(bench.client, token="hf_mine")
    words = "'org/tiny' is gated: its licence has not been accepted with this token"
    error = refused(partial(_plan_with, bench, known), GatedError, words)
    assert error.hint == stranger.hint
    assert "https://huggingface.co/org/tiny" in error.hint
    assert "hf auth login" in error.hint


@pytest.mark.parametrize(
    ("status", "token", "words"),
    [
        (401, None, "wants a token for 'org/tiny'"),
        (401, "hf_wrong", "does not accept the token that was sent for 'org/tiny'"),
        (403, "hf_weak", "This token may not read 'org/tiny'"),
    ],
)
def test_a_file_that_needs_another_token_says_so(
    bench: Bench, status: int, token: str | None, words: str
) -> None:
    plan = bench.plan()
    bench.hub.fail(status, "headers", SHARDS[1])
    client = replace(bench.client, token=token)
    error = refused(
        lambda: download(plan, client, bench.checksums, bench.told.append, lambda: False),
        RepositoryError,
        words,
    )
    assert "HF_TOKEN" in error.hint
    assert f"{HF_COMMAND} auth login" in error.hint
    assert bench.parts() == []


def test_a_file_that_left_the_hub_after_the_plan_is_told(bench: Bench) -> None:
    plan = bench.plan()
    del bench.hub.files(REPO, plan.commit)[SHARDS[1]]
    error = refused(
        lambda: download(plan, bench.client, bench.checksums, bench.told.append, lambda: False),
        RepositoryError,
        "A file of 'org/tiny' is no longer on the hub",
    )
    assert "the plan is made anew" in error.hint


def test_an_unknown_revision_is_told(bench: Bench) -> None:
    error = refused(lambda: bench.plan("v9"), RepositoryError, "'org/tiny' has no revision 'v9'")
    assert "main" in error.hint


def test_a_hub_that_is_no_hub_is_told(bench: Bench) -> None:
    bench.hub.fail(418, "metadata")
    refused(bench.plan, DownloadError, "status 418")


@pytest.mark.parametrize("status", [500, 503, 429])
def test_errors_of_the_hub_itself_are_told_after_another_attempt(bench: Bench, status: int) -> None:
    bench.hub.fail(status, "metadata", times=1)
    bench.plan()
    bench.hub.fail(status, "metadata", times=2)
    refused(bench.plan, ConnectionLostError, str(status))


def test_an_error_of_the_hub_in_the_middle_is_tried_again(bench: Bench) -> None:
    bench.hub.fail(500, "body", SHARDS[1], times=1)
    bench.download()
    assert [bench.hub.count(name).finished for name in SHARDS] == [1, 1, 1]


def test_bytes_of_the_right_length_but_wrong_are_removed_and_named(bench: Bench) -> None:
    bench.hub.corrupt(SHARDS[1], times=1)
    error = refused(bench.download, DownloadError, f"1 of 8 files .* damaged .*{SHARDS[1]}")
    assert "fetches only those" in error.hint
    plan = bench.plan()
    assert [file.path for file in plan.files if not file.is_present] == [SHARDS[1]]
    damaged = next(file for file in plan.files if file.path == SHARDS[1])
    assert damaged.sha256
    assert not list(bench.repository.rglob(damaged.sha256))
    bench.download()
    assert [bench.hub.count(name).finished for name in SHARDS] == [1, 2, 1]


def test_wrong_bytes_of_a_small_file_are_found_too(bench: Bench) -> None:
    bench.hub.corrupt("config.json", times=1)
    refused(bench.download, DownloadError, r"damaged .*config\.json")
    assert (bench.download() / "config.json").is_file()


def test_a_shard_that_the_hub_sends_cut_short_is_no_finished_shard(bench: Bench) -> None:
    bench.hub.truncate(SHARDS[1], to_bytes=1000)
    bench.n_rounds = 1
    refused(bench.download, ConnectionLostError, "connection to the hub broke")
    assert [file.path for file in bench.plan().files if not file.is_present] == [SHARDS[1]]
    assert bench.parts() == []


def test_a_shard_that_the_index_names_but_the_repository_lacks_is_told_before_a_byte(
    bench: Bench,
) -> None:
    (bench.root / "model" / SHARDS[1]).unlink()
    bench.hub.publish(REPO, bench.root / "model")
    error = refused(bench.download, UnsupportedError, f"index .* does not have: {SHARDS[1]}")
    assert "--revision" in error.hint
    assert bench.hub.count(SHARDS[0]).gets == 0


@pytest.mark.parametrize("name", ["../../evil.safetensors", "/etc/evil.safetensors", "a/../../b"])
def test_an_index_that_names_a_file_outside_is_refused_before_a_byte(
    bench: Bench, name: str
) -> None:
    content = {"weight_map": {"a": SHARDS[0], "b": name}}
    (bench.root / "model" / INDEX).write_text(json.dumps(content))
    bench.hub.publish(REPO, bench.root / "model")
    refused(bench.download, UnsupportedError, "names a file outside of its folder")
    assert bench.hub.count(SHARDS[0]).gets == 0
