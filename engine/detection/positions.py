"""Where in a run detectors read: the prompt's end, the asserted value; and token statistics there.

Invariant: positions are of the whole sequence; what is not found is -1 or NaN, never a guess.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from engine.detection.arrays import BoolArray, FloatArray
from engine.detection.models import POSITION_SITES, Site
from store.run_columns import TokensOfRuns

ABSENT = -1


@dataclass(frozen=True, slots=True)
class RunPlaces:
    """Positions of one run.

    Attributes:
        n_prompt: tokens of the prompt; n_tokens: of the whole run.
        value_start, value_end: the value's tokens, the end exclusive; -1 where there is none.
    """

    n_prompt: int
    n_tokens: int
    value_start: int = ABSENT
    value_end: int = ABSENT

    def at(self, site: Site) -> int:
        """The position of a site that is one token; -1 where the run has none."""
        if site == "prompt_last":
            return self.n_prompt - 1
        if self.value_start == ABSENT:
            return ABSENT
        return self.value_start - 1 if site == "before_value" else self.value_end - 1

    def captured(self) -> tuple[int, ...]:
        """Positions whose residual or margin a baseline wants, rising."""
        places = {self.at(site) for site in POSITION_SITES}
        if self.value_start != ABSENT:
            places.add(self.value_start)
        if self.n_prompt < self.n_tokens:
            places.add(self.n_prompt)
        return tuple(sorted(place for place in places if place >= 0))


def find_places(n_prompt: int, texts: Sequence[str], value: str | None) -> RunPlaces:
    """Where the value stands among the generated tokens: its last occurrence.

    Args:
        n_prompt: tokens of the prompt.
        texts: of all tokens of the run.
        value: what the answer asserts, as text.
    """
    wanted = (value or "").strip().lower()
    nowhere = RunPlaces(n_prompt, len(texts))
    if not wanted:
        return nowhere
    generated = texts[n_prompt:]
    found = "".join(generated).lower().rfind(wanted)
    if found < 0:
        return nowhere
    ends = np.cumsum([len(text) for text in generated])
    first = int(np.searchsorted(ends, found, side="right"))
    last = int(np.searchsorted(ends, found + len(wanted) - 1, side="right"))
    return RunPlaces(n_prompt, len(texts), n_prompt + first, n_prompt + last + 1)


def token_statistics(
    tokens: TokensOfRuns, starts: Sequence[int], places: Sequence[RunPlaces]
) -> dict[str, FloatArray]:
    """Statistics of each run by name, [n] each, turned so that higher is more suspicious.

    Args:
        tokens: of all runs, in their order.
        starts: [n + 1], where each run begins among the tokens.
        places: of each run.
    """
    rows = [
        _of_run(tokens, start, end, place)
        for start, end, place in zip(starts[:-1], starts[1:], places, strict=True)
    ]
    return {name: np.array([row.get(name, np.nan) for row in rows]) for name in rows[0]}


def _of_run(tokens: TokensOfRuns, start: int, end: int, place: RunPlaces) -> dict[str, float]:
    answer = slice(start + place.n_prompt, end)
    said: BoolArray = tokens.is_generated[answer] & ~tokens.is_special[answer]
    logprob, entropy = tokens.logprob[answer][said], tokens.entropy[answer][said]
    first = slice(start + place.n_prompt, min(start + place.n_prompt + 1, end))
    value = slice(start + max(place.value_start, 0), start + max(place.value_end, 0))
    if place.value_start == ABSENT:
        value = slice(0, 0)
    return {
        "mean_logprob": -_mean(logprob),
        "min_logprob": -_least(logprob),
        "perplexity": float(np.exp(-_mean(logprob))),
        "max_entropy": -_least(-entropy),
        "mean_entropy": _mean(entropy),
        "value_logprob": -_sum(tokens.logprob[value]),
        "value_entropy": -_least(-tokens.entropy[value]),
        "first_logprob": -_sum(tokens.logprob[first]),
        "first_entropy": _sum(tokens.entropy[first]),
        "n_generated": float(end - start - place.n_prompt),
    }


def _mean(values: FloatArray) -> float:
    return float(values.mean()) if len(values) else float("nan")


def _least(values: FloatArray) -> float:
    return float(values.min()) if len(values) else float("nan")


def _sum(values: FloatArray) -> float:
    return float(values.sum()) if len(values) else float("nan")
