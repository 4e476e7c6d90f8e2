"""Sweeps as they are written in files, and what is refused."""

from __future__ import annotations

import json

import pytest

from engine.sweeps.spec import Arm, Fact, SweepSpec, SweepSpecError, read_spec, steering_at
from store.specs import Condition, Intervention

TOML = """
name = "glad"
source = "demo"
prompts = ["How are you?", "And now?", "Really?", "Why?"]
words = ["glad"]
instruction = "Be glad."
[[facts]]
question = "What do bees make?"
answer = "honey"
[[arms]]
concept = "happy"
strengths = [0.5, 1]
layers = [1, 2]
[[arms]]
name = "by hand"
feature = 12
unit = "raw"
positions = "answering"
condition = { threshold = 0.5, features = [3], at = "last_prompt" }
[[arms]]
interventions = [{ kind = "scale", feature = 3, strength = 2 }]
"""


def test_a_spec_is_read_from_toml_and_from_json() -> None:
    spec = read_spec(TOML)
    assert (spec.name, spec.task, spec.facts) == (
        "glad",
        "concept",
        (Fact("What do bees make?", "honey"),),
    )
    concept, by_hand, third = spec.arms
    assert concept == Arm("happy", concept="happy", strengths=(0.5, 1.0), layers=(1, 2))
    assert by_hand.interventions == (
        Intervention(
            "add",
            1.0,
            feature=12,
            unit="raw",
            positions="answering",
            condition=Condition(0.5, features=(3,), at="last_prompt"),
        ),
    )
    assert third.name == "arm 3"
    text = json.dumps({"name": "x", "source": "a", "arms": [{"concept": "sad"}]})
    assert read_spec(text, "b").source == "b"
    assert read_spec(text.encode()).source == "a"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name = ", "neither TOML nor JSON"),
        ('{"name": ', "neither TOML nor JSON"),
        ('name = "x"\nsource = "demo"', "at least one arm"),
        ('name = "x"\nsource = "demo"\ncolour = 1', "colour"),
        ('name = "x"\nsource = "demo"\ntask = "win"\narms = [{concept = "a"}]', "no task"),
        ('name = "x"\nsource = "demo"\narms = [{strengths = [1]}]', "interventions or a concept"),
        ('name = "x"\nsource = "demo"\narms = [{concept = "a", feature = 1}]', "or a concept"),
        ('name = "x"\nsource = "demo"\narms = [{concept = "a", strengths = []}]', "strength"),
        ('name = "x"\nsource = "demo"\narms = [{concept = "a", strengths = ["b"]}]', "not as"),
        ('name = "x"\nsource = "demo"\narms = [{feature = -1}]', "feature"),
        ('name = "x"\nsource = "demo"\narms = [{feature = 1, strengths = [nan]}]', "no number"),
        ('name = "x"\nsource = "demo"\narms = [3]', "table"),
        ('name = "x"\nsource = "demo"\nprompts = "one"\narms = [{concept = "a"}]', "list of texts"),
        ('name = "x"\nsource = "demo"\nmax_loss = 3\narms = [{concept = "a"}]', "max_loss"),
        ('source = "demo"\narms = [{concept = "a"}]', "not as it must be"),
        ('name = "x"\nsource = "demo"\ntask = "ranking"', "ranking needs"),
    ],
)
def test_a_spec_that_cannot_be_done_is_refused_by_name(text: str, message: str) -> None:
    with pytest.raises(SweepSpecError, match=message):
        read_spec(text)


def test_a_sweep_without_end_is_refused() -> None:
    arm = Arm("a", concept="happy", strengths=tuple(range(1, 1002)), layers=(1, 2))
    with pytest.raises(SweepSpecError, match="2,002 cells"):
        SweepSpec("x", "demo", arms=(arm,))


def test_a_cell_multiplies_each_strength_by_its_own() -> None:
    items = (
        Intervention("add", 0.5, feature=1, unit="norm"),
        Intervention("add", -2.0, feature=2, unit="norm", layer=3),
    )
    at = steering_at(items, 3.0, None).interventions
    assert [(item.strength, item.layer) for item in at] == [(1.5, None), (-6.0, 3)]
    assert [item.layer for item in steering_at(items, 1.0, 2).interventions] == [2, 2]
