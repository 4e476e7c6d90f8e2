"""Synthetic activations of a wide SAE: skewed over its features, a fixed number a token.

Invariant: the same seed gives the same data. Frequencies of features are log-normal (a few fire on
every fourth token, most on less than one in ten thousand), and so are values, rounded to bfloat16.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt

from store.keys import source_id
from store.records import Activations, Run, TokenColumns, WholeRun
from store.specs import Message, ModelSpec, SourceSpec

D_SAE = 286_720
PER_TOKEN = 64
RUN_TOKENS = 500
RUN_ACTIVATIONS = RUN_TOKENS * PER_TOKEN
_SPREAD = 2.0
"""Standard deviation of the logarithm of a feature's frequency."""
_VALUE_SPREAD = 0.8
_TABLE_SIZE = 2**24
_RARE_SHARE = 1e-5 / PER_TOKEN
_VOCABULARY = np.array([f" w{number}" for number in range(50_000)], np.object_)

SOURCE = SourceSpec(
    name="synthetic",
    model=ModelSpec("synthetic/model", "0" * 40, "bfloat16"),
    sae_id="synthetic/sae",
    sae_revision="0" * 40,
    hook_name="blocks.30.hook_resid_post",
    layer=30,
    d_in=5120,
    d_sae=D_SAE,
    architecture="topk",
)

SOURCE_ID = source_id(SOURCE)


@dataclass(frozen=True, slots=True)
class SyntheticCorpus:
    """Runs of RUN_TOKENS tokens with PER_TOKEN activations each.

    Attributes:
        features: one of each kind: `frequent` fires on about a quarter of the tokens, `middling` is
            one that half of all activations are of more frequent ones, `rare` fires on one token of
            a hundred thousand.
    """

    features: dict[str, int]
    _lottery: npt.NDArray[np.int32]

    def iter_batches(
        self, n_activations: int, batch_runs: int, seed: int = 0
    ) -> Iterator[list[WholeRun]]:
        """Runs with so many activations in all, batch_runs at a time, keys counted from 0."""
        n_runs = max(1, n_activations // RUN_ACTIVATIONS)
        random = np.random.default_rng(seed)
        for first in range(0, n_runs, batch_runs):
            yield [
                self._make_run(index, random)
                for index in range(first, min(first + batch_runs, n_runs))
            ]

    def _make_run(self, index: int, random: np.random.Generator) -> WholeRun:
        feature = self._draw(random)
        value = np.exp(
            _VALUE_SPREAD * random.standard_normal(feature.size, dtype=np.float32)
        ).astype(np.float32)
        words = random.integers(0, len(_VOCABULARY), RUN_TOKENS).astype(np.int32)
        half = RUN_TOKENS // 2
        is_generated = np.arange(RUN_TOKENS) >= half
        tokens = TokenColumns(
            token_id=words,
            text=_VOCABULARY[words].tolist(),
            role=["user"] * half + ["assistant"] * (RUN_TOKENS - half),
            is_generated=is_generated,
            is_special=np.zeros(RUN_TOKENS, np.bool_),
            logprob=-random.exponential(1.0, RUN_TOKENS).astype(np.float32).astype(np.float64),
            rank=random.geometric(0.5, RUN_TOKENS).astype(np.int32) - 1,
            entropy=random.exponential(2.0, RUN_TOKENS).astype(np.float32).astype(np.float64),
            n_active=np.full(RUN_TOKENS, PER_TOKEN, np.int32),
        )
        activations = Activations(
            np.repeat(np.arange(RUN_TOKENS, dtype=np.int32), PER_TOKEN), feature.ravel(), value
        )
        return WholeRun(_run(index, half), tokens, activations)

    def _draw(self, random: np.random.Generator) -> npt.NDArray[np.int32]:
        """Distinct features of each token, rising."""
        drawn = self._lottery[random.integers(0, len(self._lottery), (RUN_TOKENS, PER_TOKEN))]
        drawn.sort(axis=1)
        while (again := drawn[:, 1:] == drawn[:, :-1]).any():
            drawn[:, 1:][again] = random.integers(0, D_SAE, int(again.sum()), dtype=np.int32)
            drawn.sort(axis=1)
        return drawn


def make_corpus() -> SyntheticCorpus:
    """The corpus; making it takes a second."""
    weight = np.exp(_SPREAD * np.random.default_rng(1).standard_normal(D_SAE))
    share = weight / weight.sum()
    tickets = np.floor(np.cumsum(share) * _TABLE_SIZE).astype(np.int64)
    lottery = np.repeat(np.arange(D_SAE, dtype=np.int32), np.diff(tickets, prepend=0))
    order = np.argsort(-share)
    half = int(np.searchsorted(np.cumsum(share[order]), 0.5))
    rare = int(np.searchsorted(-share[order], -_RARE_SHARE))
    features = {"frequent": order[0], "middling": order[half], "rare": order[rare]}
    return SyntheticCorpus({kind: int(feature) for kind, feature in features.items()}, lottery)


def with_index(item: WholeRun, index: int) -> WholeRun:
    """Another run of the same features, its values shifted against them, its text its own."""
    run = replace(item.run, run_key=f"{index:064x}")
    values = np.roll(item.activations.value, index)
    if not isinstance(item.tokens, TokenColumns):
        raise TypeError("runs of a corpus have their tokens as columns")
    words = (item.tokens.token_id + np.int32(index % len(_VOCABULARY))) % len(_VOCABULARY)
    tokens = replace(item.tokens, token_id=words, text=_VOCABULARY[words].tolist())
    return WholeRun(run, tokens, replace(item.activations, value=values))


def _run(index: int, n_prompt: int) -> Run:
    question = f"question {index}"
    return Run(
        run_key=f"{index:064x}",
        source_id=SOURCE_ID,
        source_name=SOURCE.name,
        kind="generation",
        prompt=question,
        response=f"answer {index}",
        messages=(Message("user", question),),
        n_prompt_tokens=n_prompt,
        n_generated_tokens=RUN_TOKENS - n_prompt,
        max_new_tokens=RUN_TOKENS,
        temperature=0.0,
        top_p=1.0,
        top_k=0,
        seed=0,
        tools=False,
        steering="[]",
        finish_reason="stop",
        compute_s=1.0,
        hits=0,
        created_by="bench",
        created_at=datetime(2030, 1, 1, tzinfo=UTC),
    )
