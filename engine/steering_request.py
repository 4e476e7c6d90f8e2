"""Interventions as they are asked for, resolved for a source: checked, every strength made raw.

Invariant: a resolved intervention says everything that it does, so that its run key stands for one
computation, whatever is stored later; what cannot be run is refused here, with what would help.
Free of torch: a steered run that is stored is found without any.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from engine.catalog import ResolvedSource
from engine.errors import RequestError, SourceMismatchError, UnsupportedError
from engine.feature_maths.mapped_tensors import MappedMatrix
from engine.hook_names import HookPoint, Site, layer_of
from engine.model_config import ModelConfig, read_model_config
from engine.neutral_texts import neutral_texts
from engine.safetensors_header import read_header
from store.connection import Store
from store.feature_maxima import find_unsteered_max
from store.interventions import Condition, Intervention, SteeringSpec
from store.keys import source_id
from store.residual_norms import ResidualNormRepository
from store.steering_records import ResidualNorm, Vector
from store.vectors import VectorRepository

if TYPE_CHECKING:
    from engine.resident import ResidentSource

MOST_NORMS = 10.0
"""Longest change of a token, in mean residual norms: beyond it, no model says anything sensible."""


class NormsNeeded(Exception):  # noqa: N818 - a signal, not a fault
    """The residual norms of the source must be measured first."""


class SteeringResolver:
    """Resolves interventions against what is stored; any thread may call it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._norms = ResidualNormRepository(store)
        self._vectors = VectorRepository(store)

    def resolve(self, source: ResolvedSource, steering: SteeringSpec) -> SteeringSpec:
        """The interventions with every strength raw, every layer said, nothing left to look up.

        Raises:
            RequestError: naming what cannot be run on this source.
            UnsupportedError: if a feature is steered whose SAE has no decoder.
            SourceMismatchError: if a vector is of another model or width.
            VectorNotFoundError: if a vector is not stored.
            StoreError: if the store cannot be read.
            NormsNeeded: if the residual norms of the source were never measured.
        """
        if not steering.interventions:
            return steering
        norms = self._norms.find_norms(source_id(source.spec))
        # everything that can be refused without them is refused at once
        case = _Case(self._store, self._vectors, source, norms)
        resolved = tuple(case.resolve(item) for item in steering.interventions)
        if norms is None:
            raise NormsNeeded
        return SteeringSpec(resolved)

    def measure(
        self, resident: ResidentSource, is_toy: bool, is_cancelled: Callable[[], bool]
    ) -> None:
        """Measures the residual norms of a loaded source, once; on the worker's thread.

        Raises:
            UnsupportedError: if the residuals are no finite numbers.
            GenerationCancelled: if is_cancelled said so.
            StoreError: if they cannot be kept.
        """
        name = source_id(resident.source.spec)
        if self._norms.find_norms(name) is None:
            from engine.calibration import measure_norms

            texts_name, texts = neutral_texts(is_toy)
            self._norms.insert_norms(name, measure_norms(resident, texts, is_cancelled), texts_name)


class _Case:
    """One source, and what is known of it."""

    def __init__(
        self,
        store: Store,
        vectors: VectorRepository,
        source: ResolvedSource,
        norms: Mapping[int, ResidualNorm] | None,
    ) -> None:
        self._store = store
        self._vectors = vectors
        self._source = source
        self._norms = norms
        self._model: ModelConfig = read_model_config(source.model_dir)

    def resolve(self, item: Intervention) -> Intervention:
        if item.feature is not None:
            item = self._at_feature(item, item.feature)
        elif item.vector_id is not None:
            vector = self._vector(item.vector_id)
            item = replace(item, layer=self._layer(item.layer, vector))
        if item.condition is not None:
            item = replace(item, condition=self._condition(item.condition, self._latest(item)))
        raw = item.raw_strength
        if raw is None:
            raw = self._raw_strength(item)
        self._guard(item, raw)
        return replace(item, raw_strength=raw)

    def _at_feature(self, item: Intervention, feature: int) -> Intervention:
        spec = self._source.spec
        if item.source_id not in (None, spec.name, source_id(spec)):
            raise RequestError(
                f"The feature {feature} is of the source {str(item.source_id)[:80]!r}, but the run "
                f"is of {spec.name!r}.",
                "Choose a feature of the run's own source.",
            )
        self._check_feature(feature)
        config = self._source.sae_config
        if config is not None and "W_dec" not in config.layout.places:
            raise UnsupportedError(
                "This SAE was published without its decoder: its features have no direction to "
                "steer by.",
                "Steer with a vector, or use an SAE with a decoder (W_dec).",
            )
        layer = None if item.layer == self._home() else item.layer
        self._check_layer(layer)
        if layer is not None and item.kind not in ("add", "erase"):
            raise RequestError(
                f"A feature can be changed by {item.kind} only where its SAE reads, at layer "
                f"{self._home()}.",
                "Leave out the layer, or add the feature's direction there.",
            )
        return replace(item, layer=layer, source_id=None)

    def _condition(self, condition: Condition, latest: int) -> Condition:
        if condition.vector_id is not None:
            vector = self._vector(condition.vector_id)
            condition = replace(condition, layer=self._layer(condition.layer, vector))
        for feature in condition.features:
            self._check_feature(feature)
        layer = self._home() if condition.layer is None else condition.layer
        if layer > latest:
            raise RequestError(
                f"A condition after layer {layer} cannot decide what happens after layer {latest}.",
                "Read the condition at the same layer or an earlier one.",
            )
        return condition

    def _raw_strength(self, item: Intervention) -> float:
        if item.unit == "raw" or (item.feature is None and item.unit == "max"):
            return item.strength
        if item.unit == "max":
            return item.strength * self._max(item.feature)
        norms = self._norms_at(item)
        if norms is None:
            return item.strength  # it is asked again once they are measured
        length = self._direction_norm(item) * self._mean_scale(item, norms)
        return item.strength * norms.mean_norm / length

    def _guard(self, item: Intervention, raw: float) -> None:
        """Refuses a change that is far longer than what it changes."""
        norms = self._norms_at(item)
        if item.kind in ("erase", "ablate") or norms is None or not norms.mean_norm:
            return
        amount = abs(raw)
        if item.kind == "scale":
            reached = find_unsteered_max(
                self._store, source_id(self._source.spec), item.feature or 0
            )
            amount = abs(raw - 1.0) * (reached or 0.0)
        length = amount * self._direction_norm(item) * self._mean_scale(item, norms)
        if length > MOST_NORMS * norms.mean_norm:
            raise RequestError(
                f"This strength changes a token by {length / norms.mean_norm:,.0f} times the mean "
                f"length of the residual at layer {self._latest(item)}; at most {MOST_NORMS:g} "
                "times is run.",
                "Lower the strength: in the unit norm, effects come at 0.1 to 1.",
            )

    def _max(self, feature: int | None) -> float:
        reached = None
        if feature is not None:
            reached = find_unsteered_max(self._store, source_id(self._source.spec), feature)
        if not reached:
            raise RequestError(
                f"The feature {feature} has not fired on any stored unsteered run: its maximum is "
                "not known.",
                "Ask something on which it fires first, or give the strength in another unit.",
            )
        return reached

    def _direction_norm(self, item: Intervention) -> float:
        """Length of what one unit of raw strength adds."""
        if item.vector_id is not None:
            return self._vector(item.vector_id).norm
        config = self._source.sae_config
        if config is None or self._source.sae_dir is None or item.feature is None:
            raise RequestError("This source has no features.", "Steer with a vector.")
        path = self._source.sae_dir / config.layout.weights_file
        place = config.layout.places["W_dec"]
        entry = read_header(path)[place.name]
        row = MappedMatrix(path, place.name, entry, place.is_transposed).row(item.feature)
        length = float(np.linalg.norm(row.astype(np.float64)))
        if not length:
            raise RequestError(
                f"The feature {item.feature} has a direction of length 0: it is dead.",
                "Choose another feature.",
            )
        return 1.0 if config.rescale_by_decoder_norm else length

    def _mean_scale(self, item: Intervention, norms: ResidualNorm) -> float:
        """Mean of what a change of a feature is multiplied by where inputs are normalised."""
        config = self._source.sae_config
        if item.vector_id is not None or config is None or config.normalisation == "none":
            return 1.0
        if config.normalisation == "layer_norm":
            return norms.mean_std
        return norms.mean_norm / float(config.d_in**0.5)

    def _norms_at(self, item: Intervention) -> ResidualNorm | None:
        return None if self._norms is None else self._norms.get(self._latest(item))

    def _latest(self, item: Intervention) -> int:
        return self._home() if item.layer is None else item.layer

    def _home(self) -> int:
        """The layer that the SAE reads after."""
        hook = self._source.hook
        if hook is None:
            raise RequestError(
                "This source has no SAE: it has no features to steer or to look at.",
                "Steer with a vector, or choose a source with an SAE.",
            )
        return layer_of(hook)

    def _check_feature(self, feature: int) -> None:
        self._home()
        if feature >= self._source.spec.d_sae:
            raise RequestError(
                f"The source {self._source.spec.name!r} has no feature {feature:,}.",
                f"Its features are 0 to {self._source.spec.d_sae - 1:,}.",
            )

    def _check_layer(self, layer: int | None) -> None:
        if layer is not None and layer >= self._model.n_layers:
            raise RequestError(
                f"The model has no layer {layer}.",
                f"Its layers are 0 to {self._model.n_layers - 1}.",
            )

    def _layer(self, asked: int | None, vector: Vector) -> int:
        if asked is None:
            site: Site = "resid_pre" if vector.site == "resid_pre" else "resid_post"
            asked = layer_of(HookPoint(vector.layer, site))
        self._check_layer(asked)
        return asked

    def _vector(self, vector_id: str) -> Vector:
        """The vector, if it is of this model.

        Raises:
            SourceMismatchError: if it is of another one.
            VectorNotFoundError: if it is not stored.
        """
        vector = self._vectors.get_vector(vector_id)
        model = self._source.spec.model
        if vector.d_model != self._model.d_model:
            raise SourceMismatchError(
                f"The vector {vector.name!r} is {vector.d_model:,} wide, but the model is "
                f"{self._model.d_model:,}.",
                "Use a vector that was made with this model.",
            )
        if vector.model_id != model.repo_id:
            raise SourceMismatchError(
                f"The vector {vector.name!r} is of the model {vector.model_id!r}, not of "
                f"{model.repo_id!r}.",
                "Use a vector that was made with this model.",
            )
        if vector.model_revision and vector.model_revision != model.revision:
            raise SourceMismatchError(
                f"The vector {vector.name!r} was made with another revision of this model.",
                "Make it again with the model as it is now.",
            )
        return vector
