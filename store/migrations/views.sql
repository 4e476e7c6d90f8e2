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
COMMENT ON COLUMN runs.messages IS 'The whole chat as JSON: a list of role and content.';
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
           max(max_value) AS max_value, sum(total::DOUBLE) AS total, any_value(label) AS label
    FROM (
        SELECT source_no, slot - first_slot AS feature, n_tokens_active, max_value, total,
               NULL AS label
        FROM base.tallies
        JOIN base.segments USING (segment_no)
        JOIN base.sources USING (source_no)
        UNION ALL
        SELECT source_no, feature, 0, 0, 0, text FROM base.labels WHERE is_current
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
       max_value, coalesce(total / nullif(n_tokens_active, 0), 0.0) AS mean_value, label
FROM seen
JOIN base.sources AS s USING (source_no)
LEFT JOIN sizes USING (source_no);

COMMENT ON VIEW features IS 'One feature with statistics over all stored tokens, a beginning that runs share counted once; those that never fired and have no label are left out.';
COMMENT ON COLUMN features.source_id IS 'The source; see sources.';
COMMENT ON COLUMN features.feature IS 'Index of the feature in its SAE, from 0.';
COMMENT ON COLUMN features.n_tokens_active IS 'Stored tokens on which it fired.';
COMMENT ON COLUMN features.density IS 'Share of the stored tokens of the source on which it fired, 0 to 1.';
COMMENT ON COLUMN features.max_value IS 'Its largest stored activation.';
COMMENT ON COLUMN features.mean_value IS 'Mean of its stored activations, over the tokens on which it fired.';
COMMENT ON COLUMN features.label IS 'What it means, as the current label says.';

CREATE OR REPLACE VIEW labels AS
SELECT s.source_id, l.feature, l.text, l.origin, l.score, l.author, l.created_at, l.is_current
FROM base.labels AS l
JOIN base.sources AS s USING (source_no);

COMMENT ON VIEW labels IS 'One label of a feature; old ones are kept.';
COMMENT ON COLUMN labels.source_id IS 'The source; see sources.';
COMMENT ON COLUMN labels.feature IS 'Index of the feature in its SAE, from 0.';
COMMENT ON COLUMN labels.text IS 'What the feature means.';
COMMENT ON COLUMN labels.origin IS 'human, auto or model.';
COMMENT ON COLUMN labels.score IS 'How well it predicts the activations, if that was measured.';
COMMENT ON COLUMN labels.author IS 'Who wrote it.';
COMMENT ON COLUMN labels.created_at IS 'When it was written, UTC.';
COMMENT ON COLUMN labels.is_current IS 'Whether it is the one shown.';

CREATE OR REPLACE VIEW vectors AS
SELECT vector_id, name, model_id, layer, method, n_pairs, norm, reliability, created_by, created_at
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

CREATE OR REPLACE VIEW tool_calls AS
SELECT r.run_key, c.step, c.tool, c.arguments, c.result, c.status
FROM base.tool_calls AS c
JOIN base.runs AS r USING (run_no);

COMMENT ON VIEW tool_calls IS 'One call of a tool by the model, executed or failed.';
COMMENT ON COLUMN tool_calls.run_key IS 'The run; see runs.';
COMMENT ON COLUMN tool_calls.step IS 'Number of the call in its run, from 0.';
COMMENT ON COLUMN tool_calls.tool IS 'Name of the tool.';
COMMENT ON COLUMN tool_calls.arguments IS 'What the model passed, as JSON.';
COMMENT ON COLUMN tool_calls.result IS 'What the tool returned, as JSON.';
COMMENT ON COLUMN tool_calls.status IS 'not_offered, failed or ok.';

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
SELECT d.detector_id, d.name, s.source_id, d.kind, d.features, d.metrics, d.split_hash, d.created_at
FROM base.detectors AS d
JOIN base.sources AS s USING (source_no);

COMMENT ON VIEW detectors IS 'One trained detector.';
COMMENT ON COLUMN detectors.detector_id IS 'Its id.';
COMMENT ON COLUMN detectors.name IS 'What people call it.';
COMMENT ON COLUMN detectors.source_id IS 'The source whose features it reads; see sources.';
COMMENT ON COLUMN detectors.kind IS 'How it decides.';
COMMENT ON COLUMN detectors.features IS 'Its features and their weights, as JSON.';
COMMENT ON COLUMN detectors.metrics IS 'What was measured on held-out runs, as JSON.';
COMMENT ON COLUMN detectors.split_hash IS 'Digest of the split into training and held-out runs.';
COMMENT ON COLUMN detectors.created_at IS 'When it was trained, UTC.';

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
