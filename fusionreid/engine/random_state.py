"""The state of all global generators, as values that a checkpoint may hold."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch


def get_random_state() -> dict[str, Any]:
    """Collect the states of Python's, NumPy's and torch's generators.

    Returns:
        Tensors and primitive values, for :func:`set_random_state`; the state of the GPU in use is
        there if there is one.

    Example:
        >>> state = get_random_state()
        >>> drawn = random.random(), np.random.rand(), torch.rand(()).item()
        >>> set_random_state(state)
        >>> drawn == (random.random(), np.random.rand(), torch.rand(()).item())
        True
    """
    version, words, gauss = random.getstate()
    numpy_state = np.random.get_state(legacy=False)
    state = dict(
        python=[version, list(words), gauss],
        numpy=dict(numpy_state, state={k: _plain(v) for k, v in numpy_state['state'].items()}),
        torch=torch.get_rng_state(),
    )
    if torch.cuda.is_available():
        state['cuda'] = torch.cuda.get_rng_state()
    return state


def set_random_state(state: dict[str, Any]) -> None:
    """Continue the generators where another process left them.

    Args:
        state: From :func:`get_random_state`. That of a GPU is left out where there is none.
    """
    version, words, gauss = state['python']
    random.setstate((version, tuple(words), gauss))
    numpy_state = state['numpy']
    key = np.array(numpy_state['state']['key'], dtype=np.uint32)
    np.random.set_state(dict(numpy_state, state=dict(numpy_state['state'], key=key)))
    torch.set_rng_state(state['torch'].cpu())
    if 'cuda' in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state['cuda'].cpu())


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray) else value
