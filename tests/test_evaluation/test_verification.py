"""Pairs judged by one threshold: against plain loops, a second library, and invariants."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import normalize

from fusionreid.evaluation.functional import evaluate_verification
from fusionreid.utils.progress import Progress

NAMES = (
    'query_features', 'gallery_features', 'query_ids', 'gallery_ids',
    'query_cameras', 'gallery_cameras',
)  # fmt: skip


def people(num_query=40, num_gallery=700, dim=24, num_ids=12, num_cameras=3, noise=0.6, seed=0):
    """Features, ids and cameras in the order that the function takes them; id 0 is in the gallery
    alone."""
    random = torch.Generator().manual_seed(seed)
    total, n = num_query + num_gallery, num_query
    ids = torch.randint(1, num_ids + 1, (total,), generator=random)
    ids[n:][torch.rand(num_gallery, generator=random) < 0.2] = 0
    cameras = torch.randint(num_cameras, (total,), generator=random)
    features = torch.randn(num_ids + 1, dim, generator=random)[ids]
    features = normalize(features + noise * torch.randn(total, dim, generator=random))
    return features[:n], features[n:], ids[:n], ids[n:], cameras[:n], cameras[n:]


def split_pairs(query, gallery, query_ids, gallery_ids, query_cameras, gallery_cameras, remove):
    """Squared distances of the same and of the different pairs, one pair at a time."""
    same, different = [], []
    for q, g in itertools.product(range(len(query)), range(len(gallery))):
        square = float((query[q].double() - gallery[g].double()).square().sum())
        if query_ids[q] != gallery_ids[g]:
            different.append(square)
        elif not (remove and query_cameras[q] >= 0 and query_cameras[q] == gallery_cameras[g]):
            same.append(square)
    return same, different


def loop_operating_point(same, different, fpr):
    """Threshold and rates with "accept what is nearer", trying every threshold."""
    best = None
    for threshold in [*sorted(set(different)), math.inf]:
        accepted = sum(square < threshold for square in different)
        if accepted / len(different) <= fpr:
            best = (
                threshold,
                accepted / len(different),
                sum(square < threshold for square in same) / len(same),
            )
    return best


def loop_equal_error_rate(same, different):
    """Rate and threshold where the ROC, drawn as straight lines, crosses FPR = 1 - TPR."""
    last = (Fraction(0), Fraction(1))
    for threshold in sorted({*same, *different}):
        fpr = Fraction(sum(square <= threshold for square in different), len(different))
        fnr = Fraction(sum(square > threshold for square in same), len(same))
        if fpr >= fnr:
            step, drop = fpr - last[0], last[1] - fnr
            part = (last[1] - last[0]) / (step + drop)
            return float(last[0] + part * step), threshold
        last = (fpr, fnr)
    raise AssertionError('never crossed')


def check(result, same, different, fprs):
    assert (result.num_same, result.num_different) == (len(same), len(different))
    for fpr, point in zip(fprs, result.operating_points, strict=True):
        threshold, accepted, tpr = loop_operating_point(same, different, fpr)
        assert point.target_fpr == fpr
        assert point.fpr == accepted
        assert point.tpr == tpr
        assert point.threshold == pytest.approx(math.sqrt(threshold), rel=1e-6, abs=1e-5)
    rate, threshold = loop_equal_error_rate(same, different)
    assert result.eer == pytest.approx(rate, abs=1e-12)
    assert result.eer_threshold == pytest.approx(math.sqrt(threshold), rel=1e-6, abs=1e-5)
    nearer = sum((s < d) + (s == d) / 2 for s in same for d in different)
    expected = nearer / len(same) / len(different)
    assert abs(result.auc - expected) <= result.auc_error + 1e-12
    assert int(result.same_counts.sum()) == len(same)
    assert int(result.different_counts.sum()) == len(different)


# ---- known values


def test_worked_example():
    # Same: 0.1, 0.3 and 0.9; different: 0.2, 0.8 and, a distractor, 0.7. The junk lies at 0.
    query = torch.tensor([[0.0, 1.0]])
    gallery = torch.tensor([[0.1], [0.3], [0.9], [0.2], [0.8], [0.7], [0.0]])
    gallery = torch.nn.functional.pad(gallery, (0, 1), value=1.0)
    result = evaluate_verification(
        query, gallery, [1], [1, 1, 1, 2, 2, 0, 1], [0], [1, 1, 1, 0, 0, 1, 0], fprs=(0, 0.4, 1)
    )
    nothing, some, everything = result.operating_points
    assert (nothing.fpr, nothing.tpr) == (0, 1 / 3)
    assert nothing.threshold == pytest.approx(0.2)
    assert (some.fpr, some.tpr) == (1 / 3, 2 / 3)
    assert some.threshold == pytest.approx(0.7)
    assert (everything.fpr, everything.tpr) == (1, 1)
    assert everything.threshold == math.inf
    # Up to 0.3, one of three different pairs is accepted and one of three same pairs refused.
    assert result.eer == pytest.approx(1 / 3)
    assert result.eer_threshold == pytest.approx(0.3)
    assert result.auc == pytest.approx(5 / 9)
    kept = evaluate_verification(
        query, gallery, [1], [1, 1, 1, 2, 2, 0, 1], remove_same_camera=False
    )
    assert kept.num_same == 4
    assert kept.auc == pytest.approx(8 / 12)


def test_perfect_and_useless_features():
    query, gallery = torch.eye(4), torch.eye(4).repeat(2, 1)
    labels = ([0, 1, 2, 3], [0, 1, 2, 3] * 2)
    perfect = evaluate_verification(query, gallery, *labels, remove_same_camera=False)
    assert perfect.eer == 0
    assert perfect.auc == 1
    assert all(point.tpr == 1 and point.fpr == 0 for point in perfect.operating_points)
    alike = torch.ones(4, 3)
    useless = evaluate_verification(
        alike, alike.repeat(2, 1), *labels, remove_same_camera=False, fprs=(0.5, 1)
    )
    assert useless.eer == 0.5
    assert useless.auc == 0.5
    assert useless.eer_threshold == 0
    # All pairs tie: none can be accepted without accepting all.
    assert [point.tpr for point in useless.operating_points] == [0, 1]


def test_whole_counts_of_a_rate_are_allowed():
    """0.001 of 3000 pairs is three pairs, whatever 0.001 * 3000 is in floating point."""
    for total, fpr, count in ((3000, 0.001, 3), (1000, 0.029, 29), (10, 0.7, 7), (7, 0.1, 0)):
        gallery = torch.arange(total + 1).float()[:, None] + 1
        ids = [1] * total + [2]
        result = evaluate_verification(
            torch.ones(1, 1), gallery, [2], ids, remove_same_camera=False, fprs=[fpr]
        )
        (point,) = result.operating_points
        assert point.fpr == count / total
        assert point.threshold == pytest.approx(count)


# ---- oracles


@st.composite
def cases(draw):
    num_query, num_gallery = draw(st.integers(1, 5)), draw(st.integers(1, 20))
    total, dim = num_query + num_gallery, draw(st.integers(1, 3))
    # Small integers: many ties, and float arithmetic is exact.
    cells = draw(st.lists(st.integers(1, 5), min_size=total * dim, max_size=total * dim))
    ids = draw(st.lists(st.integers(0, 2), min_size=total, max_size=total))
    cameras = draw(st.lists(st.integers(-1, 1), min_size=total, max_size=total))
    features = torch.tensor(cells).view(total, dim).float()
    n = num_query
    return features[:n], features[n:], ids[:n], ids[n:], cameras[:n], cameras[n:]


@settings(max_examples=40, deadline=None)
@given(cases(), st.booleans(), st.sampled_from(['float16', 'float32', 'float64']))
@pytest.mark.slow
def test_equals_loop(case, remove, dtype):
    query, gallery, *labels = case
    query, gallery = query.to(getattr(torch, dtype)), gallery.to(getattr(torch, dtype))
    same, different = split_pairs(query, gallery, *labels, remove)
    fprs = (0, 0.1, 0.5, 1)
    arguments = (query, gallery, *labels)
    if not same or not different:
        with pytest.raises(ValueError, match='show the same person'):
            evaluate_verification(*arguments, remove_same_camera=remove)
        return
    result = evaluate_verification(*arguments, remove_same_camera=remove, fprs=fprs)
    check(result, same, different, fprs)


def test_equals_loop_on_real_valued_features():
    data = people(12, 90, 16)
    same, different = split_pairs(*data, True)
    fprs = (0.3, 0.05, 0.01, 0.002, 0)
    check(evaluate_verification(*data, fprs=fprs), same, different, fprs)


def test_equals_scikit_learn():
    from sklearn.metrics import roc_auc_score, roc_curve

    data = people()
    query, gallery, query_ids, gallery_ids, query_cameras, gallery_cameras = data
    distances = torch.linalg.vector_norm(query[:, None].double() - gallery[None].double(), dim=2)
    same = query_ids[:, None] == gallery_ids
    kept = ~(same & (query_cameras[:, None] == gallery_cameras))
    fpr, tpr, _ = roc_curve(same[kept], -distances[kept], drop_intermediate=False)
    fprs = (0.5, 1e-1, 1e-2, 1e-3, 1e-4)
    result = evaluate_verification(*data, fprs=fprs)
    for point in result.operating_points:
        assert point.tpr == pytest.approx(tpr[fpr <= point.target_fpr].max(), abs=1e-12)
        assert point.fpr == pytest.approx(fpr[fpr <= point.target_fpr].max(), abs=1e-12)
        # The threshold does what it says to distances computed elsewhere.
        accepted = distances < point.threshold * (1 - 1e-9)
        assert float((accepted & same)[kept].sum() / same[kept].sum()) == pytest.approx(point.tpr)
    # The crossing of FPR and 1 - TPR on the line that scikit-learn's points span.
    where = np.interp(0, fpr + tpr - 1, fpr)
    assert result.eer == pytest.approx(where, abs=1e-12)
    expected = roc_auc_score(same[kept], -distances[kept])
    assert abs(result.auc - expected) <= result.auc_error + 1e-12
    assert result.auc_error < 1e-5
    # The curve for the picture goes through true points.
    rates, hits, thresholds = result.roc()
    for index in range(0, len(rates), 97):
        accepted = (distances < thresholds[index])[kept]
        assert float(accepted[same[kept]].double().mean()) == pytest.approx(float(hits[index]))
        assert float(accepted[~same[kept]].double().mean()) == pytest.approx(float(rates[index]))
    assert (rates[0], hits[0], rates[-1], hits[-1]) == (0, 0, 1, 1)


# ---- invariants


def assert_same(first, second):
    assert first.num_same == second.num_same
    assert first.num_different == second.num_different
    assert first.eer == pytest.approx(second.eer, abs=1e-12)
    assert first.eer_threshold == pytest.approx(second.eer_threshold, rel=1e-9)
    assert first.auc == pytest.approx(second.auc, abs=1e-6)
    for own, other in zip(first.operating_points, second.operating_points, strict=True):
        assert (own.fpr, own.tpr) == (other.fpr, other.tpr)
        assert own.threshold == pytest.approx(other.threshold, rel=1e-9)


@pytest.mark.slow
def test_does_not_depend_on_memory_threads_or_tiles(monkeypatch):
    data = people(300, 3000, 64, 60, 4, noise=1.0)
    whole = evaluate_verification(*data)
    assert 0 < whole.eer < 0.5
    assert 0 < whole.operating_points[-1].tpr < 1
    assert_same(whole, evaluate_verification(*data, memory_limit=260 << 20))
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1 if threads > 1 else 2)
        assert_same(whole, evaluate_verification(*data))
    finally:
        torch.set_num_threads(threads)
    monkeypatch.setattr('fusionreid.evaluation.functional.verification.TILE_ROWS', 37)
    monkeypatch.setattr('fusionreid.evaluation.functional.verification.TILE_COLUMNS', 311)
    assert_same(whole, evaluate_verification(*data))
    order = torch.randperm(3000, generator=torch.Generator().manual_seed(0))
    query, gallery, query_ids, gallery_ids, query_cameras, gallery_cameras = data
    shuffled = (query_ids, gallery_ids[order], query_cameras, gallery_cameras[order])
    assert_same(whole, evaluate_verification(query, gallery[order], *shuffled))


@pytest.mark.parametrize('scale', [1e-15, 1e12])
def test_thresholds_scale_with_the_features(scale):
    query, gallery, *labels = people(dim=8)
    expected = evaluate_verification(query, gallery, *labels)
    result = evaluate_verification(query.double() * scale, gallery.double() * scale, *labels)
    assert result.eer == pytest.approx(expected.eer)
    assert result.eer_threshold == pytest.approx(expected.eer_threshold * scale, rel=1e-6)


def test_collapsed_features_are_told_apart():
    """All features nearly the same: float32 alone could not tell them apart."""
    query, gallery, *labels = people(dim=8)
    query, gallery = (1 + 1e-5 * query).float(), (1 + 1e-5 * gallery).float()
    same, different = split_pairs(query[:10], gallery[:99], *(part[:99] for part in labels), True)
    result = evaluate_verification(
        query[:10], gallery[:99],
        labels[0][:10], labels[1][:99], labels[2][:10], labels[3][:99], fprs=[0.05],
    )  # fmt: skip
    check_tpr = loop_operating_point(same, different, 0.05)[2]
    assert result.operating_points[0].tpr == pytest.approx(check_tpr, abs=1e-12)


def test_histogram_keeps_every_pair():
    data = people()
    result = evaluate_verification(*data)
    edges, same, different = result.histogram(30)
    assert len(edges) == 31
    assert edges[0] == 0
    assert bool((edges.diff() > 0).all())
    assert int(same.sum()) == result.num_same
    assert int(different.sum()) == result.num_different
    query, gallery, query_ids, gallery_ids, query_cameras, gallery_cameras = data
    distances = torch.linalg.vector_norm(query[:, None].double() - gallery[None].double(), dim=2)
    chosen = query_ids[:, None] != gallery_ids
    expected, _ = np.histogram(distances[chosen], edges.numpy())
    # Up to pairs that lie within a fine bin of an edge.
    assert np.abs(expected - different.numpy()).max() <= 2
    with pytest.raises(ValueError, match='num_bins must be at least 1, got 0'):
        result.histogram(0)


# ---- bad input


@pytest.mark.parametrize(
    ('change', 'error', 'message'),
    [
        ({'query_features': torch.zeros(0, 24)}, ValueError, 'no query features'),
        ({'gallery_features': torch.ones(700, 3)}, ValueError, 'width 24 .* 3'),
        ({'gallery_features': torch.zeros(700, 24).long()}, TypeError, 'floating point'),
        ({'query_ids': [1, 2]}, ValueError, r'query_ids have shape \(2,\), expected \(40,\)'),
        ({'query_cameras': None}, ValueError, 'query_cameras are needed'),
        ({'query_ids': torch.full((40,), 99)}, ValueError, 'no query and gallery image show the'),
        (
            {'query_ids': [3] * 40, 'gallery_ids': [3] * 700},
            ValueError,
            'all queries and gallery images show the same person',
        ),
        ({'fprs': [0.1, 1.5]}, ValueError, r'in \[0, 1\], got 1.5'),
        ({'fprs': [float('nan')]}, ValueError, r'in \[0, 1\], got nan'),
        ({'memory_limit': 1 << 20}, ValueError, 'memory_limit=1048576 bytes is too small'),
    ],
)
def test_bad_input_is_named(change, error, message):
    arguments = {**dict(zip(NAMES, people(), strict=True)), **change}
    with pytest.raises(error, match=message):
        evaluate_verification(**arguments)


def test_features_that_are_not_finite_are_named():
    data = people()
    data[1][13, 5] = float('nan')
    with pytest.raises(ValueError, match='gallery feature 13 holds a NaN or infinite value'):
        evaluate_verification(*data)


def test_no_rate_wanted_and_progress(capsys):
    result = evaluate_verification(*people(), fprs=(), progress=Progress)
    assert result.operating_points == ()
    assert 0 < result.eer < 1
    shown = capsys.readouterr().err
    assert 'counting pairs: 700/700' in shown
    assert 'finding thresholds: 700/700' in shown
