"""Measure the engines of a gallery: time to build, queries a second, recall, size, memory.

    fusionreid benchmark gallery --sizes 10000
    fusionreid benchmark gallery --engines pgvector --url postgresql:///DATABASE --load-seconds 30

Prints one JSON line for each engine and size. The vectors are seeded and clustered as images of
people are: some twenty of each identity, in a space of few strong directions. They are made a part
at a time, and each measurement runs in a process of its own.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import tempfile
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fusionreid.cli.arguments import positive
from fusionreid.cli.benchmarks.gallery_load import measure_load, quantiles
from fusionreid.cli.benchmarks.instruments import resident_peak
from fusionreid.cli.gallery_place import DATABASE_ENGINE, gallery_place
from fusionreid.cli.option_actions import EngineOptions
from fusionreid.gallery import DatabaseAddress, Gallery
from fusionreid.gallery.engines import PgvectorEngine, engine_names
from fusionreid.gallery.item_checks import normalized
from fusionreid.gallery.recall import measure_recall_of

IMAGES_PER_ID = 20
PART = 10_000
STRONG_DIRECTIONS = 64
K = 10


def make_part(number: int, rows: int, dim: int, seed: int, noise_seed: int) -> Tensor:
    """Images of the identities of one part, (rows, dim) float32, not normalized.

    Args:
        number: Number of the part; other parts have other identities.
        rows: Images, at most ``PART``.
        dim: Width.
        seed: Seed of the identities.
        noise_seed: Seed of what differs between the images of an identity.
    """
    everywhere = torch.Generator().manual_seed(seed)
    strength = torch.arange(1, STRONG_DIRECTIONS + 1).rsqrt()[:, None]
    directions = torch.randn(STRONG_DIRECTIONS, dim, generator=everywhere) * strength
    people = torch.Generator().manual_seed(seed + 1 + number)
    identities = torch.randn(PART // IMAGES_PER_ID, STRONG_DIRECTIONS, generator=people)
    noise = torch.Generator().manual_seed(noise_seed * 1_000_003 + number)
    latent = identities[torch.arange(rows) % len(identities)]
    latent = latent + 0.4 * torch.randn(rows, STRONG_DIRECTIONS, generator=noise)
    return latent @ directions + 0.15 * torch.randn(rows, dim, generator=noise)


def make_gallery_parts(size: int, dim: int, seed: int) -> Iterator[Tensor]:
    """Make the gallery's vectors, a part at a time.

    Args:
        size: Vectors in all.
        dim: Width.
        seed: Seed of the identities.

    Yields:
        Vectors (rows, dim) float32, at most ``PART`` rows, not normalized.
    """
    for number, start in enumerate(range(0, size, PART)):
        yield make_part(number, min(PART, size - start), dim, seed, noise_seed=1)


def _measure(name: str, size: int, args: argparse.Namespace) -> dict[str, Any]:
    """Build, save and search one gallery."""
    before = resident_peak()
    settings = dict(type=name, **(args.engine_options or {}))
    if name == DATABASE_ENGINE:
        # A table of its own, which is dropped in the end.
        settings.update(url=args.url.url, table=f'benchmark_{size}_{uuid.uuid4().hex[:8]}')
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        if name == 'milvus':
            settings.setdefault('uri', str(Path(folder) / 'milvus.db'))
        if name == 'exact':
            settings['device'] = args.device
        gallery = Gallery(engine=settings)
        if isinstance(gallery.engine, PgvectorEngine):
            stack.callback(gallery.engine.drop)
        seconds = 0.0
        for part in make_gallery_parts(size, args.dim, args.seed):
            first = len(gallery)
            start = time.perf_counter()
            gallery.add(features=part, ids=range(first, first + len(part)))
            seconds += time.perf_counter() - start
        queries = make_part(0, min(args.queries, PART), args.dim, args.seed, noise_seed=2)
        start = time.perf_counter()
        if gallery.engine.place is not None:
            gallery.save()
        gallery.search(queries[:1], K)  # an index that is made late is made here
        seconds += time.perf_counter() - start
        start = time.perf_counter()
        gallery.search(queries, K)
        all_seconds = time.perf_counter() - start
        took = []
        for query in queries[: args.single]:
            start = time.perf_counter()
            gallery.search(query, K)
            took.append(time.perf_counter() - start)
        peak = resident_peak() - before
        start = time.perf_counter()
        gallery.save(Path(folder) / 'index')
        save_seconds = time.perf_counter() - start
        files = [path for path in Path(folder).rglob('*') if path.is_file()]
        size_on_disk = sum(path.stat().st_size for path in files)
        figures: dict[str, Any] = {}
        if isinstance(gallery.engine, PgvectorEngine):
            size_on_disk = gallery.engine.size_in_bytes()
            figures.update(tuning=gallery.engine.tuning and gallery.engine.tuning.as_dict())
        recall = gallery.measure_recall(K, args.recall_queries, args.seed)
        strangers = normalized(queries[: args.recall_queries])
        figures.update(
            recall_at_10=round(recall, 4),
            recall_at_10_of_queries=round(measure_recall_of(gallery.engine, strangers, K), 4),
        )
        if args.load_seconds and gallery.engine.place is not None:
            load = (queries, K, args.writers, args.readers, args.load_seconds)
            figures.update(load=measure_load(settings, *load))
        hidden = ('type', 'uri', 'url', 'table')
        return dict(
            engine=name,
            **{key: value for key, value in settings.items() if key not in hidden},
            size=size,
            dim=args.dim,
            threads=torch.get_num_threads(),
            build_seconds=round(seconds, 2),
            save_seconds=round(save_seconds, 2),
            queries=len(queries),
            queries_per_second=round(len(queries) / all_seconds, 1),
            one_query_ms=round(1000 * sum(took) / len(took), 2),
            one_query_ms_quantiles=quantiles(took),
            index_bytes=size_on_disk,
            peak_memory_mib=round(peak / 2**20, 1),
            **figures,
        )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        '--sizes', type=positive, nargs='+', default=[10_000, 100_000, 1_000_000], help='vectors'
    )
    parser.add_argument('--dim', type=positive, default=768, help='width of the vectors')
    parser.add_argument(
        '--engines',
        nargs='+',
        choices=engine_names(),
        default=['exact', 'faiss_flat', 'faiss_ivfpq'],
        help='engines; milvus stands for its embedded form unless uri is given',
    )
    parser.add_argument(
        '--url',
        type=gallery_place,
        help='database of the engine pgvector, as postgresql://HOST/DATABASE; its tables are '
        'dropped in the end',
    )
    parser.add_argument(
        '--load-seconds',
        type=positive,
        help='also let processes add to the database while others search, for so long',
    )
    parser.add_argument('--writers', type=positive, default=10, help='processes that add')
    parser.add_argument('--readers', type=positive, default=4, help='processes that search')
    parser.add_argument(
        '--engine-options',
        nargs='+',
        action=EngineOptions,
        help='settings for all chosen engines, e.g. probes=64',
    )
    parser.add_argument('--device', default='cpu', help="device of the engine 'exact'")
    parser.add_argument(
        '--queries', type=positive, default=1000, help='queries of the one large batch'
    )
    parser.add_argument(
        '--single', type=positive, default=20, help='queries that come one at a time'
    )
    parser.add_argument(
        '--recall-queries', type=positive, default=200, help='queries that recall is measured on'
    )
    parser.add_argument('--seed', type=int, default=0)


def check_arguments(args: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Refuse sizes that are too small."""
    if min(args.sizes) <= K:
        parser.error(f'--sizes must be more than {K}, the answers of a query: {min(args.sizes)}')
    if DATABASE_ENGINE in args.engines and not isinstance(args.url, DatabaseAddress):
        parser.error(f'the engine {DATABASE_ENGINE} needs --url postgresql://HOST/DATABASE')


def run(args: argparse.Namespace) -> None:
    """Print the figures."""
    fresh = multiprocessing.get_context('spawn')
    for size in args.sizes:
        for name in args.engines:
            with ProcessPoolExecutor(1, mp_context=fresh) as pool:
                print(json.dumps(pool.submit(_measure, name, size, args).result()), flush=True)
