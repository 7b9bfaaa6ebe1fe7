"""Decides how much of re-ranking is done at once within a memory limit."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ..distances import CENTER_ROWS, TILE_BYTES
from ..errors import MemoryLimitError
from ..nearest_neighbors import (
    REFINE_ROWS,
    RESEARCH_ROWS,
    SPARE_CANDIDATES,
    neighbor_bytes,
    tile_bytes,
)
from ..workers import worker_count
from .k_reciprocal import GROUP_ENTRIES, GROUP_POINTS, half_of

# Beyond these, larger tiles and blocks gain nothing.
MAX_TILE = {'cpu': 1024, 'cuda': 4096}
MIN_TILE = 64
MAX_BLOCK_ROWS = 512
# A column and a value.
ENTRY_BYTES = 8


@dataclass(frozen=True)
class RerankingPlan:
    """The sizes that are worked on at once, and the memory that it takes.

    Attributes:
        tile: Points on each side of a tile of distances.
        block: Query rows of a block of results.
        search_bytes: Memory for searching again where float32 does not tell who is nearer.
        max_entries: Entries of sparse vectors that memory has room for.
        bytes: Memory used, on top of features and result; an estimate.
    """

    tile: int
    block: int
    search_bytes: int
    max_entries: int
    bytes: int


def plan_reranking(
    num_query: int,
    num_gallery: int,
    width: int,
    dtype: torch.dtype,
    device: torch.device,
    k1: int,
    k2: int,
    memory_limit: int,
) -> RerankingPlan:
    """Choose how much is worked on at once, before any work starts.

    Args:
        num_query: Number of queries.
        num_gallery: Number of gallery images.
        width: Width of the features.
        dtype: Type that is worked in.
        device: Where the features are.
        k1: Neighbors among which reciprocal ones are looked for.
        k2: Neighbors to average over.
        memory_limit: Bytes that may be used.

    Returns:
        The plan.

    Raises:
        MemoryLimitError: The least is too much.
    """
    size, total = dtype.itemsize, num_query + num_gallery
    workers = worker_count(torch.device('cpu'))
    near, half = max(k1 + 1, k2), half_of(k1) + 1
    # All features side by side; norms; and the tiles that they are looked at in.
    base = total * (width * size + 64) + TILE_BYTES * (workers + 2)

    # While neighbors are searched for, on top of the tiles; and if some are searched for again.
    tables = base + neighbor_bytes(total, near, size)
    search = tables + CENTER_ROWS * width * (3 * size + 8)
    search += workers * REFINE_ROWS * (near + SPARE_CANDIDATES) * (width * 24 + 512)
    tables += RESEARCH_ROWS * (width * size + near * 32)
    search_again = tables + total * (8 * size + 200) + 2 * TILE_BYTES + near * (width * 48 + 128)

    # A vector usually has fewer entries than these, before averaging and after.
    encoded = total * min(2 * (k1 + 1), total)
    averaged = total * min((k1 + 1) * k2, total)
    found = base + total * near * (8 + size)
    encoding = found + total * (k1 + 1 + half * 9) + 2 * encoded * ENTRY_BYTES
    encoding += workers * GROUP_POINTS * (total + (k1 + 1) * half * 64)
    # As rows and as columns; and the row of each entry.
    averaging = found + encoded * ENTRY_BYTES + averaged * (2 * ENTRY_BYTES + 4)

    # A row of overlaps, of distances and of a temporary, and what the caller may still hold; the
    # query, and its products with a tile of the gallery.
    per_row = (4 * num_gallery + width + min(num_gallery, TILE_BYTES // (width * size))) * size
    least_block = base + averaged * ENTRY_BYTES + per_row
    least_block += workers * max(GROUP_ENTRIES, num_gallery) * 64

    tile = min(MIN_TILE, total)
    least = max(
        search + tile_bytes(tile, near, width, size),
        search_again,
        encoding,
        averaging,
        least_block,
    )
    if memory_limit < least:
        raise MemoryLimitError(
            f'memory_limit={memory_limit} bytes is too small for re-ranking {num_query} queries in '
            f'a gallery of {num_gallery} with features of width {width}, k1={k1} and k2={k2}: '
            f'about {least} bytes are needed'
        )
    largest = MAX_TILE.get(device.type, MAX_TILE['cpu'])
    while tile < min(largest, total) and (
        search + tile_bytes(2 * tile, near, width, size) <= memory_limit
    ):
        tile *= 2
    block = 1 + (memory_limit - least_block) // per_row
    block = min(block, MAX_BLOCK_ROWS, num_query)
    spare = memory_limit - max(averaging, least_block)
    return RerankingPlan(
        tile=tile,
        block=block,
        search_bytes=memory_limit - tables,
        max_entries=averaged + spare // (2 * ENTRY_BYTES + 4),
        bytes=max(
            least,
            search + tile_bytes(tile, near, width, size),
            least_block + (block - 1) * per_row,
        ),
    )
