"""Tables of made-up runs: what tells is put there by hand, everything else is noise."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from engine.detection.table import DetectionTable, Residuals, TokenRows

D_SAE = 64
TELLING = 7
"""The feature that fires on most made-up answers and on few others."""


def make_table(
    n_groups: int = 200,
    per_group: int = 4,
    seed: int = 0,
    length_leak: int = 0,
    signal: float = 1.0,
) -> DetectionTable:
    """Groups of one class each, half of them made up.

    Args:
        length_leak: tokens by which made-up answers are longer.
        signal: how much feature, logprob and residual tell; 0 is nothing.
    """
    random = np.random.default_rng(seed)
    groups = np.repeat(np.arange(n_groups), per_group)
    n = len(groups)
    y = (random.permutation(n_groups) % 2 == 0)[groups]
    values = sp.random(n, D_SAE, 0.08, format="lil", rng=random)
    fires = random.random(n) < 0.5 + signal * np.where(y, 0.4, -0.4)
    values[fires, TELLING] = 0.5 + random.random(int(fires.sum()))
    values[~fires, TELLING] = 0
    features = sp.csr_array(values)
    run = np.repeat(np.arange(n), 3)
    residual = random.normal(size=(n, 16))
    residual[:, 3] += 2.5 * signal * y
    return DetectionTable(
        run_keys=tuple(f"{index:064x}" for index in range(n)),
        y=y,
        groups=groups,
        slices=tuple(("hard", "easy")[index % 2] for index in range(n)),
        templates=tuple(f"frame {index}" for index in random.integers(0, 8, n)),
        questions=tuple(f"Where does person {index} live" for index in random.integers(0, 20, n)),
        responses=("An answer.",) * n,
        tools=np.zeros(n, np.bool_),
        is_truncated=np.zeros(n, np.bool_),
        refuses=np.zeros(n, np.bool_),
        n_generated=random.integers(5, 9, n) + length_leak * y,
        n_entity_tokens=np.full(n, 2),
        statistics={
            "value_logprob": random.normal(size=n) + signal * y,
            "first_entropy": random.normal(size=n),
        },
        features={"prompt_last": features},
        tokens=TokenRows(sp.csr_array(features[run]), run, np.tile(np.arange(3), n)),
        residuals=Residuals({"prompt_last": residual}, {}),
    )
