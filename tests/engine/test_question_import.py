"""Question sets from files: every row a question, or one sentence that says which row is wrong."""

from __future__ import annotations

import contextlib
import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import RequestError
from engine.question_import import read_questions
from store.question_records import Question

ROWS: list[dict[str, object]] = [
    {
        "question": "Where does Anna, of Berg, live?",
        "gold": "Lisbon",
        "aliases": ["Lisboa", "LX"],
        "group": "Anna",
        "tools": "on",
        "needs_tool": True,
        "slice": "hard",
        "kind": "known",
        "topic": "city",
        "template": "Where?",
    },
    {"question": "How many?", "gold": 7, "aliases": None, "group": None},
]
EXPECTED = (
    Question(
        "Where does Anna, of Berg, live?", "Lisbon", ("Lisboa", "LX"), "Anna", "on", True, "hard",
        "known", "city", "Where?",
    ),
    Question("How many?", "7", group="How many?"),
)  # fmt: skip
CSV = (
    "\ufeffQuestion,gold,aliases,group,tools,needs_tool,slice,kind,topic,template\r\n"
    '"Where does Anna, of Berg, live?",Lisbon,Lisboa | LX,Anna,on,yes,hard,known,city,Where?\r\n'
    "\r\n"
    "How many?,7,,,,,,,,\r\n"
).encode()


def _parquet(table: pa.Table) -> bytes:
    written = io.BytesIO()
    pq.write_table(table, written)
    return written.getvalue()


FILES = {
    "set.csv": CSV,
    "set.jsonl": "\n".join(json.dumps(row) for row in ROWS).encode() + b"\n\n",
    "set.parquet": _parquet(
        pa.Table.from_pylist([{key: str(value) if key == "gold" else value
                               for key, value in {**dict.fromkeys(ROWS[0]), **row}.items()}
                              for row in ROWS])
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_each_kind_of_file_gives_the_same_questions(name: str) -> None:
    assert read_questions(FILES[name], name).questions == EXPECTED


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.csv", b"prompt,gold\nx,y\n", "no column `question`; it has: prompt, gold"),
        ("a.csv", b"", "no column `question`; it has: none"),
        ("a.csv", b"question,gold,gold\nx,y,z\n", "the column `gold` twice"),
        ("a.csv", b"question,gold\nx,y,z\n", "Line 2 has not as many fields"),
        ("a.csv", b'question\n"x\n', "is no CSV"),
        ("a.csv", b"question\n", "no questions"),
        ("a.csv", b"question,gold\n,y\n", "Row 2: A question is empty."),
        ("a.csv", b"question,tools\nx,maybe\n", "Row 2 has tools 'maybe'"),
        ("a.csv", b"question,needs_tool\nx,maybe\n", "Row 2 has needs_tool 'maybe'"),
        ("a.csv", b'question,aliases\nx,"[1"\n', "aliases that are no JSON list"),
        ("a.csv", b"question,gold\nx,y\nz,1\nx,w\n", "Row 4 asks what row 2 asks"),
        ("a.csv", "question\nl\xf6w\n".encode("latin-1"), "Line 2 of the file is not UTF-8"),
        ("a.jsonl", b'{"question": "x"}\n{"question": ', "Line 2 of the file is no JSON."),
        ("a.jsonl", b'["x"]', "Line 1 of the file is no JSON object"),
        ("a.jsonl", b'{"prompt": "x"}', "Line 1 has no column `question`; it has: prompt"),
        ("a.jsonl", b'{"question": {"a": 1}}', "a question that is no text"),
        ("a.jsonl", b'{"question": "\\ud800"}', "not valid Unicode"),
        ("a.parquet", b"PAR1 or not", "no Parquet"),
        ("a.parquet", _parquet(pa.table({"prompt": ["x"]})), "no column `question`"),
        ("a.txt", b"x", "no CSV, JSON lines or Parquet file"),
        ("a.csv", b"x" * (64 * 2**20 + 1), "at most 64"),
    ],
    ids=lambda value: value[:24] if isinstance(value, str) else None,
)
def test_what_is_wrong_is_said_with_its_row(name: str, content: bytes, says: str) -> None:
    with pytest.raises(RequestError) as caught:
        read_questions(content, name)
    assert says in caught.value.message
    assert caught.value.hint


def test_rows_that_repeat_each_other_are_one_question() -> None:
    read = read_questions(b"question,gold\nx,y\nx,y\nz,w\n", "a.csv")
    assert len(read.questions) == 2
    assert read.n_repeated == 1
    assert "1 rows repeat" in read.notes[0]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"question,extra\nx,1\n", "These columns are not used: extra."),
        (b"question\nx\ny\n", "No question has a gold answer"),
        (b"question,gold\nx,1\ny,1\n", "the same gold answer"),
        (b"question,gold\nx,1\ny,2\n", "No question has a group"),
    ],
)
def test_what_a_person_should_know_is_noted(content: bytes, says: str) -> None:
    assert any(says in note for note in read_questions(content, "a.csv").notes)


@given(st.binary(max_size=200), st.sampled_from(["a.csv", "a.jsonl", "a.parquet"]))
def test_no_bytes_raise_anything_else(content: bytes, name: str) -> None:
    with contextlib.suppress(RequestError):
        assert read_questions(content, name).questions
