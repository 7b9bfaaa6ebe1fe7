"""Every pair of cameras equals the ranking of these queries and this part of the gallery alone."""

import pytest
import torch
from torch.nn.functional import normalize

from fusionreid.evaluation.functional import evaluate_camera_pairs, evaluate_ranking

NAMES = (
    'query_features', 'gallery_features', 'query_ids', 'gallery_ids',
    'query_cameras', 'gallery_cameras',
)  # fmt: skip


def people(num_query=60, num_gallery=500, cameras=(0, 1, 4), seed=0):
    random = torch.Generator().manual_seed(seed)
    total, n = num_query + num_gallery, num_query
    ids = torch.randint(20, (total,), generator=random)
    camera_ids = torch.tensor(cameras)[torch.randint(len(cameras), (total,), generator=random)]
    features = torch.randn(20, 24, generator=random)[ids]
    features = normalize(features + 1.5 * torch.randn(total, 24, generator=random))
    return features[:n], features[n:], ids[:n], ids[n:], camera_ids[:n], camera_ids[n:]


@pytest.mark.parametrize('remove', [True, False])
def test_equals_the_ranking_of_a_part(remove):
    data = people(cameras=(-1, 0, 1, 4))
    query, gallery, query_ids, gallery_ids, query_cameras, gallery_cameras = data
    result = evaluate_camera_pairs(*data, max_rank=7, remove_same_camera=remove)
    assert result.query_cameras.tolist() == result.gallery_cameras.tolist() == [-1, 0, 1, 4]
    assert result.num_gallery.tolist() == [int((gallery_cameras == c).sum()) for c in (-1, 0, 1, 4)]
    for row, first in enumerate((-1, 0, 1, 4)):
        for column, second in enumerate((-1, 0, 1, 4)):
            asked, shown = query_cameras == first, gallery_cameras == second
            if remove and first == second != -1:
                assert result.num_valid_queries[row, column] == 0
                assert result.mAP[row, column].isnan()
                assert result.mINP[row, column].isnan()
                assert result.cmc[row, column].isnan().all()
                continue
            part = evaluate_ranking(
                query[asked], gallery[shown], query_ids[asked], gallery_ids[shown],
                query_cameras[asked], gallery_cameras[shown],
                max_rank=7, remove_same_camera=remove,
            )  # fmt: skip
            assert result.num_valid_queries[row, column] == part.num_valid_queries
            assert float(result.mAP[row, column]) == pytest.approx(part.mAP, abs=1e-6)
            assert float(result.mINP[row, column]) == pytest.approx(part.mINP, abs=1e-6)
            torch.testing.assert_close(result.cmc[row, column], part.cmc, atol=1e-12, rtol=0)


def test_cameras_of_one_side_alone():
    data = people()
    few = data[4] == 4
    query, _, query_ids, _, query_cameras, _ = data
    gallery_cameras = data[5].clone()
    gallery_cameras[gallery_cameras == 4] = 9
    result = evaluate_camera_pairs(
        query[few], data[1], query_ids[few], data[3], query_cameras[few], gallery_cameras
    )
    assert result.query_cameras.tolist() == [4]
    assert result.gallery_cameras.tolist() == [0, 1, 9]
    assert result.mAP.shape == (1, 3)
    assert result.cmc.shape == (1, 3, 50)
    assert not result.mAP.isnan().any()


def test_all_unknown_cameras_are_one():
    query, gallery, query_ids, gallery_ids, *_ = people()
    negative = -1 - torch.arange(len(query)) % 3
    result = evaluate_camera_pairs(
        query, gallery, query_ids, gallery_ids, negative, [-7] * len(gallery)
    )
    assert result.query_cameras.tolist() == result.gallery_cameras.tolist() == [-1]
    whole = evaluate_ranking(query, gallery, query_ids, gallery_ids, remove_same_camera=False)
    assert float(result.mAP) == pytest.approx(whole.mAP, abs=1e-6)


def test_does_not_depend_on_memory_or_threads():
    data = people()
    whole = evaluate_camera_pairs(*data)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1 if threads > 1 else 2)
        others = [evaluate_camera_pairs(*data), evaluate_camera_pairs(*data, memory_limit=4 << 20)]
    finally:
        torch.set_num_threads(threads)
    for other in others:
        torch.testing.assert_close(whole.mAP, other.mAP, atol=1e-6, rtol=0, equal_nan=True)
        torch.testing.assert_close(whole.cmc, other.cmc, atol=0, rtol=0, equal_nan=True)


@pytest.mark.parametrize(
    ('change', 'error', 'message'),
    [
        ({'gallery_features': torch.zeros(0, 24)}, ValueError, 'no gallery features'),
        ({'gallery_features': torch.ones(500, 3)}, ValueError, 'width 24 .* 3'),
        ({'query_cameras': None}, ValueError, 'query_cameras are needed to rank camera by camera'),
        ({'gallery_cameras': [1]}, ValueError, r'gallery_cameras have shape \(1,\)'),
        ({'query_ids': torch.zeros(60)}, TypeError, 'query_ids must be integers'),
        ({'query_ids': torch.full((60,), 99)}, ValueError, 'none of the 60 queries has a match'),
        ({'max_rank': 0}, ValueError, '^max_rank must be a whole number from 1 on, got 0'),
        ({'memory_limit': 30_000}, ValueError, 'bytes of the limit: memory_limit=.*too small'),
    ],
)
def test_bad_input_is_named(change, error, message):
    arguments = {**dict(zip(NAMES, people(), strict=True)), **change}
    with pytest.raises(error, match=message):
        evaluate_camera_pairs(**arguments)


def test_a_bad_feature_is_named_by_its_place_in_the_whole_gallery():
    data = people()
    data[1][321, 0] = float('nan')
    with pytest.raises(ValueError, match='gallery feature 321 holds a NaN'):
        evaluate_camera_pairs(*data)
