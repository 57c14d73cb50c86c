"""Random generators that depend on what they are used for, and on nothing else."""

import numpy as np

from headwise.runtime.provenance import json_digest


def generator_for(*identity: str | int) -> np.random.Generator:
    """A generator seeded by the names and numbers that identify a computation.

    Example: `generator_for("comparison", base, aligned, seed)`. What is drawn for one model does then not
    depend on which other models a study holds, nor on the order in which they are computed.
    """
    return np.random.default_rng(int(json_digest(list(identity)), 16))
