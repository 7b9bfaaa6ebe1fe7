"""Tell which distance means the same person, and how certain the scores are.

    fusionreid analyze FEATURES_DIR

FEATURES_DIR is what ``fusionreid test --out`` saved. Also tells which cameras find each other
worst and, with ``--open-set``, how well people are found while strangers are not. Writes
``verification.png``, ``camera_pairs.png`` and ``analysis.json``.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor

from fusionreid.evaluation import FeatureSet
from fusionreid.evaluation.feature_set import ALL
from fusionreid.evaluation.functional import (
    CameraPairResult,
    ScoreSpread,
    VerificationResult,
    bootstrap_scores,
    evaluate_camera_pairs,
    evaluate_ranking,
    evaluate_verification,
)
from fusionreid.evaluation.functional.memory import DEFAULT_MEMORY_LIMIT
from fusionreid.evaluation.metrics.open_set_scores import DEFAULT_FPIRS, open_set_text
from fusionreid.evaluation.metrics.score_table import (
    describe_features,
    describe_protocol,
    warn_of_ties,
)
from fusionreid.evaluation.scoring_errors import scoring_errors
from fusionreid.utils.progress import Progress
from fusionreid.utils.tables import markdown_table
from fusionreid.utils.terminal import say_lines
from fusionreid.visualization import draw_camera_pairs, draw_verification
from fusionreid.visualization.saving import save_picture
from fusionreid.visualization.style import camera_name
from fusionreid.visualization.verification import describe_few_pairs

from .arguments import add_memory_limit
from .labeled_features import read_extracted
from .open_set import add_open_set_argument, open_set_record, score_open_set
from .output_file import clear_links, make_folder

OUTPUTS = VERIFICATION, CAMERA_PAIRS, ANALYSIS = (
    'verification.png',
    'camera_pairs.png',
    'analysis.json',
)

HISTOGRAM_BINS = 100


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        'features_dir', type=Path, help='folder of saved features (fusionreid test --out)'
    )
    parser.add_argument(
        '--feature', default=ALL, help='feature to look at (default: all, side by side)'
    )
    parser.add_argument(
        '-o', '--out', type=Path, help='folder for pictures and numbers (default: features_dir)'
    )
    parser.add_argument(
        '--fpr',
        type=float,
        nargs='+',
        default=[1e-2, 1e-3, 1e-4],
        metavar='RATE',
        help='accepted shares of pairs of different people (default: 0.01 0.001 0.0001)',
    )
    add_open_set_argument(parser)
    parser.add_argument(
        '--center-cameras',
        action='store_true',
        help="with --open-set: also without the mean feature of each camera's gallery images",
    )
    parser.add_argument(
        '--cohort',
        type=Path,
        metavar='FILE',
        help='with --open-set: also with distances that are normalized by those to these other '
        'people (of fusionreid extract)',
    )
    parser.add_argument(
        '--cohort-size', type=int, help='nearest images of the cohort that count (default: 200)'
    )
    parser.add_argument(
        '--samples', type=int, default=1000, help='bootstrap samples (default: 1000)'
    )
    parser.add_argument('--seed', type=int, default=0, help='of the bootstrap (default: 0)')
    parser.add_argument(
        '--keep-same-camera',
        action='store_true',
        help="do not leave out a query's own identity seen by its own camera",
    )
    add_memory_limit(parser, DEFAULT_MEMORY_LIMIT)
    parser.add_argument('--title', help='title of the pictures (default: name of the data set)')


def check_arguments(args: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Refuse arguments that do not go together, and fill in what follows from others."""
    args.out = args.out or args.features_dir
    if args.open_set is None and (args.center_cameras or args.cohort):
        parser.error('--center-cameras and --cohort are scored with --open-set')
    if args.cohort is None and args.cohort_size is not None:
        parser.error('--cohort-size needs --cohort')
    if args.open_set == []:
        args.open_set = list(DEFAULT_FPIRS)


def run(args: argparse.Namespace) -> None:
    """Write pictures and numbers, and show the tables."""
    make_folder(args.out, '--out')
    clear_links(args.out, *OUTPUTS)
    feature_set = FeatureSet.load(args.features_dir)
    query, gallery = feature_set.query_and_gallery()
    # Normalized once over the whole vector, as for scoring.
    arguments = (
        feature_set.unit_rows(args.feature, query),
        feature_set.unit_rows(args.feature, gallery),
        feature_set.person_ids[query],
        feature_set.person_ids[gallery],
        feature_set.camera_ids[query],
        feature_set.camera_ids[gallery],
    )
    options: dict[str, Any] = {
        'remove_same_camera': not args.keep_same_camera,
        'memory_limit': args.memory_limit,
        'progress': Progress if sys.stderr.isatty() else None,
    }
    draws = {'num_samples': args.samples, 'seed': args.seed}
    with scoring_errors():
        ranking = evaluate_ranking(*arguments, **options)
        by_query = bootstrap_scores(ranking, **draws)
        by_identity = bootstrap_scores(ranking, groups=arguments[2], **draws)
        pairs = evaluate_camera_pairs(*arguments, **options)
        verification = evaluate_verification(*arguments, fprs=args.fpr, **options)
        open_set = None
        if args.open_set is not None:
            open_set = score_open_set(
                arguments,
                args.open_set,
                center=args.center_cameras,
                cohort=None if args.cohort is None else read_extracted(args.cohort),
                cohort_size=args.cohort_size,
                **options,
            )

    protocol = describe_protocol(feature_set, not args.keep_same_camera)
    subject = describe_features(feature_set, [args.feature])
    text = f'{subject}; {protocol}'
    title = args.title or feature_set.title(args.features_dir)
    save_picture(draw_verification(verification, title, text), args.out / VERIFICATION)
    save_picture(draw_camera_pairs(pairs, title, text), args.out / CAMERA_PAIRS)
    record = {
        'feature': args.feature,
        'protocol': protocol,
        'tied': ranking.tied,
        'verification': _verification_record(verification),
        'camera_pairs': _camera_pair_record(pairs),
        'bootstrap': {
            **draws,
            'queries': {name: asdict(spread) for name, spread in by_query.items()},
            'identities': {name: asdict(spread) for name, spread in by_identity.items()},
        },
    }
    if open_set is not None:
        record['open_set'] = open_set_record(open_set)
    content = json.dumps(record, indent=2, allow_nan=False)
    (args.out / ANALYSIS).write_text(content + '\n')
    for part in (
        text,
        _verification_text(verification),
        _camera_pair_text(pairs),
        _bootstrap_text(by_query, by_identity, args.samples),
        *([] if open_set is None else [open_set_text(open_set)]),
        *warn_of_ties(feature_set, {args.feature: ranking}),
    ):
        say_lines(f'{part}\n')
    say_lines(f'{args.out}: {", ".join(OUTPUTS)}')


def _verification_text(result: VerificationResult) -> str:
    """Lay out which share of pairs is accepted at which distance."""
    rows = [['wrongly accepted, at most', 'accept nearer than', 'wrongly accepted', 'found']]
    for point in result.measured_points:
        rows.append(
            [
                f'{100 * point.target_fpr:g}%',
                f'{point.threshold:.4f}',
                f'{100 * point.fpr:.4g}%',
                f'{100 * point.tpr:.2f}%',
            ]
        )
    found = 100 * (1 - result.eer)
    rows.append(
        ['equal errors', f'{result.eer_threshold:.4f}', f'{100 * result.eer:.4g}%', f'{found:.2f}%']
    )
    few = describe_few_pairs(result)
    return (
        f'Which distance means the same person? {result.num_same:,} pairs of the same person, '
        f'{result.num_different:,} of different people; area under the ROC curve '
        f'{result.auc:.4f}\n\n{markdown_table(rows)}' + (f'\n\nwarning: {few}' if few else '')
    )


def _camera_pair_text(result: CameraPairResult) -> str:
    """Lay out how well the cameras find each other."""
    rank1, mean_ap = 100 * result.cmc[..., 0], 100 * result.mAP
    rows = [
        ['query \\ gallery', *(f'cam {camera_name(c)}' for c in result.gallery_cameras.tolist())]
    ]
    for row, camera in enumerate(result.query_cameras.tolist()):
        cells = [
            f'{rank1[row, column]:.1f} / {mean_ap[row, column]:.1f}' if count else '-'
            for column, count in enumerate(result.num_valid_queries[row].tolist())
        ]
        rows.append([f'cam {camera_name(camera)}', *cells])
    return (
        'Which cameras find each other? Rank-1 / mAP in percent, each camera of the gallery alone'
        f'\n\n{markdown_table(rows)}'
    )


def _bootstrap_text(
    by_query: dict[str, ScoreSpread], by_identity: dict[str, ScoreSpread], samples: int
) -> str:
    """Lay out how certain the scores are."""
    names = {'mAP': 'mAP', 'rank1': 'Rank-1', 'mINP': 'mINP'}
    rows = [['score', 'value', 'other queries', '95%', 'other people', '95%']]
    for name, title in names.items():
        row = [title, f'{100 * by_query[name].score:.2f}']
        for spread in (by_query[name], by_identity[name]):
            row += [
                f'{100 * spread.mean:.2f} ± {100 * spread.deviation:.2f}',
                f'{100 * spread.low:.2f} to {100 * spread.high:.2f}',
            ]
        rows.append(row)
    return (
        f'How uncertain are the scores? Mean ± deviation of {samples} bootstrap samples, in percent'
        f'\n\n{markdown_table(rows)}'
    )


def _verification_record(result: VerificationResult) -> dict[str, Any]:
    """The result as JSON can hold it; the histogram in few bins."""
    edges, same, different = result.histogram(HISTOGRAM_BINS)
    return {
        'num_same': result.num_same,
        'num_different': result.num_different,
        'operating_points': [
            {name: _finite(value) for name, value in asdict(point).items()}
            for point in result.measured_points
        ],
        'eer': result.eer,
        'eer_threshold': result.eer_threshold,
        'auc': result.auc,
        'auc_error': result.auc_error,
        'histogram': {
            'edges': edges.tolist(),
            'same': same.tolist(),
            'different': different.tolist(),
        },
    }


def _camera_pair_record(result: CameraPairResult) -> dict[str, Any]:
    """The result as JSON can hold it; null where no query has a match."""

    def table(scores: Tensor) -> list[list[float | None]]:
        return [[_finite(score) for score in row] for row in scores.tolist()]

    return {
        'query_cameras': result.query_cameras.tolist(),
        'gallery_cameras': result.gallery_cameras.tolist(),
        'rank1': table(result.cmc[..., 0]),
        'mAP': table(result.mAP),
        'mINP': table(result.mINP),
        'num_valid_queries': result.num_valid_queries.tolist(),
        'num_gallery': result.num_gallery.tolist(),
    }


def _finite(value: float) -> float | None:
    """Return the value, None if JSON cannot hold it."""
    return value if math.isfinite(value) else None
