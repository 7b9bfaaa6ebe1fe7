"""Codes of unit vectors, against what they say of themselves and a search in full."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from fusionreid.evaluation.functional import compression
from fusionreid.evaluation.functional.compression import (
    DTYPES,
    code_width,
    count_ones,
    decode_units,
    encode_units,
    nearest_codes,
)

# Largest angle between a vector and its code, in degrees, of 100 normal numbers.
ANGLES = {'float32': 0.05, 'float16': 0.1, 'int8': 1.0, 'binary': 50.0}


def units(count: int, width: int = 100, seed: int = 0) -> torch.Tensor:
    return F.normalize(torch.randn(count, width, generator=torch.Generator().manual_seed(seed)))


@pytest.mark.parametrize('kind', DTYPES)
@pytest.mark.parametrize('width', [1, 63, 64, 65, 100])
def test_codes_are_small_and_near(kind, width):
    rows = units(50, width)
    codes = encode_units(rows, kind)
    assert codes.dtype == DTYPES[kind]
    assert codes.shape == (50, code_width(width, kind))
    back = decode_units(codes, kind, width)
    torch.testing.assert_close(back.norm(dim=1), torch.ones(50))
    angles = (back * rows).sum(1).clamp(-1, 1).acos().rad2deg()
    assert angles.max() < (ANGLES[kind] if width == 100 else 90)
    again = encode_units(back, kind)
    assert torch.equal(decode_units(again, kind, width), back) or kind == 'float16'
    assert encode_units(rows[:0], kind).shape == (0, code_width(width, kind))


def test_bytes_of_a_vector():
    sizes = {kind: encode_units(units(1, 512), kind).nbytes for kind in DTYPES}
    assert sizes == {'float32': 2048, 'float16': 1024, 'int8': 512, 'binary': 64}


def test_ones_are_counted_in_every_place():
    words = torch.randint(-(2**63), 2**63 - 1, (200,), generator=torch.Generator().manual_seed(1))
    words = torch.cat([words, torch.tensor([0, -1, 1, -(2**63), 2**63 - 1])])
    expected = [f'{word & (2**64 - 1):b}'.count('1') for word in words.tolist()]
    assert count_ones(words).tolist() == expected


@pytest.mark.parametrize('kind', DTYPES)
@pytest.mark.parametrize('share', [None, 0.5, 0.01])
def test_the_nearest_codes_are_those_of_a_full_sort(kind, share, monkeypatch):
    monkeypatch.setattr(compression, 'DECODED_ROWS', 64)
    rows, queries = units(300), units(7, seed=1)
    rows = torch.cat([rows, rows[:40]])  # twins, far away
    mask = None if share is None else torch.rand(340) < share
    if mask is not None:
        mask[:3] = True
    places = torch.arange(340) if mask is None else mask.nonzero().flatten()
    codes = encode_units(rows, kind)
    for k in (1, min(25, len(places)), len(places)):
        found = nearest_codes(queries, codes, kind, k, mask)
        seen = decode_units(codes, kind, 100)[places].double()
        asked = (
            decode_units(encode_units(queries, kind), kind, 100) if kind == 'binary' else queries
        )
        distances = (2 - 2 * asked.double() @ seen.T).round(decimals=5)
        order = distances.argsort(dim=1, stable=True)[:, :k]
        assert torch.equal(found, places[order].sort().values)


def test_few_distances_are_kept_at_once(monkeypatch):
    rows, queries = units(300), units(9, seed=1)
    codes = encode_units(rows, 'int8')
    whole = nearest_codes(queries, codes, 'int8', 5)
    monkeypatch.setattr(compression, 'DISTANCE_BYTES', 1)
    assert torch.equal(nearest_codes(queries, codes, 'int8', 5), whole)
