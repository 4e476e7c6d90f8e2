"""The memo: a stored run is returned, a run under way is joined, any other is computed once.

Invariant: for one run key there is at most one computation at a time and at most one stored run;
whoever gets a run that he did not cause to be computed is counted as a hit.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from engine.flights import Flight, Job
from engine.tools.rounds import PriorRounds
from store.runs import RunRepository
from store.specs import RunSpec

NUMERICS_VERSION = "1"
"""Part of every run key; raised when equal specs would leave other numbers than before."""


class Memo:
    """Decides, for each request, between the store, a flight under way and a new flight."""

    def __init__(self, runs: RunRepository, launch: Callable[[Flight], None]) -> None:
        """Makes a memo without flights.

        Args:
            runs: the store's runs.
            launch: hands a new flight to the worker.
        """
        self._runs = runs
        self._launch = launch
        self._flights: dict[str, Flight] = {}
        self._lock = threading.Lock()

    def request(
        self,
        spec: RunSpec,
        run_key: str,
        asked_by: str,
        prior: PriorRounds | None = None,
        is_bulk: bool = False,
    ) -> Job:
        """A job on the run: done already, joined, or new.

        Args:
            spec: of the run. run_key: its key.
            asked_by: who asks.
            prior: rounds of an exchange with tools that come before it.
            is_bulk: it is one of many: it may be stored together with others, and is no hit.

        Raises:
            StoreError: if the store cannot be read.
        """
        with self._lock:
            flight = self._flights.get(run_key)
            if flight is not None and flight.share(asked_by):
                return Job(flight, asked_by, shared=True)
            if not self._runs.has_run(run_key):
                flight = Flight(run_key, spec, asked_by, prior, is_bulk)
                flight.join()
                self._flights[run_key] = flight
                self._launch(flight)
                return Job(flight, asked_by)
        return self._recalled(spec, run_key, asked_by, is_bulk)

    def recall(self, spec: RunSpec, run_key: str, asked_by: str, is_bulk: bool) -> Job | None:
        """A job on a stored run that ends what a spec begins; None if it is no longer stored.

        Raises:
            StoreError: if the store cannot be read.
        """
        if not self._runs.has_run(run_key):
            return None
        return self._recalled(spec, run_key, asked_by, is_bulk)

    def _recalled(self, spec: RunSpec, run_key: str, asked_by: str, is_bulk: bool) -> Job:
        stored = Flight(run_key, spec, asked_by)
        stored.end("done")
        if not is_bulk:
            self._runs.insert_hit(run_key, asked_by)
        return Job(stored, asked_by, memoized=True)

    def land(self, flight: Flight) -> None:
        """Takes an ended flight out, and counts its sharers as hits if its run was stored."""
        with self._lock:
            if self._flights.get(flight.run_key) is flight:
                del self._flights[flight.run_key]
        # nobody can join any more: the list of sharers is complete
        sharers = flight.shared_by()
        if sharers and self._runs.has_run(flight.run_key):
            for asked_by in sharers:
                self._runs.insert_hit(flight.run_key, asked_by)
