-- The public SQL of the store: names and columns here are never changed in place, only added to.
-- Made anew whenever this file changes; every view and column says what it is.

CREATE OR REPLACE VIEW sources AS
SELECT source_id, name, model_id, model_revision, nullif(sae_id, '') AS sae_id,
       nullif(sae_revision, '') AS sae_revision, nullif(hook_name, '') AS hook_name,
       nullif(layer, -1) AS layer, d_in, nullif(d_sae, 0) AS d_sae,
       nullif(architecture, 'none') AS architecture, dtype, max_active, created_at
FROM base.sources;

COMMENT ON VIEW sources IS 'A model and SAE pair, or a model alone, that has left runs here.';
COMMENT ON COLUMN sources.source_id IS 'Name and a digest of everything that the source is.';
COMMENT ON COLUMN sources.name IS 'What people call it; a changed source keeps its name and gets a new id.';
COMMENT ON COLUMN sources.model_id IS 'Repository of the model, or the name of a local folder.';
COMMENT ON COLUMN sources.model_revision IS 'Commit of the model, or sha256 of a local folder.';
COMMENT ON COLUMN sources.sae_id IS 'Repository of the SAE, or the name of a local folder; NULL for a model alone.';
COMMENT ON COLUMN sources.sae_revision IS 'Commit of the SAE, or sha256 of a local folder; settings that decided how it encodes follow.';
COMMENT ON COLUMN sources.hook_name IS 'Where the SAE reads the model; NULL for a model alone.';
COMMENT ON COLUMN sources.layer IS 'Decoder layer of the hook point, from 0; NULL for a model alone.';
COMMENT ON COLUMN sources.d_in IS 'Width of the hook point, which is that of the model.';
COMMENT ON COLUMN sources.d_sae IS 'Number of features; NULL for a model alone.';
COMMENT ON COLUMN sources.architecture IS 'Kind of SAE: standard, topk, jumprelu, gated, ...; NULL for a model alone.';
COMMENT ON COLUMN sources.dtype IS 'Precision that the model computed with.';
COMMENT ON COLUMN sources.max_active IS 'Most activations stored a token; NULL where every one is kept.';
COMMENT ON COLUMN sources.created_at IS 'When its first run was stored, UTC.';

CREATE OR REPLACE VIEW runs AS
SELECT r.run_key, s.source_id, r.kind, r.prompt, r.response, r.messages, r.n_prompt_tokens,
       r.n_generated_tokens, r.max_new_tokens, r.temperature, r.top_p, r.top_k, r.seed, r.tools,
       r.steering, r.finish_reason, r.compute_s, coalesce(h.hits, 0) AS hits, r.created_by,
       r.created_at
FROM base.runs AS r
JOIN base.sources AS s USING (source_no)
LEFT JOIN (SELECT run_no, count(*) AS hits FROM base.hits GROUP BY run_no) AS h USING (run_no);

COMMENT ON VIEW runs IS 'One generation, or one text that was read in.';
COMMENT ON COLUMN runs.run_key IS 'SHA-256 of everything that defines the run; the name in its link.';
COMMENT ON COLUMN runs.source_id IS 'The source that computed it; see sources.';
COMMENT ON COLUMN runs.kind IS 'generation, or text (read in, nothing generated).';
COMMENT ON COLUMN runs.prompt IS 'The last message of the user.';
COMMENT ON COLUMN runs.response IS 'What was generated, without special tokens.';
COMMENT ON COLUMN runs.messages IS 'The whole chat as JSON: a list of role, content and tool_calls.';
COMMENT ON COLUMN runs.n_prompt_tokens IS 'Tokens given to the model.';
COMMENT ON COLUMN runs.n_generated_tokens IS 'Tokens that the model generated.';
COMMENT ON COLUMN runs.max_new_tokens IS 'Most tokens that it was allowed to generate.';
COMMENT ON COLUMN runs.temperature IS 'Of the sampling; 0 is greedy.';
COMMENT ON COLUMN runs.top_p IS 'Nucleus mass kept in sampling; 1 keeps all.';
COMMENT ON COLUMN runs.top_k IS 'Most likely tokens kept in sampling; 0 keeps all.';
COMMENT ON COLUMN runs.seed IS 'Of the sampling.';
COMMENT ON COLUMN runs.tools IS 'Whether tools were offered to the model.';
COMMENT ON COLUMN runs.steering IS 'Interventions as JSON; an empty list if unsteered.';
COMMENT ON COLUMN runs.finish_reason IS 'stop (an end token), length (max_new_tokens), or read (text).';
COMMENT ON COLUMN runs.compute_s IS 'Seconds that computing it took.';
COMMENT ON COLUMN runs.hits IS 'How often it was returned from the store instead of being computed.';
COMMENT ON COLUMN runs.created_by IS 'Who asked first.';
COMMENT ON COLUMN runs.created_at IS 'When it was computed, UTC.';

CREATE OR REPLACE VIEW tokens AS
SELECT r.run_key, t.position, t.token_id, t.text, t.role, t.is_generated, t.is_special, t.logprob,
       t.rank, t.entropy, t.n_active
FROM base.tokens AS t
JOIN base.runs AS r USING (run_no);

COMMENT ON VIEW tokens IS 'One position of a run, prompt included.';
COMMENT ON COLUMN tokens.run_key IS 'The run; see runs.';
COMMENT ON COLUMN tokens.position IS 'Index in the whole sequence, from 0.';
COMMENT ON COLUMN tokens.token_id IS 'Index in the vocabulary of the model.';
COMMENT ON COLUMN tokens.text IS 'Characters of the token; those of a run joined give its text.';
COMMENT ON COLUMN tokens.role IS 'Whose message it belongs to: system, user, assistant or tool.';
COMMENT ON COLUMN tokens.is_generated IS 'Whether the model generated it.';
COMMENT ON COLUMN tokens.is_special IS 'Whether it is a control token of the chat format.';
COMMENT ON COLUMN tokens.logprob IS 'Natural logarithm of its probability given those before it.';
COMMENT ON COLUMN tokens.rank IS '0 if it was the most likely token, 1 the second, ...';
COMMENT ON COLUMN tokens.entropy IS 'Of the distribution that it was drawn from, in nats.';
COMMENT ON COLUMN tokens.n_active IS 'Features above zero here, also where fewer are stored.';

CREATE OR REPLACE VIEW activations AS
SELECT r.run_key, s.source_id, a.position, a.feature, base.decode(a.code::BIGINT << s.code_shift) AS value
FROM base.activations AS a
JOIN base.runs AS r USING (run_no)
JOIN base.sources AS s USING (source_no)
UNION ALL
SELECT r.run_key, s.source_id, a.position, a.feature, base.decode(a.code::BIGINT << s.code_shift) AS value
FROM base.beginnings AS b
JOIN base.activations AS a
    ON a.run_no = b.owner_run_no AND a.position >= b.first_position AND a.position < b.end_position
JOIN base.runs AS r ON r.run_no = b.run_no
JOIN base.sources AS s USING (source_no);

COMMENT ON VIEW activations IS 'One activation above zero, of one feature on one token.';
COMMENT ON COLUMN activations.run_key IS 'The run; see runs.';
COMMENT ON COLUMN activations.source_id IS 'The source; see sources.';
COMMENT ON COLUMN activations.position IS 'The token; see tokens.';
COMMENT ON COLUMN activations.feature IS 'Index of the feature in its SAE, from 0.';
COMMENT ON COLUMN activations.value IS 'How strongly it fired, above zero; to bfloat16 where the model computed in it.';

CREATE OR REPLACE VIEW features AS
WITH seen AS (
    SELECT source_no, feature, sum(n_tokens_active)::BIGINT AS n_tokens_active,
           max(max_value) AS max_value, sum(total::DOUBLE) AS total, any_value(label) AS label,
           any_value(label_origin) AS label_origin, any_value(label_score) AS label_score
    FROM (
        SELECT source_no, slot - first_slot AS feature, n_tokens_active, max_value, total,
               NULL AS label, NULL AS label_origin, NULL::DOUBLE AS label_score
        FROM base.tallies
        JOIN base.segments USING (segment_no)
        JOIN base.sources USING (source_no)
        UNION ALL
        SELECT source_no, feature, 0, 0, 0, text, origin, score FROM base.labels WHERE is_current
    )
    GROUP BY source_no, feature
),
shared AS (SELECT run_no, sum(end_position - first_position) AS n_shared FROM base.beginnings GROUP BY run_no),
sizes AS (
    SELECT source_no, sum(n_tokens - coalesce(n_shared, 0)) AS n_tokens
    FROM base.runs LEFT JOIN shared USING (run_no) GROUP BY source_no
)
SELECT s.source_id, feature, n_tokens_active,
       coalesce(n_tokens_active / nullif(sizes.n_tokens, 0), 0.0) AS density,
       max_value, coalesce(total / nullif(n_tokens_active, 0), 0.0) AS mean_value, label,
       label_origin, label_score
FROM seen
JOIN base.sources AS s USING (source_no)
LEFT JOIN sizes USING (source_no);

COMMENT ON VIEW features IS 'One feature with statistics over all stored tokens, a beginning that runs share counted once; those that never fired and have no label are left out.';
COMMENT ON COLUMN features.source_id IS 'The source; see sources.';
COMMENT ON COLUMN features.feature IS 'Index of the feature in its SAE, from 0.';
COMMENT ON COLUMN features.n_tokens_active IS 'Stored tokens on which it fired.';
COMMENT ON COLUMN features.density IS 'Share of the stored tokens of the source on which it fired, 0 to 1.';
COMMENT ON COLUMN features.max_value IS 'Its largest stored activation, steered runs included.';
COMMENT ON COLUMN features.mean_value IS 'Mean of its stored activations, over the tokens on which it fired.';
COMMENT ON COLUMN features.label IS 'What it means, as the current label says.';
COMMENT ON COLUMN features.label_origin IS 'Of the current label: human, auto or model.';
COMMENT ON COLUMN features.label_score IS 'Of the current label: how well it predicts the activations, if that was measured.';

CREATE OR REPLACE VIEW labels AS
SELECT s.source_id, l.feature, l.text, l.origin, l.score, l.author, l.created_at, l.is_current,
       l.label_id, l.status, l.replaces, l.evidence, l.ended_at, l.ended_by
FROM base.labels AS l
JOIN base.sources AS s USING (source_no);

COMMENT ON VIEW labels IS 'One label of a feature, as it was written once; old ones are kept.';
COMMENT ON COLUMN labels.source_id IS 'The source; see sources.';
COMMENT ON COLUMN labels.feature IS 'Index of the feature in its SAE, from 0.';
COMMENT ON COLUMN labels.text IS 'What the feature means.';
COMMENT ON COLUMN labels.origin IS 'human, auto or model.';
COMMENT ON COLUMN labels.score IS 'How well it predicts the activations, if that was measured.';
COMMENT ON COLUMN labels.author IS 'Who wrote it: a person, or the name of a method.';
COMMENT ON COLUMN labels.created_at IS 'When it was written, UTC.';
COMMENT ON COLUMN labels.is_current IS 'Whether it is the one shown.';
COMMENT ON COLUMN labels.label_id IS 'Its id.';
COMMENT ON COLUMN labels.status IS 'active, replaced (by an edit), late (an edit of what was edited meanwhile) or withdrawn.';
COMMENT ON COLUMN labels.replaces IS 'The label_id that it is an edit of; NULL if of none.';
COMMENT ON COLUMN labels.evidence IS 'What it rests on, as JSON, if that was given.';
COMMENT ON COLUMN labels.ended_at IS 'When it was replaced or withdrawn, UTC; NULL if neither.';
COMMENT ON COLUMN labels.ended_by IS 'Who replaced or withdrew it.';

CREATE OR REPLACE VIEW feature_lists AS
SELECT list_id, name, note, created_by, created_at, updated_at, coalesce(n_features, 0) AS n_features
FROM base.feature_lists
LEFT JOIN (
    SELECT list_id, count(*) AS n_features FROM base.feature_list_items GROUP BY list_id
) USING (list_id);

COMMENT ON VIEW feature_lists IS 'A list of features that somebody put together.';
COMMENT ON COLUMN feature_lists.list_id IS 'Its id, the name in its link.';
COMMENT ON COLUMN feature_lists.name IS 'What people call it; unique.';
COMMENT ON COLUMN feature_lists.note IS 'What it is for.';
COMMENT ON COLUMN feature_lists.created_by IS 'Who made it.';
COMMENT ON COLUMN feature_lists.created_at IS 'When it was made, UTC.';
COMMENT ON COLUMN feature_lists.updated_at IS 'When name or note were last changed, UTC; NULL if never.';
COMMENT ON COLUMN feature_lists.n_features IS 'How many features are on it.';

CREATE OR REPLACE VIEW feature_list_items AS
SELECT i.list_id, l.name AS list_name, s.source_id, i.feature, i.note, i.added_by, i.added_at
FROM base.feature_list_items AS i
JOIN base.feature_lists AS l USING (list_id)
JOIN base.sources AS s USING (source_no);

COMMENT ON VIEW feature_list_items IS 'One feature on a list.';
COMMENT ON COLUMN feature_list_items.list_id IS 'The list; see feature_lists.';
COMMENT ON COLUMN feature_list_items.list_name IS 'Its name.';
COMMENT ON COLUMN feature_list_items.source_id IS 'The source; see sources.';
COMMENT ON COLUMN feature_list_items.feature IS 'Index of the feature in its SAE, from 0.';
COMMENT ON COLUMN feature_list_items.note IS 'Why it is on the list.';
COMMENT ON COLUMN feature_list_items.added_by IS 'Who put it there.';
COMMENT ON COLUMN feature_list_items.added_at IS 'When, UTC.';

CREATE OR REPLACE VIEW vectors AS
SELECT vector_id, name, model_id, layer, method, n_pairs, norm, reliability, created_by, created_at,
       model_revision, site, d_model, source_id, concept, residual_norm, content
FROM base.vectors;

COMMENT ON VIEW vectors IS 'A steering vector.';
COMMENT ON COLUMN vectors.vector_id IS 'Its id.';
COMMENT ON COLUMN vectors.name IS 'What people call it.';
COMMENT ON COLUMN vectors.model_id IS 'The model that it steers.';
COMMENT ON COLUMN vectors.layer IS 'Decoder layer that it is added to, from 0.';
COMMENT ON COLUMN vectors.method IS 'How it was made.';
COMMENT ON COLUMN vectors.n_pairs IS 'Pairs of texts that it was made from.';
COMMENT ON COLUMN vectors.norm IS 'Its Euclidean length.';
COMMENT ON COLUMN vectors.reliability IS 'How well halves of its pairs agree, -1 to 1.';
COMMENT ON COLUMN vectors.created_by IS 'Who made it.';
COMMENT ON COLUMN vectors.created_at IS 'When it was made, UTC.';
COMMENT ON COLUMN vectors.model_revision IS 'Revision of that model.';
COMMENT ON COLUMN vectors.site IS 'resid_post, the output of the layer, or resid_pre, its input.';
COMMENT ON COLUMN vectors.d_model IS 'How many numbers it has.';
COMMENT ON COLUMN vectors.source_id IS 'The source that it was made with, if any; see sources.';
COMMENT ON COLUMN vectors.concept IS 'What it stands for; the same for its vectors at several layers.';
COMMENT ON COLUMN vectors.residual_norm IS 'Mean length of the residual at its layer when it was made, if known.';
COMMENT ON COLUMN vectors.content IS 'What it was made from and measured to be, as JSON: pairs, templates, weights.';

CREATE OR REPLACE VIEW tool_calls AS
SELECT r.run_key, c.step, c.tool, c.arguments, c.result, c.status, c.detail,
       o.run_key AS call_run_key, c.elapsed_s
FROM base.tool_calls AS c
JOIN base.runs AS r USING (run_no)
LEFT JOIN base.runs AS o ON o.run_no = c.call_run_no;

COMMENT ON VIEW tool_calls IS 'One call of a tool by the model, executed or failed.';
COMMENT ON COLUMN tool_calls.run_key IS 'The run; see runs.';
COMMENT ON COLUMN tool_calls.step IS 'Number of the call in its run, from 0.';
COMMENT ON COLUMN tool_calls.tool IS 'Name of the tool.';
COMMENT ON COLUMN tool_calls.arguments IS 'What the model passed, as JSON.';
COMMENT ON COLUMN tool_calls.result IS 'What the tool returned, as JSON.';
COMMENT ON COLUMN tool_calls.status IS 'not_offered, failed or ok.';
COMMENT ON COLUMN tool_calls.detail IS 'Why it failed: malformed, unknown, invalid, raised, timed_out, too_large, too_many, round_limit; else NULL.';
COMMENT ON COLUMN tool_calls.call_run_key IS 'The round whose response held the call; see runs.';
COMMENT ON COLUMN tool_calls.elapsed_s IS 'Seconds that the tool took; NULL where it was not run.';

CREATE OR REPLACE VIEW outcomes AS
SELECT r.run_key, o.outcome, o.method, o.evidence, o.judge, o.confidence, o.created_by, o.created_at
FROM base.outcomes AS o
JOIN base.runs AS r USING (run_no);

COMMENT ON VIEW outcomes IS 'One judgement of one run.';
COMMENT ON COLUMN outcomes.run_key IS 'The run; see runs.';
COMMENT ON COLUMN outcomes.outcome IS 'What the answer was judged to be.';
COMMENT ON COLUMN outcomes.method IS 'How it was judged.';
COMMENT ON COLUMN outcomes.evidence IS 'What the judgement rests on, as JSON.';
COMMENT ON COLUMN outcomes.judge IS 'Who or what judged.';
COMMENT ON COLUMN outcomes.confidence IS 'Of the judge, 0 to 1.';
COMMENT ON COLUMN outcomes.created_by IS 'Who asked for it.';
COMMENT ON COLUMN outcomes.created_at IS 'When it was judged, UTC.';

CREATE OR REPLACE VIEW detectors AS
SELECT d.detector_id, d.name, s.source_id, d.kind, d.features, d.metrics, d.split_hash, d.created_at,
       d.method, d.site, d.note, d.is_chosen, d.evaluation_id, e.set_name, d.created_by, d.retired_by,
       d.retired_at
FROM base.detectors AS d
JOIN base.sources AS s USING (source_no)
LEFT JOIN base.evaluations AS e USING (evaluation_id);

COMMENT ON VIEW detectors IS 'One trained detector, or one baseline that it is measured against.';
COMMENT ON COLUMN detectors.detector_id IS 'Its id.';
COMMENT ON COLUMN detectors.name IS 'What people call it.';
COMMENT ON COLUMN detectors.source_id IS 'The source whose features it reads; see sources.';
COMMENT ON COLUMN detectors.kind IS 'candidate, or baseline.';
COMMENT ON COLUMN detectors.features IS 'Its features and their weights, as JSON.';
COMMENT ON COLUMN detectors.metrics IS 'What was measured on held-out runs, as JSON; as rows: see detector_results.';
COMMENT ON COLUMN detectors.split_hash IS 'Digest of the held-out runs.';
COMMENT ON COLUMN detectors.created_at IS 'When it was trained, UTC.';
COMMENT ON COLUMN detectors.method IS 'How it decides, such as sae_logistic, single_feature or value_logprob.';
COMMENT ON COLUMN detectors.site IS 'Which tokens it reads.';
COMMENT ON COLUMN detectors.note IS 'What there is to know about it.';
COMMENT ON COLUMN detectors.is_chosen IS 'Whether it did best of its evaluation inside the training runs.';
COMMENT ON COLUMN detectors.evaluation_id IS 'Digest of runs, labels and settings; the same for all that were measured together.';
COMMENT ON COLUMN detectors.set_name IS 'The question set; see question_sets.';
COMMENT ON COLUMN detectors.created_by IS 'Who had it trained.';
COMMENT ON COLUMN detectors.retired_by IS 'Who took it out of use; NULL if nobody did.';
COMMENT ON COLUMN detectors.retired_at IS 'When that was, UTC.';

CREATE OR REPLACE VIEW detector_results AS
SELECT detector_id, slice, n_positive, n_negative, verdict, metric, value, low, high
FROM base.detector_results;

COMMENT ON VIEW detector_results IS 'One figure of a detector on one slice of the held-out runs.';
COMMENT ON COLUMN detector_results.detector_id IS 'The detector; see detectors.';
COMMENT ON COLUMN detector_results.slice IS 'all, unseen template, or a slice that the question set names.';
COMMENT ON COLUMN detector_results.n_positive IS 'Held-out answers of the slice that were made up.';
COMMENT ON COLUMN detector_results.n_negative IS 'Held-out answers of the slice that were right.';
COMMENT ON COLUMN detector_results.verdict IS 'How much the figure may carry: exploratory, measured or comparable.';
COMMENT ON COLUMN detector_results.metric IS 'auroc, auprc, fpr_at_95_tpr, recall_at_10_fpr, brier, ece or aurc.';
COMMENT ON COLUMN detector_results.value IS 'The figure.';
COMMENT ON COLUMN detector_results.low IS 'Lower end of its 95% interval, by bootstrap over groups.';
COMMENT ON COLUMN detector_results.high IS 'Upper end of that interval.';

CREATE OR REPLACE VIEW detector_scores AS
SELECT d.detector_id, r.run_key, d.score, d.probability, d.part, d.scored_at
FROM base.detector_scores AS d
JOIN base.runs AS r USING (run_no);

COMMENT ON VIEW detector_scores IS 'What a detector says of a stored run.';
COMMENT ON COLUMN detector_scores.detector_id IS 'The detector; see detectors.';
COMMENT ON COLUMN detector_scores.run_key IS 'The run; see runs.';
COMMENT ON COLUMN detector_scores.score IS 'Higher is more suspicious.';
COMMENT ON COLUMN detector_scores.probability IS 'Calibrated probability that the answer is made up, 0 to 1.';
COMMENT ON COLUMN detector_scores.part IS 'What the run was to the detector: train, validation, test, or new.';
COMMENT ON COLUMN detector_scores.scored_at IS 'When it was scored, UTC.';

CREATE OR REPLACE VIEW saved_queries AS
SELECT query_id, title, sql, created_by, created_at, updated_at
FROM base.saved_queries;

COMMENT ON VIEW saved_queries IS 'One shared query.';
COMMENT ON COLUMN saved_queries.query_id IS 'Its id, the name in its link.';
COMMENT ON COLUMN saved_queries.title IS 'What it answers.';
COMMENT ON COLUMN saved_queries.sql IS 'Its text.';
COMMENT ON COLUMN saved_queries.created_by IS 'Who saved it.';
COMMENT ON COLUMN saved_queries.created_at IS 'When it was saved, UTC.';
COMMENT ON COLUMN saved_queries.updated_at IS 'When its author last changed it, UTC; NULL if never.';

CREATE OR REPLACE VIEW hits AS
SELECT r.run_key, h.hit_by, h.hit_at
FROM base.hits AS h
JOIN base.runs AS r USING (run_no);

COMMENT ON VIEW hits IS 'One time that a stored run was returned instead of being computed.';
COMMENT ON COLUMN hits.run_key IS 'The run; see runs.';
COMMENT ON COLUMN hits.hit_by IS 'Who asked.';
COMMENT ON COLUMN hits.hit_at IS 'When, UTC.';

CREATE OR REPLACE VIEW failures AS
SELECT run_key, source_name, prompt, error_type, message, hint, created_by, created_at
FROM base.failures;

COMMENT ON VIEW failures IS 'One computation that failed; no run is stored for it.';
COMMENT ON COLUMN failures.run_key IS 'Key that the run would have had.';
COMMENT ON COLUMN failures.source_name IS 'Name of the source that was asked.';
COMMENT ON COLUMN failures.prompt IS 'The last message of the user.';
COMMENT ON COLUMN failures.error_type IS 'Kind of the error.';
COMMENT ON COLUMN failures.message IS 'What happened.';
COMMENT ON COLUMN failures.hint IS 'What helps.';
COMMENT ON COLUMN failures.created_by IS 'Who asked.';
COMMENT ON COLUMN failures.created_at IS 'When it failed, UTC.';

CREATE OR REPLACE VIEW run_interventions AS
SELECT r.run_key, i.number, i.kind, i.feature, i.vector_id, i.layer, i.positions, i.unit, i.strength,
       i.raw_strength, i.measure, i.requested, i.achieved_before, i.achieved_after, i.n_positions
FROM base.run_interventions AS i
JOIN base.runs AS r USING (run_no);

COMMENT ON VIEW run_interventions IS 'One intervention of a steered run: what was asked for, and what it achieved.';
COMMENT ON COLUMN run_interventions.run_key IS 'The run; see runs.';
COMMENT ON COLUMN run_interventions.number IS 'Its place in the steering of the run, from 0.';
COMMENT ON COLUMN run_interventions.kind IS 'add, clamp, ablate, scale or erase.';
COMMENT ON COLUMN run_interventions.feature IS 'Index of the feature, where one was used.';
COMMENT ON COLUMN run_interventions.vector_id IS 'The vector, where one was used; see vectors.';
COMMENT ON COLUMN run_interventions.layer IS 'Decoder layer whose output was changed, from 0; -1 is the embedding.';
COMMENT ON COLUMN run_interventions.positions IS 'all, generated, last_prompt, answering, or a span of positions.';
COMMENT ON COLUMN run_interventions.unit IS 'Of the strength as it was asked for: raw, norm or max.';
COMMENT ON COLUMN run_interventions.strength IS 'As it was asked for, in that unit.';
COMMENT ON COLUMN run_interventions.raw_strength IS 'Factor of the direction, or activation that was clamped to.';
COMMENT ON COLUMN run_interventions.measure IS 'What was read: activation of the feature, or projection on the direction.';
COMMENT ON COLUMN run_interventions.requested IS 'Mean of what the steered positions should have had.';
COMMENT ON COLUMN run_interventions.achieved_before IS 'Mean of what they had before; NULL if none was steered.';
COMMENT ON COLUMN run_interventions.achieved_after IS 'Mean of what they had afterwards; NULL if none was steered.';
COMMENT ON COLUMN run_interventions.n_positions IS 'Tokens that were steered; 0 if its condition never held.';

CREATE OR REPLACE VIEW residual_norms AS
SELECT source_id, layer, mean_norm, mean_std, n_tokens, texts, measured_at
FROM base.residual_norms;

COMMENT ON VIEW residual_norms IS 'How large the residual of a source''s model is after each decoder layer: the unit norm of strengths.';
COMMENT ON COLUMN residual_norms.source_id IS 'The source; see sources.';
COMMENT ON COLUMN residual_norms.layer IS 'Decoder layer, from 0; -1 is the embedding.';
COMMENT ON COLUMN residual_norms.mean_norm IS 'Mean Euclidean length over the measured tokens.';
COMMENT ON COLUMN residual_norms.mean_std IS 'Mean standard deviation of the numbers of a token.';
COMMENT ON COLUMN residual_norms.n_tokens IS 'Tokens that were measured; the first of each text is left out.';
COMMENT ON COLUMN residual_norms.texts IS 'Name of the texts that they are of.';
COMMENT ON COLUMN residual_norms.measured_at IS 'When they were measured, UTC.';

CREATE OR REPLACE VIEW exchanges AS
SELECT r.run_key, f.run_key AS first_run_key, e.n_rounds
FROM base.exchanges AS e
JOIN base.runs AS r USING (run_no)
JOIN base.runs AS f ON f.run_no = e.first_run_no;

COMMENT ON VIEW exchanges IS 'One exchange with tools: each of its rounds is a run, the last one answers.';
COMMENT ON COLUMN exchanges.run_key IS 'The run that ends it; see runs.';
COMMENT ON COLUMN exchanges.first_run_key IS 'The run that begins it; the same where no tool was called.';
COMMENT ON COLUMN exchanges.n_rounds IS 'Runs from the first to the last.';

CREATE OR REPLACE VIEW verdicts AS
WITH latest AS (
    SELECT o.run_no, o.outcome, o.method, coalesce(m.meaning, 'unknown') AS meaning, o.created_at,
           list_position(['tool_log', 'world', 'gold', 'nli', 'judge', 'person'], o.method) AS rank
    FROM base.outcomes AS o
    LEFT JOIN base.outcome_meanings AS m USING (outcome)
    QUALIFY row_number() OVER (
        PARTITION BY o.run_no, o.method, o.judge ORDER BY o.created_at DESC, o.rowid DESC
    ) = 1
),
counted AS (
    SELECT run_no, count(*) AS n_judgements,
           count(DISTINCT CASE meaning WHEN 'unknown' THEN NULL WHEN 'wrong' THEN 'made_up' ELSE meaning END) > 1
               AS is_contested
    FROM latest GROUP BY run_no
),
strongest AS (
    SELECT run_no, outcome, method, meaning FROM latest
    QUALIFY row_number() OVER (
        PARTITION BY run_no ORDER BY meaning = 'unknown', coalesce(rank, 99), created_at DESC, outcome
    ) = 1
)
SELECT r.run_key, s.outcome, s.method, s.meaning, c.n_judgements, c.is_contested
FROM strongest AS s
JOIN counted AS c USING (run_no)
JOIN base.runs AS r USING (run_no);

COMMENT ON VIEW verdicts IS 'What holds of a judged run: the newest judgement of its strongest method.';
COMMENT ON COLUMN verdicts.run_key IS 'The run; see runs.';
COMMENT ON COLUMN verdicts.outcome IS 'As that method says it; see outcomes.';
COMMENT ON COLUMN verdicts.method IS 'The strongest that could tell: tool_log, world, gold, nli, judge, person.';
COMMENT ON COLUMN verdicts.meaning IS 'made_up, wrong, honest, abstained, or unknown.';
COMMENT ON COLUMN verdicts.n_judgements IS 'Current judgements of the run, one a method and judge.';
COMMENT ON COLUMN verdicts.is_contested IS 'Whether some of them say another thing.';

CREATE OR REPLACE VIEW question_sets AS
SELECT s.set_id, s.name, s.title, s.origin, s.world_seed, count(q.question_no) AS n_questions,
       s.created_by, s.created_at
FROM base.question_sets AS s
LEFT JOIN base.questions AS q USING (set_no)
GROUP BY ALL;

COMMENT ON VIEW question_sets IS 'One set of questions.';
COMMENT ON COLUMN question_sets.set_id IS 'Digest of its name and questions, which never change.';
COMMENT ON COLUMN question_sets.name IS 'What people call it.';
COMMENT ON COLUMN question_sets.title IS 'What it is about.';
COMMENT ON COLUMN question_sets.origin IS 'world (made from a toy world), scenarios, or import.';
COMMENT ON COLUMN question_sets.world_seed IS 'Seed of the toy world that knows what is true; NULL for any other set.';
COMMENT ON COLUMN question_sets.n_questions IS 'How many questions it has.';
COMMENT ON COLUMN question_sets.created_by IS 'Who made it.';
COMMENT ON COLUMN question_sets.created_at IS 'When it was made, UTC.';

CREATE OR REPLACE VIEW questions AS
SELECT s.set_id, q.question_no, q.question, q.gold, q.aliases, q.group_name, q.tools, q.needs_tool,
       q.slice, q.kind, q.topic, q.template
FROM base.questions AS q
JOIN base.question_sets AS s USING (set_no);

COMMENT ON VIEW questions IS 'One question of a set.';
COMMENT ON COLUMN questions.set_id IS 'The set; see question_sets.';
COMMENT ON COLUMN questions.question_no IS 'Its number in the set, from 0.';
COMMENT ON COLUMN questions.question IS 'What is asked.';
COMMENT ON COLUMN questions.gold IS 'What is true; NULL where nobody has said.';
COMMENT ON COLUMN questions.aliases IS 'Other ways of writing that, as a JSON list.';
COMMENT ON COLUMN questions.group_name IS 'What stays together when answers are divided, such as the person asked about.';
COMMENT ON COLUMN questions.tools IS 'on, off or both: how it is meant to be asked.';
COMMENT ON COLUMN questions.needs_tool IS 'Whether only a tool can know the answer.';
COMMENT ON COLUMN questions.slice IS 'Part of the set that is measured apart; NULL if there is none.';
COMMENT ON COLUMN questions.kind IS 'Sort of its subject, such as known or unknown; NULL if not said.';
COMMENT ON COLUMN questions.topic IS 'What is asked of the subject; NULL if not said.';
COMMENT ON COLUMN questions.template IS 'Sentence that it was made from; NULL if not said.';

CREATE OR REPLACE VIEW answers AS
SELECT s.set_id, a.question_no, a.tools, r.run_key, a.created_at
FROM base.answers AS a
JOIN base.question_sets AS s USING (set_no)
JOIN base.runs AS r USING (run_no);

COMMENT ON VIEW answers IS 'One run that answers a question of a set.';
COMMENT ON COLUMN answers.set_id IS 'The set; see question_sets.';
COMMENT ON COLUMN answers.question_no IS 'The question; see questions.';
COMMENT ON COLUMN answers.tools IS 'Whether tools were offered.';
COMMENT ON COLUMN answers.run_key IS 'The run; the last one of its exchange.';
COMMENT ON COLUMN answers.created_at IS 'When it was noted, UTC.';

CREATE OR REPLACE VIEW sweeps AS
SELECT s.sweep_id, s.name, s.task, s.source_id, s.source_name, coalesce(e.n_cells, 0) AS n_cells,
       s.spec, s.summary, s.created_by, s.created_at, s.finished_at
FROM base.sweeps AS s
LEFT JOIN (SELECT sweep_id, count(*) AS n_cells FROM base.sweep_entries GROUP BY sweep_id) AS e
    USING (sweep_id);

COMMENT ON VIEW sweeps IS 'One sweep: interventions at many strengths, layers and gates, measured.';
COMMENT ON COLUMN sweeps.sweep_id IS 'Its id: a digest of spec and source, so that the same sweep asked again resumes.';
COMMENT ON COLUMN sweeps.name IS 'What people call it.';
COMMENT ON COLUMN sweeps.task IS 'concept, confabulation or ranking: what counts as success.';
COMMENT ON COLUMN sweeps.source_id IS 'The source that it steers.';
COMMENT ON COLUMN sweeps.source_name IS 'Name of that source in the catalog.';
COMMENT ON COLUMN sweeps.n_cells IS 'Cells measured so far.';
COMMENT ON COLUMN sweeps.spec IS 'What was asked for, as JSON.';
COMMENT ON COLUMN sweeps.summary IS 'What was chosen and how it did on the other half, as JSON; NULL until it is finished.';
COMMENT ON COLUMN sweeps.created_by IS 'Who asked first.';
COMMENT ON COLUMN sweeps.created_at IS 'When it was first asked for, UTC.';
COMMENT ON COLUMN sweeps.finished_at IS 'When its last cell was measured, UTC; NULL until then.';

CREATE OR REPLACE VIEW sweep_cells AS
SELECT e.sweep_id, e.number, e.arm, e.role, c.split, e.kind, e.feature, e.vector_id, e.strength,
       e.unit, e.layer, e.is_gated, c.n, c.success, c.success_low, c.success_high, c.coherence,
       c.coherence_low, c.coherence_high, c.side_effect, c.side_effect_low, c.side_effect_high,
       c.steering, c.prefix, c.results, c.cell_key, c.compute_s, c.created_at
FROM base.sweep_entries AS e
JOIN base.sweep_cells AS c USING (cell_key);

COMMENT ON VIEW sweep_cells IS 'One cell of a sweep: an intervention at one strength, measured on one half of the prompts.';
COMMENT ON COLUMN sweep_cells.sweep_id IS 'The sweep; see sweeps.';
COMMENT ON COLUMN sweep_cells.number IS 'Its place in the sweep, from 0.';
COMMENT ON COLUMN sweep_cells.arm IS 'What it belongs to: cells of one arm differ in strength and layer.';
COMMENT ON COLUMN sweep_cells.role IS 'candidate, or control (random directions, the opposite, a prompt, nothing).';
COMMENT ON COLUMN sweep_cells.split IS 'choose (the half to choose by) or report (the other half).';
COMMENT ON COLUMN sweep_cells.kind IS 'add, clamp, ablate, scale or erase; prompt or none for cells that do not steer.';
COMMENT ON COLUMN sweep_cells.feature IS 'Feature of the first intervention, where it is one.';
COMMENT ON COLUMN sweep_cells.vector_id IS 'Vector of the first intervention, where it is one; see vectors.';
COMMENT ON COLUMN sweep_cells.strength IS 'Strength of the cell, in its unit.';
COMMENT ON COLUMN sweep_cells.unit IS 'raw, norm or max.';
COMMENT ON COLUMN sweep_cells.layer IS 'Decoder layer that is changed, from 0; NULL if nothing is.';
COMMENT ON COLUMN sweep_cells.is_gated IS 'Whether it applies only where a condition holds.';
COMMENT ON COLUMN sweep_cells.n IS 'Prompts that success was measured on.';
COMMENT ON COLUMN sweep_cells.success IS 'What the task counts: reduction of confabulation, or change of the log probability of concept words.';
COMMENT ON COLUMN sweep_cells.success_low IS 'Lower end of its 95% interval, by bootstrap over groups.';
COMMENT ON COLUMN sweep_cells.success_high IS 'Upper end of its 95% interval.';
COMMENT ON COLUMN sweep_cells.coherence IS 'Share of whole answers (confabulation), or mean log probability of the answers under the unsteered model less that of unsteered answers.';
COMMENT ON COLUMN sweep_cells.coherence_low IS 'Lower end of its 95% interval.';
COMMENT ON COLUMN sweep_cells.coherence_high IS 'Upper end of its 95% interval.';
COMMENT ON COLUMN sweep_cells.side_effect IS 'Loss of accuracy on known facts (confabulation), or KL divergence from the unsteered model on neutral texts, in nats.';
COMMENT ON COLUMN sweep_cells.side_effect_low IS 'Lower end of its 95% interval.';
COMMENT ON COLUMN sweep_cells.side_effect_high IS 'Upper end of its 95% interval.';
COMMENT ON COLUMN sweep_cells.steering IS 'The interventions as JSON, as a run would have them.';
COMMENT ON COLUMN sweep_cells.prefix IS 'Instruction before the prompts; empty if none.';
COMMENT ON COLUMN sweep_cells.results IS 'Everything that was measured, with examples, as JSON.';
COMMENT ON COLUMN sweep_cells.cell_key IS 'Digest of all that decides the numbers: cells of equal key are measured once.';
COMMENT ON COLUMN sweep_cells.compute_s IS 'Seconds that measuring it took.';
COMMENT ON COLUMN sweep_cells.created_at IS 'When it was measured, UTC.';
