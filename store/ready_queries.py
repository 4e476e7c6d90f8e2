"""Queries that pages offer to open in the editor: the same rows as on the page, as SQL.

Invariant: values are numbers, hexadecimal ids, or quoted as SQL text; each query reads the public
views only.
"""

from __future__ import annotations


def contexts_query(source_id: str, feature: int, limit: int = 100) -> str:
    """Where a feature fires most, with run and token."""
    return (
        "SELECT a.run_key, a.position, a.value, t.text, t.role, t.is_generated, r.prompt\n"
        "FROM activations AS a\n"
        "JOIN tokens AS t USING (run_key, position)\n"
        "JOIN runs AS r USING (run_key)\n"
        f"WHERE a.source_id = {_quoted(source_id)} AND a.feature = {int(feature)}\n"
        f"ORDER BY a.value DESC LIMIT {int(limit)}"
    )


def list_query(list_id: str) -> str:
    """The features of a list with their statistics and labels."""
    return (
        "SELECT i.feature, f.label, f.density, f.max_value, f.n_tokens_active, i.note, i.added_by\n"
        "FROM feature_list_items AS i LEFT JOIN features AS f USING (source_id, feature)\n"
        f"WHERE i.list_id = {_quoted(list_id)} ORDER BY i.feature"
    )


def features_query(source_id: str) -> str:
    """The features of a source, the most frequent first."""
    return (
        "SELECT feature, label, label_origin, label_score, density, max_value, mean_value\n"
        f"FROM features WHERE source_id = {_quoted(source_id)}\n"
        "ORDER BY density DESC LIMIT 1000"
    )


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
