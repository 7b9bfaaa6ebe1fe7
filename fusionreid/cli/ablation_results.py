"""The runs of an ablation, one by one, and their gain over one of its models."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from fusionreid.evaluation import FeatureSet
from fusionreid.evaluation.feature_comparison import compare_features
from fusionreid.evaluation.feature_set import ALL
from fusionreid.evaluation.functional import RankingResult, ScoreSpread, bootstrap_gain
from fusionreid.utils.tables import markdown_table


def per_run_rows(files: Iterable[Path]) -> Iterator[tuple[object, ...]]:
    """Lay out the scores of every feature of every run.

    Args:
        files: ``result.json`` of the runs.

    Yields:
        The names of the columns, then a row for each feature.
    """
    for number, file in enumerate(files):
        run = json.loads(file.read_text())
        for place, (feature, scores) in enumerate(run['scores'].items()):
            if not number and not place:
                yield ('model', 'seed', 'feature', *scores)
            yield (run['variant'], run['seed'], feature, *(round(s, 2) for s in scores.values()))


def summarize_gains(folders: Mapping[str, Sequence[Path]], baseline: str) -> str:
    """Lay out by how much each feature is better than all features of one of the models together.

    Args:
        folders: By the title of a model, the saved features of its runs.
        baseline: The title of the model that the others are held against.

    Returns:
        Markdown.
    """
    sets = {title: list(map(FeatureSet.load, own)) for title, own in folders.items()}
    first = sets[baseline][0]
    people = first.person_ids[first.query_and_gallery()[0]]
    rankings = {title: list(map(compare_features, own)) for title, own in sets.items()}
    held = [_of_all(run) for run in rankings[baseline]]
    rows = [['model', 'feature', 'gain in mAP', '95%, other queries', '95%, other people']]
    for title, runs in rankings.items():
        for feature in runs[0] if title != baseline else ():
            own = [run[feature] for run in runs]
            by_query, by_person = (
                bootstrap_gain(own, held, groups=groups)['mAP'] for groups in (None, people)
            )
            score = f'{100 * by_query.score:+.1f}'
            rows.append([title, feature, score, _interval(by_query), _interval(by_person)])
    return (
        f'Gain in mAP over all features of {baseline}, mean over the seeds, with intervals of a '
        f'paired bootstrap over queries and over people:\n\n{markdown_table(rows)}'
    )


def _of_all(rankings: Mapping[str, RankingResult]) -> RankingResult:
    return rankings.get(ALL) or next(iter(rankings.values()))


def _interval(spread: ScoreSpread) -> str:
    return f'{100 * spread.low:+.1f} to {100 * spread.high:+.1f}'
