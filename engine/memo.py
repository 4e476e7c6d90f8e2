"""The memo: a stored run is returned, a run under way is joined, any other is computed once.

Invariant: for one run key there is at most one computation at a time and at most one stored run;
whoever gets a run that he did not cause to be computed is counted as a hit.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from engine.flights import Flight, Job
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

    def request(self, spec: RunSpec, run_key: str, asked_by: str) -> Job:
        """A job on the run: done already, joined, or new.

        Raises:
            StoreError: if the store cannot be read.
        """
        with self._lock:
            flight = self._flights.get(run_key)
            if flight is not None and flight.share(asked_by):
                return Job(flight, asked_by, shared=True)
            if not self._runs.has_run(run_key):
                flight = Flight(run_key, spec, asked_by)
                flight.join()
                self._flights[run_key] = flight
                self._launch(flight)
                return Job(flight, asked_by)
        stored = Flight(run_key, spec, asked_by)
        stored.end("done")
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
