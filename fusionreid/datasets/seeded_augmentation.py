"""What the random augmentation of a sample depends on: its own seed, and nothing else."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from torch.utils.data import get_worker_info

# Put in the place of NumPy's global generator for as long as a sample is augmented: that takes less
# than a microsecond, saving and restoring the state of the global one fifty. One for each depth of
# blocks inside blocks.
_sample_generators = [np.random.MT19937()]


@contextmanager
def seeded_augmentation(seed: int) -> Iterator[None]:
    """Seed Python's and NumPy's global generators inside the block and restore them after it.

    A sample augmented inside the block depends on its seed alone: not on the number of workers,
    nor on which samples a worker prepared before. A block inside another leaves its numbers alone.

    Args:
        seed: In [0, 2**64).

    Yields:
        None; the augmentation belongs inside.

    Example:
        >>> with seeded_augmentation(17):
        ...     first = np.random.rand()
        >>> with seeded_augmentation(17):
        ...     np.random.rand() == first
        True
    """
    # NumPy's stubs leave both functions of the global generator out.
    python_state, outer = random.getstate(), np.random.get_bit_generator()  # type: ignore[attr-defined]
    depth = _sample_generators.index(outer) + 1 if outer in _sample_generators else 0
    if depth == len(_sample_generators):
        _sample_generators.append(np.random.MT19937())
    # A normal deviate that NumPy has drawn ahead is forgotten when generators are exchanged. In a
    # worker, where nothing but augmentation draws, that does not matter outside all blocks.
    in_worker = get_worker_info() is not None
    numpy_state = None if in_worker and not depth else np.random.get_state(legacy=False)
    random.seed(seed)
    np.random.set_bit_generator(_sample_generators[depth])  # type: ignore[attr-defined]
    try:
        # NumPy takes words of 32 bits; a list of them also mixes neighboring seeds well.
        np.random.seed([seed & 0xFFFFFFFF, seed >> 32])
        yield
    finally:
        random.setstate(python_state)
        np.random.set_bit_generator(outer)  # type: ignore[attr-defined]
        if numpy_state and numpy_state.get('has_gauss'):
            np.random.set_state(numpy_state)
