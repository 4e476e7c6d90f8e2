"""P(True): the model is shown its answer and asked whether it is true.

Source: S. Kadavath et al., Language Models (Mostly) Know What They Know (2022).

Invariant: each question is an ordinary run through the memo, so that it is asked once; a model that
does not answer with one of the two words is told apart from one that says False.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from engine.asking import Asker
from engine.detection.arrays import FloatArray
from engine.errors import EngineError
from engine.jobs import RunRequest
from store.run_columns import RunColumnRepository, TokensOfRuns
from store.specs import Message, SamplingSpec

N_TRIED = 3
"""Answers that a model is tried on; one that never says True or False is not asked further."""
_QUESTION = (
    "Question: {question}\nProposed answer: {answer}\n"
    "Is the proposed answer true? Answer with one word, True or False."
)


def ask_p_true(
    asker: Asker,
    columns: RunColumnRepository,
    source: str,
    asked: Sequence[tuple[str, str]],
    asked_by: str,
    tell: Callable[[int], None],
    is_cancelled: Callable[[], bool],
) -> tuple[FloatArray | None, str]:
    """One minus the probability of True for each answer; or None, and why.

    Args:
        asker: asks. columns: reads what was answered.
        source: name in the catalog.
        asked: question and answer, [n].
        tell: called with how many are done. is_cancelled: asked while waiting.

    Returns:
        [n], NaN where the model said neither word; or None and one sentence.
    """
    found: list[float] = []
    try:
        for number, (question, answer) in enumerate(asked):
            tell(number)
            request = RunRequest(
                (Message("user", _QUESTION.format(question=question, answer=answer)),),
                source=source,
                sampling=SamplingSpec(max_new_tokens=1, temperature=0.0),
                created_by=asked_by,
            )
            view = asker.ask(request, is_cancelled)
            found.append(read_falsity(columns.get_tokens([view.run_key])))
            if number + 1 == N_TRIED and all(math.isnan(value) for value in found):
                break
    except EngineError as error:
        return None, f"Not applicable: the model could not be asked ({error.message})"
    if all(math.isnan(value) for value in found):
        return None, (
            f"Not applicable: asked whether {len(found)} of its answers are true, the model said "
            "neither True nor False."
        )
    return np.array(found, np.float64), ""


def read_falsity(tokens: TokensOfRuns) -> float:
    """Probability that the answer is not true, by the first generated word; NaN for any other."""
    generated = np.flatnonzero(tokens.is_generated)
    if not len(generated):
        return math.nan
    first = int(generated[0])
    word = tokens.text[first].strip().lower()
    probability = math.exp(float(tokens.logprob[first]))
    if word == "true":
        return 1 - probability
    return probability if word == "false" else math.nan
