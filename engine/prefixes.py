"""What runs leave in memory for later ones that begin as they did: keys, values and statistics.

Invariant: a prefix is offered only to a run of the same source and steering whose token ids begin
as its own do, and only as far as both are steered at the same positions; what it holds is never
changed, only read. The least used leave when room is short.

Source: prefix caching as in https://docs.vllm.ai/en/latest/design/prefix_caching.html.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import DynamicCache, PreTrainedModel

from engine.positions import Range, n_treated_alike
from engine.readings import Reading
from engine.steps import GenerationStep

Layers = tuple[tuple[torch.Tensor, torch.Tensor], ...]

MIN_SHARED = 16
"""Fewer tokens than these are computed again: looking them up would not pay."""
MAX_BYTES = 2 * 2**30
"""Most keys and values that are kept, of all runs together."""
MAX_KEPT = 256
"""Most runs that are kept: looking through thousands would take longer than a short run does."""


@dataclass(frozen=True, slots=True, eq=False)
class Prefix:
    """A computed run, as far as later ones need it.

    Attributes:
        run_key: of the stored run.
        steering: canonical JSON of its interventions: they change every activation after them.
        token_ids: n. steps: statistics of tokens 1 to n - 1. n_active: of all n tokens.
        layers: keys and values of all n tokens, each [1, heads, n, width], a pair a layer.
        ranges: where each of its interventions applied.
        readings: what they achieved.
    """

    run_key: str
    steering: str
    token_ids: tuple[int, ...]
    steps: tuple[GenerationStep, ...]
    n_active: tuple[int, ...]
    layers: Layers
    ranges: tuple[Range, ...] = ()
    readings: tuple[Reading, ...] = ()

    @property
    def size_bytes(self) -> int:
        """Memory that its keys and values take."""
        return sum(
            tensor.numel() * tensor.element_size() for layer in self.layers for tensor in layer
        )


@dataclass(frozen=True, slots=True, eq=False)
class Shared:
    """The beginning of a run that another one has computed.

    Attributes:
        run_key: of the run that has it.
        n_tokens: that need not be computed; at least one of the prompt's always is.
        steps: statistics of tokens 1 to n_tokens; the last was predicted by a shared one.
        n_active: of the n_tokens tokens.
        cache: keys and values of the n_tokens tokens, free to grow.
        readings: what interventions achieved on them.
    """

    run_key: str
    n_tokens: int
    steps: tuple[GenerationStep, ...]
    n_active: tuple[int, ...]
    cache: DynamicCache
    readings: tuple[Reading, ...] = ()


class Prefixes:
    """The prefixes of one loaded source; used by the worker's thread alone."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._kept: list[Prefix] = []

    def __len__(self) -> int:
        return len(self._kept)

    def find(
        self,
        model: PreTrainedModel,
        token_ids: Sequence[int],
        steering: str,
        ranges: Sequence[Range] = (),
    ) -> Shared | None:
        """The longest beginning of a prompt that a kept run has computed.

        Args:
            model: of the source; its config shapes the cache.
            token_ids: of the prompt.
            steering: canonical JSON of the run's interventions.
            ranges: where each of them applies in this run.
        """

        def n_shared(kept: Prefix) -> int:
            alike = n_treated_alike(kept.ranges, ranges)
            return min(n_common(kept.token_ids, token_ids), alike + 1)

        candidates = [kept for kept in self._kept if kept.steering == steering]
        if not candidates:
            return None
        best = max(candidates, key=n_shared)
        # the last common token is computed again: what it predicts is not kept
        n_tokens = n_shared(best) - 1
        if n_tokens < MIN_SHARED:
            return None
        self._kept.remove(best)
        self._kept.append(best)
        return Shared(
            run_key=best.run_key,
            n_tokens=n_tokens,
            steps=best.steps[:n_tokens],
            n_active=best.n_active[:n_tokens],
            cache=_beginning(model, best.layers, n_tokens),
            readings=tuple(reading.before_position(n_tokens) for reading in best.readings),
        )

    def keep(self, prefix: Prefix) -> None:
        """Keeps a run that is stored, in place of one that it continues; others make room."""
        self._kept = [
            kept
            for kept in self._kept
            if kept.steering != prefix.steering
            or n_treated_alike(kept.ranges, prefix.ranges) < len(kept.token_ids)
            or n_common(kept.token_ids, prefix.token_ids) < len(kept.token_ids)
        ]
        self._kept.append(prefix)
        del self._kept[:-MAX_KEPT]
        while self._kept and sum(kept.size_bytes for kept in self._kept) > self._max_bytes:
            self._kept.pop(0)

    def forget(self, run_key: str) -> None:
        """Drops what a run has left: it is no longer stored."""
        self._kept = [kept for kept in self._kept if kept.run_key != run_key]

    def clear(self) -> None:
        """Gives all memory back."""
        self._kept.clear()


def n_common(left: Sequence[int], right: Sequence[int]) -> int:
    """How many ids two sequences share from their start."""
    shortest = min(len(left), len(right))
    for index in range(shortest):
        if left[index] != right[index]:
            return index
    return shortest


def find_layers(cache: DynamicCache, n_tokens: int) -> Layers | None:
    """Keys and values of a cache, or None if a layer has let go of the first tokens.

    A sliding window of attention does so; what it forgot cannot be shared.
    """
    layers = []
    for layer in cache.layers:
        keys, values = getattr(layer, "keys", None), getattr(layer, "values", None)
        if not isinstance(keys, torch.Tensor) or not isinstance(values, torch.Tensor):
            return None
        if keys.ndim != 4 or keys.shape[-2] != n_tokens:
            return None
        layers.append((keys, values))
    return tuple(layers)


def _beginning(model: PreTrainedModel, layers: Layers, n_tokens: int) -> DynamicCache:
    """A cache of its own with the keys and values of the first tokens."""
    beginning = DynamicCache(config=model.config)
    with torch.inference_mode():
        for index, (keys, values) in enumerate(layers):
            # this copies: the cache appends to what it has by making it anew
            beginning.update(keys[..., :n_tokens, :], values[..., :n_tokens, :], index)
    return beginning
