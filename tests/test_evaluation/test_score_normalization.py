"""Cohort normalization and camera means: against plain loops, and what they are for."""

import pytest
import torch
from torch.nn.functional import normalize

from fusionreid.evaluation.functional import (
    MemoryLimitError,
    ScoringInputError,
    camera_means,
    center_cameras,
    cohort_statistics,
    evaluate_distances,
    evaluate_open_set,
    evaluate_open_set_distances,
    evaluate_ranking,
    normalized_blocks,
)


def random_features(*shape, seed=0):
    return normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


def test_equals_the_as_norm_of_the_cosine_with_the_opposite_sign():
    query, gallery, cohort = (
        random_features(7, 8),
        random_features(11, 8, seed=1),
        random_features(30, 8, seed=2),
    )
    size = 9
    statistics = [cohort_statistics(part, cohort, size) for part in (query, gallery)]
    found = torch.cat(list(normalized_blocks(query, gallery, *statistics)))
    for q in range(7):
        for g in range(11):
            score = float(query[q] @ gallery[g])
            expected = 0.0
            for own in (query[q], gallery[g]):
                nearest = sorted((float(own @ other) for other in cohort), reverse=True)[:size]
                mean = sum(nearest) / size
                deviation = (sum((value - mean) ** 2 for value in nearest) / size) ** 0.5
                expected += (score - mean) / deviation / 2
            assert float(found[q, g]) == pytest.approx(-expected, rel=1e-4, abs=1e-4)


def test_blocks_do_not_depend_on_the_memory_limit():
    query, gallery, cohort = (
        random_features(90, 16),
        random_features(500, 16, seed=1),
        random_features(40, 16, seed=2),
    )
    statistics = [cohort_statistics(part, cohort) for part in (query, gallery)]
    whole = torch.cat(list(normalized_blocks(query, gallery, *statistics)))
    blocks = list(normalized_blocks(query, gallery, *statistics, memory_limit=300_000))
    assert len(blocks) > 3
    torch.testing.assert_close(torch.cat(blocks), whole)
    with pytest.raises(MemoryLimitError, match='memory_limit=1000 bytes'):
        next(normalized_blocks(query, gallery, *statistics, memory_limit=1000))


def test_what_a_cohort_must_be():
    query = random_features(3, 4)
    for cohort, size, message in (
        (query[:1], None, 'at least 2 photos, got 1'),
        (query, 1, 'a cohort size of 1 is outside 2..3'),
        (query, 4, 'a cohort size of 4 is outside 2..3'),
    ):
        with pytest.raises(ScoringInputError, match=message):
            cohort_statistics(query, cohort, size)
    copies = cohort_statistics(query, query[:1].repeat(5, 1))
    assert (copies.deviation > 0).all()
    with pytest.raises(ScoringInputError, match='2 gallery statistics for 3 gallery features'):
        next(normalized_blocks(query, query, copies, cohort_statistics(query[:2], query)))


def hubs(seed=0, num_ids=40, each=6):
    """Half of the people are blurred: their photos are near to everybody's."""
    random = torch.Generator().manual_seed(seed)
    ids = torch.arange(num_ids).repeat(each)
    scale = torch.where(torch.arange(num_ids) % 2 == 0, 0.35, 1.0)[:, None]
    features = torch.randn(num_ids, 24, generator=random) * scale
    shift = torch.zeros(24)
    shift[0] = 2.0
    features = (
        features[ids] + 0.8 * torch.randn(len(ids), 24, generator=random) * scale[ids] + shift
    )
    return normalize(features), ids


def test_normalization_finds_a_scale_for_all_where_there_is_none():
    features, ids = hubs()
    cohort, _ = hubs(seed=1)
    n = 80
    query, gallery, labels = features[:n], features[n:], (ids[:n], ids[n:])
    options = dict(remove_same_camera=False)
    plain = evaluate_open_set(query, gallery, *labels, **options).at_fpir(0.05)
    statistics = [cohort_statistics(part, cohort, 50) for part in (query, gallery)]
    blocks = normalized_blocks(query, gallery, *statistics)
    found = evaluate_open_set_distances(blocks, *labels, **options).at_fpir(0.05)
    assert found.tpir > plain.tpir + 0.05
    assert (
        evaluate_distances(normalized_blocks(query, gallery, *statistics), *labels, **options).mAP
        > 0.5
    )


def test_camera_means_are_means():
    features = random_features(100, 6)
    cameras = torch.arange(100) % 5 - 1  # the last of five is unknown
    means = camera_means([(features[:30], cameras[:30]), (features[30:], cameras[30:])], least=20)
    assert means.cameras.tolist() == [0, 1, 2, 3]
    for row, camera in enumerate(means.cameras.tolist()):
        torch.testing.assert_close(means.means[row], features[cameras == camera].double().mean(0))
    torch.testing.assert_close(means.overall, features.double().mean(0))
    few = camera_means([(features, cameras)], least=21)
    assert few.cameras.tolist() == []
    centered = center_cameras(features, cameras, means)
    for row, camera in enumerate(cameras.tolist()):
        own = means.overall if camera < 0 else means.means[camera]
        torch.testing.assert_close(
            centered[row], normalize(features[row].double() - own, dim=0).float()
        )
    strange = center_cameras(features, torch.full((100,), 77), means)
    torch.testing.assert_close(strange, normalize(features.double() - means.overall).float())


def test_centering_takes_out_what_a_camera_adds():
    random = torch.Generator().manual_seed(0)
    ids, cameras = torch.arange(40).repeat(10), torch.arange(400) // 40 % 4
    features = torch.randn(40, 24, generator=random)[ids] + 0.6 * torch.randn(
        400, 24, generator=random
    )
    features = normalize(features + 3 * torch.randn(4, 24, generator=random)[cameras])
    means = camera_means([(features, cameras)])
    centered = center_cameras(features, cameras, means)

    def score(rows):
        return evaluate_ranking(
            rows[:80], rows[80:], ids[:80], ids[80:], cameras[:80], cameras[80:]
        ).mAP

    assert score(centered) > score(features) + 0.1


def test_what_centering_refuses():
    features = random_features(4, 3)
    with pytest.raises(ScoringInputError, match='there is no photo'):
        camera_means([])
    means = camera_means([(features, [0, 0, 1, 1])])
    with pytest.raises(ScoringInputError, match='width 2, the means 3'):
        center_cameras(features[:, :2], [0] * 4, means)
    alone = camera_means([(features[:1], [0])], least=1)
    with pytest.raises(ScoringInputError, match='centered feature 0 is zero'):
        center_cameras(features[:1], [0], alone)
