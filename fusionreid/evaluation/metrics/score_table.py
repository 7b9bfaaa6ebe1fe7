"""The table of scores, with the protocol that a number needs to be comparable.

Columns are laid out by ``format_table`` of ``utils/tables.py``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from fusionreid.utils.tables import format_table

from ..feature_set import ALL, FeatureSet
from ..functional import RankingResult


def describe_protocol(feature_set: FeatureSet, remove_same_camera: bool) -> str:
    """State in one line what was scored and how.

    Args:
        feature_set: What was scored.
        remove_same_camera: Whether same-camera matches were removed.

    Returns:
        Data set, split, numbers of images and identities, distance and features.
    """
    protocol = feature_set.protocol
    query, gallery = feature_set.rows('query'), feature_set.rows('gallery')
    people, cameras = feature_set.person_ids, feature_set.camera_ids
    parts = [str(protocol.get('dataset_name', 'unnamed data set'))]
    if protocol.get('release'):
        parts.append(f'release {protocol["release"]}')
    if protocol.get('split'):
        parts.append(f'split {protocol["split"]}')
    if protocol.get('train_split'):
        parts.append(f'trained on {protocol["train_split"]}')
    parts.append(f'query {len(query)} images of {len(people[query].unique())} ids')
    # All distractors of a data set may share one id.
    ids = len(people[gallery].unique())
    parts.append(f'gallery {len(gallery)} images of {ids} ids (distractors included)')
    parts.append(_describe_cameras(cameras, remove_same_camera))
    parts.append('Euclidean distance of L2-normalized features')
    if protocol.get('feature_protocol'):
        parts.append(str(protocol['feature_protocol']))
    return ', '.join(parts)


def _describe_cameras(cameras: Tensor, remove_same_camera: bool) -> str:
    if not remove_same_camera:
        return 'same-camera matches kept'
    unknown = int((cameras < 0).sum())
    text = 'same-camera matches removed'
    return f'{text} ({unknown} images of unknown camera kept)' if unknown else text


def format_scores(
    feature_set: FeatureSet,
    rankings: Mapping[str, RankingResult],
    topk: Sequence[int],
    remove_same_camera: bool,
) -> str:
    """Lay out the scores of some features of a set as a table.

    Args:
        feature_set: What was scored.
        rankings: Result of each feature by name.
        topk: Ranks of the CMC to show.
        remove_same_camera: Whether same-camera matches were removed.

    Returns:
        The protocol, the number of valid queries, and a row for each feature with scores in
        percent.
    """
    widths = {**feature_set.widths, ALL: feature_set.features.shape[1]}
    rows = [('feature', 'width', 'mAP', *(f'rank-{rank}' for rank in topk), 'mINP')]
    for name, ranking in rankings.items():
        values = [ranking.mAP, *(float(ranking.cmc[rank - 1]) for rank in topk), ranking.mINP]
        rows.append((name, str(widths[name]), *(f'{100 * value:.2f}' for value in values)))
    any_ranking = next(iter(rankings.values()))
    valid, total = any_ranking.num_valid_queries, len(any_ranking.first_match_rank)
    return '\n'.join(
        [
            f'Scores in percent. {describe_protocol(feature_set, remove_same_camera)}',
            f'{valid} of {total} queries have a match; the others are left out',
            format_table(rows, rule=True),
        ]
    )
