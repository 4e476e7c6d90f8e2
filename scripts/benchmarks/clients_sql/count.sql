-- Runs, their tokens, and how many tokens their rows tell of: whole runs agree.
SELECT count(DISTINCT run_key), count(*),
       (SELECT sum(n_prompt_tokens + n_generated_tokens) FROM runs) FROM tokens
