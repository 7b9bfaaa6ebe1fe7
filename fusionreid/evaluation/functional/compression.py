"""Unit vectors in fewer bytes, and the nearest of them.

Kinds of codes and their bytes for a vector of D numbers: ``'float32'`` 4 D, ``'float16'`` 2 D,
``'int8'`` D, ``'binary'`` D / 8, one bit for the sign of each number.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

DTYPES = {
    'float32': torch.float32,
    'float16': torch.float16,
    'int8': torch.int8,
    # 64 signs in each.
    'binary': torch.int64,
}
WORD = 64
# Rows that are decoded at once, and distances that are kept at once.
DECODED_ROWS = 8192
DISTANCE_BYTES = 256 << 20


def code_width(width: int, kind: str) -> int:
    """Number of values in the code of a vector.

    Args:
        width: Width D of the vectors.
        kind: Kind of the codes.

    Example:
        >>> code_width(100, 'int8'), code_width(100, 'binary')
        (100, 2)
    """
    return -(-width // WORD) if kind == 'binary' else width


def encode_units(features: Tensor, kind: str) -> Tensor:
    """Write unit vectors as codes; what they are decoded to has length 1 again.

    Args:
        features: (n, d) float32, L2-normalized.
        kind: Kind of the codes.

    Returns:
        Codes (n, :func:`code_width`) of the kind's type.

    Example:
        >>> encode_units(torch.tensor([[0.6, -0.8]]), 'int8').tolist()
        [[95, -127]]
    """
    if kind == 'int8':
        return (features * (127 / features.abs().amax(dim=1, keepdim=True))).round_().to(torch.int8)
    if kind == 'binary':
        positive = F.pad(features > 0, (0, -features.shape[1] % WORD))
        bits = positive.view(len(features), code_width(features.shape[1], kind), WORD).long()
        return (bits << torch.arange(WORD, device=features.device)).sum(dim=2)
    return features.to(DTYPES[kind])


def decode_units(codes: Tensor, kind: str, width: int) -> Tensor:
    """Read codes.

    Args:
        codes: From :func:`encode_units`.
        kind: Their kind.
        width: Width d of the vectors.

    Returns:
        (n, d) float32, L2-normalized.

    Example:
        >>> decode_units(encode_units(torch.tensor([[0.6, -0.8]]), 'binary'), 'binary', 2)
        tensor([[ 0.7071, -0.7071]])
    """
    if kind == 'float32':
        return codes
    if kind == 'binary':
        bits = (codes[..., None] >> torch.arange(WORD, device=codes.device)) & 1
        return (bits.flatten(1)[:, :width].float() * 2 - 1) / width**0.5
    return F.normalize(codes.float())


def nearest_codes(
    queries: Tensor, codes: Tensor, kind: str, k: int, mask: Tensor | None = None
) -> Tensor:
    """Find the rows whose codes are nearest: of binary ones, those with the most signs alike.

    Args:
        queries: (q, d) float32, L2-normalized, on the device of the codes.
        codes: From :func:`encode_units`, n rows.
        kind: Their kind.
        k: Rows wanted, at most as many as pass.
        mask: Which rows may be found, (n,) bool; None for all.

    Returns:
        Rows (q, k) in ascending order; of rows that are equally near, the first are taken.

    Example:
        >>> rows = torch.nn.functional.normalize(torch.tensor([[1.0, 0.1], [0.1, 1], [1, 0.2]]))
        >>> nearest_codes(rows[:1], encode_units(rows, 'int8'), 'int8', 2).tolist()
        [[0, 2]]
    """
    places = None if mask is None else mask.nonzero().flatten()
    count = len(codes) if places is None else len(places)
    step = max(1, DISTANCE_BYTES // (4 * max(1, count)))
    found = []
    for part in queries.split(step):
        distances = torch.empty(len(part), count, device=codes.device)
        signs = encode_units(part, kind) if kind == 'binary' else part
        for start in range(0, count, DECODED_ROWS):
            stop = min(start + DECODED_ROWS, count)
            rows = codes[start:stop] if places is None else codes[places[start:stop]]
            if kind == 'binary':
                for place, sign in enumerate(signs):
                    distances[place, start:stop] = count_ones(sign ^ rows).sum(dim=1)
            else:
                distances[:, start:stop] = -(part @ decode_units(rows, kind, part.shape[1]).T)
        rows = torch.stack([_first_smallest(row, k) for row in distances])
        found.append(rows if places is None else places[rows])
    return torch.cat(found)


def _first_smallest(values: Tensor, k: int) -> Tensor:
    """Places of the k smallest values, ascending; of equal values the first."""
    last = values.kthvalue(k).values
    below = (values < last).nonzero().flatten()
    equal = (values == last).nonzero().flatten()[: k - len(below)]
    return torch.cat([below, equal]).sort().values


def count_ones(words: Tensor) -> Tensor:
    """Count the bits that are 1 in 64-bit integers.

    Args:
        words: int64, of any shape.

    Returns:
        Their counts, int64 of the same shape.

    Example:
        >>> count_ones(torch.tensor([0, 5, -1])).tolist()
        [0, 2, 64]
    """
    # Sums of neighbors in ever wider fields; masks drop what the sign bit drags in.
    words = words - ((words >> 1) & 0x5555555555555555)
    words = (words & 0x3333333333333333) + ((words >> 2) & 0x3333333333333333)
    words = (words + (words >> 4)) & 0x0F0F0F0F0F0F0F0F
    words = words + (words >> 8)
    words = words + (words >> 16)
    return (words + (words >> 32)) & 0x7F
