"""The table of a set of answers, from what is stored, and from the model where that is wanted.

Invariant: runs that were steered, and answers that are in neither class, are in no table; a part of
the table that cannot be had says why, and the rest is made without it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from engine.asking import Asker
from engine.detection.arrays import FloatArray, IntArray
from engine.detection.labelled import Judged
from engine.detection.outcomes import is_abstaining
from engine.detection.p_true import ask_p_true
from engine.detection.positions import RunPlaces, find_places, token_statistics
from engine.detection.residuals import read_residuals
from engine.detection.settings import DetectionSettings
from engine.detection.splits import check_classes
from engine.detection.stored_features import read_features
from engine.detection.table import DetectionTable, Residuals, shuffle_labels
from store.captures import CaptureRepository
from store.connection import Store
from store.detector_records import SourceFacts
from store.run_columns import RunColumnRepository, RunFacts, TokensOfRuns

Tell = Callable[[int, int, str], None]


@dataclass(frozen=True, slots=True)
class Tokens:
    """Tokens of runs, and where each run begins among them.

    Attributes:
        starts: [n + 1]. places: [n].
    """

    columns: TokensOfRuns
    starts: IntArray
    places: tuple[RunPlaces, ...]

    def ids(self, index: int) -> tuple[int, ...]:
        """Token ids of a run."""
        return tuple(self.columns.token_id[self.starts[index] : self.starts[index + 1]].tolist())


class TableBuilder:
    """Makes tables of one source's runs."""

    def __init__(self, store: Store, asker: Asker, source: SourceFacts, asked_by: str) -> None:
        self._columns = RunColumnRepository(store)
        self._captures = CaptureRepository(store)
        self._asker = asker
        self._source = source.name
        self._d_sae = source.d_sae
        self._max_active = source.max_active
        self._asked_by = asked_by

    def build(
        self,
        judged: Sequence[Judged],
        settings: DetectionSettings,
        tell: Tell,
        is_cancelled: Callable[[], bool],
    ) -> DetectionTable:
        """The table of the answers that are in a class.

        Args:
            judged: answers of this source that are in a class.
            settings: what to read.
            tell: called with how many runs are done, of how many, and a few words.
            is_cancelled: asked while the model is.

        Raises:
            RequestError: if nothing can be learned from the labels.
        """
        chosen, facts = self._examples(judged)
        n = len(chosen)
        groups = _group_numbers([item.question.group or item.question.question for item in chosen])
        y = np.array([item.is_positive for item in chosen], np.bool_)
        # before anything is read or asked: labels that teach nothing cost nothing
        check_classes(y, groups)
        if settings.shuffle_seed is not None:
            y = shuffle_labels(y, groups, settings.shuffle_seed)
        keys = tuple(item.run_key for item in facts)
        tell(0, n, "reading tokens")
        tokens = self._read_tokens(facts, [item.value for item in chosen])
        sites = tuple(settings.sites)
        features, token_rows = read_features(
            self._columns,
            keys,
            tokens.places,
            sites if "prompt_last" in sites else (*sites, "prompt_last"),
            self._d_sae,
            lambda done: tell(done, n, "reading features"),
        )
        p_true, problem = self._p_true(chosen, settings, tell, is_cancelled)
        return DetectionTable(
            run_keys=keys,
            y=y,
            groups=groups,
            slices=tuple(item.question.slice for item in chosen),
            templates=tuple(item.question.template for item in chosen),
            questions=tuple(item.question.question for item in chosen),
            responses=tuple(fact.response for fact in facts),
            tools=np.array([item.answer.tools for item in chosen], np.bool_),
            is_truncated=np.array([fact.finish_reason == "length" for fact in facts], np.bool_),
            refuses=np.array([is_abstaining(fact.response) for fact in facts], np.bool_),
            n_generated=np.array([fact.n_generated_tokens for fact in facts], np.int64),
            n_entity_tokens=self._entity_tokens(tokens, chosen),
            statistics=self._statistics(tokens),
            features=features,
            tokens=token_rows,
            residuals=self._residuals(keys, tokens, settings, tell),
            n_capped=self._n_capped(tokens),
            p_true=p_true,
            p_true_problem=problem,
        )

    def _examples(self, judged: Sequence[Judged]) -> tuple[list[Judged], list[RunFacts]]:
        """Answers whose runs were not steered, each run once."""
        once = {item.answer.run_key: item for item in judged}
        facts = self._columns.list_facts(list(once))
        kept = [fact for fact in facts if not fact.is_steered]
        return [once[fact.run_key] for fact in kept], kept

    def _read_tokens(self, facts: Sequence[RunFacts], values: Sequence[str | None]) -> Tokens:
        columns = self._columns.get_tokens([fact.run_key for fact in facts])
        starts = np.searchsorted(columns.run, np.arange(len(facts) + 1)).astype(np.int64)
        places = tuple(
            find_places(fact.n_prompt_tokens, columns.text[start:end], value)
            for fact, value, start, end in zip(facts, values, starts[:-1], starts[1:], strict=True)
        )
        return Tokens(columns, starts, places)

    def _statistics(self, tokens: Tokens) -> dict[str, FloatArray]:
        return token_statistics(tokens.columns, tokens.starts.tolist(), tokens.places)

    def _entity_tokens(self, tokens: Tokens, judged: Sequence[Judged]) -> IntArray:
        """Tokens of the prompt that the group's name takes; 0 where the question lacks it."""
        counts = []
        for item, start, place in zip(judged, tokens.starts[:-1], tokens.places, strict=True):
            texts = tokens.columns.text[start : start + place.n_prompt]
            counts.append(n_tokens_of(texts, item.question.group))
        return np.array(counts, np.int64)

    def _n_capped(self, tokens: Tokens) -> int:
        """Tokens that fired more features than the source stores."""
        if self._max_active is None:
            return 0
        return int((tokens.columns.n_active > self._max_active).sum())

    def _residuals(
        self, keys: Sequence[str], tokens: Tokens, settings: DetectionSettings, tell: Tell
    ) -> Residuals:
        if not settings.with_residuals:
            return Residuals({}, {}, "The model was not to be asked.")
        return read_residuals(
            self._asker,
            self._captures,
            self._source,
            keys,
            [tokens.ids(index) for index in range(len(keys))],
            tokens.places,
            lambda done: tell(done, len(keys), "computing residuals"),
        )

    def _p_true(
        self,
        chosen: Sequence[Judged],
        settings: DetectionSettings,
        tell: Tell,
        is_cancelled: Callable[[], bool],
    ) -> tuple[FloatArray | None, str]:
        if not settings.with_p_true:
            return None, "The model was not to be asked."
        return ask_p_true(
            self._asker,
            self._columns,
            self._source,
            [(item.question.question, item.answer.response) for item in chosen],
            self._asked_by,
            lambda done: tell(done, len(chosen), "asking whether answers are true"),
            is_cancelled,
        )


def n_tokens_of(texts: Sequence[str], name: str) -> int:
    """How many of these tokens the last occurrence of a name takes; 0 without one."""
    found = "".join(texts).rfind(name) if name else -1
    if found < 0:
        return 0
    ends = np.cumsum([len(text) for text in texts])
    first = int(np.searchsorted(ends, found, side="right"))
    return int(np.searchsorted(ends, found + len(name) - 1, side="right")) - first + 1


def _group_numbers(names: Sequence[str]) -> IntArray:
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return np.array([numbers[name] for name in names], np.int64)
