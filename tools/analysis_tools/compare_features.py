"""Compare the features of a model: ``python tools/analysis_tools/compare_features.py DIR`` with
what ``tools/test.py --out DIR`` saved, or ``... CONFIG CHECKPOINT``, which is tested first.

Writes a table, ``feature_scores.md``, and a bar chart, ``feature_scores.png``.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from fusionreid.analysis import compare_features, headline_scores, markdown_table, weigh_features
from fusionreid.engine.script_runner import ScriptError, ScriptRunner
from fusionreid.evaluation import FeatureSet
from fusionreid.evaluation.functional import RankingResult
from fusionreid.evaluation.metrics.score_table import describe_protocol
from fusionreid.visualization import draw_feature_chart

TEST = Path(__file__).resolve().parents[1] / 'test.py'
LEGEND = """\
`all` is the concatenation, normalised once over the whole vector, as in the paper. Weight is a
feature's share of its squared length. `all_each_normalized` is the concatenation of features that
were normalised one by one, so that all weigh the same."""


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Score every feature of a model, and their concatenation in two ways'
    )
    parser.add_argument('source', help='folder of saved features (tools/test.py --out), or config')
    parser.add_argument('checkpoint', nargs='?', help='checkpoint, if a config is given')
    parser.add_argument(
        '-o',
        '--out',
        type=Path,
        help='folder for table and chart, and for the features of a tested checkpoint (default: '
        'the folder of features; work_dirs/<config name>/features)',
    )
    parser.add_argument('--title', help='title of the chart (default: name of the source)')
    parser.add_argument(
        '--keep-same-camera',
        action='store_true',
        help="do not leave out a query's own identity seen by its own camera",
    )
    parser.add_argument('--data-root', help='with a config: folder of the data set')
    parser.add_argument('--cfg-options', nargs='+', default=[], help='with a config: overrides')
    args = parser.parse_args(argv)
    source = Path(args.source)
    if source.is_dir():
        if args.checkpoint or args.data_root or args.cfg_options:
            parser.error(
                'a checkpoint, --data-root and --cfg-options belong to a config, '
                f'{source} is a folder'
            )
        args.out = args.out or source
        args.title = args.title or source.resolve().name
    else:
        if source.suffix != '.py':
            parser.error(f'{source} is neither a folder of saved features nor a config')
        if args.checkpoint is None:
            parser.error(f'a config needs a checkpoint: {source} CHECKPOINT')
        args.out = args.out or Path('work_dirs') / source.stem / 'features'
        args.title = args.title or source.stem
    return args


def save_features(args: argparse.Namespace) -> None:
    """Save the features of a checkpoint in the output folder."""
    command = [TEST, args.source, args.checkpoint, '--work-dir', args.out, '--out', args.out]
    if args.data_root:
        command += ['--data-root', args.data_root]
    options = list(args.cfg_options or [])
    if args.keep_same_camera:
        options.append('test_evaluator.remove_same_camera=False')
    if options:
        command += ['--cfg-options', *options]
    ScriptRunner().run('test', command, args.out / 'test.log', testing_progress)


def testing_progress(line: str) -> str | None:
    """Shorten a line of MMEngine's log."""
    match = re.search(r'Epoch\(test\)\s+\[\s*(\d+)/(\d+)\].*eta: (\S+)', line)
    return match and f'batch {match[1]}/{match[2]}, {match[3]} left'


def as_rows(feature_set: FeatureSet, results: dict[str, RankingResult]) -> list[list[str]]:
    """Lay out the results as rows, the head first."""
    weights = weigh_features(feature_set)
    total = sum(feature_set.widths.values())
    rows = [['feature', 'width', 'weight', *headline_scores(next(iter(results.values())))]]
    for name, result in results.items():
        weight = f'{100 * weights[name]:.1f}%' if name in weights else ''
        scores = [f'{score:.1f}' for score in headline_scores(result).values()]
        rows.append([name, str(feature_set.widths.get(name, total)), weight, *scores])
    return rows


def compare(args: argparse.Namespace) -> str:
    """Write table and chart; returns the table."""
    features_dir = args.source if Path(args.source).is_dir() else args.out
    feature_set = FeatureSet.load(features_dir)
    results = compare_features(feature_set, not args.keep_same_camera)
    protocol = describe_protocol(feature_set, not args.keep_same_camera)
    table = markdown_table(as_rows(feature_set, results))
    text = f'Scores in percent. {protocol}\n\n{table}\n'
    if len(results) > 1:
        text += f'\n{LEGEND}\n'
    scores = {name: headline_scores(result) for name, result in results.items()}
    figure = draw_feature_chart(scores, args.title, protocol)
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / 'feature_scores.md').write_text(text)
    figure.savefig(args.out / 'feature_scores.png')
    return text


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    try:
        if args.checkpoint:
            save_features(args)
        text = compare(args)
    except (OSError, ValueError, ScriptError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 1
    print(f'{text}\n{args.out}: feature_scores.md, feature_scores.png')
    return 0


if __name__ == '__main__':
    sys.exit(main())
