-- Steering: vectors with their values, how long residuals are, and what interventions achieved.

ALTER TABLE base.vectors ADD COLUMN model_revision VARCHAR;
ALTER TABLE base.vectors ADD COLUMN site VARCHAR;
ALTER TABLE base.vectors ADD COLUMN d_model INTEGER;
ALTER TABLE base.vectors ADD COLUMN source_id VARCHAR;
ALTER TABLE base.vectors ADD COLUMN concept VARCHAR;
ALTER TABLE base.vectors ADD COLUMN residual_norm DOUBLE;
ALTER TABLE base.vectors ADD COLUMN content JSON;

-- Apart from what lists show: d_model numbers in float32, little-endian.
CREATE TABLE base.vector_values (
    vector_id VARCHAR PRIMARY KEY,
    value BLOB NOT NULL
);

-- Of a source that may not have left runs yet. Layer -1 is the embedding.
CREATE TABLE base.residual_norms (
    source_id VARCHAR NOT NULL,
    layer INTEGER NOT NULL,
    mean_norm DOUBLE NOT NULL,
    mean_std DOUBLE NOT NULL,
    n_tokens INTEGER NOT NULL,
    texts VARCHAR NOT NULL,
    measured_at TIMESTAMP NOT NULL
);

-- Written with the run; number is the place in its list of interventions.
CREATE TABLE base.run_interventions (
    run_no INTEGER NOT NULL,
    number INTEGER NOT NULL,
    kind VARCHAR NOT NULL,
    feature INTEGER,
    vector_id VARCHAR,
    layer INTEGER NOT NULL,
    positions VARCHAR NOT NULL,
    unit VARCHAR NOT NULL,
    strength DOUBLE NOT NULL,
    raw_strength DOUBLE NOT NULL,
    measure VARCHAR NOT NULL,
    requested DOUBLE,
    achieved_before DOUBLE,
    achieved_after DOUBLE,
    n_positions INTEGER NOT NULL
);

-- A sweep is many cells; a cell is measured once, whatever sweeps it is in.
CREATE TABLE base.sweeps (
    sweep_id VARCHAR PRIMARY KEY,
    name VARCHAR NOT NULL,
    task VARCHAR NOT NULL,
    source_id VARCHAR NOT NULL,
    source_name VARCHAR NOT NULL,
    spec JSON NOT NULL,
    summary JSON,
    created_by VARCHAR NOT NULL,
    created_at TIMESTAMP NOT NULL,
    finished_at TIMESTAMP
);

CREATE TABLE base.sweep_cells (
    cell_key VARCHAR PRIMARY KEY,
    source_id VARCHAR NOT NULL,
    steering JSON NOT NULL,
    prefix VARCHAR NOT NULL,
    split VARCHAR NOT NULL,
    n INTEGER NOT NULL,
    success DOUBLE,
    success_low DOUBLE,
    success_high DOUBLE,
    coherence DOUBLE,
    coherence_low DOUBLE,
    coherence_high DOUBLE,
    side_effect DOUBLE,
    side_effect_low DOUBLE,
    side_effect_high DOUBLE,
    results JSON NOT NULL,
    compute_s DOUBLE NOT NULL,
    created_at TIMESTAMP NOT NULL
);

CREATE TABLE base.sweep_entries (
    sweep_id VARCHAR NOT NULL,
    number INTEGER NOT NULL,
    cell_key VARCHAR NOT NULL,
    arm VARCHAR NOT NULL,
    role VARCHAR NOT NULL,
    kind VARCHAR NOT NULL,
    feature INTEGER,
    vector_id VARCHAR,
    strength DOUBLE NOT NULL,
    unit VARCHAR NOT NULL,
    layer INTEGER,
    is_gated BOOLEAN NOT NULL,
    PRIMARY KEY (sweep_id, number)
);
