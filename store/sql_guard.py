"""What an untrusted statement may contain, decided on DuckDB's own parse of it before it runs.

Invariant: what passes is one SELECT (or EXPLAIN of one) that reads the public views alone, names
no function or catalog table which reads files, memory, settings or paths, or runs SQL that was not
parsed here; and whose growth
by its own text (repeated strings, doubled values, tables that stand for thousands) is bounded.
Time, memory and rows of the rest are the sandbox's to limit. Writing is stopped by the read-only
transaction in any case: the guard says so earlier and clearer.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import duckdb

from store.errors import QueryError
from store.specs import is_storable

MAX_SQL_CHARS = 20_000
"""Planning time grows with the square of some statements' length, and cannot be interrupted."""

MAX_TABLES = 100
"""Tables read in all, a common table expression counted as often as it is used; and each `*`."""

MAX_GROWTH = 10_000
"""How many times larger than its input a value may be made by the text of the statement."""

_TABLE_FUNCTIONS = frozenset(
    "range generate_series unnest json_each json_tree repeat test_all_types pragma_version"
    " duckdb_columns duckdb_functions duckdb_keywords duckdb_types duckdb_views".split()
)
_PUBLIC_SCHEMA = "main"
_CATALOGS = ("duckdb_", "pragma_", "pg_", "sqlite_")
_REFUSED_FUNCTIONS = frozenset(
    "current_setting getvariable getenv json_execute_serialized_sql json_serialize_plan nextval"
    " currval setval setseed sleep_ms pg_sleep write_log get_block_size parse_duckdb_log_message"
    " in_search_path invoke levenshtein editdist3 damerau_levenshtein jaccard jaro_similarity"
    " jaro_winkler_similarity json_contains reservoir_quantile".split()
)
"""They tell or change what is not the query's, cannot be interrupted, take memory that is not
counted, or end the whole process: json_contains of deeply nested JSON overflows DuckDB's stack."""

_REFUSED_TYPES = {
    "variant": "Use JSON or VARCHAR.",  # deeply nested JSON overflows DuckDB's stack here too
    "bignum": "Use HUGEINT or DOUBLE.",  # of many digits, one takes minutes
}

_SIZE_ARGUMENT = {
    "repeat": 1,
    "lpad": 1,
    "rpad": 1,
    "list_resize": 1,
    "array_resize": 1,
    "bitstring": 1,
}
"""Functions whose result is as long as one argument says, and which one that is."""

_JOINING = frozenset(
    "|| concat concat_ws list_concat array_concat list_cat array_cat list_append array_append"
    " list_prepend array_prepend array_push_back array_push_front list_value list_pack array_value"
    " struct_pack row struct_concat struct_insert map map_concat json_object json_array"
    " json_merge_patch list_zip array_zip overlay".split()
)
"""Functions whose result holds all of their arguments."""

_COLLECTING = frozenset(
    "list array_agg string_agg group_concat listagg histogram json_group_array"
    " json_group_object".split()
)
"""Aggregates whose result is as long as the data."""

_UNSTOPPABLE = frozenset(
    "list_distinct array_distinct list_unique array_unique list_intersect array_intersect"
    " list_has_any array_has_any list_has_all array_has_all list_aggregate list_aggr aggregate"
    " array_aggregate array_aggr list_mode list_histogram list_entropy".split()
)
"""Functions that take minutes on one long list, and cannot be interrupted."""

_REPLACING = frozenset({"replace", "regexp_replace"})
_MATCHING = frozenset(
    "regexp_matches regexp_full_match regexp_extract regexp_extract_all regexp_replace"
    " regexp_split_to_array string_split_regex str_split_regex ~ !~ ~~~".split()
)
"""Functions that take as long as their text is, times the states of their pattern."""

_FORMATTING = frozenset({"format", "printf"})
_UNKNOWN_FACTOR = 100
_COLLECTED_FACTOR = 50
_UNSTOPPABLE_FACTOR = 1_000
"""Taken for factors that only the data tells; the last refuses such a function of a collection."""

_READING_NODES = frozenset({"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"})
_COUNTED = re.compile(r"\{(\d+)?,?(\d+)?\}")
_LONG_FIELD = re.compile(r"\d{4,}|\*|\{[^}]*\{")
_EXPLAIN = re.compile(
    r"(?:\s|--[^\n]*(?:\n|$)|/\*(?:(?!\*/).)*\*/)*explain\b", re.IGNORECASE | re.DOTALL
)
_HOW = "Ask the views of the store; list them with: FROM duckdb_views() WHERE NOT internal."

_Node = Mapping[str, Any]


def check_statement(cursor: duckdb.DuckDBPyConnection, sql: str) -> duckdb.Statement:
    """The parsed statement, if it may run.

    Args:
        cursor: only its parser is used.

    Raises:
        QueryError: `syntax` if it is not SQL, `refused` if it may not run.
    """
    if len(sql) > MAX_SQL_CHARS:
        raise _refusal(
            f"The query has {len(sql):,} characters; at most {MAX_SQL_CHARS:,} are taken.",
            "Shorten it, or join with a table instead of a long list.",
        )
    if not is_storable(sql):
        raise QueryError("syntax", "The query is not valid Unicode text.")
    statements = cursor.extract_statements(sql)
    if not statements:
        raise QueryError("syntax", "The query is empty.", "Try: SELECT * FROM runs LIMIT 10.")
    if len(statements) > 1:
        raise _refusal("Only one statement can be run at a time.", "Send them one by one.")
    [statement] = statements
    kind = _kind(statement)
    if kind == "EXPLAIN":
        _check_tree(_tree(cursor, _EXPLAIN.sub("", sql, count=1)))
    elif kind == "SELECT":
        _check_tree(_tree(cursor, sql))
    elif kind == "MULTI":
        raise _refusal("A PIVOT must name its columns here.", "Write PIVOT ... ON column IN (...).")
    else:
        raise _refusal(f"{kind.replace('_', ' ')} is not allowed: this only reads.", _HOW)
    return statement


def _kind(statement: duckdb.Statement) -> str:
    """The name of the statement's type; DuckDB has types that its Python package does not know."""
    try:
        return statement.type.name
    except ValueError:
        return "This statement"


def _refusal(message: str, hint: str) -> QueryError:
    return QueryError("refused", message, hint)


def _tree(cursor: duckdb.DuckDBPyConnection, sql: str) -> _Node:
    """The query node of the one SELECT in sql, as DuckDB's parser sees it."""
    [(text,)] = cursor.execute(
        "SELECT json_serialize_sql(?, skip_null := true, skip_empty := true)", [sql]
    ).fetchall()
    try:
        answer = json.loads(text)
    except RecursionError as error:
        raise _refusal("The query is nested too deeply.", "Name its parts with WITH.") from error
    statements = answer.get("statements", [])
    if answer.get("error", True) or len(statements) != 1:
        raise _refusal("Only a SELECT, or EXPLAIN of one, can be run.", _HOW)
    node: _Node = statements[0]["node"]
    return node


def _check_tree(root: _Node) -> None:
    try:
        _measure_query(root, {})
    except RecursionError as error:
        raise _refusal("The query is nested too deeply.", "Name its parts with WITH.") from error


_Size = tuple[int, int]
"""Tables read, and growth of values."""


def _measure_query(query: _Node, names: Mapping[str, _Size]) -> _Size:
    """Checks a query with all that is in it, and says how large it can get.

    Args:
        names: sizes of the common table expressions that it can see.
    """
    if query["type"] not in _READING_NODES:
        raise _refusal("The query would write: this only reads.", _HOW)
    visible = dict(names)
    for entry in query.get("cte_map", {}).get("map", []):
        name = str(entry["key"]).lower()
        # A recursive one sees itself: how often it runs is bounded by time and memory alone.
        visible[name] = _measure_query(entry["value"]["query_node"], {**visible, name: (1, 1)})
    n_read, below = _measure(query.get("from_table"), visible)
    rest = [value for key, value in query.items() if key not in ("cte_map", "from_table")]
    n_other, own = _measure(rest, visible)
    return _within_limits(n_read + n_other, own * below)


def _within_limits(n_tables: int, growth: int) -> _Size:
    if n_tables > MAX_TABLES:
        raise _refusal(
            f"The query reads more than {MAX_TABLES} tables.",
            "Join fewer, and use the parts that WITH names less often.",
        )
    if growth > MAX_GROWTH:
        raise _refusal(
            "The query could make values of unbounded size.",
            "Repeat and join fewer values; for many rows use FROM range(n).",
        )
    return n_tables, growth


def _measure(item: object, names: Mapping[str, _Size]) -> _Size:
    """Checks any part of a parsed query: tables add up, growth is that of the largest value."""
    if isinstance(item, list):
        sizes = [_measure(part, names) for part in item]
    elif isinstance(item, dict):
        if str(item.get("type", "")).endswith("_NODE"):
            return _measure_query(item, names)
        if item.get("type") == "BASE_TABLE":
            return _measure_table(item, names)
        if item.get("type") == "TABLE_FUNCTION":
            return _measure_table_function(item["function"], names)
        if "function_name" in item:
            return _measure_function(item, names)
        _check_type(str(item.get("type_name", "")).lower())
        _check_show(item)
        sizes = [_measure(part, names) for part in item.values()]
        if item.get("class") == "STAR":  # as many columns as a table has, planned one by one
            sizes.append((1, 1))
    else:
        return 0, 1
    return _within_limits(
        sum(size[0] for size in sizes), max((size[1] for size in sizes), default=1)
    )


def _measure_table(table: _Node, names: Mapping[str, _Size]) -> _Size:
    name, schema = (str(table.get(key, "")).lower() for key in ("table_name", "schema_name"))
    if not schema and name in names:
        n_tables, growth = names[name]
        return max(n_tables, 1), growth
    path = [str(part).lower() for part in table.get("qualified_name", {}).get("path", [name])]
    if path[:-1] not in ([], [_PUBLIC_SCHEMA]) or table.get("catalog_name"):
        raise _refusal(f"Only the public views are open to queries, not {'.'.join(path)}.", _HOW)
    if name.startswith(_CATALOGS) and name not in _TABLE_FUNCTIONS:
        raise _refusal(f"The table {name} is not open to queries.", _HOW)
    return 1, 1


def _measure_table_function(function: _Node, names: Mapping[str, _Size]) -> _Size:
    name = str(function["function_name"]).lower()
    if name not in _TABLE_FUNCTIONS:
        raise _refusal(f"The table function {name} is not open to queries.", _HOW)
    n_tables, growth = _measure(function.get("arguments", []), names)
    return n_tables + 1, growth


def _check_type(name: str) -> None:
    if name in _REFUSED_TYPES:
        raise _refusal(f"The type {name.upper()} is not open to queries.", _REFUSED_TYPES[name])


def _check_show(node: _Node) -> None:
    shown = str(node.get("table_name", "")).strip('"')
    kind = str(node.get("show_type", ""))
    if kind == "SHOW_FROM" or (kind == "SHOW_SPECIAL" and shown != "tables"):
        raise _refusal("Of SHOW only SHOW TABLES is open to queries.", _HOW)


def _measure_function(function: _Node, names: Mapping[str, _Size]) -> _Size:
    name = str(function["function_name"]).lower()
    if name in _REFUSED_FUNCTIONS or name.startswith(("variant", "__")):
        raise _refusal(f"The function {name} is not open to queries.", _HOW)
    arguments = [argument["expression"] for argument in function.get("arguments", [])]
    if function.get("schema", "main") not in ("main", "pg_catalog"):
        arguments.insert(0, {})  # x.repeat(3): the parser takes the column for a schema
    sizes = [_measure(argument, names) for argument in arguments]
    others = [value for key, value in function.items() if key != "arguments"]
    n_tables, growth = _measure(others, names)
    n_tables += sum(size[0] for size in sizes)
    growth = max([growth, *(size[1] for size in sizes)])
    if name in _JOINING:
        growth = max(growth, sum(size[1] for size in sizes))
    elif name in _REPLACING or name in _FORMATTING:
        growth = 1
        for _, factor in sizes:
            growth *= factor
        growth *= _replacing_factor(arguments) if name in _REPLACING else _fields(name, arguments)
        if name in _MATCHING:
            growth *= _n_states(arguments)
    elif name in _SIZE_ARGUMENT:
        growth *= _size_argument(name, arguments)
    elif name in ("range", "generate_series"):
        growth *= _n_steps(name, arguments)
    elif name in _COLLECTING:
        growth *= _COLLECTED_FACTOR
    elif name in _UNSTOPPABLE:
        growth *= _UNSTOPPABLE_FACTOR
    elif name in _MATCHING:
        growth *= _n_states(arguments)
    return _within_limits(n_tables, growth)


def _constant(node: _Node) -> str | None:
    """The text of a literal, also of a cast one."""
    node = node.get("child", node)
    literal = node.get("literal")
    return str(literal.get("text", "")) if isinstance(literal, dict) else None


def _whole_number(name: str, node: _Node) -> int:
    text = _constant(node)
    try:
        return int(text or "")
    except ValueError:
        raise _refusal(
            f"The size given to {name} must be a whole number, written out.",
            "For many rows use FROM range(n); for bars use bar(x, 0, max, width).",
        ) from None


def _size_argument(name: str, arguments: Sequence[_Node]) -> int:
    index = _SIZE_ARGUMENT[name]
    return max(1, _whole_number(name, arguments[index])) if index < len(arguments) else 1


def _n_steps(name: str, arguments: Sequence[_Node]) -> int:
    """Length of the list that range(stop), range(start, stop) or range(start, stop, step) makes."""
    start, stop, step = 0, 0, 1
    numbers = [_whole_number(name, argument) for argument in arguments]
    if len(numbers) == 1:
        stop = numbers[0]
    elif len(numbers) >= 2:
        start, stop, step = (*numbers, 1)[:3]
    return max(1, abs(stop - start) // max(abs(step), 1))


def _replacing_factor(arguments: Sequence[_Node]) -> int:
    text = _constant(arguments[2]) if len(arguments) > 2 else None
    return _UNKNOWN_FACTOR if text is None else max(1, len(text))


def _n_states(arguments: Sequence[_Node]) -> int:
    """How often the pattern repeats its parts: `(a{9}){9}` does 81 times."""
    text = _constant(arguments[1]) if len(arguments) > 1 else None
    if text is None:
        return _UNKNOWN_FACTOR
    n_states = 1
    for least, most in _COUNTED.findall(text):
        n_states *= max(1, int(least or 1), int(most or 1))
    return n_states


def _fields(name: str, arguments: Sequence[_Node]) -> int:
    """How many fields a format has; the width of a field is part of the text of the statement."""
    text = _constant(arguments[0]) if arguments else None
    if text is None or _LONG_FIELD.search(text):
        raise _refusal(
            f"The format given to {name} must be written out, with widths below 1000.",
            "Join the parts with || instead.",
        )
    return max(1, text.count("{") + text.count("%"))
