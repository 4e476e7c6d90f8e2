-- Queries that people share, what long links stand for, and who ran what.

ALTER TABLE base.saved_queries ADD COLUMN updated_at TIMESTAMP;

-- The larger states of pages, each under a digest of its content: what a link says never changes.
CREATE TABLE base.link_states (
    state_id VARCHAR PRIMARY KEY,
    content VARCHAR NOT NULL,
    created_at TIMESTAMP NOT NULL
);

-- Private to each person: no view shows it.
CREATE TABLE base.query_history (
    person VARCHAR NOT NULL,
    sql VARCHAR NOT NULL,
    elapsed_ms DOUBLE,
    n_rows INTEGER,
    truncated BOOLEAN NOT NULL,
    failure VARCHAR,
    ran_at TIMESTAMP NOT NULL
);
