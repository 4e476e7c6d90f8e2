"""Jobs of queries: followed, cancelled at once, kept within bounds."""

from __future__ import annotations

import threading
import time

import pytest

from dashboard import query_jobs
from dashboard.query_jobs import QueryJobs, QueryJobView
from store.errors import QueryError
from store.records import PastQuery
from tests.dashboard.conftest import Bench

ENDLESS = "SELECT count(*) FROM range(1000000000) a, range(1000000000) b"


def ended(jobs: QueryJobs, job_id: str) -> QueryJobView:
    jobs.wait(job_id, 30)
    job = jobs.find(job_id)
    assert job is not None
    assert not job.is_active
    return job


def test_a_job_ends_with_its_rows_and_is_noted(bench: Bench) -> None:
    noted: list[PastQuery] = []
    seen = threading.Event()

    def note(past: PastQuery) -> None:
        noted.append(past)
        seen.set()

    jobs = bench.services.query_jobs
    job = ended(jobs, jobs.submit("SELECT 42 AS answer", "ann", on_end=note))
    assert job.result is not None
    assert job.result.rows == [(42,)]
    assert seen.wait(10)
    assert (noted[0].sql, noted[0].n_rows, noted[0].failure) == ("SELECT 42 AS answer", 1, None)


def test_a_job_that_is_refused_ends_with_the_reason(bench: Bench) -> None:
    jobs = bench.services.query_jobs
    job = ended(jobs, jobs.submit("DROP TABLE base.runs", "ann"))
    assert isinstance(job.error, QueryError)
    assert job.error.kind == "refused"


def test_a_cancelled_job_is_over_at_once_and_is_not_noted(bench: Bench) -> None:
    noted: list[PastQuery] = []
    jobs = bench.services.query_jobs
    job_id = jobs.submit(ENDLESS, "ann", timeout_s=60, on_end=noted.append)
    time.sleep(0.2)
    running = jobs.find(job_id)
    assert running is not None
    assert running.is_active
    jobs.cancel(job_id)
    job = jobs.find(job_id)
    assert job is not None
    assert isinstance(job.error, QueryError)
    assert job.error.kind == "cancelled"
    jobs.cancel(job_id)
    assert not noted
    assert ended(jobs, jobs.submit("SELECT 1", "ann")).result is not None


def test_results_over_the_budget_are_let_go_the_oldest_first(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(query_jobs, "MAX_KEPT_BYTES", 100_000)
    jobs = bench.services.query_jobs
    ids = []
    for _ in range(4):
        ids.append(jobs.submit("SELECT repeat('x', 100) FROM range(400)", "ann"))
        jobs.wait(ids[-1], 30)
    assert jobs.find(ids[0]) is None
    assert jobs.find(ids[-1]) is not None
    assert jobs.find("nothing") is None
    assert jobs.find(None) is None


def test_more_queries_than_can_wait_are_refused(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(query_jobs, "MAX_ACTIVE", 1)
    jobs = bench.services.query_jobs
    job_id = jobs.submit(ENDLESS, "ann", timeout_s=60)
    with pytest.raises(QueryError, match="are running"):
        jobs.submit("SELECT 1", "bob")
    jobs.cancel(job_id)
