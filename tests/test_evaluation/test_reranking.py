"""k-reciprocal re-ranking against golden values and against the formula with dense matrices."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import normalize

from fusionreid.cli.main import run_command
from fusionreid.evaluation.functional import (
    evaluate_distances,
    evaluate_ranking,
    k_reciprocal_rerank,
    reranked_blocks,
)
from fusionreid.evaluation.functional.nearest_neighbors import PointSet, nearest_neighbors
from fusionreid.evaluation.functional.reranking.k_reciprocal import add_overlaps
from fusionreid.evaluation.functional.reranking.plan import RerankingPlan
from fusionreid.evaluation.functional.reranking.sparse_rows import SparseRows
from fusionreid.utils.progress import Progress

ROOT = Path(__file__).parents[2]
GOLDEN = Path(__file__).parents[1] / 'data' / 'ranking.npz'


def exact_squares(points):
    """Squared distances, (N, N) float64, from differences: copies are at distance 0."""
    points = points.double().numpy()
    return np.stack([((points - point) ** 2).sum(1) for point in points])


def sorted_neighbors(squares):
    """All points in order of distance, then index; each one before all others in its own row."""
    squares = squares.copy()
    np.fill_diagonal(squares, -1)
    return squares.argsort(axis=1, kind='stable')


def plain_rerank(query, gallery, k1, k2, lambda_value, encoding_dtype=np.float64):
    """The formula of Zhong et al. (CVPR 2017) in float64, one point at a time, (q, g)."""
    squares = exact_squares(torch.cat([query, gallery]))
    order = sorted_neighbors(squares)
    distances = squares / squares.max(axis=1, keepdims=True)
    total, num_query = len(squares), len(query)

    def reciprocal(point, k):
        return {other for other in order[point, : k + 1] if point in order[other, : k + 1]}

    encoding = np.zeros((total, total), encoding_dtype)
    for point in range(total):
        core = reciprocal(point, k1)
        extended = set(core)
        for other in core:
            theirs = reciprocal(other, int(np.around(k1 / 2)))
            if len(theirs & core) > 2 / 3 * len(theirs):
                extended |= theirs
        members = sorted(extended)
        weights = np.exp(-distances[point, members])
        encoding[point, members] = weights / weights.sum()
    if k2 > 1:
        encoding = np.stack([encoding[order[point, :k2]].mean(axis=0) for point in range(total)])
    result = np.empty((num_query, total - num_query))
    for row in range(num_query):
        # One after the other and in the precision of the encodings, as a loop adds them.
        common = np.minimum(encoding[row], encoding[num_query:]).cumsum(1, encoding_dtype)[:, -1]
        jaccard = 1 - common / (2 - common)
        result[row] = (1 - lambda_value) * jaccard + lambda_value * distances[row, num_query:]
    return torch.from_numpy(result)


def golden_set():
    golden = np.load(GOLDEN)
    n = int(golden['num_query'])
    features = torch.from_numpy(golden['features'])
    labels = golden['pid'][:n], golden['pid'][n:], golden['cam'][:n], golden['cam'][n:]
    return golden, features[:n], features[n:], labels


def people(num_query=12, num_gallery=90, dim=16, num_ids=9, noise=1.0, seed=0):
    random = torch.Generator().manual_seed(seed)
    total = num_query + num_gallery
    ids = torch.randint(num_ids, (total,), generator=random)
    features = torch.randn(num_ids, dim, generator=random)[ids]
    features = normalize(features + noise * torch.randn(total, dim, generator=random))
    cameras = torch.randint(3, (total,), generator=random)
    n = num_query
    return features[:n], features[n:], (ids[:n], ids[n:], cameras[:n], cameras[n:])


def assert_close(found, expected, tolerance=1e-6):
    torch.testing.assert_close(found.double(), expected.double(), atol=tolerance, rtol=0)


def least_memory(query, gallery, **options):
    """The bytes that the error for a smaller limit names."""
    with pytest.raises(ValueError, match='memory_limit=1 bytes is too small') as raised:
        reranked_blocks(query, gallery, memory_limit=1, **options)
    return int(re.search(r'about (\d+) bytes', str(raised.value))[1])


# ---- known values


@pytest.mark.parametrize(('k1', 'k2'), [(20, 6), (50, 15)])
def test_golden_values(k1, k2):
    golden, query, gallery, labels = golden_set()
    distances = k_reciprocal_rerank(query, gallery, k1=k1, k2=k2)
    error = np.abs(distances.numpy() - golden[f'rerank_{k1}_{k2}_dist'])
    # The golden values were computed with encodings in float16; see the next test.
    assert (error < 2e-3).mean() > 0.999
    assert error.max() < 4e-3
    assert error.mean() < 5e-4
    if (k1, k2) == (20, 6):
        assert error.max() < 2e-3
    result = evaluate_distances(distances, *labels)
    assert result.mAP == pytest.approx(float(golden[f'rerank_{k1}_{k2}_mAP']), abs=1e-3)
    np.testing.assert_allclose(result.cmc.numpy(), golden[f'rerank_{k1}_{k2}_cmc'], atol=0.026)
    assert result.mAP > float(golden['mAP']) + 0.05


@pytest.mark.parametrize(('k1', 'k2'), [(20, 6), (50, 15)])
@pytest.mark.slow
def test_golden_set_by_the_formula(k1, k2):
    _, query, gallery, _ = golden_set()
    expected = plain_rerank(query, gallery, k1, k2, 0.3)
    assert_close(k_reciprocal_rerank(query, gallery, k1=k1, k2=k2), expected)
    double = k_reciprocal_rerank(query.double(), gallery.double(), k1=k1, k2=k2)
    assert double.dtype == torch.float64
    assert_close(double, expected, 1e-11)


@pytest.mark.slow
def test_golden_differs_from_the_formula_by_its_float16_encodings():
    golden, query, gallery, _ = golden_set()
    narrow = plain_rerank(query, gallery, 50, 15, 0.3, np.float16).numpy()
    exact = k_reciprocal_rerank(query, gallery, k1=50, k2=15).numpy()
    expected = golden['rerank_50_15_dist']
    assert np.abs(exact - expected).max() > 3e-3
    assert np.abs(narrow - expected).max() < 1e-3
    assert np.abs(narrow - expected).mean() < 1e-5


def test_worked_example():
    """Two pairs on a line: everybody's only neighbor is its partner."""
    query, gallery = torch.tensor([[1.0]]), torch.tensor([[2.0], [11.0], [13.0]])
    distances = k_reciprocal_rerank(query, gallery, k1=1, k2=1, lambda_value=0.25)
    # The query's encoding is 1 : exp(-1/144) over itself and its partner, whose largest distance
    # is 11, so that the partner's is exp(-1/121) : 1.
    own, partner = np.exp(-1 / 144), np.exp(-1 / 121)
    common = min(1 / (1 + own), partner / (1 + partner)) + min(own / (1 + own), 1 / (1 + partner))
    expected = [
        0.75 * (1 - common / (2 - common)) + 0.25 / 144,
        0.75 + 0.25 * 100 / 144,
        0.75 + 0.25,
    ]
    np.testing.assert_allclose(distances[0].numpy(), expected, atol=1e-6)


# ---- the formula, on every kind of set


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(st.data())
def test_equals_the_formula_with_ties(data):
    num_query, num_gallery = data.draw(st.integers(1, 6)), data.draw(st.integers(2, 30))
    total = num_query + num_gallery
    # Few distinct points: copies, and many equal distances.
    cells = data.draw(st.lists(st.integers(1, 7), min_size=2 * total, max_size=2 * total))
    points = torch.tensor(cells).view(total, 2).float()
    points[0] += 0.5  # Not all points are the same.
    k1 = data.draw(st.integers(1, total - 1))
    k2 = data.draw(st.integers(1, total))
    weight = data.draw(st.sampled_from([0.0, 0.3, 1.0]))
    query, gallery = points[:num_query], points[num_query:]
    found = k_reciprocal_rerank(query, gallery, k1=k1, k2=k2, lambda_value=weight)
    assert_close(found, plain_rerank(query, gallery, k1, k2, weight))


@pytest.mark.parametrize('k1', [1, 2, 3, 5, 7, 9, 20])
@pytest.mark.parametrize('k2', [1, 4, 30])
def test_equals_the_formula_for_every_k(k1, k2):
    """Odd k1 among them, whose half is rounded to even, and a k2 beyond k1."""
    query, gallery, _ = people()
    found = k_reciprocal_rerank(query, gallery, k1=k1, k2=k2)
    assert_close(found, plain_rerank(query, gallery, k1, k2, 0.3))


@pytest.mark.parametrize('spread', [1e-6, 1e-4, 1.0])
def test_collapsed_features_are_reranked_exactly(spread):
    """All features nearly the same: their differences are all that counts."""
    query, gallery, _ = people()
    query, gallery = 1 + spread * query, 1 + spread * gallery
    found = k_reciprocal_rerank(query, gallery, k1=9, k2=4)
    assert_close(found, plain_rerank(query, gallery, 9, 4, 0.3))


@pytest.mark.parametrize('scale', [1e-20, 1e15])
def test_does_not_depend_on_the_scale_of_features(scale):
    query, gallery, _ = people()
    query, gallery = query * scale, gallery * scale
    expected = plain_rerank(query, gallery, 9, 4, 0.3)
    assert_close(k_reciprocal_rerank(query, gallery, k1=9, k2=4), expected)
    assert_close(k_reciprocal_rerank(query.double(), gallery.double(), k1=9, k2=4), expected)


def test_more_copies_than_neighbors():
    """Copies under every name: float32 cannot tell who is nearer, the index decides."""
    query, gallery, _ = people(6, 40)
    gallery = torch.cat([gallery, gallery[:1].repeat(40, 1), query[:1].repeat(40, 1)])
    found = k_reciprocal_rerank(query, gallery, k1=6, k2=3)
    expected = plain_rerank(query, gallery, 6, 3, 0.3)
    assert_close(found, expected)
    blocks = reranked_blocks(
        query, gallery, k1=6, k2=3, memory_limit=least_memory(query, gallery, k1=6, k2=3)
    )
    assert_close(torch.cat(list(blocks)), expected)


def test_all_features_the_same():
    same = torch.ones(30, 4)
    distances = k_reciprocal_rerank(same[:5], same[5:], k1=4, k2=2)
    assert distances.isfinite().all()
    assert distances.min() >= 0
    assert distances.max() <= 0.7


def test_one_huge_feature_does_not_disturb_the_neighbors():
    query, gallery, _ = people()
    gallery[7] *= 1e4
    found = k_reciprocal_rerank(query, gallery, k1=9, k2=4)
    assert_close(found, plain_rerank(query, gallery, 9, 4, 0.3))


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_narrow_and_mixed_dtypes(dtype):
    query, gallery, _ = people()
    query, gallery = query.to(dtype), gallery.to(dtype)
    found = k_reciprocal_rerank(query, gallery, k1=9, k2=4)
    assert found.dtype == torch.float32
    assert_close(found, plain_rerank(query, gallery, 9, 4, 0.3))
    assert_close(k_reciprocal_rerank(query.float(), gallery, k1=9, k2=4), found)


def test_lambda_one_is_the_original_order():
    query, gallery, labels = people()
    distances = k_reciprocal_rerank(query, gallery, lambda_value=1)
    expected = evaluate_ranking(query, gallery, *labels)
    assert evaluate_distances(distances, *labels).mAP == pytest.approx(expected.mAP, abs=1e-6)
    assert float(distances.max()) <= 1


# ---- however the work is cut


@pytest.mark.slow
def test_does_not_depend_on_memory_or_threads(monkeypatch):
    query, gallery, labels = people(90, 700, 24, 30)
    gallery = torch.cat([gallery, gallery[:100]])
    whole = k_reciprocal_rerank(query, gallery)
    least = least_memory(query, gallery)
    for limit in (least, least + 300_000):
        blocks = list(reranked_blocks(query, gallery, memory_limit=limit))
        assert len(blocks) > 1
        assert_close(torch.cat(blocks), whole)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1 if threads > 1 else 2)
        assert_close(k_reciprocal_rerank(query, gallery), whole)
    finally:
        torch.set_num_threads(threads)
    monkeypatch.setattr('fusionreid.evaluation.functional.reranking.k_reciprocal.GROUP_POINTS', 7)
    monkeypatch.setattr(
        'fusionreid.evaluation.functional.reranking.k_reciprocal.GROUP_ENTRIES', 500
    )
    monkeypatch.setattr(
        'fusionreid.evaluation.functional.reranking.sparse_rows.SORTED_ENTRIES', 1000
    )
    assert_close(k_reciprocal_rerank(query, gallery), whole)


def test_is_repeatable_and_leaves_the_features_alone():
    query, gallery, _ = people(20, 300)
    kept = query.clone(), gallery.clone()
    first = k_reciprocal_rerank(query, gallery)
    assert torch.equal(first, k_reciprocal_rerank(query, gallery))
    assert torch.equal(query, kept[0])
    assert torch.equal(gallery, kept[1])
    double = query.double(), gallery.double()
    k_reciprocal_rerank(*double)
    assert torch.equal(double[0], kept[0].double())
    assert torch.equal(double[1], kept[1].double())


@pytest.mark.parametrize('tile', [16, 37, 500])
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_neighbors_equal_a_full_sort(tile, dtype):
    query, gallery, _ = people(30, 270, 12, noise=0.5)
    points = torch.cat([query, gallery, gallery[:60]]).to(dtype)
    squares = exact_squares(points)
    found = nearest_neighbors(PointSet(points), 11, tile=tile, memory_limit=1 << 28)
    assert torch.equal(found.indices, torch.from_numpy(sorted_neighbors(squares)[:, :11]))
    expected = torch.from_numpy(squares).gather(1, found.indices)
    assert_close(found.squares, expected)
    assert_close(found.farthest, torch.from_numpy(squares.max(1)), 2e-6)


def test_blocks_are_scored_as_they_come():
    query, gallery, labels = people(90, 700, 24, 30)
    expected = evaluate_distances(k_reciprocal_rerank(query, gallery), *labels)
    found = evaluate_distances(reranked_blocks(query, gallery), *labels)
    assert found.mAP == pytest.approx(expected.mAP, abs=1e-9)
    assert torch.equal(found.cmc, expected.cmc)


# ---- the sparse parts


def random_rows(rows, columns, seed=0):
    dense = torch.rand(rows, columns, generator=torch.Generator().manual_seed(seed))
    dense[dense < 0.7] = 0
    dense[rows // 2] = 0
    at = dense.nonzero()
    parts = [((dense[i] > 0).sum()[None], at[at[:, 0] == i, 1].int()) for i in range(rows)]
    return dense, SparseRows.join(
        [(count, column, dense[i, column.long()]) for i, (count, column) in enumerate(parts)]
    )


def test_sparse_rows(monkeypatch):
    monkeypatch.setattr('fusionreid.evaluation.functional.reranking.sparse_rows.SORTED_ENTRIES', 10)
    dense, rows = random_rows(8, 13)
    assert len(rows) == 8
    assert torch.equal(rows.counts, (dense > 0).sum(1))
    wanted = torch.tensor([5, 4, 5, 0])
    owner, at = rows.entries(wanted)
    again = torch.zeros(4, 13)
    again[owner, rows.columns[at].long()] = rows.values[at]
    assert torch.equal(again, dense[wanted])
    turned = rows.transpose(15)
    owner, at = turned.entries(torch.arange(15))
    again = torch.zeros(15, 8)
    again[owner, turned.columns[at].long()] = turned.values[at]
    assert torch.equal(again[:13], dense.T)
    assert not again[13:].any()


def test_overlaps():
    left, vectors = random_rows(6, 20)
    right, others = random_rows(9, 20, seed=1)
    out = torch.zeros(3, 9)
    add_overlaps(vectors, slice(2, 5), others.transpose(20), out)
    assert_close(out, torch.minimum(left[2:5, None], right[None]).sum(2))


# ---- bad input


@pytest.mark.parametrize(
    ('change', 'error', 'message'),
    [
        ({'k1': 0}, ValueError, r'k1=0 is not a whole number in 1\.\.101'),
        ({'k1': 102}, ValueError, r'k1=102 .* 1\.\.101, the number of the other queries'),
        ({'k1': 2.5}, ValueError, r'k1=2\.5 is not a whole number'),
        ({'k2': 0}, ValueError, r'k2=0 is not a whole number in 1\.\.102'),
        ({'k2': 103}, ValueError, r'k2=103 is not a whole number in 1\.\.102'),
        ({'lambda_value': -0.1}, ValueError, r'lambda_value=-0\.1 is outside 0\.\.1'),
        ({'lambda_value': 1.5}, ValueError, r'lambda_value=1\.5 is outside'),
        ({'lambda_value': float('nan')}, ValueError, 'lambda_value=nan is outside'),
        ({'memory_limit': 1000}, ValueError, r'memory_limit=1000 bytes .* about \d+ bytes'),
        ({'query_features': torch.zeros(0, 16)}, ValueError, 'no query features'),
        ({'gallery_features': torch.zeros(0, 16)}, ValueError, 'no gallery features'),
        ({'gallery_features': torch.ones(90, 3)}, ValueError, 'width 16 .* 3'),
        ({'query_features': torch.zeros(12, 16).long()}, TypeError, 'floating point.*int64'),
        ({'query_features': torch.full((12, 16), 1e30)}, ValueError, 'L2-normalize'),
        (
            {'gallery_features': torch.full((90, 16), float('nan'))},
            ValueError,
            'gallery feature 0 holds a NaN',
        ),
    ],
)
@pytest.mark.parametrize('function', [k_reciprocal_rerank, reranked_blocks])
def test_bad_input_is_named(function, change, error, message):
    query, gallery, _ = people()
    arguments = {'query_features': query, 'gallery_features': gallery, **change}
    with pytest.raises(error, match=message) as raised:
        function(**arguments)
    assert '\n' not in str(raised.value)


def test_encodings_that_outgrow_memory_are_named(monkeypatch):
    query, gallery, _ = people(90, 700, 24, 30)
    monkeypatch.setattr(
        'fusionreid.evaluation.functional.reranking.rerank.plan_reranking',
        lambda *_: RerankingPlan(64, 10, 1 << 30, max_entries=1000, bytes=0),
    )
    with pytest.raises(ValueError, match='room for 1000 entries .* raise memory_limit'):
        k_reciprocal_rerank(query, gallery)


def test_estimate_and_progress_are_shown(capsys):
    query, gallery, _ = people()
    k_reciprocal_rerank(query, gallery, progress=Progress)
    shown = capsys.readouterr().err
    first = shown.splitlines()[0]
    assert re.fullmatch(
        r're-ranking 12 queries in a gallery of 90: about \d+ s and [\d.]+ GiB on top of the '
        'features',
        first,
    )
    for line in ('neighbors, pairs: 5253/5253', 'encoding: 102/102', 'queries: 12/12'):
        assert line in shown
    k_reciprocal_rerank(query, gallery)
    assert capsys.readouterr().err == ''


# ---- the tool


@pytest.mark.slow
def test_benchmark_prints_one_json_line_for_each_method(capsys):
    run_command('benchmark reranking', ['--scale', 'tiny', '--dim', '32', '--dense', '--plain'])
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    names = ['reranked_blocks', 'k_reciprocal_rerank', 'plain']
    assert [record['method'] for record in records] == names
    for record in records:
        assert record['seconds'] > 0
        assert record['queries'] == 200
        assert record['mAP_after'] > record['mAP_before'] > 0
    assert records[0]['mAP_after'] == records[1]['mAP_after']
    assert records[2]['mAP_after'] == pytest.approx(records[1]['mAP_after'], abs=2e-3)
    assert records[2]['ratio'] > 0
    with pytest.raises(SystemExit, match='error: k1=5000 is not a whole number'):
        run_command('benchmark reranking', ['--scale', 'tiny', '--dim', '8', '--k1', '5000'])
