"""Question sets from files: CSV, JSON lines and Parquet, with what is wrong of them said plainly.

Invariant: every row becomes a question, or the whole file is refused with the row's number; equal
rows are one question, and two rows that contradict each other are an error.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePath

from engine.errors import RequestError
from store.errors import InvalidSpecError
from store.question_records import Question, ToolUse

MAX_BYTES = 64 * 2**20
COLUMNS = (
    "question",
    "gold",
    "aliases",
    "group",
    "tools",
    "needs_tool",
    "slice",
    "kind",
    "topic",
    "template",
)
_TOOLS: Mapping[str, ToolUse] = {
    "": "both",
    "both": "both",
    "on": "on",
    "true": "on",
    "yes": "on",
    "off": "off",
    "false": "off",
    "no": "off",
}
_YES = {"": False, "true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


@dataclass(frozen=True, slots=True)
class ReadQuestions:
    """Questions of a file.

    Attributes:
        n_repeated: rows that said what an earlier one had said, and are left out.
        notes: what a person should know before using them, one sentence each.
    """

    questions: tuple[Question, ...]
    n_repeated: int
    notes: tuple[str, ...]


def read_questions(content: bytes, file_name: str) -> ReadQuestions:
    """Reads a file by the ending of its name: .csv, .jsonl or .parquet.

    It needs the column `question`; it may have gold, aliases (a JSON list, or divided by |), group,
    tools (on, off, both), needs_tool (yes, no), slice, kind, topic and template. Other columns are
    passed over.

    Raises:
        RequestError: naming the row and what is wrong with it.
    """
    if len(content) > MAX_BYTES:
        raise RequestError(
            f"The file has {len(content) / 2**20:,.0f} MiB; at most {MAX_BYTES // 2**20} are read.",
            "Divide it.",
        )
    questions: dict[str, tuple[int, Question]] = {}
    n_repeated = 0
    unknown: set[str] = set()
    for number, row in _rows(content, file_name):
        unknown |= row.keys() - set(COLUMNS)
        question = _to_question(number, row)
        earlier = questions.setdefault(question.question, (number, question))
        if earlier[0] == number:
            continue
        if earlier[1] != question:
            raise RequestError(
                f"Row {number} asks what row {earlier[0]} asks, and says another thing of it.",
                "Keep one of them, or write all right answers as aliases of one.",
            )
        n_repeated += 1
    if not questions:
        raise RequestError("The file has no questions.", "Give one row a question.")
    read = tuple(question for _, question in questions.values())
    return ReadQuestions(read, n_repeated, tuple(_notes(read, n_repeated, unknown)))


def _notes(questions: tuple[Question, ...], n_repeated: int, unknown: set[str]) -> Iterator[str]:
    if n_repeated:
        yield f"{n_repeated:,} rows repeat earlier ones and are left out."
    if unknown:
        names = ", ".join(sorted(str(name)[:40] for name in unknown)[:8])
        yield f"These columns are not used: {names}."
    golds = {question.gold for question in questions}
    if golds == {None}:
        yield "No question has a gold answer: only a judge or people can say what is true."
    elif len(golds) == 1 and len(questions) > 1:
        yield "All questions have the same gold answer: there may be nothing to tell apart."
    if all(question.group == question.question for question in questions):
        yield "No question has a group: each is taken as one of its own."


def _rows(content: bytes, file_name: str) -> Iterator[tuple[int, dict[str, object]]]:
    ending = PurePath(file_name).suffix.lower()
    readers = {".csv": _csv_rows, ".jsonl": _json_rows, ".ndjson": _json_rows}
    if ending == ".parquet":
        yield from _parquet_rows(content)
        return
    if ending not in readers:
        raise RequestError(
            f"{PurePath(file_name).name[:80]!r} is no CSV, JSON lines or Parquet file.",
            "Give it a name that ends with .csv, .jsonl or .parquet.",
        )
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise RequestError(
            f"Line {line} of the file is not UTF-8 text.", "Save the file as UTF-8."
        ) from error
    yield from readers[ending](text)


def _csv_rows(text: str) -> Iterator[tuple[int, dict[str, object]]]:
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        names = [(name or "").strip().lower() for name in reader.fieldnames or []]
        _check_columns(names)
        reader.fieldnames = names
        for row in reader:
            if None in row or None in row.values():
                raise RequestError(
                    f"Line {reader.line_num} has not as many fields as the first line.",
                    'Write texts with commas in them in "quotation marks".',
                )
            if any(row.values()):
                yield reader.line_num, dict(row)
    except csv.Error as error:
        raise RequestError(
            f"Line {reader.line_num} of the file is no CSV: {error}.",
            'Write texts with commas or line breaks in them in "quotation marks".',
        ) from error


def _json_rows(text: str) -> Iterator[tuple[int, dict[str, object]]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise RequestError(
                f"Line {number} of the file is no JSON.", 'Write one object a line: {"question": …}'
            ) from error
        if not isinstance(row, dict):
            raise RequestError(
                f"Line {number} of the file is no JSON object.",
                'Write one object a line: {"question": …}',
            )
        lowered = {str(name).strip().lower(): value for name, value in row.items()}
        _check_columns(list(lowered), f"Line {number}")
        yield number, lowered


def _parquet_rows(content: bytes) -> Iterator[tuple[int, dict[str, object]]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(io.BytesIO(content))
        names = [name.strip().lower() for name in table.column_names]
        _check_columns(names)
        wanted = [index for index, name in enumerate(names) if name in COLUMNS]
        rows = table.select(wanted).rename_columns([names[index] for index in wanted]).to_pylist()
    except (pa.ArrowException, OSError, ValueError) as error:
        raise RequestError("The file is no Parquet that can be read.", "Write it again.") from error
    yield from enumerate(rows, start=1)


def _check_columns(names: list[str], where: str = "The file") -> None:
    if "question" not in names:
        has = ", ".join(name[:40] for name in names[:12] if name) or "none"
        raise RequestError(
            f"{where} has no column `question`; it has: {has}.",
            f"Its columns may be {', '.join(COLUMNS)}; only `question` must be there.",
        )
    twice = sorted({name for name in names if names.count(name) > 1 and name in COLUMNS})
    if twice:
        raise RequestError(f"{where} has the column `{twice[0]}` twice.", "Keep one of them.")


def _to_question(number: int, row: Mapping[str, object]) -> Question:
    tools = _word(row.get("tools"))
    needs = _word(row.get("needs_tool"))
    if tools not in _TOOLS:
        raise RequestError(
            f"Row {number} has tools {tools[:40]!r}.", "Use on, off or both, or leave it empty."
        )
    if needs not in _YES:
        raise RequestError(f"Row {number} has needs_tool {needs[:40]!r}.", "Use yes or no.")
    try:
        question = _text(number, "question", row.get("question")) or ""
        return Question(
            question,
            gold=_text(number, "gold", row.get("gold")),
            aliases=_aliases(number, row.get("aliases")),
            group=_text(number, "group", row.get("group")) or question,
            tools=_TOOLS[tools],
            needs_tool=_YES[needs],
            slice=_text(number, "slice", row.get("slice")),
            kind=_text(number, "kind", row.get("kind")),
            topic=_text(number, "topic", row.get("topic")),
            template=_text(number, "template", row.get("template")),
        )
    except InvalidSpecError as error:
        raise RequestError(f"Row {number}: {error.message}", error.hint) from error


def _word(value: object) -> str:
    return "" if value is None else str(value).strip().lower()


def _text(number: int, column: str, value: object) -> str | None:
    """A cell as text; None for an empty one."""
    if value is None:
        return None
    if isinstance(value, (dict, list, bytes)):
        raise RequestError(f"Row {number} has a {column} that is no text.", "Write one text.")
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip() or None


def _aliases(number: int, value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        text = value.strip()
        if text.startswith("["):
            try:
                value = json.loads(text)
            except (ValueError, RecursionError) as error:
                raise RequestError(
                    f"Row {number} has aliases that are no JSON list.",
                    'Write ["one", "two"], or one | two.',
                ) from error
        else:
            value = text.split("|")
    if value is None:
        return ()
    if not isinstance(value, list):
        value = [value]
    texts = (_text(number, "aliases", item) for item in value)
    return tuple(dict.fromkeys(text for text in texts if text))
