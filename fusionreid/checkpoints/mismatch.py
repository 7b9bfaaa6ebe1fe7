"""How a state dict differs from the model that it is to be loaded into, in one line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

SHOWN_PROBLEMS = 4


def describe_mismatch(wanted: Mapping[str, Tensor], given: Mapping[str, Any]) -> str:
    """Compare the names and shapes of a state dict with those of a model.

    Args:
        wanted: State dict of the model.
        given: State dict that is to be loaded.

    Returns:
        The first few weights that are missing, left over or of another shape, in one line; ``''``
        if the state dict fits exactly.

    Example:
        >>> import torch
        >>> wanted = dict(weight=torch.zeros(2, 3), bias=torch.zeros(2))
        >>> describe_mismatch(wanted, dict(weight=torch.zeros(2, 4)))
        'bias is missing; weight has shape (2, 4), the model (2, 3)'
    """
    shapes = {name: tuple(value.shape) for name, value in wanted.items()}
    found = {name: tuple(getattr(value, 'shape', ())) for name, value in given.items()}
    problems = [f'{name} is missing' for name in shapes if name not in found]
    problems += [f'{name} is left over' for name in found if name not in shapes]
    problems += [
        f'{name} has shape {found[name]}, the model {shape}'
        for name, shape in shapes.items()
        if name in found and found[name] != shape
    ]
    more = len(problems) - SHOWN_PROBLEMS
    return '; '.join(problems[:SHOWN_PROBLEMS]) + (f' and {more} more' if more > 0 else '')
