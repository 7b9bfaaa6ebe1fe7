from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np


@contextmanager
def seeded_augmentation(seed: int) -> Iterator[None]:
    """Seed Python's and NumPy's global generators inside the block and restore them after it.

    A sample augmented inside the block depends on its seed alone: not on the number of workers,
    nor on which samples a worker prepared before.

    Args:
        seed (int): In [0, 2**64).
    """
    python_state, numpy_state = random.getstate(), np.random.get_state()
    random.seed(seed)
    # NumPy takes words of 32 bits; a list of them also mixes neighbouring seeds well.
    np.random.seed([seed & 0xFFFFFFFF, seed >> 32])
    try:
        yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)
