"""Draw queries with the gallery images found for them, from saved features."""

import argparse
import sys
from pathlib import Path

from torch.nn import functional as F

from fusionreid.evaluation import FeatureSet
from fusionreid.evaluation.functional import rank_queries, top_k
from fusionreid.visualization import draw_rank_lists, select_queries


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('features_dir', help='folder of saved features (tools/test.py --out)')
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
    return parser.parse_args()


def draw(args: argparse.Namespace) -> tuple[int, int]:
    """Draws the picture; returns the numbers of queries drawn and ranked."""
    feature_set = FeatureSet.load(args.features_dir)
    query, gallery = feature_set.split()
    for role, part in (('query', query), ('gallery', gallery)):
        if not len(part):
            raise ValueError(f'{args.features_dir} holds no {role} image')
    # The features are L2-normalised once, over the whole vector, as for scoring.
    query_features = F.normalize(query.select(args.features))
    gallery_features = F.normalize(gallery.select(args.features))
    average_precision, _, _ = rank_queries(
        query_features,
        gallery_features,
        query.person_ids,
        gallery.person_ids,
        query.camera_ids,
        gallery.camera_ids,
        progress=sys.stderr.isatty(),
    )
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
    picture = draw_rank_lists(
        query_paths=[query.img_paths[index] for index in chosen],
        query_ids=query.person_ids[chosen].tolist(),
        query_cameras=query.camera_ids[chosen].tolist(),
        gallery_paths=gallery.img_paths,
        gallery_ids=gallery.person_ids.tolist(),
        gallery_cameras=gallery.camera_ids.tolist(),
        indices=found.indices.cpu().numpy(),
        distances=found.distances.cpu().numpy(),
        title=args.title,
        protocol=describe(feature_set, args.features),
        average_precision=average_precision[chosen].tolist(),
    )
    Path(args.out).parent.mkdir(parents=True, exist_ok=True)
    picture.save(args.out)
    return len(chosen), len(query)


def describe(feature_set: FeatureSet, names: list[str]) -> str:
    """States in one line what was ranked and how."""
    known = feature_set.protocol
    data = [str(known[key]) for key in ('dataset_name', 'release') if known.get(key)]
    all_of_several = names == ['all'] and len(feature_set.names) > 1
    parts = [
        ' '.join(data),
        f'all {len(feature_set.names)} features' if all_of_several else ' + '.join(names),
        'Euclidean distance of L2-normalised vectors',
        "the query's own identity seen by its own camera is left out",
    ]
    return '; '.join(part for part in parts if part)


def main() -> int:
    args = parse_args()
    try:
        drawn, ranked = draw(args)
    except KeyError as error:  # a feature that the set does not hold
        print(f'error: {error.args[0]}', file=sys.stderr)
        return 1
    except (OSError, ValueError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 1
    print(f'{args.out}: {drawn} of {ranked} queries, from easy to hard')
    return 0


if __name__ == '__main__':
    sys.exit(main())
