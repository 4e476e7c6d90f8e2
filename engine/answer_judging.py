"""Judging an answer of a question set by everything that needs nobody: log, world, gold answer.

Invariant: each judgement names its method, its judge and the question that it was made on.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from engine.detection.outcomes import (
    Judgement,
    judge_gold,
    judge_tool_log,
    judge_world,
    read_claim,
    read_toy_claim,
)
from store.exchange_records import ToolCall
from store.outcome_records import Outcome, OutcomeMethod
from store.question_records import Question, QuestionSet


def judge_answer(
    kept: QuestionSet,
    number: int,
    question: Question,
    run_key: str,
    response: str,
    calls: Sequence[ToolCall],
    *,
    is_offered: bool,
    world_seed: int | None,
    asked_by: str,
) -> Iterator[Outcome]:
    """The outcomes of one answer, the strongest method first.

    Args:
        kept: the set that the question is of. number: of the question in it.
        question: that was asked.
        run_key: of the run that answers.
        response: of that run.
        calls: of its exchange.
        is_offered: whether tools were offered.
        world_seed: of the source's toy world; None for any other source.
        asked_by: who had it judged.
    """
    place = {"set_id": kept.set_id, "question_no": number}
    is_toy = world_seed is not None
    claim = read_toy_claim(response) if is_toy else read_claim(response, question.question)
    found: list[tuple[OutcomeMethod, str, Judgement | None]] = [
        ("tool_log", "log", judge_tool_log(calls, is_offered, claim, question.needs_tool))
    ]
    if is_toy and kept.world_seed == world_seed:
        found.append(("world", f"world {world_seed}", judge_world(question, response)))
    else:
        found.append(("gold", "gold answer", judge_gold(question, response)))
    for method, judge, judgement in found:
        if judgement is not None:
            content = {**judgement.evidence, **place}
            # one spelling: the same judgement, made again, is known by it
            evidence = json.dumps(content, ensure_ascii=False, sort_keys=True)
            yield Outcome(run_key, judgement.outcome, method, evidence, judge, created_by=asked_by)
