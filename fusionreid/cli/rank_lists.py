"""Draw queries with the gallery images found for them.

    fusionreid rank-lists FEATURES_DIR -o rank_lists.png

FEATURES_DIR is what ``fusionreid test --out`` saved.
"""

from __future__ import annotations

import argparse
import sys

import numpy as np

from fusionreid.evaluation import FeatureSet
from fusionreid.evaluation.functional import rank_queries
from fusionreid.evaluation.rank_lists import describe_rank_lists, find_rank_lists
from fusionreid.evaluation.scoring_errors import scoring_errors
from fusionreid.utils.terminal import say
from fusionreid.visualization import draw_rank_lists, select_queries
from fusionreid.visualization.saving import save_picture


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


def run(args: argparse.Namespace) -> None:
    """Rank, and draw the picture."""
    feature_set = FeatureSet.load(args.features_dir)
    with scoring_errors():
        average_precision = score_queries(feature_set, args.features)
        chosen = select_queries(average_precision, args.num_queries)
        lists = find_rank_lists(
            feature_set, args.features, chosen, average_precision[chosen].tolist(), args.topk
        )
    picture = draw_rank_lists(
        **vars(lists), title=args.title, protocol=describe_rank_lists(feature_set, args.features)
    )
    save_picture(picture, args.out)
    total = len(average_precision)
    say(f'{args.out}: {len(chosen)} of {total} queries, from easy to hard')


def score_queries(feature_set: FeatureSet, names: list[str]) -> np.ndarray:
    """Measure how hard each query is.

    Args:
        feature_set: Queries and gallery.
        names: Features to rank by.

    Returns:
        Average precision of the Q queries in [0, 1], NaN where there is no match; (Q,).

    Raises:
        ScoringError: There is no query, no gallery image, or a feature is bad.
    """
    query, gallery = feature_set.query_and_gallery()
    # The features are L2-normalized once, over the whole vector, as for scoring.
    scores = rank_queries(
        feature_set.unit_rows(names, query),
        feature_set.unit_rows(names, gallery),
        feature_set.person_ids[query],
        feature_set.person_ids[gallery],
        feature_set.camera_ids[query],
        feature_set.camera_ids[gallery],
        progress=sys.stderr.isatty(),
    )
    return scores.average_precision.cpu().numpy()
