"""Rates of pairs and searches, and intervals that hold though pairs share people."""

import itertools
import math

import pytest
import torch
from torch.nn.functional import normalize

from fusionreid.evaluation.functional import (
    ScoringInputError,
    evaluate_match_rates,
    evaluate_search_rates,
    evaluate_verification,
    labels_of_one_set,
    wilson_interval,
)


def photos(num_ids=12, each=5, dim=6, seed=0, noise=0.5):
    random = torch.Generator().manual_seed(seed)
    ids = torch.arange(num_ids).repeat(each)
    features = torch.randn(num_ids, dim, generator=random)[ids]
    features = normalize(features + noise * torch.randn(len(ids), dim, generator=random))
    return features, ids, torch.randint(3, (len(ids),), generator=random)


def loop_rates(
    query, gallery, query_ids, gallery_ids, query_cameras, gallery_cameras, distances, one
):
    """Rates and the dyadic variance from every pair of pairs that share a person."""
    pairs = []
    for q, g in itertools.product(range(len(query)), range(len(gallery))):
        if query_ids[q] == gallery_ids[g] or (one and g <= q):
            continue
        distance = float((query[q].double() - gallery[g].double()).norm())
        pairs.append((int(query_ids[q]), int(gallery_ids[g]), distance))
    rates, variances = [], []
    for limit in distances.tolist():
        near = [float(d < limit) for *_, d in pairs]
        rate = sum(near) / len(pairs)
        touching = {}
        for (first, second, _), hit in zip(pairs, near, strict=True):
            for person in (first, second):
                touching[person] = touching.get(person, 0.0) + hit - rate
        squares = sum(value**2 for value in touching.values())
        people = len(touching)
        variance = (squares - rate * (1 - rate) * len(pairs)) / len(pairs) ** 2
        rates.append(rate)
        variances.append(variance * people / (people - 1))
    return torch.tensor(rates).double(), torch.tensor(variances).double(), len(pairs)


@pytest.mark.parametrize('one_set', [False, True])
def test_equals_a_naive_loop(one_set):
    features, ids, cameras = photos()
    if one_set:
        people, seen = labels_of_one_set(ids, cameras, len(ids))
        data = (features, features, people, people, seen, seen)
    else:
        n = 20
        data = (features[:n], features[n:], ids[:n], ids[n:], cameras[:n], cameras[n:])
    found = evaluate_match_rates(*data, one_set=one_set, num_points=40)
    rates, variances, count = loop_rates(*data, found.distances + 1e-9, one_set)
    assert found.num_different == count
    assert found.num_people == 12
    torch.testing.assert_close(found.false_match_rates, rates)
    number = torch.where(variances > 0, rates * (1 - rates) / variances, count).clamp(1, count)
    first = int(((rates * count).round() >= 30).nonzero()[0])
    number[:first].clamp_max_(float(number[first]))
    torch.testing.assert_close(found.effective_pairs, number)
    assert found.effective_pairs.min() < count / 4


def test_photos_of_one_set_are_never_compared_with_themselves():
    features, ids, _ = photos()
    people, cameras = labels_of_one_set(ids, [-1] * len(ids), len(ids))
    found = evaluate_match_rates(features, features, people, people, cameras, cameras, one_set=True)
    assert found.num_same == 12 * math.comb(5, 2)
    assert found.num_different == math.comb(60, 2) - found.num_same
    assert found.distances[found.true_match_rates > 0][0] > 0.01


def test_fewer_points_are_points_of_the_same_curve():
    features, ids, cameras = photos(num_ids=40, each=8)
    data = (features[:100], features[100:], ids[:100], ids[100:], cameras[:100], cameras[100:])
    fine, coarse = (
        evaluate_match_rates(*data, num_points=10**6),
        evaluate_match_rates(*data, num_points=64),
    )
    assert 16 < len(coarse.distances) <= 64
    place = torch.searchsorted(fine.distances, coarse.distances)
    torch.testing.assert_close(fine.distances[place], coarse.distances)
    torch.testing.assert_close(fine.false_match_rates[place], coarse.false_match_rates)
    assert (coarse.distances[0], coarse.false_match_rates[0]) == (fine.distances[0], 0)
    assert coarse.false_match_rates[-1] == coarse.true_match_rates[-1] == 1
    # Small rates are kept apart: each is at most twice the one before.
    low = coarse.false_match_rates[coarse.false_match_rates > 0]
    assert (low[1:] / low[:-1]).max() <= 2
    limited = evaluate_match_rates(*data, memory_limit=250_000_000)
    assert torch.equal(limited.false_match_rates, evaluate_match_rates(*data).false_match_rates)


def test_the_interval_of_a_rate_is_wilsons():
    from scipy import stats

    for hits, count, confidence in ((0, 10, 0.95), (3, 40, 0.95), (40, 40, 0.9), (7, 1000, 0.99)):
        low, high = wilson_interval(torch.tensor(hits / count), torch.tensor(count), confidence)
        expected = stats.binomtest(hits, count).proportion_ci(confidence, method='wilson')
        assert (float(low), float(high)) == pytest.approx((expected.low, expected.high), abs=1e-7)
    with pytest.raises(ScoringInputError, match='between 0 and 1, got 95'):
        wilson_interval(torch.tensor(0.5), torch.tensor(10), 95)


def draw_people(seed, num_ids=30, each=6):
    """Some people look like everybody, so that false matches come in clusters."""
    random = torch.Generator().manual_seed(seed)
    centers = (
        torch.randn(num_ids, 8, generator=random)
        + 2.0 * torch.randn(num_ids, 1, generator=random).abs()
    )
    ids = torch.arange(num_ids).repeat(each)
    features = centers[ids] + 0.3 * torch.randn(len(ids), 8, generator=random)
    return normalize(features), ids


@pytest.mark.slow
def test_intervals_hold_the_true_rate_where_those_of_independent_pairs_do_not():
    distance = torch.tensor(0.4).double()
    big, big_ids = draw_people(10**6, 1500, 1)
    apart = torch.cdist(big.double(), big.double())[big_ids[:, None] < big_ids]
    truth = float((apart < distance).double().mean())
    assert 0.01 < truth < 0.3
    held = {'people': 0, 'pairs': 0}
    for seed in range(24):
        features, ids = draw_people(seed)
        people, cameras = labels_of_one_set(ids, [-1] * len(ids), len(ids))
        found = evaluate_match_rates(
            features, features, people, people, cameras, cameras, one_set=True, num_points=200
        )
        place = int(torch.searchsorted(found.distances, distance))
        rate = found.false_match_rates[place]
        for name, count in (
            ('people', found.effective_pairs[place]),
            ('pairs', torch.tensor(found.num_different)),
        ):
            low, high = wilson_interval(rate, count)
            held[name] += bool(low <= truth <= high)
    assert held['people'] >= 20
    assert held['pairs'] < 14


def test_searches_equal_a_naive_loop():
    features, ids, _ = photos(num_ids=20, each=6, dim=4)
    query, gallery = features[:50], features[50:]
    limits = torch.linspace(0, 2, 30).double()
    found = evaluate_search_rates(query, gallery, ids[:50], ids[50:], limits)
    apart = torch.cdist(query.double(), gallery.double())
    apart[ids[:50, None] == ids[50:]] = torch.inf
    hits = apart.amin(1)[:, None] < limits
    torch.testing.assert_close(found.rates, hits.double().mean(0))
    assert found.num_searches == 50
    assert found.gallery_size == pytest.approx(
        float((ids[:50, None] != ids[50:]).sum(1).double().mean())
    )
    for column in (8, 12):
        rate = float(found.rates[column])
        sums = [
            float((hits[ids[:50] == person, column].double() - rate).sum()) for person in range(20)
        ]
        variance = sum(value**2 for value in sums) / 50**2 * 20 / 19
        expected = min(max(rate * (1 - rate) / variance, 1), 50) if variance else 50
        assert float(found.effective_searches[column]) <= expected + 1e-6


def test_rates_are_those_of_the_verification():
    features, ids, cameras = photos(num_ids=30)
    data = (features[:50], features[50:], ids[:50], ids[50:], cameras[:50], cameras[50:])
    found, roc = evaluate_match_rates(*data, num_points=10**6), evaluate_verification(*data).roc()
    assert torch.equal(found.false_match_rates, roc[0])
    assert torch.equal(found.true_match_rates, roc[1])
    assert torch.equal(found.distances, roc[2])
