"""Expands queries by their nearest gallery features."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from .distances import FeatureKeys
from .errors import MemoryLimitError, ScoringInputError
from .memory import DEFAULT_MEMORY_LIMIT
from .progress import StartMeter
from .top_k import top_k

# Features of neighbors that are gathered together.
GROUP_BYTES = 16 << 20


@torch.no_grad()
def average_query_expansion(
    query_features: Tensor,
    gallery_features: Tensor,
    *,
    k: int = 5,
    alpha: float = 0.0,
    memory_limit: int = DEFAULT_MEMORY_LIMIT,
    progress: StartMeter | None = None,
) -> Tensor:
    """Replace each query by a weighted mean of itself and its k nearest gallery features.

    All features are L2-normalized first. The expanded query is the L2-normalized
    ``q + sum_i max(q.g_i, 0)^alpha g_i`` over the k nearest ``g_i``. With ``alpha`` 0 all weights
    are 1: average query expansion (AQE; Chum et al., ICCV 2007). A larger one trusts near
    neighbors more: alpha-QE (Radenovic et al., TPAMI 2018, who use 3).

    The k nearest are taken from the whole gallery, the query's own identity and camera included:
    leaving them out would leak ground truth into the features.

    Args:
        query_features: Shape (q, d), float16, bfloat16, float32 or float64.
        gallery_features: Shape (g, d), same device.
        k: Gallery features added to each query, 1..g.
        alpha: Exponent of the cosine similarity, from 0 on.
        memory_limit: Bytes that may be used on top of the features and the result; checked before
            work starts.
        progress: Starts what shows how far it is, such as the class
            :class:`fusionreid.utils.progress.Progress`.

    Returns:
        Expanded queries of norm 1, (q, d) float32 (float64 for float64 features), on the device of
        the features. Rank L2-normalized gallery features with them.

    Raises:
        TypeError: Not floating point tensors.
        ScoringInputError: ``k`` or ``alpha`` out of range, bad features, or a memory limit that is
            too small.

    Example:
        >>> query = torch.tensor([[1.0, 0.0]])
        >>> gallery = torch.tensor([[0.6, 0.8], [-1.0, 0.0]])
        >>> average_query_expansion(query, gallery, k=1)
        tensor([[0.8944, 0.4472]])
    """
    checked = FeatureKeys(query_features, gallery_features)
    if not alpha >= 0 or alpha == float('inf'):
        raise ScoringInputError(f'alpha={alpha} must be a finite number from 0 on')
    if not 1 <= k <= len(gallery_features):
        raise ScoringInputError(
            f'k={k} is outside 1..{len(gallery_features)}, the size of the gallery'
        )
    dtype, (num_query, width) = checked.dtype, query_features.shape
    gathered = k * width * dtype.itemsize
    step = min(max(1, GROUP_BYTES // gathered), num_query)
    # The normalized features, the indices and distances found, and what a group gathers.
    used = (num_query + len(gallery_features)) * (width * dtype.itemsize + 16)
    used += num_query * k * 24 + 3 * step * gathered
    if memory_limit <= used:
        raise MemoryLimitError(
            f'memory_limit={memory_limit} bytes is too small for expanding {num_query} queries '
            f'by {k} of {len(gallery_features)} features of width {width}: more than {used} bytes '
            'are needed'
        )
    query = normalize(checked.query.to(dtype))
    gallery = normalize(checked.gallery.to(dtype))
    del checked
    try:
        found = top_k(query, gallery, k, memory_limit=memory_limit - used, progress=progress)
    except MemoryLimitError as error:
        raise MemoryLimitError(
            f'memory_limit={memory_limit} bytes is too small for expanding {num_query} queries: '
            f'{used} bytes are for the normalized features, and of what is left, {error}'
        ) from error
    expanded = torch.empty_like(query)
    for start in range(0, num_query, step):
        part = slice(start, start + step)
        near = gallery[found.indices[part]]
        similarity = (near * query[part, None]).sum(2, keepdim=True).clamp_min_(0)
        near *= similarity.pow_(alpha)
        expanded[part] = normalize(query[part] + near.sum(1))
    return expanded
