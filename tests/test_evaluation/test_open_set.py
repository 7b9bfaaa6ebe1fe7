"""Searches for people who may not be in the gallery: against plain loops."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fusionreid.evaluation.functional import (
    MemoryLimitError,
    ScoringInputError,
    evaluate_open_set,
    evaluate_open_set_distances,
    evaluate_ranking,
)


def loop_searches(query, gallery, query_ids, gallery_ids, query_cameras, gallery_cameras, remove):
    """Distance and rank of the nearest match, and distance of the nearest other, query by query."""
    searches = []
    for q in range(len(query)):
        entries = []
        for g in range(len(gallery)):
            distance = math.sqrt(float((query[q].double() - gallery[g].double()).square().sum()))
            own = query_ids[q] == gallery_ids[g]
            if own and remove and query_cameras[q] >= 0 and query_cameras[q] == gallery_cameras[g]:
                continue
            entries.append((distance, g, bool(own)))
        entries.sort()
        match = next(((d, rank) for rank, (d, _, own) in enumerate(entries, 1) if own), None)
        other = next((d for d, _, own in entries if not own), math.inf)
        searches.append((*(match or (math.inf, 0)), other))
    return searches


def loop_point(searches, fpir, rank, strangers):
    """The best threshold that keeps to the rate, trying every one."""
    of_strangers = [o for _, r, o in searches if strangers == 'left_out' or r == 0]
    known = [(d, r) for d, r, _ in searches if r]
    best = None
    for threshold in [*sorted(set(of_strangers)), math.inf]:
        answered = sum(o < threshold for o in of_strangers) / len(of_strangers)
        if answered <= fpir:
            found = sum(d < threshold and r <= rank for d, r in known) / len(known)
            best = (threshold, answered, found)
    return best


@st.composite
def searches(draw):
    random = torch.Generator().manual_seed(draw(st.integers(0, 10**6)))
    q, g = draw(st.integers(1, 8)), draw(st.integers(1, 12))
    # Small whole numbers, so that there are ties, which are exact.
    features = torch.randint(-2, 3, (q + g, 2), generator=random).float()
    features[:, 0] += 4
    ids = torch.randint(draw(st.integers(1, 5)), (q + g,), generator=random)
    cameras = torch.randint(-1, 3, (q + g,), generator=random)
    return features[:q], features[q:], ids[:q], ids[q:], cameras[:q], cameras[q:]


@pytest.mark.slow
@settings(deadline=None, max_examples=60)
@given(
    data=searches(),
    remove=st.booleans(),
    strangers=st.sampled_from(['left_out', 'unmatched']),
    fpir=st.sampled_from([0.0, 0.1, 0.25, 1 / 3, 0.5, 1.0]),
    rank=st.integers(1, 4),
)
def test_equals_a_naive_loop(data, remove, strangers, fpir, rank):
    expected = loop_searches(*data, remove)
    options = dict(remove_same_camera=remove, strangers=strangers)
    distances = torch.cdist(
        data[0].double(), data[1].double(), compute_mode='donot_use_mm_for_euclid_dist'
    )
    runs = [
        lambda: evaluate_open_set(*data, **options),
        lambda: evaluate_open_set_distances(distances, *data[2:], **options),
        lambda: evaluate_open_set_distances(iter(distances.split(3)), *data[2:], **options),
    ]
    ranks = [r for _, r, _ in expected]
    if not any(ranks) or (strangers == 'unmatched' and all(ranks)):
        for run in runs:
            with pytest.raises(ScoringInputError):
                run()
        return
    threshold, fpir_found, tpir = loop_point(expected, fpir, rank, strangers)
    for run in runs:
        result = run()
        assert result.match_ranks.tolist() == ranks
        torch.testing.assert_close(
            torch.stack([result.match_distances, result.other_distances], 1),
            torch.tensor([[d, o] for d, _, o in expected], dtype=torch.float64),
        )
        point = result.at_fpir(fpir, rank)
        assert point.threshold == pytest.approx(threshold)
        assert (point.fpir, point.tpir) == (fpir_found, tpir)
        assert point.fpir <= fpir
        assert result.fpir(point.threshold) == point.fpir
        assert result.num_known == sum(r > 0 for r in ranks)


def people(num_query=60, num_gallery=500, dim=16, num_ids=30, seed=0):
    random = torch.Generator().manual_seed(seed)
    total = num_query + num_gallery
    ids = torch.randint(num_ids, (total,), generator=random)
    cameras = torch.randint(3, (total,), generator=random)
    features = torch.randn(num_ids, dim, generator=random)[ids]
    features = torch.nn.functional.normalize(
        features + 0.6 * torch.randn(total, dim, generator=random)
    )
    n = num_query
    return features[:n], features[n:], ids[:n], ids[n:], cameras[:n], cameras[n:]


def test_does_not_depend_on_the_memory_limit_and_keeps_it():
    data = people()
    whole = evaluate_open_set(*data)
    small = evaluate_open_set(*data, memory_limit=5_000_000)
    assert torch.equal(whole.match_ranks, small.match_ranks)
    assert torch.equal(whole.match_distances, small.match_distances)
    assert torch.equal(whole.other_distances, small.other_distances)
    with pytest.raises(MemoryLimitError, match='memory_limit=1000 bytes is too small'):
        evaluate_open_set(*data, memory_limit=1000)
    with pytest.raises(MemoryLimitError, match='memory_limit=1000 bytes is too small'):
        evaluate_open_set_distances(torch.cdist(data[0], data[1]), *data[2:], memory_limit=1000)


def test_without_a_threshold_it_is_the_cmc():
    data = people()
    result, ranking = evaluate_open_set(*data), evaluate_ranking(*data)
    for rank in (1, 5, 20):
        point = result.at_fpir(1.0, rank)
        assert point.threshold == math.inf
        assert point.tpir == pytest.approx(float(ranking.cmc[rank - 1]))


def test_a_larger_gallery_of_strangers_answers_more():
    query, gallery, *labels = people()
    few = evaluate_open_set(query, gallery, *labels)
    crowd = torch.nn.functional.normalize(
        torch.randn(4000, 16, generator=torch.Generator().manual_seed(1))
    )
    labels[1] = torch.cat([labels[1], torch.full((4000,), 999)])
    labels[3] = torch.cat([labels[3], torch.zeros(4000, dtype=torch.int64)])
    many = evaluate_open_set(query, torch.cat([gallery, crowd]), *labels)
    assert many.fpir(0.8) > few.fpir(0.8)
    assert many.at_fpir(0.1).tpir <= few.at_fpir(0.1).tpir


def test_what_is_refused():
    data = people(10, 40)
    result = evaluate_open_set(*data)
    with pytest.raises(ScoringInputError, match=r'must be in \[0, 1\], got 2'):
        result.at_fpir(2)
    with pytest.raises(ScoringInputError, match='at least 1, got 0'):
        result.at_fpir(0.1, 0)
    with pytest.raises(ScoringInputError, match="'left_out' or 'unmatched', got 'all'"):
        evaluate_open_set(*data, strangers='all')
    distances = torch.cdist(data[0], data[1])
    distances[7, 3] = math.nan
    with pytest.raises(ScoringInputError, match='the distances of query 7 hold a NaN'):
        evaluate_open_set_distances(distances, *data[2:])
    with pytest.raises(ScoringInputError, match='expected'):
        evaluate_open_set_distances(distances[:, :3], *data[2:])
