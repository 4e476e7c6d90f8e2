"""The public views: their names and columns are a promise, and each says what it is."""

from __future__ import annotations

import pytest

from store.connection import Store
from store.runs import RunRepository
from store.schema import list_views
from tests.store.samples import SOURCE, make_activations, make_run, make_tokens

PROMISED = {
    "sources": "source_id name model_id model_revision sae_id sae_revision hook_name layer d_in"
    " d_sae architecture dtype created_at",
    "runs": "run_key source_id kind prompt response messages n_prompt_tokens n_generated_tokens"
    " max_new_tokens temperature top_p top_k seed tools steering finish_reason compute_s hits"
    " created_by created_at",
    "tokens": "run_key position token_id text role is_generated is_special logprob rank entropy"
    " n_active",
    "activations": "run_key source_id position feature value",
    "features": "source_id feature n_tokens_active density max_value mean_value label"
    " label_origin label_score",
    "labels": "source_id feature text origin score author created_at is_current label_id status"
    " replaces evidence ended_at ended_by",
    "feature_lists": "list_id name note created_by created_at updated_at n_features",
    "feature_list_items": "list_id list_name source_id feature note added_by added_at",
    "vectors": "vector_id name model_id layer method n_pairs norm reliability created_by"
    " created_at model_revision site d_model source_id concept residual_norm content",
    "run_interventions": "run_key number kind feature vector_id layer positions unit strength"
    " raw_strength measure requested achieved_before achieved_after n_positions",
    "residual_norms": "source_id layer mean_norm mean_std n_tokens texts measured_at",
    "sweeps": "sweep_id name task source_id source_name n_cells spec summary created_by created_at"
    " finished_at",
    "sweep_cells": "sweep_id number arm role split kind feature vector_id strength unit layer"
    " is_gated n success success_low success_high coherence coherence_low coherence_high"
    " side_effect side_effect_low side_effect_high steering prefix results cell_key compute_s"
    " created_at",
    "tool_calls": "run_key step tool arguments result status detail call_run_key elapsed_s",
    "exchanges": "run_key first_run_key n_rounds",
    "outcomes": "run_key outcome method evidence judge confidence created_by created_at",
    "verdicts": "run_key outcome method meaning n_judgements is_contested",
    "question_sets": "set_id name title origin world_seed n_questions created_by created_at",
    "questions": "set_id question_no question gold aliases group_name tools needs_tool slice kind"
    " topic template",
    "answers": "set_id question_no tools run_key created_at",
    "detectors": "detector_id name source_id kind features metrics split_hash created_at method"
    " site note is_chosen evaluation_id set_name created_by retired_by retired_at",
    "detector_results": "detector_id slice n_positive n_negative verdict metric value low high",
    "detector_scores": "detector_id run_key score probability part scored_at",
    "saved_queries": "query_id title sql created_by created_at",
    "hits": "run_key hit_by hit_at",
    "failures": "run_key source_name prompt error_type message hint created_by created_at",
}


@pytest.mark.parametrize("name", PROMISED)
def test_a_view_has_the_promised_columns(store: Store, name: str) -> None:
    [view] = [view for view in list_views(store) if view.name == name]
    assert set(PROMISED[name].split()) <= {column.name for column in view.columns}


def test_every_view_and_column_says_what_it_is_in_one_line(store: Store) -> None:
    views = list_views(store)
    assert {view.name for view in views} == set(PROMISED)
    comments = [view.comment for view in views]
    comments += [column.comment for view in views for column in view.columns]
    assert all(comment.endswith(".") and "\n" not in comment for comment in comments)


def test_json_columns_are_json_and_times_are_timestamps(store: Store) -> None:
    types = {
        (view.name, column.name): column.type
        for view in list_views(store)
        for column in view.columns
    }
    assert types["runs", "messages"] == types["runs", "steering"] == "JSON"
    assert types["runs", "created_at"] == types["hits", "hit_at"] == "TIMESTAMP"
    assert types["activations", "value"] == "FLOAT"


def test_the_views_agree_with_each_other_on_a_stored_run(store: Store, runs: RunRepository) -> None:
    fired = make_activations()
    runs.insert_run(SOURCE, make_run(), make_tokens(), fired)
    runs.insert_hit(make_run().run_key, "bob")
    with store.read() as cursor:
        [row] = cursor.execute(
            """
            SELECT r.messages->1->>'content', r.hits, s.name, count(DISTINCT t.position),
                   count(a.feature), (SELECT sum(n_tokens_active) FROM features),
                   (SELECT max(density) FROM features), (SELECT any_value(hit_by) FROM hits)
            FROM runs r JOIN sources s USING (source_id) JOIN tokens t USING (run_key)
            LEFT JOIN activations a USING (run_key, source_id, position)
            GROUP BY ALL
            """
        ).fetchall()
    assert row[:6] == ("question 0", 1, "demo", 6, len(fired), len(fired))
    assert 0 < row[6] <= 1
    assert row[7] == "bob"
