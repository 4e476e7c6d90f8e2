"""The fields that filters of runs and of features know: for the parser, its messages, and help.

Invariant: a field has one name, one kind and one meaning; filter_sql.py has SQL for each of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

FieldKind = Literal["text", "word", "number", "flag", "date", "feature", "sql"]

_TAKES: dict[str, str] = {
    "text": "text",
    "word": "a word",
    "number": "a number, or two as 1..5",
    "flag": "yes or no",
    "date": "a date such as 2030-01-31",
    "feature": "the number of a feature, or two as 10..20",
    "sql": "a SELECT in quotes",
}


@dataclass(frozen=True, slots=True)
class FilterField:
    """One field.

    Attributes:
        kind: text (found anywhere in it, whatever the case), word (equal, whatever the case),
            number, flag (yes or no), date, feature (a number or a range), sql.
        choices: lower case; empty where any word will do.
    """

    name: str
    kind: FieldKind
    meaning: str
    example: str
    choices: tuple[str, ...] = ()

    @property
    def takes(self) -> str:
        """What its values are, for a message."""
        return f"one of {', '.join(self.choices)}" if self.choices else _TAKES[self.kind]


_ROLES = ("system", "user", "assistant", "tool")

RUN_FIELDS = (
    FilterField("text", "text", "words of the question or of the answer", '"who is"'),
    FilterField("source", "word", "id or name of the source", "source:demo"),
    FilterField("kind", "word", "generation, or text", "kind:generation", ("generation", "text")),
    FilterField("tools", "flag", "whether tools were offered", "tools:yes"),
    FilterField("steered", "flag", "whether anything was steered", "steered:no"),
    FilterField("judged", "flag", "whether it has any outcome", "judged:yes"),
    FilterField("outcome", "word", "any judgement of it says so", "outcome:CONFABULATION"),
    FilterField("verdict", "word", "its strongest judgement says or means so", "verdict:made_up"),
    FilterField("set", "word", "answers a question of this set", "set:world"),
    FilterField("group", "word", "answers a question of this group", 'group:"Ada Byron"'),
    FilterField("slice", "word", "answers a question of this slice of its set", "slice:hard"),
    FilterField("topic", "word", "answers a question about this", "topic:city"),
    FilterField("subject", "word", "what sort of subject its question has", "subject:unknown"),
    FilterField("prompt", "text", "in the last message of the user", "prompt:born"),
    FilterField("response", "text", "in the answer", "response:unknown"),
    FilterField("by", "word", "who asked first", "by:ada"),
    FilterField("run", "word", "how its key begins", "run:0a1b"),
    FilterField("finish", "word", "why it ended", "finish:stop", ("stop", "length", "read")),
    FilterField("after", "date", "computed then or later, UTC", "after:2030-01-31"),
    FilterField("before", "date", "computed earlier, UTC", "before:2030-02-01T12:00"),
    FilterField("n_tokens", "number", "tokens, prompt included", "n_tokens<100"),
    FilterField("n_prompt_tokens", "number", "tokens of the prompt", "n_prompt_tokens<50"),
    FilterField("n_generated_tokens", "number", "generated tokens", "n_generated_tokens>=5"),
    FilterField("temperature", "number", "of the sampling", "temperature:0"),
    FilterField("seed", "number", "of the sampling", "seed:0..9"),
    FilterField("sql", "sql", "run_key is one of those", 'sql:"SELECT run_key FROM runs"'),
)
FEATURE_FIELDS = (
    FilterField("text", "text", "words of any of its labels", '"a name"'),
    FilterField("label", "text", "words of any of its labels", "label:born"),
    FilterField("labelled", "flag", "whether it has a current label", "labelled:yes"),
    FilterField(
        "origin", "word", "of its current label", "origin:human", ("human", "auto", "model")
    ),
    FilterField("score", "number", "of its current label", "score>=0.8"),
    FilterField("list", "word", "on the list of this name or id", 'list:"unknown people"'),
    FilterField("feature", "feature", "its number", "feature:10..20"),
    FilterField("density", "number", "share of tokens on which it fires", "density<1%"),
    FilterField("max", "number", "its largest value", "max>5"),
    FilterField("mean", "number", "its mean value where it fires", "mean>1"),
    FilterField("n", "number", "tokens on which it fires", "n>=100"),
    FilterField("generated", "number", "share of its tokens that are generated", "generated>90%"),
    FilterField("role", "word", "most of its tokens are of this role", "role:user", _ROLES),
    FilterField("outcome", "word", "fires in a run that was judged so", "outcome:CONFABULATION"),
)


def fields_of(kind: str) -> tuple[FilterField, ...]:
    """The fields of filters of `runs` or `features`, for help; `text` is that of bare words."""
    return RUN_FIELDS if kind == "runs" else FEATURE_FIELDS
