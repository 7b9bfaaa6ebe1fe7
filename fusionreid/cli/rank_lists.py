"""Draw queries with the gallery images found for them.

    fusionreid rank-lists FEATURES_DIR -o rank_lists.png

FEATURES_DIR is what ``fusionreid test --out`` saved. With the checkpoint that it was saved from,
``--why CHECKPOINT`` draws below each list which pixels make the query and each wrong answer alike.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from fusionreid.evaluation import FeatureSet
from fusionreid.evaluation.functional import SearchResult, rank_queries, top_k
from fusionreid.evaluation.metrics.score_table import (
    DISTANCE,
    describe_data_set,
    describe_features,
)
from fusionreid.evaluation.scoring_errors import scoring_errors
from fusionreid.utils.terminal import say
from fusionreid.visualization import draw_rank_lists, select_queries
from fusionreid.visualization.color_scale import DEFAULT_COLORMAP, find_colormap
from fusionreid.visualization.saving import save_picture

from .why_found import FoundImage, explain_found


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument('features_dir', help='folder of saved features (fusionreid test --out)')
    parser.add_argument('-o', '--out', required=True, help='picture to write, e.g. rank_lists.png')
    parser.add_argument(
        '--features',
        nargs='+',
        default=['all'],
        metavar='NAME',
        help='features to rank by; several are concatenated (default: all)',
    )
    parser.add_argument(
        '--num-queries', type=int, default=8, help='queries, from easy to hard (default: 8)'
    )
    parser.add_argument('--topk', type=int, default=10, help='answers a query (default: 10)')
    parser.add_argument('--title', default='Rank lists')
    parser.add_argument(
        '--why', metavar='CHECKPOINT', help='model to show with why the wrong answers were found'
    )
    parser.add_argument(
        '--colormap',
        default=DEFAULT_COLORMAP,
        help=f'colormap of matplotlib for --why (default: {DEFAULT_COLORMAP})',
    )


def run(args: argparse.Namespace) -> None:
    """Rank, and draw the picture."""
    find_colormap(args.colormap)  # before the work
    feature_set = FeatureSet.load(args.features_dir)
    feature_set.query_and_gallery()
    query, gallery = feature_set.split()
    with scoring_errors():
        chosen, scores, found = _rank(query, gallery, args)
    lists: dict[str, Any] = dict(
        query_paths=[query.img_paths[index] for index in chosen],
        query_ids=query.person_ids[chosen].tolist(),
        query_cameras=query.camera_ids[chosen].tolist(),
        gallery_paths=gallery.img_paths,
        gallery_ids=gallery.person_ids.tolist(),
        gallery_cameras=gallery.camera_ids.tolist(),
        indices=found.indices.cpu().numpy(),
        distances=found.distances.cpu().numpy(),
    )
    reasons = explain_found(_wrong(**lists), args.why, args.features) if args.why else None
    picture = draw_rank_lists(
        **lists,
        title=args.title,
        protocol=_describe(feature_set, args.features),
        average_precision=scores,
        reasons=reasons,
        colormap=args.colormap,
    )
    save_picture(picture, args.out)
    say(f'{args.out}: {len(chosen)} of {len(query)} queries, from easy to hard')


def _rank(
    query: FeatureSet, gallery: FeatureSet, args: argparse.Namespace
) -> tuple[list[int], list[float], SearchResult]:
    """Choose queries, and find their nearest gallery images.

    Args:
        query: The queries.
        gallery: The gallery.
        args: Arguments of the command line.

    Returns:
        Indices of the chosen queries, their average precision, and what was found for them.

    Raises:
        ScoringInputError: If an argument is out of its range, or no query has a match.
    """
    # The features are L2-normalized once, over the whole vector, as for scoring.
    query_features = query.unit_rows(args.features)
    gallery_features = gallery.unit_rows(args.features)
    scores = rank_queries(
        query_features,
        gallery_features,
        query.person_ids,
        gallery.person_ids,
        query.camera_ids,
        gallery.camera_ids,
        progress=sys.stderr.isatty(),
    )
    average_precision = scores.average_precision
    chosen = select_queries(average_precision.cpu().numpy(), args.num_queries)
    found = top_k(
        query_features[chosen],
        gallery_features,
        min(args.topk, len(gallery)),
        query_ids=query.person_ids[chosen],
        gallery_ids=gallery.person_ids,
        query_cameras=query.camera_ids[chosen],
        gallery_cameras=gallery.camera_ids,
    )
    return chosen, average_precision[chosen].tolist(), found


def _wrong(
    query_paths: Sequence[str],
    query_ids: Sequence[int],
    query_cameras: Sequence[int],
    gallery_paths: Sequence[str],
    gallery_ids: Sequence[int],
    gallery_cameras: Sequence[int],
    indices: np.ndarray,
    distances: np.ndarray,
) -> dict[tuple[int, int], FoundImage]:
    """The wrong answers by row and rank; the arguments are those of the picture."""
    return {
        (row, rank): FoundImage(
            query_paths[row],
            query_cameras[row],
            gallery_paths[index],
            gallery_cameras[index],
            float(distances[row, rank]),
        )
        for (row, rank), index in np.ndenumerate(indices)
        if index >= 0 and gallery_ids[index] != query_ids[row]
    }


def _describe(feature_set: FeatureSet, names: list[str]) -> str:
    """State in one line what was ranked and how."""
    known = feature_set.protocol
    parts = [
        describe_data_set(known) if known else '',
        describe_features(feature_set, names),
        DISTANCE,
        "the query's own identity seen by its own camera is left out",
    ]
    return '; '.join(part for part in parts if part)
