"""Score every feature of a model, and their concatenation in two ways.

    fusionreid compare FEATURES_DIR
    fusionreid compare CONFIG CHECKPOINT

FEATURES_DIR is what ``fusionreid test --out`` saved; a checkpoint is tested first. Writes a table,
``feature_scores.md``, and a bar chart, ``feature_scores.png``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from fusionreid.config import find_config
from fusionreid.errors import ConfigError
from fusionreid.evaluation import FeatureSet
from fusionreid.evaluation.feature_comparison import (
    ALL_EACH_NORMALIZED,
    compare_features,
    headline_scores,
    weigh_features,
)
from fusionreid.evaluation.functional import RankingResult
from fusionreid.evaluation.metrics.score_table import (
    describe_protocol,
    percent_tied,
    warn_of_ties,
)
from fusionreid.utils.tables import markdown_table
from fusionreid.utils.terminal import say_lines
from fusionreid.visualization import draw_feature_chart
from fusionreid.visualization.saving import save_picture

from .main import run_command
from .output_file import clear_links, make_folder

OUTPUTS = TABLE, CHART = 'feature_scores.md', 'feature_scores.png'

LEGEND = """\
`all` is the concatenation, normalized once over the whole vector, as in the paper. Weight is a
feature's share of its squared length. `all_each_normalized` is the concatenation of features that
were normalized one by one, so that all weigh the same."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        'source', help='folder of saved features (fusionreid test --out), or config'
    )
    parser.add_argument('checkpoint', nargs='?', help='checkpoint, if a config is given')
    parser.add_argument(
        '-o',
        '--out',
        type=Path,
        help='folder for table and chart, and for the features of a tested checkpoint (default: '
        'the folder of features; work_dirs/<config name>/features)',
    )
    parser.add_argument('--title', help='title of the chart (default: the data set or config)')
    parser.add_argument(
        '--keep-same-camera',
        action='store_true',
        help="do not leave out a query's own identity seen by its own camera",
    )
    parser.add_argument('--data-root', help='with a config: folder of the data set')
    parser.add_argument('--cfg-options', nargs='+', default=[], help='with a config: overrides')


def check_arguments(args: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Refuse arguments that do not go together, and fill in what follows from others."""
    source = Path(args.source)
    if source.is_dir():
        if args.checkpoint or args.data_root or args.cfg_options:
            parser.error(
                'a checkpoint, --data-root and --cfg-options belong to a config, '
                f'{source} is a folder'
            )
        args.out = args.out or source
    else:
        try:
            args.source = str(find_config(args.source))
        except ConfigError as error:
            parser.error(f'{source} is neither a folder of saved features nor a config: {error}')
        if args.checkpoint is None:
            parser.error(f'a config needs a checkpoint: {source} CHECKPOINT')
        args.out = args.out or Path('work_dirs') / source.stem / 'features'
        args.title = args.title or source.stem


def _save_features(args: argparse.Namespace) -> None:
    """Save the features of a checkpoint in the output folder."""
    arguments = [args.source, args.checkpoint, '--work-dir', args.out, '--out', args.out]
    if args.data_root:
        arguments += ['--data-root', args.data_root]
    options = list(args.cfg_options)
    if args.keep_same_camera:
        options.append('test_evaluator.remove_same_camera=False')
    if options:
        arguments += ['--cfg-options', *options]
    if status := run_command('test', [str(argument) for argument in arguments]):
        raise SystemExit(status)


def _as_rows(feature_set: FeatureSet, results: dict[str, RankingResult]) -> list[list[str]]:
    """Lay out the results as rows, the head first."""
    weights = weigh_features(feature_set)
    total = sum(feature_set.widths.values())
    rows = [['feature', 'width', 'weight', *headline_scores(next(iter(results.values())))]]
    for name, result in results.items():
        weight = f'{100 * weights[name]:.1f}%' if name in weights else ''
        scores = [f'{score:.1f}' for score in headline_scores(result).values()]
        rows.append([name, str(feature_set.widths.get(name, total)), weight, *scores])
    if any(result.tied for result in results.values()):
        for row, cell in zip(rows, ('tied', *map(percent_tied, results.values())), strict=True):
            row.append(cell)
    return rows


def run(args: argparse.Namespace) -> None:
    """Write table and chart, and show the table."""
    make_folder(args.out, '--out')
    clear_links(args.out, *OUTPUTS)
    if args.checkpoint:
        _save_features(args)
    feature_set = FeatureSet.load(args.out if args.checkpoint else args.source)
    results = compare_features(feature_set, not args.keep_same_camera)
    protocol = describe_protocol(feature_set, not args.keep_same_camera)
    table = markdown_table(_as_rows(feature_set, results))
    text = f'Scores in percent. {protocol}\n\n{table}\n'
    if len(results) > 1:
        text += f'\n{LEGEND}\n'
    known = {name: result for name, result in results.items() if name != ALL_EACH_NORMALIZED}
    text += ''.join(f'\n{line}\n' for line in warn_of_ties(feature_set, known))
    scores = {name: headline_scores(result) for name, result in results.items()}
    figure = draw_feature_chart(scores, args.title or feature_set.title(args.source), protocol)
    (args.out / TABLE).write_text(text)
    save_picture(figure, args.out / CHART)
    say_lines(f'{text}\n{args.out}: {", ".join(OUTPUTS)}')
