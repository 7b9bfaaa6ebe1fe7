"""Rank lists of a few queries, against a search of the whole gallery at once."""

from __future__ import annotations

import pytest
import torch

from fusionreid.errors import ScoringError
from fusionreid.evaluation import FeatureSet, rank_lists
from fusionreid.evaluation.functional import top_k
from fusionreid.evaluation.rank_lists import find_rank_lists


@pytest.fixture
def feature_set() -> FeatureSet:
    """Ten queries and 90 gallery images of twelve people; many gallery images are alike."""
    random = torch.Generator().manual_seed(0)
    features = torch.randint(1, 4, (100, 3), generator=random).float()
    return FeatureSet(
        features=features,
        widths={'cnn': 2, 'transformer': 1},
        person_ids=torch.randint(12, (100,), generator=random),
        camera_ids=torch.randint(-1, 3, (100,), generator=random),
        roles=['gallery' if row % 10 else 'query' for row in range(100)],
        img_paths=[f'{row}.jpg' for row in range(100)],
    )


@pytest.mark.parametrize('block', [1, 7, 89, 90, 4096])
def test_blocks_do_not_change_what_is_found(feature_set, block, monkeypatch):
    monkeypatch.setattr(rank_lists, 'BLOCK', block)
    query, gallery = feature_set.query_and_gallery()
    chosen = [4, 0, 9]
    people, cameras = feature_set.person_ids, feature_set.camera_ids
    expected = top_k(
        feature_set.unit_rows('all', query[chosen]),
        feature_set.unit_rows('all', gallery),
        90,
        query_ids=people[query[chosen]],
        gallery_ids=people[gallery],
        query_cameras=cameras[query[chosen]],
        gallery_cameras=cameras[gallery],
    )
    assert (expected.indices == -1).any()
    lists = find_rank_lists(feature_set, 'all', chosen, [0.5, 0.25, 1.0], k=200)
    assert torch.equal(torch.tensor(lists.indices) == -1, expected.indices == -1)
    assert torch.allclose(torch.tensor(lists.distances), expected.distances)
    for row, indices in enumerate(lists.indices):
        for rank, index in enumerate(indices):
            if index >= 0:
                own = gallery[expected.indices[row, rank]]
                assert lists.gallery_paths[index] == feature_set.img_paths[own]
                assert lists.gallery_ids[index] == people[own]
                assert lists.gallery_cameras[index] == cameras[own]
    assert lists.query_paths == ['40.jpg', '0.jpg', '90.jpg']
    assert lists.average_precision == [0.5, 0.25, 1.0]


def test_only_what_was_found_is_kept(feature_set):
    lists = find_rank_lists(feature_set, 'cnn', [1, 2], [1.0, 1.0], k=3)
    assert lists.indices.shape == (2, 3)
    assert len(lists.gallery_paths) <= 6
    assert sorted(lists.gallery_paths, key=lambda name: int(name[:-4])) == lists.gallery_paths


def test_bad_input_is_refused(feature_set):
    with pytest.raises(ScoringError, match='k=0 is outside'):
        find_rank_lists(feature_set, 'all', [0], [1.0], k=0)
    with pytest.raises(ScoringError, match="no feature 'x'"):
        find_rank_lists(feature_set, 'x', [0], [1.0], k=1)
