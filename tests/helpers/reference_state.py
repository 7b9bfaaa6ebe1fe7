"""Deterministic weights and images with which the golden values in ``tests/data/golden`` were
measured.
"""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

GOLDEN = Path(__file__).parents[1] / 'data' / 'golden'


def _fill(key: str, shape: list[int]) -> Tensor:
    # Each tensor comes from a random stream that depends on its name alone.
    if key.endswith('num_batches_tracked'):
        return torch.zeros(shape, dtype=torch.int64)
    stream = np.random.RandomState(zlib.crc32(key.encode()))
    if key.endswith('running_var') or (key.endswith('weight') and len(shape) == 1):
        low, span = (0.1, 0.2) if '.act1.' in key or '.act2.' in key else (0.75, 0.5)
        values = stream.random_sample(shape) * span + low
    elif key.endswith('.p'):
        values = np.full(shape, 3.0)
    elif len(shape) >= 2 and not key.endswith(('cls_token', 'pos_embed', 'sie_embed')):
        values = stream.standard_normal(shape) * np.prod(shape[1:]) ** -0.5
    else:
        values = stream.standard_normal(shape) * 0.1
    return torch.from_numpy(np.asarray(values, dtype=np.float32))


def reference_state(variant: str) -> dict[str, Tensor]:
    """Return the original's state dict of a golden variant."""
    shapes = json.loads((GOLDEN / f'{variant}.json').read_text())
    return {key: _fill(key, shape) for key, shape in shapes.items()}


def reference_images(seed: int, batch: int, height: int = 256, width: int = 128) -> Tensor:
    """Return normalized images of shape ``(batch, 3, height, width)``."""
    stream = np.random.RandomState(seed)
    return torch.from_numpy(stream.standard_normal((batch, 3, height, width)).astype(np.float32))


def golden_values(variant: str) -> dict[str, np.ndarray]:
    """Return the golden values of a variant."""
    with np.load(GOLDEN / f'{variant}.npz') as values:
        return dict(values)
