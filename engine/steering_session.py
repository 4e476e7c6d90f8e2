"""Steering applied to the runs of one batch: hooks that change the residual, and always detach.

Invariant: positions are those of each whole sequence, however it reaches the model (at once, in
chunks, token by token, behind padding or a shared beginning); all changes at one hook point are
computed from the residual as it arrives there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import torch
from torch import nn

from engine.errors import CaptureError, SourceMismatchError
from engine.hooks import decoder_layers
from engine.positions import Range, to_range
from engine.sae import input_scale
from engine.steering import Change, change_residual
from engine.steering_operators import LayerOperators, Operator, ReadySteering


@dataclass(frozen=True, slots=True)
class Member:
    """One sequence of a batch.

    Attributes:
        n_prompt: tokens of its prompt.
        n_left_alone: 1 if it begins with a BOS, which is never steered; else 0.
        n_padding: columns before its first token.
    """

    n_prompt: int
    n_left_alone: int = 0
    n_padding: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Note:
    """What one intervention saw and left in one forward pass of a single sequence.

    Attributes:
        first: position of row 0.
        before, after: [tokens, d_model], in the model's dtype.
        where: bool [tokens], or None for all: the rows that it applied to.
    """

    first: int
    before: torch.Tensor
    after: torch.Tensor
    where: torch.Tensor | None


class _Extent:
    """The columns that an operator applies to, of each row of a batch."""

    def __init__(self, ranges: Sequence[Range], paddings: Sequence[int]) -> None:
        firsts = [one[0] + n for one, n in zip(ranges, paddings, strict=True)]
        ends = [one[1] + n for one, n in zip(ranges, paddings, strict=True)]
        self._first = torch.tensor(firsts)[:, None]
        self._end = torch.tensor(ends)[:, None]
        self._outer = (min(firsts), max(ends))
        self._inner = (max(firsts), min(ends))

    def touches(self, first: int, end: int) -> bool:
        return self._outer[0] < end and first < self._outer[1]

    def mask(self, first: int, end: int, device: torch.device) -> torch.Tensor | None:
        """Bool [batch, end - first, 1]; None if all of these columns are in it."""
        if self._inner[0] <= first and end <= self._inner[1]:
            return None
        column = torch.arange(first, end)
        return ((column >= self._first) & (column < self._end))[..., None].to(device)


class SteeringSession:
    """One batch of sequences under one steering; made for it, used once."""

    def __init__(
        self, ready: ReadySteering, members: Sequence[Member], is_noted: bool = False
    ) -> None:
        """Makes a session.

        Args:
            ready: the steering.
            members: the sequences, in the order of the batch.
            is_noted: whether to keep what the interventions saw and left; of one sequence only.
        """
        self.ready = ready
        self.ranges: tuple[tuple[Range, ...], ...] = tuple(
            tuple(to_range(item.positions, one.n_prompt, one.n_left_alone) for one in members)
            for item in ready.spec.interventions
        )
        paddings = [one.n_padding for one in members]
        self._extents = [_Extent(ranges, paddings) for ranges in self.ranges]
        self._last_prompt = [one.n_prompt - 1 + one.n_padding for one in members]
        self._is_noted = is_noted
        self._notes: dict[int, list[Note]] = {}
        self._gates: dict[int, tuple[torch.Tensor, tuple[bool, ...]]] = {}
        self._held: dict[int, torch.Tensor] = {}
        self._first = 0

    def begin(self, first: int) -> None:
        """Says which column of the batch the next forward pass begins with."""
        self._first = first

    def gate(self, number: int) -> tuple[bool, ...] | None:
        """Of each sequence, whether the gate of an intervention opened; None if it has none."""
        found = self._gates.get(number)
        return None if found is None else found[1]

    def notes(self, number: int) -> tuple[Note, ...]:
        """What an intervention saw and left, in the order of positions."""
        return tuple(self._notes.get(number, ()))

    @contextmanager
    def attached(self, model: nn.Module) -> Iterator[None]:
        """Steers every forward pass inside the block.

        What records a hook point inside this block sees the residual as it is after steering.

        Raises:
            SourceMismatchError: if the model has no such layer.
        """
        layers = decoder_layers(model)
        with ExitStack() as until_left:
            for item in self.ready.layers:
                if item.layer >= len(layers):
                    raise SourceMismatchError(
                        f"Layer {item.layer} is to be steered, but the model has {len(layers)}.",
                        "Use a vector that was made with this model.",
                    )
                module = layers[max(item.layer, 0)]
                placed = item.to(_device_of(module))
                if item.layer < 0:
                    handle = module.register_forward_pre_hook(
                        self._on_input(placed), with_kwargs=True
                    )
                else:
                    handle = module.register_forward_hook(self._on_output(placed))
                until_left.callback(handle.remove)
            yield

    def _on_output(self, at: LayerOperators) -> Callable[..., object]:
        def change(_module: nn.Module, _args: object, output: object) -> object:
            # transformers 4 returned a tuple, 5 returns the tensor itself
            if isinstance(output, tuple):
                changed = self._change(at, output[0])
                return None if changed is None else (changed, *output[1:])
            return self._change(at, output)

        return change

    def _on_input(
        self, at: LayerOperators
    ) -> Callable[..., tuple[tuple[object, ...], dict[str, object]] | None]:
        def change(
            _module: nn.Module, args: tuple[object, ...], kwargs: dict[str, object]
        ) -> tuple[tuple[object, ...], dict[str, object]] | None:
            if args:
                changed = self._change(at, args[0])
                return None if changed is None else ((changed, *args[1:]), kwargs)
            changed = self._change(at, kwargs.get("hidden_states"))
            return None if changed is None else (args, kwargs | {"hidden_states": changed})

        return change

    def _change(self, at: LayerOperators, hidden: object) -> torch.Tensor | None:
        """The residual after this layer's operators; None where nothing changes it."""
        if not isinstance(hidden, torch.Tensor) or hidden.ndim != 3:
            raise CaptureError("A steering hook saw something else than a residual [b, t, d].")
        first, end = self._first, self._first + hidden.shape[1]
        for number, gate in at.gates.items():
            self._open(number, gate, at, hidden)
        extents = self._extents
        tests = [number for number in at.tests if extents[number].touches(first, end)]
        active = [item for item in at.operators if extents[item.number].touches(first, end)]
        if not tests and not active:
            return None
        activations = None
        if at.reader is not None and (tests or any(item.is_reading for item in active)):
            activations = at.reader.read(hidden)
        for number in tests:
            self._held[number] = at.tests[number].holds(hidden, activations)[..., None]
        changes: list[Change] = []
        applied: list[tuple[int, torch.Tensor | None]] = []
        for item in active:
            if self._is_closed(item):
                continue
            where = self._where(item, first, end, hidden.device)
            applied.append((item.number, where))
            if not item.is_idle:
                config = item.scaled_by
                scale = None if config is None else input_scale(config, hidden.float())
                changes.append(item.change(hidden, activations, where, scale))
        changed = change_residual(hidden, changes) if changes else None
        if self._is_noted:
            self._note(first, hidden, hidden if changed is None else changed, applied)
        return changed

    def _open(self, number: int, gate: object, at: LayerOperators, hidden: torch.Tensor) -> None:
        """Decides a gate in the forward pass that the last token of the prompt is in."""
        places = [column - self._first for column in self._last_prompt]
        if not all(0 <= place < hidden.shape[1] for place in places):
            return
        rows = hidden[torch.arange(len(places)), torch.tensor(places)]
        activations = None if at.gate_reader is None else at.gate_reader.read(rows)
        is_open = at.gates[number].holds(rows, activations)
        self._gates[number] = (is_open[:, None, None], tuple(is_open.tolist()))

    def _is_closed(self, item: Operator) -> bool:
        """Whether a gate keeps the operator from every sequence."""
        if item.condition is None or item.condition.condition.at != "last_prompt":
            return False
        return not any(self.gate(item.number) or ())

    def _where(
        self, item: Operator, first: int, end: int, device: torch.device
    ) -> torch.Tensor | None:
        where = self._extents[item.number].mask(first, end, device)
        if item.condition is None:
            return where
        if item.condition.condition.at == "here":
            holds = self._held[item.number].to(device)
        else:
            is_open, each = self._gates[item.number]
            if all(each):
                return where
            holds = is_open.to(device)
        return holds if where is None else where & holds

    def _note(
        self,
        first: int,
        before: torch.Tensor,
        after: torch.Tensor,
        applied: Sequence[tuple[int, torch.Tensor | None]],
    ) -> None:
        for number, where in applied:
            rows = None if where is None else where.expand(1, before.shape[1], 1)[0, :, 0]
            self._notes.setdefault(number, []).append(Note(first, before[0], after[0], rows))


def _device_of(module: nn.Module) -> torch.device:
    return next(module.parameters()).device
