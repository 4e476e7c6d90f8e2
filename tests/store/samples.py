"""Sources and runs to store: small, deterministic, and whole."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np

from store.keys import source_id
from store.records import Activations, Run, Token
from store.specs import Message, ModelSpec, SourceSpec

D_SAE = 1000

SOURCE = SourceSpec(
    name="demo",
    model=ModelSpec("org/model", "a" * 40, "float32"),
    sae_id="org/sae",
    sae_revision="b" * 40,
    hook_name="blocks.1.hook_resid_post",
    layer=1,
    d_in=16,
    d_sae=D_SAE,
    architecture="topk",
)


def make_run(index: int = 0, n_tokens: int = 6, source: SourceSpec = SOURCE) -> Run:
    """A run whose key is its index in 64 digits."""
    return Run(
        run_key=f"{index:064x}",
        source_id=source_id(source),
        source_name=source.name,
        kind="generation",
        prompt=f"question {index}",
        response=f"answer {index}",
        messages=(Message("system", "Be brief."), Message("user", f"question {index}")),
        n_prompt_tokens=n_tokens // 2,
        n_generated_tokens=n_tokens - n_tokens // 2,
        max_new_tokens=128,
        temperature=0.5,
        top_p=0.9,
        top_k=40,
        seed=2**63 - 1,
        tools=False,
        steering="[]",
        finish_reason="stop",
        compute_s=1.25,
        hits=0,
        created_by="ada",
        created_at=datetime(2030, 1, 2, 3, 4, 5, 678, tzinfo=UTC),
    )


def make_tokens(n_tokens: int = 6, per_token: int = 3) -> tuple[Token, ...]:
    """Tokens w0 w1 w2 ..., the second half generated."""
    return tuple(
        Token(
            position=position,
            token_id=100 + position,
            text=f" w{position}",
            role="user" if position < n_tokens // 2 else "assistant",
            is_generated=position >= n_tokens // 2,
            is_special=position == 0,
            logprob=None if position == 0 else -0.1 * position,
            rank=None if position == 0 else position,
            entropy=None if position == 0 else 0.5,
            n_active=per_token,
        )
        for position in range(n_tokens)
    )


def make_activations(seed: int = 0, n_tokens: int = 6, per_token: int = 3) -> Activations:
    """`per_token` features a token; feature 7 fires on every token, stronger with the seed."""
    random = np.random.default_rng(seed)
    chosen = [
        np.sort(np.append(random.choice(np.arange(8, D_SAE), per_token - 1, replace=False), 7))
        for _ in range(n_tokens)
    ]
    values = random.random(n_tokens * per_token) + 0.001
    feature = np.concatenate(chosen).astype(np.int32)
    values[feature == 7] += seed
    return Activations(
        position=np.repeat(np.arange(n_tokens, dtype=np.int32), per_token),
        feature=feature,
        value=values.astype(np.float32),
    )


def renamed(name: str) -> SourceSpec:
    """The same source under another nickname."""
    return replace(SOURCE, name=name)
