"""Draw queries with the gallery images found for them.

    fusionreid rank-lists FEATURES_DIR -o rank_lists.png

FEATURES_DIR is what ``fusionreid test --out`` saved. With the checkpoint that it was saved from,
``--why CHECKPOINT`` draws below each list which pixels make the query and each wrong answer alike.
"""

from __future__ import annotations

import argparse
import sys

import numpy as np

from fusionreid.apis import FeatureExtractor
from fusionreid.evaluation import FeatureSet
from fusionreid.evaluation.functional import rank_queries
from fusionreid.evaluation.rank_lists import RankLists, describe_rank_lists, find_rank_lists
from fusionreid.evaluation.scoring_errors import scoring_errors
from fusionreid.utils.progress import Progress
from fusionreid.utils.terminal import say
from fusionreid.visualization import draw_rank_lists, select_queries
from fusionreid.visualization.color_scale import find_colormap
from fusionreid.visualization.saving import save_picture

from .arguments import add_colormap_argument, add_model_arguments
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
    add_model_arguments(parser)
    add_colormap_argument(parser)


def check_arguments(args: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Refuse arguments that do not go together."""
    for name in ('config', 'device', 'colormap'):
        if not args.why and getattr(args, name) != parser.get_default(name):
            parser.error(f'--{name} is for --why')


def run(args: argparse.Namespace) -> None:
    """Rank, and draw the picture."""
    # Before the work.
    find_colormap(args.colormap)
    model = (
        FeatureExtractor(args.why, args.config, device=args.device, fold=False)
        if args.why
        else None
    )
    feature_set = FeatureSet.load(args.features_dir)
    with scoring_errors():
        average_precision = score_queries(feature_set, args.features)
        chosen = select_queries(average_precision, args.num_queries)
        lists = find_rank_lists(
            feature_set, args.features, chosen, average_precision[chosen].tolist(), args.topk
        )
    reasons = explain_found(_wrong(lists), model, args.features) if model else None
    picture = draw_rank_lists(
        **vars(lists),
        title=args.title,
        protocol=describe_rank_lists(feature_set, args.features),
        reasons=reasons,
        colormap=args.colormap,
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
        progress=Progress if sys.stderr.isatty() else None,
    )
    return scores.average_precision.cpu().numpy()


def _wrong(lists: RankLists) -> dict[tuple[int, int], FoundImage]:
    """The wrong answers by row and rank."""
    return {
        (row, rank): FoundImage(
            lists.query_paths[row],
            lists.query_cameras[row],
            lists.gallery_paths[index],
            lists.gallery_cameras[index],
            float(lists.distances[row, rank]),
        )
        for (row, rank), index in np.ndenumerate(lists.indices)
        if index >= 0 and lists.gallery_ids[index] != lists.query_ids[row]
    }
