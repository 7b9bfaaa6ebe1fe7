"""Nearest neighbors against a full float64 sort."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import normalize

from fusionreid.evaluation.functional import evaluate_distances, evaluate_ranking, top_k


def full_sort(query, gallery, k, removed=None):
    distances = torch.linalg.vector_norm(query[:, None].double() - gallery[None].double(), dim=2)
    if removed is not None:
        distances.masked_fill_(removed, torch.inf)
    values, order = distances.sort(dim=1, stable=True)
    order = torch.where(values.isfinite(), order, -1)
    return order[:, :k], values[:, :k]


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_equals_full_sort_with_ties(data):
    num_query, num_gallery = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 20))
    total = num_query + num_gallery
    cells = data.draw(st.lists(st.integers(1, 5), min_size=2 * total, max_size=2 * total))
    features = torch.tensor(cells).view(total, 2).float()
    ids = torch.tensor(data.draw(st.lists(st.integers(0, 2), min_size=total, max_size=total)))
    cameras = torch.tensor(data.draw(st.lists(st.integers(-1, 1), min_size=total, max_size=total)))
    k = data.draw(st.integers(1, num_gallery))
    n = num_query
    query, gallery = features[:n], features[n:]
    found = top_k(query, gallery, k)
    indices, distances = full_sort(query, gallery, k)
    assert torch.equal(found.indices, indices)
    torch.testing.assert_close(found.distances, distances.float(), atol=1e-6, rtol=0)
    found = top_k(
        query,
        gallery,
        k,
        query_ids=ids[:n],
        gallery_ids=ids[n:],
        query_cameras=cameras[:n],
        gallery_cameras=cameras[n:],
    )
    removed = (ids[:n, None] == ids[n:]) & (cameras[:n, None] == cameras[n:])
    removed &= cameras[:n, None] >= 0
    indices, distances = full_sort(query, gallery, k, removed)
    assert torch.equal(found.indices, indices)
    torch.testing.assert_close(found.distances, distances.float(), atol=1e-6, rtol=0)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_does_not_depend_on_memory(dtype):
    features = normalize(torch.randn(900, 48)).to(dtype)
    # Copies of the gallery: every distance occurs twice.
    query, gallery = features[:100], features[100:].repeat(2, 1)
    whole = top_k(query, gallery, 9)
    for limit in (4 << 20, 2 << 20):
        part = top_k(query, gallery, 9, memory_limit=limit)
        assert torch.equal(whole.indices, part.indices)
        assert torch.equal(whole.distances, part.distances)
    indices, distances = full_sort(query, gallery, 9)
    assert torch.equal(whole.indices, indices)
    assert whole.distances.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    torch.testing.assert_close(whole.distances.double(), distances, atol=1e-6, rtol=0)


@pytest.mark.slow
def test_wide_features_and_a_large_k_need_little_memory():
    """The whole of a gallery in order, in a fraction of the memory of its copy."""
    features = torch.randn(1210, 6000)
    query, gallery = features[:10], features[10:]
    found = top_k(query, gallery, 1200, memory_limit=30 << 20)
    indices, distances = full_sort(query, gallery, 1200)
    assert torch.equal(found.indices, indices)
    torch.testing.assert_close(found.distances.double(), distances, atol=1e-4, rtol=0)


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
@pytest.mark.parametrize('step', [1e-7, 3e-7, 1e-6, 1e-4, 1e-3])
def test_near_copies_stand_in_the_order_of_their_distances(dtype, step):
    query, direction, others = normalize(torch.randn(16, 64, dtype=torch.float64)).split([1, 1, 14])
    steps = torch.tensor([[3.0], [1.0], [0.0], [2.0]]) * step
    gallery = torch.cat([query + steps * direction, others]).to(dtype)
    query = query.to(dtype)
    found = top_k(query, gallery, 6)
    assert found.indices[0, :4].tolist() == [2, 1, 3, 0]
    assert found.distances[0, 0] == 0
    assert (found.distances.diff() >= 0).all()
    exact = torch.linalg.vector_norm(query.double() - gallery.double(), dim=1)
    ids, cameras = torch.tensor([1, 1, 2, 1] + [2] * 14), torch.arange(18)
    ranked = evaluate_ranking(query, gallery, [1], ids, [99], cameras)
    expected = evaluate_distances(exact[None], [1], ids, [99], cameras)
    assert ranked.mAP == pytest.approx(expected.mAP)
    assert ranked.mAP < 0.8


def test_a_copy_of_the_query_is_at_distance_zero():
    gallery = normalize(torch.randn(50, 768))
    found = top_k(gallery[7:9], gallery, 1)
    assert found.indices.flatten().tolist() == [7, 8]
    assert found.distances.flatten().tolist() == [0, 0]


def test_near_copies_keep_their_order():
    base = torch.ones(1, 64)
    gallery = base + 1e-6 * torch.randn(40, 64)
    found = top_k(base, gallery, 40)
    assert torch.equal(found.indices, full_sort(base, gallery, 40)[0])


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'k': 0}, r'k=0 is outside 1\.\.6'),
        ({'k': 7}, r'k=7 is outside 1\.\.6, the size of the gallery'),
        ({'query_ids': [1, 2]}, 'also give gallery_ids, query_cameras, gallery_cameras'),
        ({'gallery_features': torch.ones(6, 5)}, 'width 3 but gallery features have 5'),
        ({'memory_limit': 100}, 'too small for searching 6 gallery features'),
    ],
)
def test_bad_input_is_named(change, message):
    arguments = {
        'query_features': torch.ones(2, 3),
        'gallery_features': torch.ones(6, 3),
        'k': 2,
        **change,
    }
    with pytest.raises(ValueError, match=message):
        top_k(**arguments)
