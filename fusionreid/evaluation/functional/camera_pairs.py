"""Ranks the gallery of each camera by the queries of each camera."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .errors import MemoryLimitError, ScoringInputError
from .memory import DEFAULT_MEMORY_LIMIT
from .progress import StartMeter, start_meter
from .ranking import rank_queries
from .ranking_result import RankingResult
from .validation import check_max_rank, check_pair, feature_norms, label_pair


@dataclass(frozen=True)
class CameraPairResult:
    """Scores of a ranking for each pair of a query camera and a gallery camera.

    Attributes:
        query_cameras: The A cameras that took a query, (A,) int64, ascending.
        gallery_cameras: The B cameras that took a gallery image, (B,) int64, ascending.
        cmc: Fraction of a pair's valid queries whose first match is among the first k entries of
            that camera, (A, B, max_rank) float64 in [0, 1]; NaN without a valid query.
        mAP: Mean average precision of a pair's valid queries, (A, B) float64; NaN likewise.
        mINP: Mean inverse negative penalty of a pair's valid queries, (A, B) float64; NaN likewise.
        num_valid_queries: Queries of a camera that have a match in the other one's gallery, (A, B)
            int64.
        num_gallery: Gallery images of each gallery camera, (B,) int64.
    """

    query_cameras: Tensor
    gallery_cameras: Tensor
    cmc: Tensor
    mAP: Tensor
    mINP: Tensor
    num_valid_queries: Tensor
    num_gallery: Tensor


@torch.no_grad()
def evaluate_camera_pairs(
    query_features: Tensor,
    gallery_features: Tensor,
    query_ids: Tensor | Sequence[int],
    gallery_ids: Tensor | Sequence[int],
    query_cameras: Tensor | Sequence[int],
    gallery_cameras: Tensor | Sequence[int],
    *,
    max_rank: int = 50,
    remove_same_camera: bool = True,
    memory_limit: int = DEFAULT_MEMORY_LIMIT,
    progress: StartMeter | None = None,
) -> CameraPairResult:
    """Rank the images of one gallery camera at a time for the queries of one camera at a time.

    Each pair is scored as :func:`evaluate_ranking` scores these queries and this part of the
    gallery alone; a query counts where it has a match there. With same-camera removal no query has
    a match in its own camera, so that the diagonal is empty. All negative camera numbers mean an
    unknown camera and are listed as camera -1, of which nothing is removed.

    A part of the gallery holds fewer wrong images than the whole, so that the scores of the pairs
    are higher than that of all cameras together.

    Args:
        query_features: Shape (q, d), float16, bfloat16, float32 or float64.
        gallery_features: Shape (g, d), same device.
        query_ids: (q,) integers.
        gallery_ids: (g,) integers.
        query_cameras: (q,) integers.
        gallery_cameras: (g,) integers.
        max_rank: Length of the CMC curves.
        remove_same_camera: Remove entries of the query's identity and camera.
        memory_limit: Bytes that may be used on top of the features, a copy of one camera's part of
            the gallery included.
        progress: Starts what shows how far it is, such as the class
            :class:`fusionreid.utils.progress.Progress`.

    Returns:
        The scores of every pair, on the CPU.

    Raises:
        TypeError: Features or labels of the wrong type.
        ScoringInputError: Features that are empty, of different width or not finite, labels of the
            wrong length, no query with a match, or a memory limit that is too small.

    Example:
        >>> query, gallery = torch.tensor([[1.0]]), torch.tensor([[1.1], [1.2], [1.3], [1.4]])
        >>> result = evaluate_camera_pairs(query, gallery, [7], [7, 7, 3, 7], [0], [0, 1, 2, 2])
        >>> result.mAP.tolist()  # of camera 0 in cameras 0, 1 and 2
        [[nan, 1.0, 0.5]]
    """
    feature_norms(query_features, 'query')
    feature_norms(gallery_features, 'gallery')
    check_pair(query_features, gallery_features)
    device, num_query = query_features.device, len(query_features)
    for name, cameras in (('query', query_cameras), ('gallery', gallery_cameras)):
        if cameras is None:
            raise ScoringInputError(f'{name}_cameras are needed to rank camera by camera')
    counts = (num_query, len(gallery_features))
    query_cameras, gallery_cameras = (
        labels.clamp_min(-1)
        for labels in label_pair(query_cameras, gallery_cameras, counts, 'cameras', device)
    )
    query_ids, gallery_ids = label_pair(query_ids, gallery_ids, counts, 'ids', device)
    check_max_rank(max_rank)
    from_cameras, row_of = query_cameras.unique(return_inverse=True)
    to_cameras, sizes = gallery_cameras.unique(return_counts=True)
    shape = (len(from_cameras), len(to_cameras))
    mean_ap = torch.full(shape, float('nan'), dtype=torch.float64)
    mean_inp = mean_ap.clone()
    cmc = mean_ap[..., None].repeat(1, 1, max_rank)
    num_valid = torch.zeros(shape, dtype=torch.int64)

    meter, done = start_meter(progress, 'ranking cameras', len(gallery_features)), 0
    # The largest first: if the memory does not suffice, nothing has been done for naught.
    for column in sizes.argsort(descending=True, stable=True).tolist():
        camera = int(to_cameras[column])
        part = (gallery_cameras == camera).nonzero().flatten()
        features = gallery_features[part]
        copied = features.numel() * features.element_size()
        try:
            scores = rank_queries(
                query_features,
                features,
                query_ids,
                gallery_ids[part],
                query_cameras,
                gallery_cameras[part],
                max_rank=max_rank,
                remove_same_camera=remove_same_camera,
                memory_limit=memory_limit - copied,
            )
        except MemoryLimitError as error:
            raise MemoryLimitError(
                f'ranking the {len(part)} gallery images of camera {camera}, a copy of which takes '
                f'{copied} bytes of the limit: {error}'
            ) from error
        for row in range(len(from_cameras)):
            mine = (row_of == row) & (scores.first_match_rank > 0)
            if not mine.any():
                continue
            result = RankingResult.from_queries(scores.take(mine), max_rank)
            cmc[row, column] = result.cmc.cpu()
            mean_ap[row, column], mean_inp[row, column] = result.mAP, result.mINP
            num_valid[row, column] = result.num_valid_queries
        done += len(part)
        meter.update(done)
    if not num_valid.any():
        raise ScoringInputError(
            f'none of the {num_query} queries has a match in any camera of the gallery: check that '
            'both use the same identity numbers, and that same-camera removal suits the data set'
        )
    return CameraPairResult(
        query_cameras=from_cameras.cpu(),
        gallery_cameras=to_cameras.cpu(),
        cmc=cmc,
        mAP=mean_ap,
        mINP=mean_inp,
        num_valid_queries=num_valid,
        num_gallery=sizes.cpu(),
    )
