"""The store and its peers, measured in one run: figures for the table, and for programs.

Invariant: a peer that cannot be measured is told in a sentence, and says nothing of the others.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from scripts.benchmarks.activation_data import RUN_TOKENS, make_corpus
from scripts.benchmarks.figures import Comparison, Side
from scripts.benchmarks.store_peers import (
    ParquetScanned,
    Peer,
    PeerFigures,
    SparseSafetensors,
    TokenOrderRows,
    measure_peer,
)
from scripts.benchmarks.store_postgres import PostgresServer, find_postgres
from scripts.benchmarks.store_scale import N_CONTEXTS, StoreFigures, measure_store

AIM_BYTES = 8.0
AIM_TOP_MS = 5.0
AIM_RUN_MS = 10.0
AIM_INGEST_PER_S = 4e6
AIM_RATIO = 3.0
AIM_MEMORY_BYTES = 2e9
_MAX_LOCAL = 100_000_000
_MAX_POSTGRES = 5_000_000
"""Activations at which loading a peer takes minutes."""


@dataclass(frozen=True, slots=True)
class StoreReport:
    """What was measured.

    Attributes:
        comparisons: for the table.
        details: by name, for programs.
        skipped: a sentence for each peer that was left out.
    """

    comparisons: tuple[Comparison, ...]
    details: dict[str, object]
    skipped: tuple[str, ...]


def measure_store_and_peers(work_dir: Path, n_activations: int, repeats: int) -> StoreReport:
    """Fills and reads the store, then each peer, in folders that are removed after each."""
    corpus = make_corpus()
    folder = work_dir / "scale"
    folder.mkdir()
    ours = measure_store(folder / "store.duckdb", corpus, n_activations, repeats)
    shutil.rmtree(folder)
    skipped = []
    peers = []
    n_local = min(n_activations, _MAX_LOCAL)
    sides: list[tuple[Callable[[], Peer], int]] = [
        (partial(TokenOrderRows, folder), n_local),
        (partial(ParquetScanned, folder), n_local),
        (partial(SparseSafetensors, folder), min(n_local, _MAX_LOCAL // 5)),
    ]
    binaries = find_postgres()
    if binaries is None:
        skipped.append("PostgreSQL 15 is not installed: it is left out.")
    else:
        sides.append((partial(PostgresServer, binaries), min(n_activations, _MAX_POSTGRES)))
    for make, count in sides:
        folder.mkdir()
        peers.append(measure_peer(make(), corpus, count, repeats))
        shutil.rmtree(folder)
    return StoreReport(_comparisons(ours, peers), _details(ours, peers), tuple(skipped))


def _details(ours: StoreFigures, peers: Sequence[PeerFigures]) -> dict[str, object]:
    return {
        **asdict(ours),
        "top_contexts_ms": max(ours.top_contexts_ms.values()),
        "top_contexts_ms_by_frequency": ours.top_contexts_ms,
        "peers": [asdict(peer) for peer in peers],
    }


def _comparisons(ours: StoreFigures, peers: Sequence[PeerFigures]) -> tuple[Comparison, ...]:
    name = f"this store, {ours.n_activations / 1e6:,.1f} million"
    top_ms = max(ours.top_contexts_ms.values())
    labels = [f"{peer.name}, {peer.n_activations / 1e6:,.1f} million" for peer in peers]
    pairs = list(zip(labels, peers, strict=True))
    per_byte = [_side(label, peer.bytes_per_activation, "B") for label, peer in pairs]
    per_top = [_side(label, peer.top_contexts_ms, "ms") for label, peer in pairs]
    per_run = [_side(label, peer.run_read_ms, "ms") for label, peer in pairs]
    per_second = [_side(label, peer.ingest_per_s / 1e6, "million/s") for label, peer in pairs]
    ratio, memory = ours.read_during_ingest_ratio, ours.peak_memory_bytes
    return (
        _comparison(
            "Bytes an activation on disk, all that is stored of the runs counted",
            (
                _side(name, ours.bytes_per_activation, "B"),
                _side("of it in blocks that are in use", ours.used_bytes_per_activation, "B"),
                *per_byte,
            ),
            f"at most {AIM_BYTES}",
            ours.bytes_per_activation <= AIM_BYTES,
        ),
        _comparison(
            f"Top {N_CONTEXTS} contexts of a feature, the slowest of frequent to rare",
            (_side(name, top_ms, "ms"), *per_top),
            f"at most {AIM_TOP_MS} ms",
            top_ms <= AIM_TOP_MS,
        ),
        _comparison(
            f"All activations of a run of {RUN_TOKENS} tokens",
            (_side(name, ours.run_read_ms, "ms"), *per_run),
            f"at most {AIM_RUN_MS} ms",
            ours.run_read_ms <= AIM_RUN_MS,
        ),
        _comparison(
            "Ingest, merging included",
            (_side(name, ours.ingest_per_s / 1e6, "million/s"), *per_second),
            f"at least {AIM_INGEST_PER_S / 1e6} million/s",
            ours.ingest_per_s >= AIM_INGEST_PER_S,
        ),
        _comparison(
            "A read while others write and segments are merged, to the same when idle",
            (_side(name, ratio, "times"),),
            f"at most {AIM_RATIO} times",
            ratio <= AIM_RATIO,
        ),
        _comparison(
            "Peak memory of the process that writes",
            (_side(name, memory / 1e9, "GB"),),
            f"at most {AIM_MEMORY_BYTES / 1e9} GB",
            memory <= AIM_MEMORY_BYTES,
        ),
    )


def _side(name: str, value: float, unit: str) -> Side:
    return Side(name, value, value, value, unit)


def _comparison(title: str, sides: tuple[Side, ...], aim: str, is_reached: bool) -> Comparison:
    return Comparison(title, sides, None, "", aim, is_reached)
