"""Finds the k nearest gallery entries of each query: exact, in order, in bounded memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from .distances import FeatureKeys, GalleryKeys, sample_bytes
from .errors import ScoringInputError
from .matches import same_known
from .memory import DEFAULT_MEMORY_LIMIT, RowPlan, plan_rows
from .progress import StartMeter, start_meter
from .shrinking import BlockBuffer, in_blocks
from .true_positions import true_positions
from .validation import as_labels
from .workers import start_workers, worker_count


@dataclass(frozen=True)
class SearchResult:
    """The nearest gallery entries of each query, nearest first.

    Attributes:
        indices: Gallery indices, (q, k) int64; -1 where removal left fewer than k entries.
        distances: Their Euclidean distances, (q, k) float32 (float64 for float64 features);
            infinite at -1.
    """

    indices: Tensor
    distances: Tensor


@torch.no_grad()
def top_k(
    query_features: Tensor,
    gallery_features: Tensor | GalleryKeys,
    k: int,
    *,
    query_ids: Tensor | Sequence[int] | None = None,
    gallery_ids: Tensor | Sequence[int] | None = None,
    query_cameras: Tensor | Sequence[int] | None = None,
    gallery_cameras: Tensor | Sequence[int] | None = None,
    memory_limit: int = DEFAULT_MEMORY_LIMIT,
    progress: StartMeter | None = None,
) -> SearchResult:
    """Find the k nearest gallery features of each query by Euclidean distance.

    Entries at the same distance stand in gallery order. With ids and cameras given, entries of
    the query's identity *and* camera are left out, as in the Market-1501 protocol; a negative
    camera is unknown and removes nothing.

    Args:
        query_features: Shape (q, d), float16, bfloat16, float32 or float64.
        gallery_features: Shape (g, d), same device. For many searches in one gallery, what
            :class:`~fusionreid.evaluation.functional.distances.GalleryKeys` made of it once.
        k: Entries wanted for each query, 1..g.
        query_ids: (q,) integers; all four labels together or none.
        gallery_ids: (g,) integers.
        query_cameras: (q,) integers.
        gallery_cameras: (g,) integers.
        memory_limit: Bytes that may be used on top of the features and the result; checked before
            work starts.
        progress: Starts what shows how far it is, such as the class
            :class:`fusionreid.utils.progress.Progress`.

    Returns:
        Indices and distances, on the device of the features.

    Raises:
        TypeError: Features or labels of the wrong type.
        ScoringInputError: k outside 1..g, bad features or labels, labels given in part, or a memory
            limit that is too small.

    Example:
        >>> found = top_k(torch.tensor([[1.0]]), torch.tensor([[4.0], [2.0], [3.0]]), k=2)
        >>> found.indices.tolist(), found.distances.tolist()
        ([[1, 2]], [[1.0, 2.0]])
    """
    source = FeatureKeys(query_features, gallery_features)
    num_query, num_gallery, width = len(source.query), len(source.gallery), source.query.shape[1]
    if not 1 <= k <= num_gallery:
        raise ScoringInputError(f'k={k} is outside 1..{num_gallery}, the size of the gallery')
    device = source.query.device
    labels = _Labels.check(
        {
            'query_ids': query_ids,
            'gallery_ids': gallery_ids,
            'query_cameras': query_cameras,
            'gallery_cameras': gallery_cameras,
        },
        num_query,
        num_gallery,
        device,
    )
    size = source.half.element_size()
    plan = plan_rows(
        memory_limit,
        fixed=num_gallery * (size + 40) + num_query * 40 + source.tile_bytes + sample_bytes(1),
        per_block_row=(num_gallery + width) * size,
        per_group_row=num_gallery * (size + 64) + k * 64 + min(k, source.tile_rows) * width * 12,
        what=f'searching {num_gallery} gallery features of width {width}',
        workers=worker_count(device),
        device=device,
    )
    indices = torch.empty(num_query, k, dtype=torch.int64, device=device)
    distances = torch.empty(num_query, k, dtype=source.dtype, device=device)
    buffer = BlockBuffer(source.query, num_gallery, source.dtype)
    meter = start_meter(progress, 'searching', num_query)
    autocast = torch.autocast(device.type, enabled=False)
    groups = -(-min(plan.block, num_query) // plan.group)
    with start_workers(min(plan.workers, groups)) as run, autocast:

        def search_block(rows: slice, plan: RowPlan) -> None:
            out = buffer.take(rows, plan.block)
            products = source.block(rows, out)
            picked = source.sample(rows)
            nearest = products[picked - rows.start].argmax(1)
            error = source.relative_error(rows, products, picked, nearest)

            def search(first: int) -> None:
                group = slice(first, min(first + plan.group, rows.stop))
                keys = source.finish(out[first - rows.start : group.stop - rows.start])
                removed = None
                if labels is not None:
                    removed = labels.removed(group)
                    keys.masked_fill_(removed, torch.inf)
                indices[group], distances[group] = _nearest(source, group, keys, k, error, removed)

            run(search, range(rows.start, rows.stop, plan.group))
            meter.update(rows.stop)

        in_blocks(num_query, plan, search_block)
    return SearchResult(indices, distances)


class _Labels(NamedTuple):
    """Who and which camera queries and gallery show; all int64."""

    query_ids: Tensor
    gallery_ids: Tensor
    query_cameras: Tensor
    gallery_cameras: Tensor

    @classmethod
    def check(
        cls,
        labels: dict[str, Tensor | Sequence[int] | None],
        num_query: int,
        num_gallery: int,
        device: torch.device,
    ) -> _Labels | None:
        """Check labels by name, which are given all together or not at all."""
        missing = [name for name, label in labels.items() if label is None]
        if len(missing) == len(labels):
            return None
        if missing:
            raise ScoringInputError(
                f'to leave out same-camera entries, also give {", ".join(missing)}'
            )
        counts = {'query': num_query, 'gallery': num_gallery}
        return cls(
            *(
                as_labels(label, counts[name.partition('_')[0]], name, device)
                for name, label in labels.items()
            )
        )

    def removed(self, rows: slice) -> Tensor:
        """Where a gallery entry shows the query's identity from the query's camera, (S, g)."""
        one_identity = self.query_ids[rows, None] == self.gallery_ids
        return one_identity & same_known(self.query_cameras[rows, None], self.gallery_cameras)


@torch.no_grad()
def _nearest(
    source: FeatureKeys,
    rows: slice,
    keys: Tensor,
    k: int,
    relative_error: float,
    removed: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Indices and distances of the k entries with the smallest exact keys, (S, k) each."""
    kth = keys.topk(k, dim=1, largest=False).values[:, -1:]
    finite = torch.where(kth.isfinite(), kth, 0)
    # Whoever may be among the k nearest lies below the k-th key plus the rounding error of both.
    reach = torch.where(
        kth.isfinite(), finite + source.tolerance(rows, finite, relative_error), torch.inf
    )
    columns = (true_positions(keys <= reach.to(keys.dtype)) % keys.shape[1]).unique()
    numbers = torch.arange(rows.start, rows.stop, device=keys.device)
    precise = source.precise(numbers, columns, keys)
    if removed is not None:
        precise.masked_fill_(removed[:, columns], torch.inf)
    value, order = precise.sort(dim=1, stable=True)
    value, order = value[:, :k], order[:, :k]
    found = value.isfinite()
    indices = torch.where(found, columns[order], 0)
    distances = torch.empty_like(value)
    for row, number in enumerate(numbers.tolist()):
        # By differences, so that the distance to a copy of the query is exactly 0.
        own = source.query[number].double()
        for start in range(0, k, source.tile_rows):
            some = slice(start, start + source.tile_rows)
            near = source.gallery[indices[row, some]].double().sub_(own)
            distances[row, some] = torch.linalg.vector_norm(near, dim=1)
    # What is a tie but for rounding stands in gallery order; the numbers shall not say otherwise.
    distances = distances.cummax(dim=1).values
    distances = torch.where(found, distances, torch.inf).to(source.dtype)
    return torch.where(found, indices, -1), distances
