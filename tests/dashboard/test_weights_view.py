"""What is said of weights: sizes, times, states, in words."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dashboard.weights_view import (
    component_words,
    format_bytes,
    format_left,
    fraction_done,
    is_worth_showing,
    progress_words,
    short_revision,
    size_words,
    source_words,
)
from tests.dashboard.fake_weights import FakeWeights
from tests.dashboard.sample_sources import (
    BIG,
    COMMIT,
    DEMO,
    HALF,
    PLAIN,
    PROGRESS,
    missing,
    partial,
    whole,
)


@pytest.mark.parametrize(
    ("n_bytes", "said"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1_000, "1 kB"),
        (48_700, "48.7 kB"),
        (3_690_000, "3.69 MB"),
        (250_000_000, "250 MB"),
        (47_100_000_000, "47.1 GB"),
        (999_960_000_000, "1000 GB"),
        (2_300_000_000_000, "2.3 TB"),
    ],
)
def test_bytes_have_a_unit_and_three_digits(n_bytes: int, said: str) -> None:
    assert format_bytes(n_bytes) == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.2, "1 s"), (59.4, "59 s"), (150, "2 min"), (3_700, "1 h 02 min"), (90_000, "25 h 00 min")],
)
def test_time_left_is_coarse(seconds: float, said: str) -> None:
    assert format_left(seconds) == said


def test_progress_says_bytes_rate_time_left_and_files() -> None:
    assert progress_words(PROGRESS) == "1.75 GB of 7 GB · 35 MB/s · 2 min left · 1 of 3 files"
    unknown = replace(PROGRESS, bytes_done=0, bytes_per_s=0.0, left_s=None)
    assert progress_words(unknown) == "0 B of 7 GB · 1 of 3 files"


def test_progress_never_leaves_its_bar() -> None:
    assert fraction_done(PROGRESS) == 0.25
    assert fraction_done(replace(PROGRESS, bytes_done=2 * PROGRESS.bytes_total)) == 1.0
    assert fraction_done(replace(PROGRESS, bytes_done=0, bytes_total=0)) == 1 / 3
    assert fraction_done(replace(PROGRESS, bytes_total=0, files_total=0)) == 0.0


def test_a_revision_is_cut_and_keeps_its_kind() -> None:
    assert short_revision(COMMIT) == "95a6d26c"
    assert short_revision("sha256:0123456789") == "sha256 01234567"
    assert short_revision(None) == "–"


def test_a_source_is_as_good_as_its_worst_component() -> None:
    assert source_words(DEMO, whole(DEMO), None).text == "ready, verified"
    assert source_words(BIG, missing(BIG), None).text == "missing"
    assert source_words(HALF, partial(HALF), None).text == "model partial"
    model, tokenizer, sae = whole(HALF).components
    lost = replace(sae, state="missing", problem="It is not here.")
    without = replace(whole(HALF), components=(model, tokenizer, lost))
    assert source_words(HALF, without, None).text == "SAE missing"
    unverified = replace(whole(PLAIN), components=(replace(model, check="unverified"),))
    assert source_words(PLAIN, unverified, None).text == "ready"


def test_whole_files_that_do_not_fit_each_other_are_not_called_ready() -> None:
    unfit = replace(DEMO, problem="The SAE reads 9 dimensions, but the model is 8 wide.")
    assert source_words(unfit, whole(DEMO), None).text == "cannot be used"
    assert source_words(unfit, None, None).tone == "bad"


def test_what_is_done_with_a_source_comes_before_its_state() -> None:
    transfer = FakeWeights().start_transfer("download", BIG.name, "ann")
    words = source_words(BIG, missing(BIG), transfer)
    assert (words.text, words.tone) == ("downloading", "busy")


def test_files_that_changed_since_they_were_checked_are_damaged_wherever_they_lie() -> None:
    model = whole(DEMO).components[0]
    for state in ("folder", "local", "linked", "global"):
        damaged = replace(model, state=state, check="damaged", problem="It is damaged.")
        assert component_words(damaged).text == "damaged"


def test_the_size_is_that_of_the_files_once_they_are_whole() -> None:
    assert size_words(BIG, missing(BIG)) == "53 GB"
    assert size_words(BIG, whole(BIG)) == "5.12 GB"
    assert size_words(replace(BIG, size_bytes=None), None) == "–"


def test_how_a_download_ended_is_shown_until_all_is_here() -> None:
    fake = FakeWeights()
    cancelled = fake.cancel_transfer(fake.start_transfer("download", BIG.name, "ann").transfer_id)
    assert is_worth_showing(cancelled, missing(BIG))
    assert not is_worth_showing(cancelled, whole(BIG))
    assert is_worth_showing(replace(cancelled, state="done"), whole(BIG))
    assert is_worth_showing(replace(cancelled, kind="verify", state="failed"), whole(BIG))
