"""Sequences of different length on their way through the model together.

Invariant: a row's numbers are those of the sequence alone, to rounding: padding stands on the left,
is masked, and counts for no position.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext

import torch
from transformers import DynamicCache, PreTrainedModel

from engine.hook_names import HookPoint
from engine.hooks import BatchRecording, record_batch
from engine.resident import ResidentSource
from engine.steering_operators import ReadySteering
from engine.steering_session import Member, SteeringSession
from engine.tokenizing import begins_with_bos


class PaddedBatch:
    """A batch, and where it is in its sequences. For one use."""

    def __init__(
        self,
        resident: ResidentSource,
        group: Sequence[tuple[int, ...]],
        n_prompts: Sequence[int],
        steering: ReadySteering | None,
        keep_residual: bool,
    ) -> None:
        """Makes a batch.

        Args:
            resident: the source.
            group: ids of each sequence, at least one.
            n_prompts: of each, how many of them are the prompt's.
            steering: made ready for this source; None is unsteered.
            keep_residual: whether to record the SAE's hook point.
        """
        self._model: PreTrainedModel = resident.language.model
        self.group = group
        self.width = max(len(ids) for ids in group)
        self.paddings = [self.width - len(ids) for ids in group]
        device = resident.language.device
        end_id = min(resident.language.end_ids, default=0)
        rows = [[end_id] * n + list(ids) for n, ids in zip(self.paddings, group, strict=True)]
        self.ids = torch.tensor(rows, device=device)
        columns = torch.arange(self.width, device=device)
        padding = torch.tensor(self.paddings, device=device)[:, None]
        self._mask = (columns >= padding).long()
        self._positions = (columns - padding).clamp_min(0)
        self._hook: HookPoint | None = resident.source.hook if keep_residual else None
        self._session = None
        if steering is not None:
            tokenizer = resident.language.tokenizer
            members = [
                Member(n_prompt, int(begins_with_bos(tokenizer, ids)), n_padding)
                for n_prompt, ids, n_padding in zip(n_prompts, group, self.paddings, strict=True)
            ]
            self._session = SteeringSession(steering, members)

    def gates(self, row: int) -> tuple[bool | None, ...]:
        """Of each intervention, whether its gate opened for this row; None where it has none."""
        if self._session is None:
            return ()
        numbers = range(len(self._session.ready.spec.interventions))
        found = [self._session.gate(number) for number in numbers]
        return tuple(None if gate is None else gate[row] for gate in found)

    @contextmanager
    def attached(self) -> Iterator[BatchRecording | None]:
        """Steers and records every forward pass inside the block."""
        with (
            nullcontext() if self._session is None else self._session.attached(self._model),
            nullcontext() if self._hook is None else record_batch(self._model, self._hook) as found,
        ):
            yield found

    def extend(self) -> None:
        """Makes room for one more column."""
        self._mask = torch.cat([self._mask, self._mask.new_ones(len(self.group), 1)], dim=1)
        self._positions = self._positions[:, -1:] + 1

    def forward(
        self, ids: torch.Tensor, first: int, cache: DynamicCache | None, is_last_only: bool
    ) -> torch.Tensor:
        """Logits in float32, of all columns or of the last one alone."""
        if self._session is not None:
            self._session.begin(first)
        logits: torch.Tensor = self._model(
            input_ids=ids,
            attention_mask=self._mask,
            position_ids=self._positions,
            past_key_values=cache,
            use_cache=cache is not None,
            logits_to_keep=1 if is_last_only else 0,
        ).logits
        return logits.float()
