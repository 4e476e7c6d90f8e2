"""Operators and conditions made ready to run: what of an intervention is the same at every token.

Invariant: everything that is read from the SAE's files or the store is here, read once; where in
the sequence an operator applies is not known here but given with each forward pass.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from engine.sae_config import SaeConfig
from engine.sae_features import FeatureReader
from engine.steering import Change, along, clamp_by, erase_by, scale_by
from store.interventions import Condition, Intervention, SteeringSpec


@dataclass(frozen=True, slots=True, eq=False)
class ReadyCondition:
    """A condition and what its score is computed with.

    Attributes:
        layer: decoder layer after which it is read; -1 is the embedding.
        columns: of its features among those that are read together there; None for a vector.
        weights: float32, [n_features], or the vector, [d_model].
    """

    condition: Condition
    layer: int
    columns: torch.Tensor | None
    weights: torch.Tensor

    def to(self, device: torch.device) -> ReadyCondition:
        """The same on another device."""
        columns = None if self.columns is None else self.columns.to(device)
        return replace(self, columns=columns, weights=self.weights.to(device))

    def holds(self, hidden: torch.Tensor, activations: torch.Tensor | None) -> torch.Tensor:
        """Whether it holds, bool [...].

        Args:
            hidden: the residual, [..., d_model].
            activations: of the features that are read there, float32 [..., n].
        """
        if self.columns is None:
            rows = hidden.float()
            score = rows @ self.weights
            if self.condition.measure == "cosine":
                length = rows.norm(dim=-1) * self.weights.norm()
                score = score / length.clamp_min(torch.finfo(torch.float32).tiny)
        else:
            if activations is None:
                raise ValueError("a condition on features needs their activations")
            score = activations[..., self.columns] @ self.weights
        score = score + self.condition.bias
        is_above = self.condition.side == "above"
        return score > self.condition.threshold if is_above else score < self.condition.threshold


@dataclass(frozen=True, slots=True, eq=False)
class Operator:
    """An intervention and what it is computed with.

    Attributes:
        number: its place in the steering.
        layer: decoder layer after which it applies; -1 is the embedding.
        direction: float32 [d_model]: of length 1 where it is erased.
        pushed: raw strength times direction, where that is the same on every token; else None.
        column: of its feature among those that are read there; None where none is read.
        rounding: relative difference of activations that counts as none.
        scaled_by: the SAE whose input's scale the change is multiplied by; None where it has none.
    """

    number: int
    intervention: Intervention
    layer: int
    direction: torch.Tensor
    pushed: torch.Tensor | None
    column: int | None
    rounding: float
    scaled_by: SaeConfig | None
    condition: ReadyCondition | None

    @property
    def is_idle(self) -> bool:
        """Whether it changes nothing on any token: a strength of 0, or a factor of 1."""
        idle = {"add": 0.0, "scale": 1.0}
        return idle.get(self.intervention.kind) == self.raw_strength

    @property
    def is_reading(self) -> bool:
        """Whether it needs the activation of its feature on every token."""
        return self.column is not None

    @property
    def raw_strength(self) -> float:
        """Factor of the direction, or activation to clamp to."""
        strength = self.intervention.raw_strength
        if strength is None:
            raise ValueError("an intervention must be resolved before it is run")
        return strength

    def to(self, device: torch.device) -> Operator:
        """The same on another device."""
        pushed = None if self.pushed is None else self.pushed.to(device)
        return replace(self, direction=self.direction.to(device), pushed=pushed)

    def change(
        self,
        hidden: torch.Tensor,
        activations: torch.Tensor | None,
        where: torch.Tensor | None,
        scale: torch.Tensor | None,
    ) -> Change:
        """What it adds to the residual of one forward pass.

        Args:
            hidden: [batch, tokens, d_model].
            activations: float32 [batch, tokens, n], where it needs one.
            where: bool [batch, tokens, 1]: where it applies; None is everywhere.
            scale: of the SAE's input, [batch, tokens, 1], if the change is scaled.
        """
        if self.pushed is not None:
            delta = self.pushed if scale is None else self.pushed * scale
            return Change(delta, where)
        if self.intervention.kind == "erase":
            return along(erase_by(hidden, self.direction), self.direction, where)
        if activations is None or self.column is None:
            raise ValueError("this operator needs the activation of its feature")
        activation = activations[..., self.column]
        if self.intervention.kind == "scale":
            amount = scale_by(activation, self.raw_strength)
        else:
            amount = clamp_by(activation, self.raw_strength, self.rounding)
        change = along(amount, self.direction, where)
        return change if scale is None else Change(change.delta * scale, change.where)


@dataclass(frozen=True, slots=True, eq=False)
class LayerOperators:
    """All that happens after one decoder layer.

    Attributes:
        operators: that apply there, in their order.
        gates: conditions that are read there once, on the last token of the prompt, by number.
        tests: conditions that are read there on every token, by number.
        reader: of features needed on every token; gate_reader: needed by gates alone.
    """

    layer: int
    operators: tuple[Operator, ...]
    gates: dict[int, ReadyCondition]
    tests: dict[int, ReadyCondition]
    reader: FeatureReader | None
    gate_reader: FeatureReader | None

    def to(self, device: torch.device) -> LayerOperators:
        """The same on another device; features are read where their SAE is."""
        return replace(
            self,
            operators=tuple(item.to(device) for item in self.operators),
            gates={number: item.to(device) for number, item in self.gates.items()},
            tests={number: item.to(device) for number, item in self.tests.items()},
        )


@dataclass(frozen=True, slots=True, eq=False)
class ReadySteering:
    """Resolved interventions, ready to be applied to runs of the source that they were made for.

    Attributes:
        spec: the interventions, resolved.
        layers: what happens where, in the order of layers.
        measured: reads the steered features where they are reported; None if none is.
        measured_columns: number of an intervention to the column of its feature in `measured`.
        report_layers: of every intervention, the layer that it applies after.
        report_units: of every intervention, float32 [d_model]: its direction at length 1.
        report_lengths: of every intervention, the length of its direction.
    """

    spec: SteeringSpec
    layers: tuple[LayerOperators, ...]
    measured: FeatureReader | None
    measured_columns: dict[int, int]
    report_layers: tuple[int, ...]
    report_units: tuple[torch.Tensor, ...]
    report_lengths: tuple[float, ...]
