"""Measures what smaller features cost: the table and the picture of docs/smaller_features.md.

    python docs/scripts/measure_smaller_features.py TRAIN QUERY GALLERY CHECKPOINT

TRAIN, QUERY and GALLERY are files of ``fusionreid extract``, of all features of the model
CHECKPOINT. Projections are fitted to TRAIN; nobody in it is in the other two. Times and bytes are
those of ``ITEMS`` features: those of TRAIN and GALLERY again and again, each moved a little.
"""

from __future__ import annotations

import csv
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn import functional as F

from fusionreid.apis import FeatureExtractor, Projection
from fusionreid.cli.labeled_features import LabeledFeatures, read_extracted
from fusionreid.evaluation.functional import evaluate_distances
from fusionreid.gallery import Gallery
from fusionreid.visualization.saving import save_picture
from fusionreid.visualization.style import SERIES_COLORS, style_axes

DOCS = Path(__file__).resolve().parents[1]
TABLE = DOCS / 'benchmarks' / 'smaller_features.csv'
PICTURE = DOCS / 'images' / 'smaller_features.jpg'
ITEMS, ASKED, K = 100_000, 20, 10
SPREAD = 0.1  # length of what is added to each item, whose length is 1
ENGINES: dict[str, dict[str, Any]] = {
    'float32': dict(type='exact'),
    'float16': dict(type='compressed', codes='float16', rescore='none'),
    'int8': dict(type='compressed', codes='int8', rescore='none'),
    'binary': dict(type='compressed', codes='binary', rescore='none'),
    'int8 + float16': dict(type='compressed', codes='int8', rescore='float16'),
    'binary + float16': dict(type='compressed', codes='binary', rescore='float16'),
}
WIDTHS = (64, 128, 256)


def score(engine: dict[str, Any], query: LabeledFeatures, gallery: LabeledFeatures) -> Any:
    """Score the ranking that an engine gives: its K best, then the others by their codes alone."""
    codes = engine if engine['type'] == 'exact' else dict(engine, rescore='none')
    ids = list(map(str, range(len(gallery.features))))
    places = []
    for settings, k in ((engine, K), (codes, len(ids))):
        filled = Gallery(engine=settings)
        filled.add(features=gallery.features, ids=ids)
        places.append(torch.from_numpy(filled.search(query.features, k).ids.astype(int)))
    best, order = places
    # Ranks, since distances of codes and of features are not comparable.
    distances = torch.empty(order.shape)
    distances.scatter_(1, order, torch.arange(len(ids)).float().expand_as(order).clone())
    distances.scatter_(1, best, torch.arange(-K, 0).float().expand_as(best).clone())
    return evaluate_distances(
        distances, query.person_ids, gallery.person_ids, query.camera_ids, gallery.camera_ids
    )


def measure(engine: dict[str, Any], features: Tensor, queries: Tensor) -> dict[str, float]:
    """Time, bytes and recall of an engine on many items."""
    gallery, exact = Gallery(engine=engine), Gallery()
    ids = list(map(str, range(len(features))))
    gallery.add(features=features, ids=ids)
    exact.add(features=features, ids=ids)
    times = []
    found = []
    for query in queries:
        start = time.perf_counter()
        found.append(gallery.search(query, K))
        times.append(time.perf_counter() - start)
    right = exact.search(queries, K).ids
    shared = [len({*ours.ids[0]} & {*theirs}) for ours, theirs in zip(found, right, strict=True)]
    with tempfile.TemporaryDirectory() as folder:
        gallery.save(Path(folder) / 'index')
        sizes = {path.name: path.stat().st_size for path in Path(folder).glob('index/*/*.s*')}
    disk = sum(sizes.values()) / len(features)
    searched = sizes.get('codes.safetensors', sizes.get('features.safetensors', 0))
    return dict(
        recall_at_10=round(sum(shared) / (K * len(queries)), 3),
        bytes_searched=round(searched / len(features)),
        bytes_on_disk=round(disk),
        query_ms=round(1000 * sorted(times)[len(times) // 2], 1),
    )


def many(features: Tensor) -> Tensor:
    """Items that resemble real ones."""
    random = torch.Generator().manual_seed(0)
    rows = features[torch.randint(len(features), (ITEMS,), generator=random)]
    noise = torch.randn(rows.shape, generator=random) * (SPREAD / rows.shape[1] ** 0.5)
    return F.normalize(rows + noise)


def narrowed(photos: LabeledFeatures, features: Tensor) -> LabeledFeatures:
    """The photos with other features."""
    return LabeledFeatures(
        features, photos.person_ids, photos.camera_ids, None, photos.paths, photos.data
    )


def main(train_file: str, query_file: str, gallery_file: str, checkpoint: str) -> None:
    """Measure, and write the table and the picture."""
    train, query, gallery = (
        read_extracted(Path(path)) for path in (train_file, query_file, gallery_file)
    )
    sets = (train, query, gallery)
    versions: dict[str, list[Tensor]] = {'all': [photos.features for photos in sets]}
    start = 0
    for name, width in FeatureExtractor(checkpoint).model.feature_widths.items():
        part = slice(start, start + width)
        versions[name] = [F.normalize(photos.features[:, part]) for photos in sets]
        start += width
    for whiten in (False, True):
        for width in WIDTHS:
            projection = Projection.fit([train.features], width, whiten)
            kind = 'whitened' if whiten else 'projected'
            versions[f'{kind} to {width}'] = [projection.apply(each.features) for each in sets]
    rows = []
    for name, features in versions.items():
        is_part = name in FeatureExtractor(checkpoint).model.feature_widths
        items = many(torch.cat([features[0], features[2]]))
        for storage, engine in ENGINES.items():
            if is_part and storage != 'float32':
                continue
            scores = score(engine, narrowed(query, features[1]), narrowed(gallery, features[2]))
            row = dict(
                features=name,
                width=features[0].shape[1],
                storage=storage,
                mAP=round(100 * scores.mAP, 1),
                rank_1=round(100 * float(scores.cmc[0]), 1),
                **measure(engine, items, features[1][:ASKED]),
            )
            print(row, flush=True)
            rows.append(row)
    with open(TABLE, 'w', newline='') as file:
        writer = csv.DictWriter(file, rows[0], lineterminator='\n')
        writer.writeheader()
        writer.writerows(rows)
    draw(rows)


def draw(rows: list[dict[str, Any]]) -> None:
    """Draw mAP against the bytes of an item."""
    figure = Figure(figsize=(9, 5.4), dpi=120, layout='constrained')
    axes = figure.subplots()
    for color, storage in zip(SERIES_COLORS, ENGINES, strict=False):
        for marker, start, label in (('o', 'projected', storage), ('^', 'whitened', None)):
            points = sorted(
                (row['bytes_on_disk'], row['mAP'])
                for row in rows
                if row['storage'] == storage
                and (
                    row['features'].startswith(start)
                    or (row['features'] == 'all' and start == 'projected')
                )
            )
            line = '-' if start == 'projected' else ':'
            axes.plot(*zip(*points, strict=True), line, marker=marker, color=color, label=label)
    for row in rows:
        if row['storage'] == 'float32' and not row['features'].startswith(('proj', 'whit')):
            axes.annotate(
                row['features'],
                (row['bytes_on_disk'], row['mAP']),
                fontsize=8,
                xytext=(4, 4 if row['features'] == 'cnn' else -9),
                textcoords='offset points',
            )
            if row['features'] != 'all':
                axes.plot(row['bytes_on_disk'], row['mAP'], 'x', color='#222222')
    axes.set_xscale('log', base=2)
    axes.set_xlabel('bytes of an item on the disk')
    axes.set_ylabel('mAP (%)')
    axes.set_title(
        'Smaller features of the quickstart model\n'
        'solid: principal components, dotted: whitened; crosses: one feature alone, float32',
        fontsize=11,
        loc='left',
    )
    axes.legend(fontsize=8)
    style_axes(axes, 'both')
    save_picture(figure, PICTURE)


if __name__ == '__main__':
    main(*sys.argv[1:5])
