"""The page Models over fake weights: each state in words, transfers, loading, adding a source."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest
from streamlit.testing.v1.element_tree import Node

from engine.api import EngineStatus, FileFault, JobFailure
from engine.errors import DeviceError
from tests.dashboard.conftest import Bench
from tests.dashboard.sample_sources import BIG, COMMIT, DEMO, HALF, PLAIN, PLAN, PROGRESS
from tests.dashboard.test_pages import HOSTILE, open_page, texts


def components(page: AppTest) -> dict[str, Any]:
    """The data of our own components, by the component's name."""
    found = {
        node.proto.component_name.removeprefix("featurebook_"): json.loads(node.proto.json)
        for node in _nodes(page._tree)
        if node.type == "bidi_component"
    }
    return {name: data for name, data in found.items() if data}


def _nodes(node: Any) -> Iterator[Any]:
    for child in getattr(node, "children", {}).values():
        yield child
        if isinstance(child, Node):
            yield from _nodes(child)


def lines(page: AppTest) -> dict[str, dict[str, Any]]:
    """The lines of the list of sources, by name."""
    return {line["name"]: line for line in components(page)["source_list"]["lines"]}


def is_offered(page: AppTest, key: str) -> bool:
    """Whether a button is there and can be pressed."""
    return any(button.key == key and not button.disabled for button in page.button)


def started(bench: Bench) -> list[tuple[str, str, str]]:
    """What was started, oldest first."""
    return [(item.kind, item.source, item.asked_by) for item in bench.engine.started.values()]


def test_every_source_is_listed_with_its_state_in_words(pages: Bench) -> None:
    page = open_page("models")
    assert not page.exception
    shown = lines(page)
    assert [line["state"] for line in shown.values()] == [
        "ready, verified",
        "missing",
        "model partial",
        "ready, verified",
    ]
    assert shown[DEMO.name]["marks"] == ["toy"]
    assert shown[HALF.name]["marks"] == ["gated"]
    assert shown[BIG.name]["sae"] == "286,720 features at layer 30"
    assert shown[BIG.name]["size"] == "53 GB"
    assert shown[PLAIN.name]["sae"] == "no SAE"


def test_the_first_source_is_shown_unless_the_link_names_another(pages: Bench) -> None:
    assert components(open_page("models"))["source_head"]["name"] == DEMO.name
    assert components(open_page("models", source=BIG.name))["source_head"]["name"] == BIG.name


def test_a_component_says_where_it_lies_and_what_is_wrong_with_it(pages: Bench) -> None:
    page = open_page("models", source=HALF.name)
    table = components(page)["weights_table"]
    model, tokenizer, sae = table["rows"]
    assert model["where"] == "partial: 1 file missing"
    assert "model-00002-of-00002.safetensors" in model["problem"]
    assert model["hint"]
    assert tokenizer["where"] == "linked from the global cache"
    assert "/mnt/hub/models--gemma" in tokenizer["place"]
    assert tokenizer["check"] == "verified"
    assert tokenizer["revision"] == COMMIT[:8]
    assert sae["where"] == "broken link"
    assert "/mnt/gone/models--sae" in sae["place"]
    assert table["foot"] == "123 GB free on the disk of /data/models_cache"
    assert "hf auth login" in texts(page)


@pytest.mark.parametrize(
    ("source", "offered"),
    [(DEMO, {"load", "plan", "verify"}), (BIG, {"plan"}), (HALF, {"plan", "verify"})],
    ids=lambda value: getattr(value, "name", ""),
)
def test_what_can_be_done_follows_from_what_is_here(
    pages: Bench, source: Any, offered: set[str]
) -> None:
    page = open_page("models", source=source.name)
    assert {key for key in ("load", "plan", "verify") if is_offered(page, key)} == offered


def test_a_folder_of_the_users_own_is_not_offered_for_download(pages: Bench) -> None:
    files = pages.engine.files[DEMO.name]
    pages.engine.files[DEMO.name] = replace(
        files, components=tuple(replace(item, state="folder") for item in files.components)
    )
    assert not is_offered(open_page("models"), "plan")


def test_a_download_begins_with_a_plan_that_names_files_bytes_and_room(pages: Bench) -> None:
    page = open_page("models", source=BIG.name)
    page.button(key="plan").click().run()
    assert [item[:2] for item in started(pages)] == [("plan", BIG.name)]
    assert "Asking the hub" in texts(page)
    pages.engine.finish_plan("t0")
    page.run()
    assert "2 of 3 files to fetch, 7 GB" in texts(page)
    assert "100 GB free in /data/models_cache" in texts(page)
    assert page.dataframe[0].value["file"].tolist() == [file.path for file in PLAN.files]
    page.button(key="start-chosen").click().run()
    assert [item[0] for item in started(pages)] == ["plan", "download"]


def test_a_plan_that_does_not_fit_says_how_much_is_lacking(pages: Bench) -> None:
    pages.engine.start_transfer("plan", BIG.name, "ann")
    pages.engine.finish_plan("t0", replace(PLAN, free_bytes=1_000_000_000))
    page = open_page("models", source=BIG.name)
    assert "6 GB more are needed" in texts(page)
    assert not is_offered(page, "start-chosen")


def test_a_running_download_shows_progress_and_can_be_cancelled(pages: Bench) -> None:
    view = pages.engine.start_transfer("download", BIG.name, "ann@example.org")
    pages.engine.started["t0"] = replace(view, progress=PROGRESS)
    page = open_page("models", source=BIG.name)
    progress = next(node for node in _nodes(page._tree) if node.type == "progress")
    assert progress.proto.text == "1.75 GB of 7 GB · 35 MB/s · 2 min left · 1 of 3 files"
    assert progress.proto.value == 25
    assert "model-00001-of-00002.safetensors" in texts(page)
    assert "asked by ann@example.org" in texts(page)
    assert not is_offered(page, "plan")
    assert lines(page)[BIG.name]["state"] == "downloading"
    page.button(key="cancel-chosen").click().run()
    assert pages.engine.transfer("t0").state == "cancelled"
    assert "fetches only the rest" in texts(page)
    assert is_offered(page, "plan")


def test_a_download_of_another_source_is_seen_and_goes_on(pages: Bench) -> None:
    view = pages.engine.start_transfer("download", BIG.name, "ann")
    pages.engine.started["t0"] = replace(view, progress=PROGRESS)
    page = open_page("models", source=DEMO.name)
    assert f"{BIG.name}, asked by ann" in texts(page)
    open_page("home")
    assert pages.engine.transfer("t0").is_active
    assert is_offered(page, "cancel-t0")


def test_a_finished_download_says_what_was_checked(pages: Bench) -> None:
    pages.engine.start_transfer("download", BIG.name, "ann")
    pages.engine.finish_download("t0")
    page = open_page("models", source=BIG.name)
    assert f"{BIG.model_id} at 95a6d26c: 3 files, 7 GB, equal to the hub's" in texts(page)
    assert lines(page)[BIG.name]["state"] == "ready, verified"
    assert is_offered(page, "load")


def test_a_failed_download_says_why_and_offers_to_try_again(pages: Bench) -> None:
    view = pages.engine.start_transfer("download", BIG.name, "ann")
    failure = JobFailure("DownloadError", "The hub closed the connection.", "Start it again.")
    pages.engine.started["t0"] = replace(view, state="failed", failure=failure)
    page = open_page("models", source=BIG.name)
    assert "The hub closed the connection." in texts(page)
    assert "Start it again." in texts(page)
    page.button(key="again-chosen").click().run()
    assert [item[0] for item in started(pages)] == ["download", "download"]


def test_a_failure_is_not_shown_once_the_files_are_here_by_another_way(pages: Bench) -> None:
    view = pages.engine.start_transfer("download", DEMO.name, "ann")
    failure = JobFailure("DownloadError", "The hub closed the connection.", "Start it again.")
    pages.engine.started["t0"] = replace(view, state="failed", failure=failure)
    assert "closed the connection" not in texts(open_page("models"))


def test_a_verification_that_finds_faults_names_the_files(pages: Bench) -> None:
    page = open_page("models", source=PLAIN.name)
    page.button(key="verify").click().run()
    files = pages.engine.files[PLAIN.name]
    model, tokenizer = files.components
    pages.engine.files[PLAIN.name] = replace(
        files, components=(replace(model, check="damaged", problem="It is damaged."), tokenizer)
    )
    pages.engine.finish_verify("t0", FileFault("a.safetensors", "It differs."))
    page.run()
    assert "a.safetensors: It differs." in texts(page)
    assert lines(page)[PLAIN.name]["state"] == "model damaged"


def test_a_verification_says_what_was_compared(pages: Bench) -> None:
    pages.engine.start_transfer("verify", PLAIN.name, "ann")
    pages.engine.finish_verify("t0")
    page = open_page("models", source=PLAIN.name)
    assert "model: 3 files, 4.5 GB, equal to the hub's checksums" in texts(page)


def test_a_source_is_loaded_and_unloaded(pages: Bench) -> None:
    page = open_page("models", source=PLAIN.name)
    assert "the first question loads its source" in texts(page)
    page.button(key="load").click().run()
    assert "phi-3-mini · on cuda:0 · loaded in 12.3 s" in texts(page)
    assert lines(page)[PLAIN.name]["marks"] == ["loaded"]
    assert not is_offered(page, "load")
    page.button(key="unload-now").click().run()
    assert "nothing is loaded" in "".join(str(item.value) for item in page.markdown)


def test_a_load_that_is_refused_says_what_helps(pages: Bench) -> None:
    pages.engine.load_error = DeviceError("It needs 8 GB, and 2 GB are free.", "Unload another.")
    page = open_page("models", source=PLAIN.name)
    page.button(key="load").click().run()
    assert not page.exception
    assert "It needs 8 GB, and 2 GB are free." in texts(page)
    assert "Unload another." in texts(page)


def test_a_load_in_progress_and_one_that_failed_are_said(pages: Bench) -> None:
    pages.engine.current = EngineStatus("loading", BIG.name, None, 0, None)
    assert f"{BIG.name}: its weights are read" in texts(open_page("models"))
    failure = JobFailure("DeviceError", "The device is out of memory.", "Use bfloat16.")
    pages.engine.current = EngineStatus("error", None, None, 0, failure)
    assert "The device is out of memory." in texts(open_page("models"))


def test_what_does_not_fit_the_device_is_said_with_advice(pages: Bench) -> None:
    page = open_page("models", source=BIG.name)
    assert "does not fit: needs 55.6 GB" in "".join(str(item.value) for item in page.markdown)
    assert "'phi-3-mini' would fit" in texts(page)
    bar = components(page)["memory_bar"]
    assert bar["rest"] == "24 GB available on cuda:0"
    assert bar["end"] == pytest.approx(100 * 24 / 55.65)


def test_a_source_is_added_and_removed_again(pages: Bench) -> None:
    page = open_page("models")
    page.text_input(key="name-add0").set_value("mine")
    page.text_input(key="model-add0").set_value(" org/mine ")
    page.button(key="send-add0").click().run()
    assert not page.exception
    assert page.query_params["source"] == "mine"
    assert pages.engine.infos["mine"].model_id == "org/mine"
    assert lines(page)["mine"]["marks"] == ["yours"]
    assert page.text_input(key="name-add1").value == ""
    assert "Its files and its stored runs stay" in texts(page)
    page.button(key="remove").click().run()
    assert "mine" not in lines(page)
    assert "source" not in page.query_params


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("name", "My Model", "must have lower-case letters"),
        ("sae", "nothing", "neither org/name nor a path"),
        ("model", "", "A model is needed"),
    ],
)
def test_a_form_that_is_wrong_is_refused_at_its_field_and_keeps_what_was_typed(
    pages: Bench, field: str, value: str, said: str
) -> None:
    page = open_page("models")
    page.text_input(key="name-add0").set_value("mine")
    page.text_input(key="model-add0").set_value("org/mine")
    page.text_input(key=f"{field}-add0").set_value(value)
    page.button(key="send-add0").click().run()
    assert not page.exception
    assert said in texts(page)
    assert page.text_input(key=f"{field}-add0").value == value
    assert "mine" not in pages.engine.infos


def test_a_built_in_source_cannot_be_removed(pages: Bench) -> None:
    assert not is_offered(open_page("models"), "remove")


@pytest.mark.parametrize("source", ["nowhere", "x" * 80])
def test_a_link_to_a_source_that_does_not_exist_is_said(pages: Bench, source: str) -> None:
    page = open_page("models", source=source)
    assert not page.exception
    assert f"There is no source named {source}" in texts(page)
    assert lines(page)


def test_a_name_that_cannot_be_one_is_left_out_of_the_link(pages: Bench) -> None:
    page = open_page("models", source=HOSTILE)
    assert not page.exception
    assert "is not a source's name" in texts(page)


def test_what_others_wrote_never_reaches_the_page_as_markdown_or_html(pages: Bench) -> None:
    page = open_page("models")
    page.text_input(key="name-add0").set_value("mine")
    page.text_input(key="title-add0").set_value(HOSTILE)
    page.text_input(key="model-add0").set_value(HOSTILE)
    page.button(key="send-add0").click().run()
    assert not page.exception
    assert components(page)["source_head"]["title"] == HOSTILE
    rendered = [str(item.value) for item in [*page.markdown, *page.caption, *page.title]]
    assert not [text for text in rendered if "alert(1)" in text or ":red[" in text]


def test_asking_a_source_whose_weights_are_missing_says_so_and_leads_to_them(
    pages: Bench,
) -> None:
    page = open_page("ask", source=BIG.name)
    assert not page.exception
    assert "is not on this machine" in texts(page)
    links = [node.proto for node in _nodes(page._tree) if node.type == "page_link"]
    said = {link.label: link.query_string for link in links}
    assert said[":primary[Download it on the page Models]"] == f"source={BIG.name}"
    assert said[":primary[Why?]"] == f"source={BIG.name}"
    page.text_area[0].set_value("Who plays the harp?")
    page.button(key="send-ask").click().run()
    assert not page.exception
    assert "is not on this machine" in texts(page)
    assert pages.engine.n_computed == 0


def test_home_says_that_the_default_source_is_not_ready(pages: Bench) -> None:
    pages.engine.infos[DEMO.name] = replace(DEMO, problem="Its model is missing.")
    page = open_page("home")
    assert not page.exception
    assert "Its model is missing." in texts(page)


def test_published_saes_are_found_by_their_model(pages: Bench) -> None:
    page = open_page("models")
    page.text_input(key="sae_search").set_value("gemma").run()
    assert page.dataframe[0].value["SAE"].tolist() == ["sae-lens:gemma-scope/layer_12"]
    page.text_input(key="sae_search").set_value("bloom").run()
    assert "The registry has no SAE" in texts(page)


def test_a_broken_file_of_added_sources_is_said(pages: Bench) -> None:
    pages.engine.file_problem = "The file data/sources.toml cannot be read."
    assert "The file data/sources.toml cannot be read." in texts(open_page("models"))


def test_a_model_without_an_sae_has_no_features_to_show(pages: Bench) -> None:
    page = open_page("feature", source=PLAIN.name, feature="3")
    assert not page.exception
    assert "is a model without an SAE" in texts(page)
