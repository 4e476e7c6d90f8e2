-- The tables behind the public views. Their layout is the store's own business: read the views.
-- Times are UTC without a zone. Runs and sources have small integer numbers inside, text keys outside.

CREATE SCHEMA base;

CREATE TABLE base.migrations (
    version INTEGER PRIMARY KEY,
    name VARCHAR NOT NULL,
    applied_at TIMESTAMP NOT NULL DEFAULT (now()::TIMESTAMP)
);

CREATE TABLE base.views_made (digest VARCHAR NOT NULL);
INSERT INTO base.views_made VALUES ('none');

CREATE TABLE base.sources (
    source_no INTEGER PRIMARY KEY,
    source_id VARCHAR NOT NULL UNIQUE,
    name VARCHAR NOT NULL,
    model_id VARCHAR NOT NULL,
    model_revision VARCHAR NOT NULL,
    sae_id VARCHAR NOT NULL,
    sae_revision VARCHAR NOT NULL,
    hook_name VARCHAR NOT NULL,
    layer INTEGER NOT NULL,
    d_in INTEGER NOT NULL,
    d_sae INTEGER NOT NULL,
    architecture VARCHAR NOT NULL,
    dtype VARCHAR NOT NULL,
    max_active INTEGER,
    created_at TIMESTAMP NOT NULL
);

CREATE TABLE base.runs (
    run_no INTEGER PRIMARY KEY,
    run_key VARCHAR NOT NULL UNIQUE,
    source_no INTEGER NOT NULL,
    kind VARCHAR NOT NULL,
    prompt VARCHAR NOT NULL,
    response VARCHAR NOT NULL,
    messages JSON NOT NULL,
    n_tokens INTEGER NOT NULL,
    n_prompt_tokens INTEGER NOT NULL,
    n_generated_tokens INTEGER NOT NULL,
    max_new_tokens INTEGER NOT NULL,
    temperature DOUBLE NOT NULL,
    top_p DOUBLE NOT NULL,
    top_k INTEGER NOT NULL,
    seed BIGINT NOT NULL,
    tools BOOLEAN NOT NULL,
    steering JSON NOT NULL,
    finish_reason VARCHAR NOT NULL,
    compute_s DOUBLE NOT NULL,
    created_by VARCHAR NOT NULL,
    created_at TIMESTAMP NOT NULL
);

-- Append-only: counting in a column would rewrite the run's row at every hit.
CREATE TABLE base.hits (
    run_no INTEGER NOT NULL,
    hit_by VARCHAR NOT NULL,
    hit_at TIMESTAMP NOT NULL
);

CREATE TABLE base.failures (
    run_key VARCHAR NOT NULL,
    source_name VARCHAR NOT NULL,
    prompt VARCHAR NOT NULL,
    error_type VARCHAR NOT NULL,
    message VARCHAR NOT NULL,
    hint VARCHAR NOT NULL,
    created_by VARCHAR NOT NULL,
    created_at TIMESTAMP NOT NULL
);

-- Tokens and activations lie in the order of their runs, so that one run is one stretch of each
-- column, found by the minimum and maximum that DuckDB keeps of every row group: no index needed.
CREATE TABLE base.tokens (
    run_no INTEGER NOT NULL,
    position INTEGER NOT NULL,
    token_id INTEGER NOT NULL,
    text VARCHAR NOT NULL,
    role VARCHAR NOT NULL,
    is_generated BOOLEAN NOT NULL,
    is_special BOOLEAN NOT NULL,
    logprob DOUBLE,
    rank INTEGER,
    entropy DOUBLE,
    n_active INTEGER NOT NULL
);

CREATE TABLE base.activations (
    run_no INTEGER NOT NULL,
    position INTEGER NOT NULL,
    feature INTEGER NOT NULL,
    value FLOAT NOT NULL
);

CREATE TABLE base.labels (
    source_no INTEGER NOT NULL,
    feature INTEGER NOT NULL,
    text VARCHAR NOT NULL,
    origin VARCHAR NOT NULL,
    score DOUBLE,
    author VARCHAR NOT NULL,
    created_at TIMESTAMP NOT NULL,
    is_current BOOLEAN NOT NULL
);

CREATE TABLE base.vectors (
    vector_id VARCHAR PRIMARY KEY,
    name VARCHAR NOT NULL,
    model_id VARCHAR NOT NULL,
    layer INTEGER NOT NULL,
    method VARCHAR NOT NULL,
    n_pairs INTEGER,
    norm DOUBLE,
    reliability DOUBLE,
    created_by VARCHAR NOT NULL,
    created_at TIMESTAMP NOT NULL
);

CREATE TABLE base.tool_calls (
    run_no INTEGER NOT NULL,
    step INTEGER NOT NULL,
    tool VARCHAR NOT NULL,
    arguments JSON,
    result JSON,
    status VARCHAR NOT NULL
);

CREATE TABLE base.outcomes (
    run_no INTEGER NOT NULL,
    outcome VARCHAR NOT NULL,
    method VARCHAR NOT NULL,
    evidence JSON,
    judge VARCHAR NOT NULL,
    confidence DOUBLE,
    created_by VARCHAR NOT NULL,
    created_at TIMESTAMP NOT NULL
);

CREATE TABLE base.detectors (
    detector_id VARCHAR PRIMARY KEY,
    name VARCHAR NOT NULL,
    source_no INTEGER NOT NULL,
    kind VARCHAR NOT NULL,
    features JSON,
    metrics JSON,
    split_hash VARCHAR NOT NULL,
    created_at TIMESTAMP NOT NULL
);

CREATE TABLE base.saved_queries (
    query_id VARCHAR PRIMARY KEY,
    title VARCHAR NOT NULL,
    sql VARCHAR NOT NULL,
    created_by VARCHAR NOT NULL,
    created_at TIMESTAMP NOT NULL
);
