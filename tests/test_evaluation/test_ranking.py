"""Ranking against golden values, a plain loop, a second library, and its own invariants."""

import time
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import normalize

from fusionreid.evaluation.functional import (
    RankingResult,
    evaluate_distances,
    evaluate_ranking,
    rank_queries,
    ranking,
)
from fusionreid.evaluation.functional.counting import count_around, count_by_buckets
from fusionreid.evaluation.functional.true_positions import true_positions
from fusionreid.utils.progress import Progress

GOLDEN = Path(__file__).parents[1] / 'data' / 'ranking.npz'


def loop_oracle(distances, query_ids, gallery_ids, query_cameras, gallery_cameras, remove=True):
    """AP, INP and first match of each query, one entry at a time; None without a match."""
    scores = []
    for row, identity, camera in zip(distances, query_ids, query_cameras, strict=True):
        ranked = sorted(range(len(row)), key=lambda column: (row[column], column))
        place, precisions, first = 0, [], 0
        for column in ranked:
            same = gallery_ids[column] == identity
            if remove and same and camera >= 0 and gallery_cameras[column] == camera:
                continue
            place += 1
            if same:
                precisions.append((len(precisions) + 1) / place)
                first = first or place
                last = place
        if precisions:
            scores.append((sum(precisions) / len(precisions), len(precisions) / last, first))
        else:
            scores.append(None)
    return scores


def check_against(result: RankingResult, scores, tolerance=1e-9):
    assert result.num_valid_queries == sum(score is not None for score in scores)
    for row, score in enumerate(scores):
        if score is None:
            assert result.average_precision[row].isnan()
            assert result.inverse_negative_penalty[row].isnan()
            assert result.first_match_rank[row] == 0
        else:
            assert float(result.average_precision[row]) == pytest.approx(score[0], abs=tolerance)
            penalty = float(result.inverse_negative_penalty[row])
            assert penalty == pytest.approx(score[1], abs=tolerance)
            assert int(result.first_match_rank[row]) == score[2]
    valid = [score for score in scores if score is not None]
    assert result.mAP == pytest.approx(np.mean([score[0] for score in valid]), abs=tolerance)
    assert result.mINP == pytest.approx(np.mean([score[1] for score in valid]), abs=tolerance)
    for rank in range(1, len(result.cmc) + 1):
        expected = np.mean([score[2] <= rank for score in valid])
        assert float(result.cmc[rank - 1]) == pytest.approx(expected, abs=1e-12)


def people(num_query=40, num_gallery=700, dim=24, num_ids=12, num_cameras=3, noise=2.0, seed=0):
    """Features, ids and cameras in the order that evaluate_ranking takes them."""
    random = torch.Generator().manual_seed(seed)
    total = num_query + num_gallery
    ids = torch.randint(num_ids, (total,), generator=random)
    cameras = torch.randint(num_cameras, (total,), generator=random)
    features = torch.randn(num_ids, dim, generator=random)[ids]
    features = normalize(features + noise * torch.randn(total, dim, generator=random))
    n = num_query
    return features[:n], features[n:], ids[:n], ids[n:], cameras[:n], cameras[n:]


def exact_distances(query, gallery):
    return torch.linalg.vector_norm(query[:, None].double() - gallery[None].double(), dim=2)


# ---- known values


def test_golden_values():
    golden = np.load(GOLDEN)
    n = int(golden['num_query'])
    features = torch.from_numpy(golden['features'])
    ids, cameras = golden['pid'], golden['cam']
    result = evaluate_ranking(
        features[:n], features[n:], ids[:n], ids[n:], cameras[:n], cameras[n:]
    )
    assert result.mAP == pytest.approx(float(golden['mAP']), abs=1e-6)
    np.testing.assert_allclose(result.cmc.numpy(), golden['cmc'], atol=1e-6)


def test_worked_example():
    # In order: a distractor, a match, the junk image (removed), another identity, a match.
    distances = torch.tensor([[0.1, 0.2, 0.3, 0.4, 0.5]])
    result = evaluate_distances(distances, [1], [0, 1, 1, 2, 1], [0], [1, 1, 0, 0, 2], max_rank=3)
    assert result.average_precision.tolist() == [pytest.approx((1 / 2 + 2 / 4) / 2)]
    assert result.mINP == pytest.approx(2 / 4)
    assert result.cmc.tolist() == [0.0, 1.0, 1.0]
    kept = evaluate_distances(distances, [1], [0, 1, 1, 2, 1], remove_same_camera=False)
    assert kept.mAP == pytest.approx((1 / 2 + 2 / 3 + 3 / 5) / 3)


def test_ties_stand_in_gallery_order():
    ids, cameras = [2, 1, 2, 1, 1], [1] * 5
    distances = torch.tensor([[0.5, 0.5, 0.5, 0.5, 0.1]])
    result = evaluate_distances(distances, [1], ids, [0], cameras)
    assert result.mAP == pytest.approx((1 + 2 / 3 + 3 / 5) / 3)
    features = torch.tensor([[0.5, 1], [0.5, 1], [0.5, 1], [0.5, 1], [0.1, 1]])
    result = evaluate_ranking(torch.tensor([[0.0, 1.0]]), features, [1], ids, [0], cameras)
    assert result.mAP == pytest.approx((1 + 2 / 3 + 3 / 5) / 3)


def test_unknown_camera_removes_nothing():
    result = evaluate_distances(torch.tensor([[0.1, 0.2]]), [1], [1, 2], [-1], [-1, -1])
    assert result.mAP == 1


# ---- oracles


labels = st.integers(0, 3)


@st.composite
def ranking_cases(draw):
    num_query, num_gallery = draw(st.integers(1, 6)), draw(st.integers(1, 25))
    total = num_query + num_gallery
    dim = draw(st.integers(1, 4))
    # Small integers: many ties and duplicates, and float arithmetic is exact.
    cells = draw(st.lists(st.integers(1, 5), min_size=total * dim, max_size=total * dim))
    ids = draw(st.lists(labels, min_size=total, max_size=total))
    cameras = draw(st.lists(st.integers(-1, 2), min_size=total, max_size=total))
    return torch.tensor(cells).view(total, dim).float(), ids, cameras, num_query


@settings(max_examples=150, deadline=None)
@given(
    ranking_cases(), st.booleans(), st.sampled_from(['float16', 'bfloat16', 'float32', 'float64'])
)
def test_equals_loop(case, remove, dtype):
    features, ids, cameras, n = case
    features = features.to(getattr(torch, dtype))
    query, gallery = features[:n], features[n:]
    distances = exact_distances(query, gallery)
    scores = loop_oracle(distances.tolist(), ids[:n], ids[n:], cameras[:n], cameras[n:], remove)
    arguments = (ids[:n], ids[n:], cameras[:n], cameras[n:])
    options = {'remove_same_camera': remove, 'max_rank': 7}
    if all(score is None for score in scores):
        with pytest.raises(ValueError, match='has a match'):
            evaluate_ranking(query, gallery, *arguments, **options)
        return
    check_against(evaluate_ranking(query, gallery, *arguments, **options), scores)
    check_against(evaluate_distances(distances, *arguments, **options), scores)


@pytest.mark.parametrize('noise', [0.5, 3.0])
def test_equals_loop_on_real_valued_features(noise):
    data = people(noise=noise)
    scores = loop_oracle(exact_distances(*data[:2]).tolist(), *(part.tolist() for part in data[2:]))
    check_against(evaluate_ranking(*data), scores, tolerance=1e-6)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000))
def test_equals_scikit_learn(seed):
    """Average precision of a second library, which knows no cameras and averages over ties."""
    from sklearn.metrics import average_precision_score

    query, gallery, query_ids, gallery_ids, *_ = people(6, 60, 8, 5, seed=seed)
    result = evaluate_ranking(query, gallery, query_ids, gallery_ids, remove_same_camera=False)
    distances = exact_distances(query, gallery)
    for row in range(len(query)):
        relevant = (gallery_ids == query_ids[row]).numpy()
        if relevant.any():
            expected = average_precision_score(relevant, -distances[row].numpy())
            assert float(result.average_precision[row]) == pytest.approx(expected, abs=1e-6)
        else:
            assert result.first_match_rank[row] == 0


# ---- invariants


def assert_same(first: RankingResult, second: RankingResult):
    assert first.num_valid_queries == second.num_valid_queries
    torch.testing.assert_close(first.cmc, second.cmc, atol=0, rtol=0)
    torch.testing.assert_close(
        first.average_precision, second.average_precision, atol=1e-6, rtol=0, equal_nan=True
    )
    assert torch.equal(first.first_match_rank, second.first_match_rank)
    assert first.mINP == pytest.approx(second.mINP, abs=1e-6)


@pytest.mark.slow
def test_does_not_depend_on_memory_threads_or_precision():
    data = people(300, 3000, 64, 60, 4, noise=4.0)
    whole = evaluate_ranking(*data)
    for limit in (12 << 20, 4 << 20):
        assert_same(whole, evaluate_ranking(*data, memory_limit=limit))
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1 if threads > 1 else 2)
        assert_same(whole, evaluate_ranking(*data))
    finally:
        torch.set_num_threads(threads)
    assert_same(whole, evaluate_ranking(data[0].double(), data[1].double(), *data[2:]))


def test_copies_are_ties_however_the_work_is_cut():
    """A gallery where every image of one identity has copies under other identities."""
    query, gallery, query_ids, gallery_ids, query_cameras, gallery_cameras = people(
        30, 400, 96, 10, noise=3.0
    )
    gallery = gallery.repeat(4, 1)
    gallery_ids = torch.cat([gallery_ids, gallery_ids + 100, gallery_ids, gallery_ids + 200])
    gallery_cameras = gallery_cameras.repeat(4)
    order = torch.randperm(len(gallery), generator=torch.Generator().manual_seed(1))
    data = (
        query, gallery[order], query_ids, gallery_ids[order], query_cameras, gallery_cameras[order],
    )  # fmt: skip
    scores = loop_oracle(
        exact_distances(query, gallery[order]).tolist(), *(part.tolist() for part in data[2:])
    )
    for limit in (1 << 30, 4 << 20):
        check_against(evaluate_ranking(*data, memory_limit=limit), scores, tolerance=1e-6)


@pytest.mark.parametrize('sort_from', [0, 8, 10**9])
def test_both_ways_of_settling_agree_with_the_loop(monkeypatch, sort_from):
    # Rounded features are tied again and again, so nearly every match is unsure.
    query, gallery, *labels = people(num_ids=3, noise=3.0)
    # No feature is zero: all lie around (99, 99, 99, 99).
    query, gallery = (3 * query[:, :4]).round() + 99, (3 * gallery[:, :4]).round() + 99
    monkeypatch.setattr(ranking, 'SORT_FROM', sort_from)
    distances = exact_distances(query, gallery)
    scores = loop_oracle(distances.tolist(), *(label.tolist() for label in labels))
    check_against(evaluate_ranking(query, gallery, *labels), scores)
    check_against(evaluate_distances(distances, *labels), scores)


@pytest.mark.parametrize('spread', [0.0, 1e-7, 1e-6])
def test_collapsed_features_are_ranked_exactly(spread):
    """All features nearly the same: float32 alone could not tell them apart."""
    query, gallery, *rest = people(12, 300, 48, 6)
    query, gallery = 1 + spread * query, 1 + spread * gallery
    scores = loop_oracle(
        (exact_distances(query, gallery) ** 2).tolist(), *(part.tolist() for part in rest)
    )
    check_against(evaluate_ranking(query, gallery, *rest), scores, tolerance=1e-6)


@pytest.mark.parametrize('scale', [1e-20, 1e15])
def test_does_not_depend_on_the_scale_of_features(scale):
    query, gallery, *rest = people(10, 200, 16, 6)
    expected = evaluate_ranking(query.double(), gallery.double(), *rest)
    assert_same(expected, evaluate_ranking(query * scale, gallery * scale, *rest))


def test_one_huge_feature_does_not_disturb_the_others():
    query, gallery, *rest = people(20, 300, 16, 6)
    gallery[7] *= 1e6
    scores = loop_oracle(
        exact_distances(query, gallery).tolist(), *(part.tolist() for part in rest)
    )
    check_against(evaluate_ranking(query, gallery, *rest), scores, tolerance=1e-6)


def test_column_slices_and_mixed_dtypes():
    query, gallery, *rest = people()
    wide = torch.cat([torch.full((len(gallery), 3), 9.0), gallery], dim=1)
    expected = evaluate_ranking(query, gallery, *rest)
    assert_same(expected, evaluate_ranking(query, wide[:, 3:], *rest))
    assert_same(expected, evaluate_ranking(query, gallery.double(), *rest))
    half = gallery.half()
    assert_same(evaluate_ranking(query, half.float(), *rest), evaluate_ranking(query, half, *rest))


def test_shares_of_queries_add_up():
    data = people()
    whole = evaluate_ranking(*data)
    shares = [
        rank_queries(data[0][i::3], data[1], data[2][i::3], data[3], data[4][i::3], data[5])
        for i in range(3)
    ]
    for place, name in enumerate(
        ('average_precision', 'inverse_negative_penalty', 'first_match_rank')
    ):
        merged = torch.zeros_like(getattr(whole, name))
        for i in range(3):
            merged[i::3] = shares[i][place]
        torch.testing.assert_close(merged, getattr(whole, name), atol=1e-6, rtol=0, equal_nan=True)


def test_distances_from_every_source(tmp_path):
    data = people()
    distances = exact_distances(*data[:2]).float()
    expected = evaluate_distances(distances, *data[2:])
    np.save(tmp_path / 'distances.npy', distances.numpy())
    mapped = np.load(tmp_path / 'distances.npy', mmap_mode='r')
    for source in (distances.numpy(), mapped, distances.split(7), iter(distances.split(11))):
        assert_same(expected, evaluate_distances(source, *data[2:]))
    assert_same(expected, evaluate_distances(distances, *data[2:], memory_limit=1 << 18))
    assert torch.equal(distances, torch.from_numpy(np.array(mapped))), 'the input was changed'
    blocks = iter(exact_distances(*data[:2]).split(13))
    assert_same(evaluate_ranking(*data), evaluate_distances(blocks, *data[2:]))


def test_one_block_of_distances_is_held_at_a_time():
    distances, held, blocks = torch.rand(40, 30), [], []

    def make_blocks():
        for start in range(0, 40, 10):
            # A thread drops its last piece of work just after it has reported it done.
            deadline = time.monotonic() + 5
            while any(block() is not None for block in blocks) and time.monotonic() < deadline:
                time.sleep(0.001)
            held.append(sum(block() is not None for block in blocks))
            block = distances[start : start + 10].clone()
            blocks.append(weakref.ref(block))
            yield block
            del block

    ids = torch.arange(40) % 5, torch.arange(30) % 5
    result = evaluate_distances(make_blocks(), *ids, remove_same_camera=False)
    assert held == [0, 0, 0, 0]
    assert result.mAP == evaluate_distances(distances, *ids, remove_same_camera=False).mAP


def test_integer_and_infinite_distances():
    data = people()
    whole = (exact_distances(*data[:2]) * 10).round()
    expected = evaluate_distances(whole, *data[2:])
    assert_same(expected, evaluate_distances(whole.long(), *data[2:]))
    far = whole.masked_fill(whole > whole.median(), torch.inf)
    scores = loop_oracle(far.tolist(), *(part.tolist() for part in data[2:]))
    check_against(evaluate_distances(far, *data[2:]), scores)


def test_arrays_may_lie_backwards_in_memory():
    data = people()
    distances = exact_distances(*data[:2])
    expected = evaluate_distances(distances, *data[2:])
    backwards = distances.flip(0).numpy()[::-1]
    assert backwards.strides[0] < 0
    assert_same(expected, evaluate_distances(backwards, *data[2:]))


def test_both_ways_of_counting_agree():
    random = torch.Generator().manual_seed(0)
    keys = torch.randint(0, 9, (5, 200), generator=random).float()
    low = torch.randint(0, 9, (5, 6), generator=random).float()
    high = low + 1
    # As where an identity has fewer entries than others, and where distances are infinite.
    low[:, -1] = high[:, -1] = torch.inf
    keys[:, :3] = torch.inf
    expected = (
        (keys[:, None] < low[..., None]).sum(2),
        (keys[:, None] <= high[..., None]).sum(2),
    )
    for result in (count_around(keys, low, high), count_by_buckets(keys, low, high)):
        assert torch.equal(result[0], expected[0])
        assert torch.equal(result[1], expected[1])
    mask = keys > 5
    assert torch.equal(true_positions(mask), mask.flatten().nonzero().flatten())


# ---- bad input


@pytest.mark.parametrize(
    ('change', 'error', 'message'),
    [
        ({'query_features': torch.zeros(0, 24)}, ValueError, 'no query features'),
        ({'gallery_features': torch.zeros(0, 24)}, ValueError, 'no gallery features'),
        ({'gallery_features': torch.ones(700, 3)}, ValueError, 'width 24 .* 3'),
        ({'query_features': torch.zeros(40)}, ValueError, r'shape \(n, d\), got \(40,\)'),
        ({'query_features': torch.zeros(40, 0)}, ValueError, 'width 0'),
        ({'query_features': torch.zeros(40, 24).long()}, TypeError, 'floating point.*int64'),
        ({'query_features': [[1.0]]}, TypeError, 'floating point.*list'),
        ({'query_ids': [1, 2]}, ValueError, r'query_ids have shape \(2,\), expected \(40,\)'),
        ({'gallery_ids': torch.zeros(700)}, TypeError, 'gallery_ids must be integers'),
        ({'query_cameras': None}, ValueError, 'query_cameras are needed.*remove_same_camera=False'),
        ({'query_ids': torch.full((40,), 99)}, ValueError, 'none of the 40 queries has a match'),
        ({'gallery_cameras': torch.zeros(3).long()}, ValueError, 'gallery_cameras have shape'),
        ({'memory_limit': 10_000}, ValueError, 'memory_limit=10000 bytes is too small.*at least'),
        ({'memory_limit': 1e9}, TypeError, 'memory_limit must be a whole number of bytes'),
        ({'max_rank': 0}, ValueError, 'max_rank must be a whole number from 1 on, got 0'),
        ({'max_rank': 5.0}, ValueError, 'max_rank must be a whole number from 1 on, got 5.0'),
        ({'query_ids': None}, ValueError, '^query_ids are needed$'),
        ({'query_ids': ['a'] * 40}, TypeError, 'query_ids must be integers, got .*a'),
        ({'query_features': torch.full((40, 24), 1e30)}, ValueError, 'L2-normalize'),
    ],
)
def test_bad_input_is_named(change, error, message):
    names = (
        'query_features', 'gallery_features', 'query_ids', 'gallery_ids',
        'query_cameras', 'gallery_cameras',
    )  # fmt: skip
    arguments = {**dict(zip(names, people(), strict=True)), **change}
    with pytest.raises(error, match=message):
        evaluate_ranking(**arguments)


@pytest.mark.parametrize('value', [float('nan'), float('inf')])
@pytest.mark.parametrize('owner', ['query', 'gallery'])
def test_features_that_are_not_finite_are_named(value, owner):
    data = people()
    data[owner == 'gallery'][13, 5] = value
    with pytest.raises(ValueError, match=f'{owner} feature 13 holds a NaN or infinite value'):
        evaluate_ranking(*data)


@pytest.mark.parametrize(
    ('distances', 'message'),
    [
        (torch.zeros(2, 3), r'shape \(2, 3\), expected \(2, 4\)'),
        ([torch.zeros(1, 4)], 'hold 1 rows for 2'),
        ([torch.zeros(3, 4)], '3 or more rows for 2'),
        ([torch.zeros(2, 3)], r'shape \(r, 4\), got shape \(2, 3\)'),
        ([], 'hold 0 rows for 2'),
        ([[0.0]], r'shape \(r, 4\), got list'),
        (torch.tensor([[0.0] * 4, [0.0, float('nan'), 0.0, 0.0]]), 'query 1 hold a NaN'),
    ],
)
def test_bad_distances_are_named(distances, message):
    with pytest.raises(ValueError, match=message):
        evaluate_distances(distances, [1, 1], [1, 1, 1, 1], [0, 0], [1, 1, 1, 1])


def test_bad_distance_options():
    with pytest.raises(ValueError, match='nothing to rank'):
        evaluate_distances(torch.zeros(0, 2), [], [1, 2], [], [1, 1])


def test_progress_is_shown(capsys):
    evaluate_ranking(*people(), progress=Progress)
    assert 'ranking queries: 40/40' in capsys.readouterr().err


def test_functional_imports_torch_alone():
    folder = Path(__import__('fusionreid.evaluation.functional', fromlist=['_']).__file__).parent
    allowed = {'torch', '__future__', 'collections', 'concurrent', 'dataclasses', 'itertools'}
    allowed |= {'contextlib', 'functools', 'threading', 'math', 'sys', 'time', 'typing', 'warnings'}
    for path in folder.glob('*.py'):
        for line in path.read_text().splitlines():
            if line.startswith(('import ', 'from ')):
                package = line.split()[1].split('.')[0]
                assert package == '' or package in allowed, f'{path.name}: {line}'
