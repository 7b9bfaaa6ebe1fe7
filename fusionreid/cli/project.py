"""Draw saved features as points in a plane, by t-SNE, UMAP or PCA.

    fusionreid project FEATURES_DIR -o tsne.png --thumbnails 30

FEATURES_DIR is what ``fusionreid test --out`` saved. The people that most cameras see are shown,
with all their images among queries and gallery, colored by identity or by camera.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from torch import Tensor

from fusionreid.evaluation import FeatureSet
from fusionreid.evaluation.feature_set import ALL
from fusionreid.evaluation.metrics.score_table import describe_data_set, describe_features
from fusionreid.utils.terminal import say
from fusionreid.visualization.projection import (
    METHODS,
    available,
    draw_projection,
    project_features,
    spread_out,
)
from fusionreid.visualization.saving import save_picture
from fusionreid.visualization.style import camera_name

from .arguments import positive

MAX_IMAGES = 5000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument('features_dir', help='folder of saved features (fusionreid test --out)')
    parser.add_argument('-o', '--out', required=True, help='picture to write, e.g. tsne.png')
    parser.add_argument(
        '--method',
        choices=METHODS,
        help='default: tsne where scikit-learn is installed, else pca; umap needs umap-learn',
    )
    parser.add_argument(
        '--feature', default=ALL, help='feature to draw (default: all, side by side)'
    )
    parser.add_argument(
        '--color', choices=('identity', 'camera'), default='identity', help='default: identity'
    )
    parser.add_argument('--num-ids', type=positive, default=18, help='people (default: 18)')
    parser.add_argument(
        '--thumbnails', type=int, default=0, metavar='N', help='photos on top (default: none)'
    )
    parser.add_argument('--seed', type=int, default=0, help='of t-SNE and UMAP (default: 0)')
    parser.add_argument('--title', help='title (default: the method)')


def check_arguments(args: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Refuse arguments out of their range, and choose the method where none is given."""
    if args.thumbnails < 0:
        parser.error(f'--thumbnails must be 0 or more, got {args.thumbnails}')
    if not 0 <= args.seed < 2**32:
        parser.error(f'--seed must be in 0..{2**32 - 1}, got {args.seed}')
    if args.method is None:
        args.method = 'tsne' if available('tsne') else 'pca'


def run(args: argparse.Namespace) -> None:
    """Project, and draw the picture."""
    feature_set = FeatureSet.load(args.features_dir)
    rows, num_people = choose_images(feature_set, args.num_ids)
    features = feature_set.unit_rows(args.feature, rows).cpu().numpy()
    points, axes = project_features(features, args.method, args.seed)
    labels = feature_set.person_ids if args.color == 'identity' else feature_set.camera_ids
    # Sorted, for the legend.
    order = labels[rows].argsort(stable=True)
    rows, points = rows[order], points[order.numpy()]
    numbers = labels[rows].tolist()
    groups = [str(each) if args.color == 'identity' else camera_name(each) for each in numbers]
    shown = set(spread_out(points, args.thumbnails))
    thumbnails = [
        feature_set.img_paths[row] if place in shown else None
        for place, row in enumerate(rows.tolist())
    ]
    known = feature_set.protocol
    parts = [
        describe_data_set(known) if known else '',
        describe_features(feature_set, [args.feature]),
        f'{len(rows)} images of {num_people} people, L2-normalized',
    ]
    figure = draw_projection(
        points,
        groups,
        args.title or f'{METHODS[args.method]} by {args.color}',
        '; '.join(part for part in parts if part),
        axes=axes,
        legend=args.color,
        thumbnails=thumbnails,
    )
    save_picture(figure, args.out)
    say(f'{args.out}: {METHODS[args.method]} of {len(rows)} images of {num_people} people')


def choose_images(feature_set: FeatureSet, num_ids: int) -> tuple[Tensor, int]:
    """Choose all images of the people that most cameras see, of those that a query shows.

    Args:
        feature_set: The features; without queries, everybody may be chosen.
        num_ids: People wanted; ties are decided by id.

    Returns:
        Rows, ascending, at most ``MAX_IMAGES``, evenly left out beyond; and the number of people.
    """
    people, cameras = feature_set.person_ids.numpy(), feature_set.camera_ids.numpy()
    query = feature_set.rows('query').numpy()
    candidates = np.unique(people[query] if len(query) else people)
    # Pairs of a person and a camera, each once.
    pairs = np.unique(np.stack([people, cameras], axis=1), axis=0)
    ids, seen_by = np.unique(pairs[:, 0], return_counts=True)
    is_candidate = np.isin(ids, candidates)
    ids, seen_by = ids[is_candidate], seen_by[is_candidate]
    chosen = ids[np.argsort(-seen_by, kind='stable')[:num_ids]]
    rows = np.flatnonzero(np.isin(people, chosen))
    if len(rows) > MAX_IMAGES:
        rows = rows[np.linspace(0, len(rows) - 1, MAX_IMAGES).round().astype(int)]
    return torch.from_numpy(rows), len(chosen)
