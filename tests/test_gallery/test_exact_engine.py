"""The exact engine keeps what it took from the features, as long as they stay the same."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from fusionreid.evaluation.functional import top_k
from fusionreid.evaluation.functional.distances import GalleryKeys
from fusionreid.gallery import Gallery


def test_searches_see_what_was_added_and_removed_between_them() -> None:
    torch.manual_seed(0)
    features = F.normalize(torch.randn(60, 8))
    queries = F.normalize(torch.randn(5, 8))
    gallery = Gallery()
    present: list[int] = []
    for added, removed in ((range(30), ()), (range(30, 60), ()), ((), range(10, 40)), ((5,), ())):
        if added:
            present = [row for row in present if row not in added] + [*added]
            gallery.add(features=features[list(added)], ids=list(added), replace=True)
        if removed:
            gallery.remove([str(row) for row in removed])
            present = [row for row in present if row not in removed]
        for _ in range(2):
            expected = top_k(queries, features[present], 4).indices
            found = gallery.search(queries, k=4).ids
            assert found.tolist() == [[str(present[row]) for row in rows] for rows in expected]


@pytest.mark.parametrize('dtype', [torch.float16, torch.float32, torch.float64])
def test_top_k_of_kept_keys_equals_top_k_of_features(dtype: torch.dtype) -> None:
    torch.manual_seed(1)
    gallery = torch.randn(200, 16).to(dtype)
    gallery[50:60] = gallery[:10]
    keys = GalleryKeys(gallery)
    for query_dtype in (torch.float32, torch.float64):
        queries = torch.randn(3, 16).to(query_dtype)
        kept, whole = top_k(queries, keys, 7), top_k(queries, gallery, 7)
        assert torch.equal(kept.indices, whole.indices)
        assert torch.equal(kept.distances, whole.distances)
        assert kept.distances.dtype == whole.distances.dtype
