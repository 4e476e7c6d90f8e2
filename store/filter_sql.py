"""Filters as conditions in SQL, over tables that the caller joins.

Invariant: the SQL is made of templates written here; what a person typed is only ever the value of
a parameter. A condition is true or false, never NULL, so that NOT of it is all the rest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from store.filters import FilterTree, Group, Node, Term

_ASKED = (
    "r.run_no IN (SELECT a.run_no FROM base.answers AS a JOIN base.questions AS q"
    " USING (set_no, question_no) WHERE lower(q.{column}) = lower({{v}}))"
)
_RUNS = {
    "text": "contains(lower(r.prompt), lower({v})) OR contains(lower(r.response), lower({v}))",
    "source": "s.source_id = {v} OR s.name = {v}",
    "kind": "r.kind = {v}",
    "tools": "r.tools = {v}",
    "steered": "(r.steering::VARCHAR <> '[]') = {v}",
    "judged": "(r.run_no IN (SELECT run_no FROM base.outcomes)) = {v}",
    "outcome": "r.run_no IN (SELECT run_no FROM base.outcomes WHERE lower(outcome) = lower({v}))",
    "verdict": (
        "r.run_key IN (SELECT run_key FROM verdicts"
        " WHERE lower(outcome) = lower({v}) OR lower(meaning) = lower({v}))"
    ),
    "set": (
        "r.run_no IN (SELECT a.run_no FROM base.answers AS a JOIN base.question_sets AS q"
        " USING (set_no) WHERE q.set_id = {v} OR lower(q.name) = lower({v}))"
    ),
    "group": _ASKED.format(column="group_name"),
    "slice": _ASKED.format(column="slice"),
    "topic": _ASKED.format(column="topic"),
    "subject": _ASKED.format(column="kind"),
    "prompt": "contains(lower(r.prompt), lower({v}))",
    "response": "contains(lower(r.response), lower({v}))",
    "by": "lower(r.created_by) = lower({v})",
    "run": "starts_with(r.run_key, lower({v}))",
    "finish": "r.finish_reason = {v}",
    "after": "r.created_at >= {v}",
    "before": "r.created_at < {v}",
    "n_tokens": "r.n_tokens {op}",
    "n_prompt_tokens": "r.n_prompt_tokens {op}",
    "n_generated_tokens": "r.n_generated_tokens {op}",
    "temperature": "r.temperature {op}",
    "seed": "r.seed {op}",
    "sql": "r.run_key IN (SELECT unnest({v}::VARCHAR[]))",
}
_FEATURES = {
    "text": "contains(f.words, lower({v}))",
    "label": "contains(f.words, lower({v}))",
    "labelled": "(f.label IS NOT NULL) = {v}",
    "origin": "f.label_origin = {v}",
    "score": "f.label_score {op}",
    "list": (
        "f.feature IN (SELECT i.feature FROM base.feature_list_items AS i"
        " JOIN base.feature_lists AS l USING (list_id)"
        " WHERE i.source_no = f.source_no AND (l.list_id = {v} OR lower(l.name) = lower({v})))"
    ),
    "feature": "f.feature {op}",
    "density": "f.density {op}",
    "max": "f.max_value {op}",
    "mean": "f.mean_value {op}",
    "n": "f.n_tokens_active {op}",
    "generated": "f.n_generated / nullif(f.n_sampled, 0) {op}",
    "role": (
        "2 * CASE {v} WHEN 'system' THEN f.n_system WHEN 'user' THEN f.n_user"
        " WHEN 'assistant' THEN f.n_assistant ELSE f.n_tool END > f.n_sampled"
    ),
    "outcome": "f.feature IN (SELECT feature FROM fired_in WHERE outcome = lower({v}))",
}

Parameter = object


@dataclass(frozen=True, slots=True)
class Condition:
    """What stands after WHERE, and the values of its parameters by name."""

    sql: str
    values: dict[str, Parameter]


def to_sql(tree: FilterTree, run_keys: Mapping[str, Sequence[str]] | None = None) -> Condition:
    """The filter as a condition.

    One of runs is about `r` (base.runs) and `s` (base.sources); one of features about `f`, the rows
    of feature_table.py, and, where it names an outcome, `fired_in`.

    Args:
        tree: what was parsed.
        run_keys: for each statement of the field `sql`, what it returned.
    """
    values: dict[str, Parameter] = {}
    templates = _RUNS if tree.kind == "runs" else _FEATURES

    def add(value: Parameter) -> str:
        name = f"filter_{len(values)}"
        values[name] = value
        return f"${name}"

    def write(node: Node) -> str:
        if isinstance(node, Group):
            parts = [write(part) for part in node.parts]
            if node.operator == "not":
                return f"(NOT {parts[0]})"
            return "(" + f" {node.operator.upper()} ".join(parts) + ")"
        return f"coalesce(({write_term(node)}), false)"

    def write_term(term: Term) -> str:
        template = templates[term.field.name]
        if term.field.name == "sql":
            return template.format(v=add(list((run_keys or {})[str(term.value)])))
        if isinstance(term.value, tuple):
            low, high = term.value
            return template.format(op=f"BETWEEN {add(low)} AND {add(high)}")
        name = add(term.value)
        return template.format(v=name, op=f"{term.operator} {name}")

    return Condition("true" if tree.root is None else write(tree.root), values)
