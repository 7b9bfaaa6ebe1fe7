"""Query expansion against a plain loop."""

import pytest
import torch
from torch.nn.functional import normalize

from fusionreid.evaluation.functional import average_query_expansion, evaluate_ranking
from fusionreid.utils.progress import Progress


def people(num_query=20, num_gallery=200, dim=16, num_ids=12, noise=1.2, seed=0):
    random = torch.Generator().manual_seed(seed)
    total = num_query + num_gallery
    ids = torch.randint(num_ids, (total,), generator=random)
    features = torch.randn(num_ids, dim, generator=random)[ids]
    features = features + noise * torch.randn(total, dim, generator=random)
    n = num_query
    return features[:n], features[n:], ids[:n], ids[n:]


def plain_expansion(query, gallery, k, alpha):
    query = normalize(query.double())
    gallery = normalize(gallery.double())
    rows = []
    for feature in query:
        cosine = gallery @ feature
        near = cosine.argsort(descending=True, stable=True)[:k]
        total = feature.clone()
        for index in near:
            total += max(float(cosine[index]), 0.0) ** alpha * gallery[index]
        rows.append(total / total.norm())
    return torch.stack(rows)


@pytest.mark.parametrize('k', [1, 5, 200])
@pytest.mark.parametrize('alpha', [0, 0.5, 3.0])
def test_equals_a_plain_loop(k, alpha):
    query, gallery, *_ = people()
    found = average_query_expansion(query, gallery, k=k, alpha=alpha)
    assert found.dtype == torch.float32
    assert found.shape == query.shape
    expected = plain_expansion(query, gallery, k, alpha)
    torch.testing.assert_close(found.double(), expected, atol=1e-6, rtol=0)
    double = average_query_expansion(query.double(), gallery.double(), k=k, alpha=alpha)
    torch.testing.assert_close(double, expected, atol=1e-12, rtol=0)


def test_worked_example():
    query = torch.tensor([[2.0, 0.0]])
    gallery = torch.tensor([[0.3, 0.4], [-1.0, 0.0]])
    # The first is at cosine 0.6; with k = 2 the opposite one has a cosine below 0.
    found = average_query_expansion(query, gallery, k=2, alpha=2)
    expected = torch.tensor([[1 + 0.36 * 0.6, 0.36 * 0.8]])
    torch.testing.assert_close(found, normalize(expected))


def test_finds_more_of_the_same_people():
    query, gallery, query_ids, gallery_ids = people(60, 800, noise=2.0)
    ids = query_ids, gallery_ids
    before = evaluate_ranking(
        normalize(query), normalize(gallery), *ids, remove_same_camera=False
    ).mAP
    for alpha in (0.0, 3.0):
        expanded = average_query_expansion(query, gallery, k=5, alpha=alpha)
        after = evaluate_ranking(expanded, normalize(gallery), *ids, remove_same_camera=False).mAP
        assert after > before + 0.02


def test_does_not_depend_on_memory_or_the_length_of_features(monkeypatch):
    query, gallery, *_ = people(90, 500)
    whole = average_query_expansion(query, gallery, k=7, alpha=3)
    scaled = average_query_expansion(query * 8, gallery * 0.25, k=7, alpha=3)
    torch.testing.assert_close(scaled, whole, atol=1e-6, rtol=0)
    monkeypatch.setattr('fusionreid.evaluation.functional.query_expansion.GROUP_BYTES', 2000)
    part = average_query_expansion(query, gallery, k=7, alpha=3, memory_limit=4 << 20)
    torch.testing.assert_close(part, whole, atol=1e-6, rtol=0)


def test_narrow_features():
    query, gallery, *_ = people()
    query, gallery = query.half(), gallery.half()
    found = average_query_expansion(query, gallery, k=3)
    expected = plain_expansion(query.float(), gallery.float(), 3, 0)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ('change', 'error', 'message'),
    [
        ({'k': 0}, ValueError, r'k=0 is outside 1\.\.200'),
        ({'k': 201}, ValueError, r'k=201 is outside 1\.\.200, the size of the gallery'),
        ({'alpha': -1}, ValueError, 'alpha=-1 must be a finite number from 0 on'),
        ({'alpha': float('nan')}, ValueError, 'alpha=nan must be'),
        ({'alpha': float('inf')}, ValueError, 'alpha=inf must be'),
        ({'memory_limit': 1000}, ValueError, r'memory_limit=1000 bytes .* more than \d+ bytes'),
        ({'memory_limit': 60_000}, ValueError, r'=60000 bytes is too .* left, memory_limit='),
        ({'gallery_features': torch.zeros(0, 16)}, ValueError, 'no gallery features'),
        ({'gallery_features': torch.ones(200, 3)}, ValueError, 'width 16 .* 3'),
        ({'query_features': torch.full((2, 16), float('nan'))}, ValueError, 'holds a NaN'),
        ({'query_features': torch.zeros(20, 16).int()}, TypeError, 'floating point'),
    ],
)
def test_bad_input_is_named(change, error, message):
    query, gallery, *_ = people()
    arguments = {'query_features': query, 'gallery_features': gallery, **change}
    with pytest.raises(error, match=message) as raised:
        average_query_expansion(**arguments)
    assert '\n' not in str(raised.value)


def test_progress_is_shown(capsys):
    query, gallery, *_ = people()
    average_query_expansion(query, gallery, progress=Progress)
    assert 'searching: 20/20' in capsys.readouterr().err
