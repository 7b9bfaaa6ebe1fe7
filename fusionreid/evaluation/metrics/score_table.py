"""The table of scores, with the protocol that a number needs to be comparable.

Columns are laid out by ``format_table`` of ``utils/tables.py``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from fusionreid.utils.tables import format_table

from ..feature_set import ALL, FeatureSet
from ..functional import RankingResult, RepeatedResult
from ..functional.collapse import are_alike

# Beyond this share of tied matches, scores in gallery order are not to be trusted.
MANY_TIES = 0.05
DISTANCE = 'Euclidean distance of L2-normalized features'


def describe_protocol(
    feature_set: FeatureSet,
    remove_same_camera: bool,
    ties: str = 'order',
    remove_same_clothes: bool = False,
) -> str:
    """State in one line what was scored and how.

    Args:
        feature_set: What was scored.
        remove_same_camera: Whether same-camera matches were removed.
        ties: How ties were scored: in gallery ``'order'``, or ``'expected'``.
        remove_same_clothes: Whether same-clothes matches were removed.

    Returns:
        Data set, split, numbers of images and identities, distance and features.
    """
    protocol = feature_set.protocol
    query, gallery = feature_set.rows('query'), feature_set.rows('gallery')
    people, cameras = feature_set.person_ids, feature_set.camera_ids
    parts = [describe_data_set(protocol)]
    kind = 'images'
    if images := protocol.get('images_in_tracklets'):
        parts.append(f'mean features of tracklets of {images} images')
        kind = 'tracklets'
    parts.append(f'query {len(query)} {kind} of {len(people[query].unique())} ids')
    # All distractors of a data set may share one id.
    ids = people[gallery].unique()
    text = f'gallery {len(gallery)} {kind} of {len(ids)} ids'
    if not torch.isin(ids, people[query]).all():
        text += ' (distractors included)'
    parts.append(text)
    parts.append(_describe_cameras(cameras, remove_same_camera))
    if remove_same_clothes:
        parts.append('same-clothes matches removed')
    parts.append(DISTANCE)
    if ties == 'expected':
        parts.append('mean over all orders of ties')
    if protocol.get('feature_protocol'):
        parts.append(str(protocol['feature_protocol']))
    return ', '.join(parts)


def describe_data_set(protocol: Mapping[str, Any]) -> str:
    """Name a data set as its scores need it.

    Args:
        protocol: That of a :class:`FeatureSet`.

    Returns:
        Data set, release and splits, as far as they are known.

    Example:
        >>> describe_data_set({'dataset_name': 'MSMT17', 'release': 'V2', 'split': 'test'})
        'MSMT17, release V2, split test'
    """
    parts = [str(protocol.get('dataset_name', 'unnamed data set'))]
    for key, word in (('release', 'release'), ('split', 'split'), ('train_split', 'trained on')):
        if protocol.get(key):
            parts.append(f'{word} {protocol[key]}')
    return ', '.join(parts)


def describe_features(feature_set: FeatureSet, names: Sequence[str]) -> str:
    """Say in a few words what is compared.

    Args:
        feature_set: The features.
        names: Those that are selected, see :meth:`FeatureSet.select`.

    Returns:
        Their names; of all features together, their number.
    """
    if list(names) == [ALL]:
        names = feature_set.names
        if len(names) > 1:
            return f'all {len(names)} features side by side'
    return f'feature {" + ".join(names)}'


def _describe_cameras(cameras: Tensor, remove_same_camera: bool) -> str:
    if not remove_same_camera:
        return 'same-camera matches kept'
    unknown = int((cameras < 0).sum())
    if unknown == len(cameras):
        return 'no camera known, so that none is removed'
    text = 'same-camera matches removed'
    return f'{text} ({unknown} images of unknown camera kept)' if unknown else text


def format_scores(
    feature_set: FeatureSet,
    rankings: Mapping[str, RankingResult],
    topk: Sequence[int],
    remove_same_camera: bool,
    ties: str = 'order',
    remove_same_clothes: bool = False,
) -> str:
    """Lay out the scores of some features of a set as a table.

    Args:
        feature_set: What was scored.
        rankings: Result of each feature by name.
        topk: Ranks of the CMC to show.
        remove_same_camera: Whether same-camera matches were removed.
        ties: How ties were scored: in gallery ``'order'``, or ``'expected'``.
        remove_same_clothes: Whether same-clothes matches were removed.

    Returns:
        The protocol, the number of valid queries, and a row for each feature with scores in
        percent; with a column for the share of tied matches, where there are any.
    """
    widths = {**feature_set.widths, ALL: feature_set.features.shape[1]}
    rows: list[tuple[str, ...]] = [
        ('feature', 'width', 'mAP', *(f'rank-{rank}' for rank in topk), 'mINP')
    ]
    for name, ranking in rankings.items():
        values = [ranking.mAP, *(float(ranking.cmc[rank - 1]) for rank in topk), ranking.mINP]
        rows.append((name, str(widths[name]), *(f'{100 * value:.2f}' for value in values)))
    if any(ranking.tied for ranking in rankings.values()):
        shares = (percent_tied(ranking) for ranking in rankings.values())
        rows = [(*row, cell) for row, cell in zip(rows, ('tied', *shares), strict=True)]
    any_ranking = next(iter(rankings.values()))
    protocol = describe_protocol(feature_set, remove_same_camera, ties, remove_same_clothes)
    valid, total = any_ranking.num_valid_queries, len(any_ranking.first_match_rank)
    return '\n'.join(
        [
            f'Scores in percent. {protocol}',
            f'{valid} of {total} queries have a match; the others are left out',
            format_table(rows, rule=True),
        ]
    )


def format_repeated(
    splits: Sequence[FeatureSet],
    results: Mapping[str, RepeatedResult],
    description: str,
    topk: Sequence[int],
    remove_same_camera: bool,
    ties: str = 'order',
    remove_same_clothes: bool = False,
) -> str:
    """Lay out the mean scores over several splits as a table.

    Args:
        splits: What was scored in each split.
        results: Mean and deviation of each feature by name.
        description: What the splits are.
        topk: Ranks of the CMC to show.
        remove_same_camera: Whether same-camera matches were removed.
        ties: How ties were scored: in gallery ``'order'``, or ``'expected'``.
        remove_same_clothes: Whether same-clothes matches were removed.

    Returns:
        The protocol of the first split, and a row for each feature, with mean and sample standard
        deviation in percent.
    """
    first = splits[0]
    widths = {**first.widths, ALL: first.features.shape[1]}
    rows: list[tuple[str, ...]] = [
        ('feature', 'width', 'mAP', *(f'rank-{rank}' for rank in topk), 'mINP')
    ]
    for name, result in results.items():
        columns = [
            [each.mAP, *(float(each.cmc[rank - 1]) for rank in topk), each.mINP]
            for each in (result.mean, result.deviation)
        ]
        cells = (f'{100 * a:.2f} ± {100 * b:.2f}' for a, b in zip(*columns, strict=True))
        rows.append((name, str(widths[name]), *cells))
    protocol = describe_protocol(first, remove_same_camera, ties, remove_same_clothes)
    return '\n'.join(
        [
            f'Scores in percent, mean ± standard deviation over {description}. The first: '
            f'{protocol}',
            format_table(rows, rule=True),
        ]
    )


def percent_tied(ranking: RankingResult) -> str:
    """Write the share of tied matches, so that only none at all is 0.

    Args:
        ranking: A ranking.

    Returns:
        Percent, with two digits.
    """
    if 0 < ranking.tied < 0.0001:
        return '<0.01'
    return f'{100 * ranking.tied:.2f}'


def warn_of_ties(
    feature_set: FeatureSet, rankings: Mapping[str, RankingResult], ties: str = 'order'
) -> list[str]:
    """Say where scores mean little, because features are the same.

    Args:
        feature_set: What was scored.
        rankings: Result by the name of a feature of the set, or ``'all'``.
        ties: How ties were scored: in gallery ``'order'``, or ``'expected'``.

    Returns:
        A line for each feature whose gallery is all alike, or with many tied matches.
    """
    gallery = feature_set.rows('gallery')
    lines = []
    for name, ranking in rankings.items():
        share = f'{percent_tied(ranking)}% of the matches are tied with photos of other people'
        if are_alike(feature_set.select(name), gallery):
            lines.append(
                f'{name}: all gallery features are the same but for rounding ({share}): the model '
                'has collapsed, and the scores mean nothing'
            )
        elif ranking.tied >= MANY_TIES:
            order = 'the order among them is that of the files' if ties == 'order' else ''
            remedy = 'a collapsed model, or copies of photos under several identities'
            lines.append(f'{name}: {share}')
            if order:
                lines[-1] += (
                    f', and {order}: the scores mean little (--ties expected takes the mean over '
                    "all orders, in a config ties='expected')"
                )
            lines[-1] += f'; look for {remedy}'
    return lines
