-- Runs that begin alike: the activations of the first tokens of run_no are those of owner_run_no.
-- A run has a row for each owner; what no row covers is its own. Owners are never shared themselves.
CREATE TABLE base.beginnings (
    run_no INTEGER NOT NULL,
    owner_run_no INTEGER NOT NULL,
    first_position INTEGER NOT NULL,
    end_position INTEGER NOT NULL
);
