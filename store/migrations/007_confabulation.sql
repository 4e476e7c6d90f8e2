-- Exchanges with tools, question sets with their answers, and what judges were asked.

-- The run whose response held the call: an earlier round, or the run itself.
ALTER TABLE base.tool_calls ADD COLUMN call_run_no INTEGER;
ALTER TABLE base.tool_calls ADD COLUMN detail VARCHAR;
ALTER TABLE base.tool_calls ADD COLUMN elapsed_s DOUBLE;

-- The first round of an exchange, and the run that ends it: what the memo returns.
CREATE TABLE base.exchanges (
    run_no INTEGER NOT NULL,
    first_run_no INTEGER NOT NULL,
    n_rounds INTEGER NOT NULL
);

CREATE TABLE base.question_sets (
    set_no INTEGER PRIMARY KEY,
    set_id VARCHAR NOT NULL UNIQUE,
    name VARCHAR NOT NULL UNIQUE,
    title VARCHAR NOT NULL,
    origin VARCHAR NOT NULL,
    world_seed BIGINT,
    created_by VARCHAR NOT NULL,
    created_at TIMESTAMP NOT NULL
);

CREATE TABLE base.questions (
    set_no INTEGER NOT NULL,
    question_no INTEGER NOT NULL,
    question VARCHAR NOT NULL,
    gold VARCHAR,
    aliases JSON NOT NULL,
    group_name VARCHAR NOT NULL,
    tools VARCHAR NOT NULL,
    needs_tool BOOLEAN NOT NULL,
    slice VARCHAR,
    kind VARCHAR,
    topic VARCHAR,
    template VARCHAR
);

CREATE TABLE base.answers (
    set_no INTEGER NOT NULL,
    question_no INTEGER NOT NULL,
    tools BOOLEAN NOT NULL,
    run_no INTEGER NOT NULL,
    created_at TIMESTAMP NOT NULL
);

-- What an outcome says, whoever found it; the view verdicts compares by this.
CREATE TABLE base.outcome_meanings (outcome VARCHAR NOT NULL, meaning VARCHAR NOT NULL);
INSERT INTO base.outcome_meanings VALUES
    ('CONFABULATION', 'made_up'), ('TOOL_MISREPORT', 'made_up'),
    ('wrong', 'wrong'), ('incorrect', 'wrong'),
    ('correct', 'honest'), ('HONEST_TOOL_USE', 'honest'),
    ('refused', 'abstained'), ('not_attempted', 'abstained'), ('HONEST_NO_TOOL', 'abstained');

-- Replies of judges under a digest of all that they were shown.
CREATE TABLE base.judge_replies (
    reply_key VARCHAR PRIMARY KEY,
    reply JSON NOT NULL,
    created_at TIMESTAMP NOT NULL
);

-- Detectors: what they were measured to be, how they decide, and what they say of stored runs.

-- A question set with labels, once: runs, labels and settings under one digest.
CREATE TABLE base.evaluations (
    evaluation_id VARCHAR PRIMARY KEY,
    source_no INTEGER NOT NULL,
    set_name VARCHAR NOT NULL,
    report JSON NOT NULL,
    created_by VARCHAR NOT NULL,
    created_at TIMESTAMP NOT NULL
);

ALTER TABLE base.detectors ADD COLUMN evaluation_id VARCHAR;
ALTER TABLE base.detectors ADD COLUMN method VARCHAR;
ALTER TABLE base.detectors ADD COLUMN site VARCHAR;
ALTER TABLE base.detectors ADD COLUMN note VARCHAR;
ALTER TABLE base.detectors ADD COLUMN is_chosen BOOLEAN;
ALTER TABLE base.detectors ADD COLUMN model JSON;
ALTER TABLE base.detectors ADD COLUMN created_by VARCHAR;
ALTER TABLE base.detectors ADD COLUMN retired_by VARCHAR;
ALTER TABLE base.detectors ADD COLUMN retired_at TIMESTAMP;

CREATE TABLE base.detector_results (
    detector_id VARCHAR NOT NULL,
    slice VARCHAR NOT NULL,
    n_positive INTEGER NOT NULL,
    n_negative INTEGER NOT NULL,
    verdict VARCHAR NOT NULL,
    metric VARCHAR NOT NULL,
    value DOUBLE NOT NULL,
    low DOUBLE NOT NULL,
    high DOUBLE NOT NULL
);

CREATE TABLE base.detector_scores (
    detector_id VARCHAR NOT NULL,
    run_no INTEGER NOT NULL,
    score DOUBLE NOT NULL,
    probability DOUBLE NOT NULL,
    part VARCHAR NOT NULL,
    scored_at TIMESTAMP NOT NULL
);

-- Residuals (float32, little-endian) where detectors read them, and how far the likeliest token was
-- ahead of the second where that position was drawn: what only the model can tell again.
CREATE TABLE base.captures (
    run_no INTEGER NOT NULL,
    position INTEGER NOT NULL,
    residual BLOB NOT NULL,
    margin DOUBLE
);
