"""Measures projections from 5,888 numbers: the table of docs/smaller_features.md about them.

    python docs/scripts/measure_projection.py

The vectors are those of ``fusionreid benchmark gallery``, some twenty of each identity, as wide as
all six features of the published model. Projections are fitted to other identities.
"""

from __future__ import annotations

import time

from torch import Tensor
from torch.nn import functional as F

from fusionreid.apis import Projection
from fusionreid.cli.benchmarks.gallery import IMAGES_PER_ID, PART, make_part
from fusionreid.gallery import Gallery

WIDTH, DIMS = 5888, (128, 256, 512, 1024)
FITTED, ASKED, K = 8_000, 200, 10
SEED = 0


def nearest(features: Tensor, queries: Tensor) -> list[set[int]]:
    """Rows of the ten nearest features of each query."""
    gallery = Gallery()
    gallery.add(features=features, ids=range(len(features)))
    return [set(map(int, row)) for row in gallery.search(queries, K).ids]


def main() -> None:
    """Fit, search, and print the table."""
    fitted = F.normalize(make_part(1, FITTED, WIDTH, SEED, noise_seed=1))
    features = F.normalize(make_part(0, PART, WIDTH, SEED, noise_seed=1))
    queries = F.normalize(make_part(0, ASKED, WIDTH, SEED, noise_seed=2))
    right = nearest(features, queries)
    identities = PART // IMAGES_PER_ID
    print('| numbers | variance kept | the same ten nearest | of the same person | fit (s) |')
    print('|---|---|---|---|---|')
    for dims in (WIDTH, *DIMS):
        start = time.perf_counter()
        found, kept, seconds = right, '', ''
        if dims != WIDTH:
            projection = Projection.fit(fitted.split(1000), dims)
            seconds = f'{time.perf_counter() - start:.0f}'
            kept = f'{projection.components.explained:.1%}'
            found = nearest(projection.apply(features), projection.apply(queries))
        same = sum(len(ours & best) for ours, best in zip(found, right, strict=True))
        person = sum(
            row % identities == query % identities
            for query, rows in enumerate(found)
            for row in rows
        )
        shares = (f'{count / (K * ASKED):.3f}' for count in (same, person))
        print(f'| {dims:,} | {kept} | {" | ".join(shares)} | {seconds} |', flush=True)


if __name__ == '__main__':
    main()
