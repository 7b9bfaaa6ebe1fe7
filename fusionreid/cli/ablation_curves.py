"""Draw scores against L, d, k1 or k2, with their mean and deviation over seeds.

    fusionreid ablation-curves L work_dirs/fusion_ablation -o L.png
    fusionreid ablation-curves k1 FEATURES_DIR -o k1.png

For L (the number of HTMs) and d (their width) the folders are those of ``fusionreid ablate``; the
runs of several, which may differ in d, are drawn together. For k1 and k2 of re-ranking they are
saved features (``fusionreid test --out``), one folder for each seed, which are re-ranked with every
pair of ``--k1`` and ``--k2``.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fusionreid.config import read_config
from fusionreid.errors import UserError
from fusionreid.evaluation import FeatureSet
from fusionreid.evaluation.feature_comparison import headline_scores
from fusionreid.evaluation.feature_set import ALL
from fusionreid.evaluation.functional import (
    evaluate_distances,
    evaluate_ranking,
    reranked_blocks,
)
from fusionreid.evaluation.functional.reranking import DEFAULT_RERANKING_MEMORY_LIMIT
from fusionreid.evaluation.functional.reranking.parameters import (
    DEFAULT_LAMBDA_VALUE,
    check_parameters,
)
from fusionreid.evaluation.metrics.score_table import describe_data_set, describe_features
from fusionreid.evaluation.scoring_errors import scoring_errors
from fusionreid.utils.progress import Progress
from fusionreid.utils.tables import markdown_table
from fusionreid.utils.terminal import say, say_lines
from fusionreid.visualization.ablation_curves import draw_ablation_curves
from fusionreid.visualization.saving import save_picture

from .ablate import VARIANTS
from .ablation_runs import METRICS, Scores, read_runs
from .arguments import add_memory_limit, positive

# Key of the config, and what the horizontal axis is called.
MODEL_SETTINGS = {
    'L': ('model.neck.num_layers', 'L, number of HTMs'),
    'd': ('model.neck.embed_dims', 'd, width of the HTMs'),
}
RERANK_SETTINGS = ('k1', 'k2')
MAX_PAIRS, MAX_CURVES = 100, 7

Curves = dict[str, dict[float, Scores]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument('against', choices=[*MODEL_SETTINGS, *RERANK_SETTINGS], help='the setting')
    parser.add_argument(
        'folders', nargs='+', type=Path, help='of fusionreid ablate, or of saved features'
    )
    parser.add_argument('-o', '--out', required=True, help='picture to write, e.g. L.png')
    parser.add_argument('--feature', default=ALL, help='feature to score (default: all)')
    parser.add_argument(
        '--k1', type=positive, nargs='+', default=[5, 10, 20, 30], help='default: 5 10 20 30'
    )
    parser.add_argument('--k2', type=positive, nargs='+', default=[1, 3, 6], help='default: 1 3 6')
    parser.add_argument(
        '--lambda-value',
        type=float,
        default=DEFAULT_LAMBDA_VALUE,
        help='of the re-ranking (default: %(default)s)',
    )
    add_memory_limit(parser, DEFAULT_RERANKING_MEMORY_LIMIT)
    parser.add_argument('--title', help='title (default: the setting)')


def check_arguments(args: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Refuse arguments that do not go together."""
    args.k1, args.k2 = sorted(set(args.k1)), sorted(set(args.k2))
    if args.against not in RERANK_SETTINGS:
        return
    if len(args.k1) * len(args.k2) > MAX_PAIRS:
        parser.error(f'at most {MAX_PAIRS} pairs of k1 and k2, got {len(args.k1) * len(args.k2)}')
    other = 'k2' if args.against == 'k1' else 'k1'
    if len(getattr(args, other)) > MAX_CURVES:
        parser.error(f'--{other} has a curve for each value, at most {MAX_CURVES}')


def run(args: argparse.Namespace) -> None:
    """Collect the scores, draw them, and show them as a table."""
    if args.against in MODEL_SETTINGS:
        axis = MODEL_SETTINGS[args.against][1]
        curves, references, protocol = collect_runs(args.folders, args.against, args.feature)
    else:
        axis = f'{args.against} of the re-ranking'
        curves, references, protocol = rerank_grid(args)
    title = args.title or f'Scores against {axis}'
    save_picture(draw_ablation_curves(curves, axis, title, protocol, references), args.out)
    rows = [['', args.against, 'seeds', *METRICS]]
    for name, curve in curves.items():
        rows += [_row(name, f'{value:g}', curve[value]) for value in sorted(curve)]
    rows += [_row(name, '', scores) for name, scores in references.items()]
    say_lines(f'{protocol}\n\n{markdown_table(rows)}\n')
    say(args.out)


def _row(name: str, value: str, scores: Scores) -> list[str]:
    cells = []
    for metric in METRICS:
        cell = f'{statistics.fmean(scores[metric]):.1f}'
        if len(scores[metric]) > 1:
            cell += f' ± {statistics.stdev(scores[metric]):.1f}'
        cells.append(cell)
    return [name, value, str(len(scores[METRICS[0]])), *cells]


# ---- runs of fusionreid ablate


def collect_runs(
    folders: Sequence[Path], against: str, feature: str
) -> tuple[Curves, dict[str, Scores], str]:
    """Read the results that ``fusionreid ablate`` has written.

    Models that differ in more than the setting have curves of their own, named by the difference.

    Args:
        folders: Folders of ablations.
        against: ``'L'`` or ``'d'``.
        feature: Feature whose scores are read.

    Returns:
        The curves; the scores of the branches alone; and data set, epochs, feature and seeds.

    Raises:
        UserError: A folder holds no results, one is damaged or lacks the feature, or there are no
            two values of the setting.
    """
    key = MODEL_SETTINGS[against][0]
    found: list[tuple[dict[str, Any], Scores]] = []
    alone: dict[str, Scores] = {}
    seeds: set[int] = set()
    texts: dict[str, None] = {}
    for folder in folders:
        by_model, own_seeds = read_runs(folder, feature)
        seeds |= own_seeds
        for path, scores in by_model.items():
            cfg = read_config(path / 'config.py')
            dataset = cfg.test_dataloader.dataset
            name = dataset.get('dataset_name', dataset.type)
            texts[f'{name}, {cfg.train_cfg.max_epochs} epochs'] = None
            if cfg.model.get('neck') is None:
                title = VARIANTS[path.name][0] if path.name in VARIANTS else path.name
                alone.setdefault(title, scores)
            else:
                found.append((_flatten(cfg.to_dict()), scores))
    curves = _group(found, key)
    if not curves:
        values = sorted({flat[key] for flat, _ in found})
        raise UserError(
            f'the runs have no two values of {against} that differ in nothing else: '
            f'{key} is {values}'
        )
    if len(curves) > MAX_CURVES:
        raise UserError(
            f'{len(curves)} curves cannot be told apart, give fewer folders at once: '
            f'{"; ".join(curves)}'
        )
    text = f'{"; ".join(texts)}; feature {feature}; seeds {", ".join(map(str, sorted(seeds)))}'
    return curves, alone, text


def _flatten(values: Mapping[str, Any], prefix: str = '') -> dict[str, Any]:
    """Settings by their dotted keys."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat.update(_flatten(value, f'{prefix}{name}.'))
        else:
            is_list = isinstance(value, list | tuple)
            flat[f'{prefix}{name}'] = ' + '.join(map(str, value)) if is_list else value
    return flat


def _group(found: Sequence[tuple[dict[str, Any], Scores]], key: str) -> Curves:
    """Sort models into curves: those that differ in nothing but the setting.

    Args:
        found: Settings of each model by key, and its scores.
        key: Key of the setting.

    Returns:
        Curves of two values or more, named by what they differ in.
    """
    settings = sorted({name for flat, _ in found for name in flat} - {key})
    groups: dict[tuple[str, ...], dict[float, Scores]] = {}
    for flat, scores in found:
        group = tuple(str(flat.get(name, 'none')) for name in settings)
        same = groups.setdefault(group, {}).setdefault(flat[key], {name: [] for name in METRICS})
        for name in METRICS:
            same[name] += scores[name]
    drawn = {group: curve for group, curve in groups.items() if len(curve) > 1}
    differing = [
        place for place in range(len(settings)) if len({group[place] for group in drawn}) > 1
    ]
    curves = {}
    for group, curve in drawn.items():
        parts = (f'{settings[place].rpartition(".")[2]} {group[place]}' for place in differing)
        curves[', '.join(parts) or 'fusion'] = curve
    return dict(sorted(curves.items()))


# ---- re-ranking of saved features


def rerank_grid(args: argparse.Namespace) -> tuple[Curves, dict[str, Scores], str]:
    """Re-rank saved features with every pair of k1 and k2.

    Args:
        args: Arguments of the command; ``folders``, ``against``, ``feature``, ``k1``, ``k2``,
            ``lambda_value`` and ``memory_limit`` are read.

    Returns:
        A curve for each value of the other setting; the scores without re-ranking; and what was
        scored.

    Raises:
        UserError: Features are missing or damaged, or a number is out of its range.
    """
    pairs = [(k1, k2) for k1 in args.k1 for k2 in args.k2]
    # All folders and numbers are looked at before the first one is re-ranked.
    for folder in args.folders:
        feature_set = FeatureSet.load(folder)
        query, gallery = feature_set.query_and_gallery()
        feature_set.only([args.feature])
        with scoring_errors():
            for k1, k2 in pairs:
                check_parameters(k1, k2, args.lambda_value, len(query) + len(gallery))
    curves: Curves = {}
    plain: Scores = {name: [] for name in METRICS}
    meter = Progress('re-rankings', len(pairs) * len(args.folders))
    done = 0
    for folder in args.folders:
        feature_set = FeatureSet.load(folder)
        query, gallery = feature_set.query_and_gallery()
        vectors = (
            feature_set.unit_rows(args.feature, query),
            feature_set.unit_rows(args.feature, gallery),
        )
        people, cameras = feature_set.person_ids, feature_set.camera_ids
        labels = (people[query], people[gallery], cameras[query], cameras[gallery])
        with scoring_errors():
            _append(plain, headline_scores(evaluate_ranking(*vectors, *labels)))
            for k1, k2 in pairs:
                blocks = reranked_blocks(
                    *vectors,
                    k1=k1,
                    k2=k2,
                    lambda_value=args.lambda_value,
                    memory_limit=args.memory_limit,
                )
                value, name = (k1, f'k2 = {k2}') if args.against == 'k1' else (k2, f'k1 = {k1}')
                target = curves.setdefault(name, {}).setdefault(value, {m: [] for m in METRICS})
                _append(target, headline_scores(evaluate_distances(blocks, *labels)))
                done += 1
                meter.update(done)
    known = feature_set.protocol
    parts = [
        describe_data_set(known) if known else '',
        describe_features(feature_set, [args.feature]),
        f'lambda {args.lambda_value:g}',
        f'{len(args.folders)} sets of features' if len(args.folders) > 1 else '',
    ]
    return curves, {'no re-ranking': plain}, '; '.join(part for part in parts if part)


def _append(target: Scores, scores: Mapping[str, float]) -> None:
    for name in METRICS:
        target[name].append(scores[name])
