"""Searches that may answer nobody: limits, rates, and distances that are computed again."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from fusionreid.apis import Calibration, FeatureSpec
from fusionreid.errors import CalibrationError, GalleryError, ScoringError
from fusionreid.evaluation.functional import (
    camera_means,
    center_cameras,
    cohort_statistics,
    normalized_blocks,
)
from fusionreid.gallery import Gallery, GalleryFilter, Rescoring

ENGINES = ('exact', 'faiss_flat', 'faiss_ivfpq')


def people(num_ids=30, each=10, seed=0, width=8):
    random = torch.Generator().manual_seed(seed)
    ids = torch.arange(num_ids).repeat(each)
    cameras = torch.arange(len(ids)) // num_ids % 3
    features = torch.randn(num_ids, width, generator=random)[ids]
    features = features + 0.5 * torch.randn(len(ids), width, generator=random)
    # In camera 2 everybody looks alike.
    features[cameras == 2] = features[cameras == 2] * 0.5 + 0.8
    return normalize(features), ids, cameras


def fill(engine='exact') -> Gallery:
    features, ids, cameras = people()
    gallery = Gallery(engine=engine)
    gallery.add(
        features=features,
        ids=[f'{number}' for number in range(len(ids))],
        person_ids=ids.tolist(),
        camera_ids=cameras.tolist(),
    )
    return gallery


@pytest.fixture(scope='module')
def calibrated() -> Gallery:
    gallery = fill()
    gallery.calibrate('thirty people')
    return gallery


@pytest.mark.parametrize('engine', ENGINES)
def test_only_nearer_items_are_answers(engine):
    gallery, queries = fill(engine), people(seed=5)[0][:20]
    whole = gallery.search(queries, 10)
    for limit in (0.0, 0.5, 0.8, 3.0):
        found = gallery.search(queries, 10, max_distance=limit)
        for row in range(20):
            wanted = whole.ids[row][whole.distances[row] < limit].tolist()
            assert found.ids[row].tolist() == wanted + [''] * (10 - len(wanted))
            assert found.counts[row] == len(wanted)
        assert np.isinf(found.distances[found.ids == '']).all()
        assert (found.camera_ids[found.ids == ''] == -1).all()
        assert (found.nobody == (found.counts == 0)).all()
        assert found.nearest.tolist() == whole.distances[:, 0].tolist()
        assert found.false_match_rates is None
    nothing = gallery.search(queries, 10, cameras=[7], max_distance=1)
    assert not nothing.nobody.any()
    assert np.isinf(nothing.nearest).all()


@pytest.mark.parametrize('k', [1, 3, 10])
def test_a_rate_keeps_to_the_limit_of_each_two_cameras(calibrated, k):
    queries, _, cameras = (part[:60] for part in people(seed=5))
    calibration, rate = calibrated.calibration, 0.02
    assert (0, 2) in calibration.camera_pairs
    found = calibrated.search(queries, k, query_camera_ids=cameras.tolist(), max_fpr=rate)
    features, _, places = people()
    apart = torch.cdist(queries.double(), features.double()).numpy()
    answered = 0
    for row in range(60):
        limits = np.array(
            [
                calibration.distance_at(rate, (int(cameras[row]), camera))
                for camera in places.tolist()
            ]
        )
        order = apart[row].argsort(kind='stable')
        wanted = [str(place) for place in order if apart[row, place] < limits[place]][:k]
        assert found.ids[row, : found.counts[row]].tolist() == wanted
        answered += bool(wanted)
    assert answered > 5
    filled = found.ids != ''
    assert (found.false_match_rates[filled] <= rate).all()
    assert np.isnan(found.false_match_rates[~filled]).all()
    low, high = found.rate_intervals[filled].T
    assert (
        (low <= found.false_match_rates[filled]) & (found.false_match_rates[filled] <= high)
    ).all()


def test_a_rate_of_searches_depends_on_the_size_of_the_gallery(calibrated):
    strangers = people(num_ids=200, each=1, seed=9)[0]
    found = calibrated.search(strangers, 1, max_search_fpr=0.1)
    assert (found.counts > 0).mean() < 0.3
    distance = calibrated.calibration.distance_at_search_rate(0.1, len(calibrated))
    again = calibrated.search(strangers, 1, max_distance=distance)
    assert again.ids.tolist() == found.ids.tolist()


def test_limits_and_filters_of_each_query_go_together(calibrated):
    queries = people()[0][:4]
    own = [GalleryFilter(exclude_ids=[str(row)], cameras=[row % 3]) for row in range(4)]
    found = calibrated.search(queries, 5, filters=own, max_distance=0.9)
    for row in range(4):
        kept = found.ids[row, : found.counts[row]].tolist()
        assert str(row) not in kept
        assert set(found.camera_ids[row, : found.counts[row]].tolist()) <= {row % 3}


def test_a_calibration_is_saved_with_the_gallery(calibrated, tmp_path):
    calibrated.save(tmp_path / 'index')
    loaded = Gallery.load(tmp_path / 'index')
    assert loaded.calibration.describe() == calibrated.calibration.describe()
    queries, _, cameras = (part[:9] for part in people(seed=5))
    results = [
        gallery.search(queries, 3, query_camera_ids=cameras.tolist(), max_fpr=0.02)
        for gallery in (calibrated, loaded)
    ]
    assert results[0].ids.tolist() == results[1].ids.tolist()
    np.testing.assert_allclose(
        results[0].false_match_rates, results[1].false_match_rates, rtol=1e-4
    )


@pytest.mark.slow
def test_what_is_refused(calibrated):
    queries = people()[0][:2]
    plain = fill()
    with pytest.raises(CalibrationError, match='max_fpr needs a calibration'):
        plain.search(queries, 1, max_fpr=0.01)
    with pytest.raises(GalleryError, match='max_distance and max_fpr contradict'):
        calibrated.search(queries, 1, max_distance=1, max_fpr=0.01)
    for value in (float('nan'), 'near', True):
        with pytest.raises(GalleryError, match='max_distance must be a number'):
            calibrated.search(queries, 1, max_distance=value)
    with pytest.raises(CalibrationError, match='cannot be told from'):
        calibrated.search(queries, 1, max_fpr=1e-9)
    with pytest.raises(GalleryError, match='got 3 query_camera_ids for 2 queries'):
        calibrated.search(queries, 1, query_camera_ids=[0, 1, 2])
    other = Calibration.fit(*people(width=9), spec=FeatureSpec(9))
    with pytest.raises(CalibrationError, match='is of other features'):
        plain.calibration = other
    with pytest.raises(GalleryError, match='calibrated for the plain distance'):
        calibrated.search(queries, 1, max_fpr=0.1, rescoring=Rescoring(center_cameras=True))
    with pytest.raises(GalleryError, match='needs center_cameras=True, a cohort, or both'):
        Rescoring()
    with pytest.raises(GalleryError, match='candidates must be at least 1'):
        Rescoring(True, candidates=0)
    with pytest.raises(ScoringError, match='at least 2 photos'):
        calibrated.search(queries, 1, rescoring=Rescoring(cohort=queries[:1]))
    empty = Gallery()
    with pytest.raises(GalleryError, match='is empty'):
        empty.calibrate()


@pytest.mark.parametrize('engine', ENGINES)
@pytest.mark.parametrize(('center', 'normalize_too'), [(True, False), (False, True), (True, True)])
def test_rescored_distances_are_those_of_the_scoring_functions(engine, center, normalize_too):
    gallery = fill(engine)
    features, _, places = people()
    queries, _, cameras = (part[:11] for part in people(seed=5))
    cohort = people(seed=7)[0] if normalize_too else None
    rescoring = Rescoring(
        center, cohort, candidates=len(gallery), cohort_size=50 if normalize_too else None
    )
    found = gallery.search(queries, 20, query_camera_ids=cameras.tolist(), rescoring=rescoring)
    if center:
        means = camera_means([(features, places)])
        queries, features = (
            center_cameras(queries, cameras, means),
            center_cameras(features, places, means),
        )
        cohort = center_cameras(cohort, [-1] * len(cohort), means) if normalize_too else None
    expected = torch.cdist(queries.double(), features.double())
    if normalize_too:
        statistics = [cohort_statistics(part, cohort, 50) for part in (queries, features)]
        expected = torch.cat(list(normalized_blocks(queries, features, *statistics)))
    best = expected.sort(dim=1).values[:, :20]
    np.testing.assert_allclose(found.distances, best, rtol=1e-3, atol=1e-4)
    for row in range(11):
        at = [float(expected[row, int(name)]) for name in found.ids[row]]
        np.testing.assert_allclose(at, best[row], rtol=1e-3, atol=1e-4)
    assert found.false_match_rates is None
    limit = float(found.distances[:, 3].mean())
    cut = gallery.search(
        queries if not center else people(seed=5)[0][:11],
        20,
        query_camera_ids=cameras.tolist(),
        rescoring=rescoring,
        max_distance=limit,
    )
    assert cut.counts.tolist() == (found.distances < limit).sum(1).tolist()


def test_only_candidates_are_rescored():
    gallery, queries = fill(), people(seed=5)[0][:5]
    near = gallery.search(queries, 6)
    found = gallery.search(queries, 6, rescoring=Rescoring(True, candidates=6))
    for row in range(5):
        assert set(found.ids[row]) == set(near.ids[row])
    nothing = gallery.search(queries, 6, cameras=[9], rescoring=Rescoring(True))
    assert nothing.counts.tolist() == [0] * 5


def test_a_merged_gallery_keeps_a_calibration_that_both_have():
    """One that was measured on other photos than those of both says nothing about them."""

    def make(name: str, seed: int | None) -> Gallery:
        gallery = Gallery()
        features, ids, _ = people(width=9)
        gallery.add(features=features, ids=[f'{name} {row}' for row in range(len(features))])
        if seed is not None:
            torch.manual_seed(seed)
            gallery.calibration = Calibration.fit(features + 0.1 * torch.randn_like(features), ids)
        return gallery

    one, two, same = (make(*given) for given in (('a', 1), ('b', 2), ('c', 1)))
    rates, without = one.calibration, make('d', None)
    for other in (same, without):
        one.merge(other)
        assert one.calibration is rates
    one.merge(two)
    assert one.calibration is None
    assert two.calibration is not None
    without.merge(two)
    assert without.calibration is None
    empty = Gallery()
    empty.merge(two)
    assert empty.calibration is two.calibration
    with pytest.raises(CalibrationError, match='needs a calibration'):
        one.search(torch.ones(9), max_fpr=0.1)
