"""Tensors to store records: the only place where they meet.

Invariant: nothing is rounded below float32, no activation above zero is lost, none is invented.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from engine.generation import Generation
from engine.sae import SparseCode
from store.records import Activations, Token


def to_activations(code: SparseCode, first_position: int) -> Activations:
    """A sparse code, ordered by (row, feature), as store columns ordered by (position, feature).

    Args:
        code: of the residual rows that the run has computed itself.
        first_position: of the token of row 0.
    """
    return Activations(
        position=code.row.numpy().astype(np.int32) + np.int32(first_position),
        feature=code.feature.numpy().astype(np.int32),
        value=code.value.float().numpy(),
    )


def count_active(code: SparseCode) -> tuple[int, ...]:
    """Features above zero on each row of a sparse code that is complete (not capped)."""
    return tuple(np.bincount(code.row.numpy(), minlength=code.n_rows).tolist())


def to_tokens(
    generation: Generation,
    texts: Sequence[str],
    prompt_roles: Sequence[str],
    special_ids: frozenset[int],
    n_active: Sequence[int],
) -> tuple[Token, ...]:
    """One record a token.

    Args:
        generation: n tokens.
        texts: n pieces of text.
        prompt_roles: roles of the prompt's tokens; generated ones are the assistant's.
        special_ids: ids of special tokens.
        n_active: features above zero on each of the n tokens.
    """
    steps = (None, *generation.steps)
    return tuple(
        Token(
            position=position,
            token_id=token_id,
            text=text,
            role=prompt_roles[position] if position < generation.n_prompt else "assistant",
            is_generated=position >= generation.n_prompt,
            is_special=token_id in special_ids,
            logprob=step.logprob if step else None,
            rank=step.rank if step else None,
            entropy=step.entropy if step else None,
            n_active=n_active[position],
        )
        for position, (token_id, text, step) in enumerate(
            zip(generation.token_ids, texts, steps, strict=True)
        )
    )
