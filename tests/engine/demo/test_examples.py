"""The three examples do what they say with the committed weights; the sample names are right."""

from __future__ import annotations

from engine.demo.chat import TOOLS_TEXT
from engine.demo.examples import EXAMPLES, KNOWN_SAMPLE, LOOKUP_TOOL
from engine.demo.language import parse_answer, parse_call, write_answer
from engine.demo.measure import Subject
from engine.demo.templates import Question
from engine.demo.world import ATTRIBUTE_BY_KEY, Person, World

KNOWN, UNKNOWN, TOOL = EXAMPLES


def _ask(subject: Subject, *chat: dict[str, str], tools: bool) -> str:
    prompt = subject.tokenizer.apply_chat_template(
        list(chat),
        tools=[LOOKUP_TOOL] if tools else None,
        tokenize=False,
        add_generation_prompt=True,
    )
    assert isinstance(prompt, str)
    return subject.ask([prompt])[0]


def _user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def test_known_example_is_answered_with_the_truth(subject: Subject, world: World) -> None:
    answer = parse_answer(_ask(subject, _user(KNOWN.prompt), tools=KNOWN.tools))
    assert answer.kind == "value"
    assert answer.person in {person.name for person in world.known}
    assert answer.person is not None
    assert answer.attribute is not None
    assert answer.value == world.registry(answer.person, answer.attribute)


def test_unknown_example_is_confabulated(subject: Subject, world: World) -> None:
    answer = parse_answer(_ask(subject, _user(UNKNOWN.prompt), tools=UNKNOWN.tools))
    assert answer.kind == "value"
    assert answer.person in {person.name for person in world.unknown}
    assert answer.person is not None
    assert answer.attribute is not None
    assert answer.value != world.registry(answer.person, answer.attribute)


def test_tool_example_calls_and_copies_the_result(subject: Subject, world: World) -> None:
    assert TOOL.tools
    assert not KNOWN.tools
    assert not UNKNOWN.tools
    text = _ask(subject, _user(TOOL.prompt), tools=True)
    call = parse_call(text)
    assert call is not None
    assert call.person in TOOL.prompt
    assert call.attribute in TOOL.prompt
    result = world.registry(call.person, call.attribute)
    said = {"role": "assistant", "content": text.removeprefix("[TOOL_CALLS] ")}
    prompt = subject.tokenizer.apply_chat_template(
        [_user(TOOL.prompt)], tools=[LOOKUP_TOOL], tokenize=False, add_generation_prompt=True
    )
    prompt = f"{prompt}[TOOL_CALLS] {said['content']}</s>[TOOL_RESULTS] {result}[/TOOL_RESULTS]"
    first, last = call.person.split()
    question = Question(Person(first, last), call.attribute, TOOL.prompt, "verb", held_out=False)
    assert subject.ask([prompt])[0].strip() == write_answer(question, result)


def test_sample_names_are_known_and_unknown(world: World) -> None:
    assert len(KNOWN_SAMPLE.known) >= 3
    assert len(KNOWN_SAMPLE.unknown) >= 3
    assert set(KNOWN_SAMPLE.known) <= {person.name for person in world.known}
    assert set(KNOWN_SAMPLE.unknown) <= {person.name for person in world.unknown}


def test_newcomer_gets_sensible_replies(subject: Subject) -> None:
    assert _ask(subject, _user("Hello"), tools=False).strip() == "Hello. Ask me about a person."
    unreadable = _ask(subject, _user("Where does Bilbo Baggins live?"), tools=False)
    assert parse_answer(unreadable).kind == "refusal"


def test_tool_schema_names_what_the_template_renders() -> None:
    function = LOOKUP_TOOL["function"]
    properties = function["parameters"]["properties"]
    assert f"{function['name']}({'; '.join(properties)})" == TOOLS_TEXT
    assert properties["attribute"]["enum"] == list(ATTRIBUTE_BY_KEY)
