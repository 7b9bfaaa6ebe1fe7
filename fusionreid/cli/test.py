"""Score a checkpoint, an exported model, or features that were saved before.

fusionreid test CONFIG CHECKPOINT --out work_dirs/scored
fusionreid test CONFIG --runtime exported
fusionreid test --from work_dirs/scored --rerank
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.registry import init_default_scope
from mmengine.runner import Runner

from fusionreid.checkpoints.weight_file import read_weight_file
from fusionreid.config import build_errors, open_counts, take_counts
from fusionreid.config.literals import read_literals
from fusionreid.engine.rank_watch import long_work
from fusionreid.errors import ConfigError
from fusionreid.evaluation import FeatureSet
from fusionreid.evaluation.functional import ScoringInputError
from fusionreid.evaluation.functional.reranking import (
    DEFAULT_K1,
    DEFAULT_K2,
    DEFAULT_LAMBDA_VALUE,
)
from fusionreid.evaluation.functional.ties import TIES
from fusionreid.evaluation.metrics.open_set_scores import DEFAULT_FPIRS
from fusionreid.evaluation.metrics.rerank_protocol import RerankProtocol
from fusionreid.models import as_student
from fusionreid.registry import DATASETS, METRICS
from fusionreid.runtimes import open_exported

from .arguments import add_common_arguments, add_runtime_options
from .exported_runner import build_exported_runner
from .open_set import add_open_set_argument
from .output_file import clear_links, make_folder
from .processes import leave_process_group, lost_process_errors, print_once
from .quiet import quiet_terminal
from .runner_config import check_checkpoint, load_config, written_in_place


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_common_arguments(parser, needs_config=False)
    parser.add_argument(
        'checkpoint', nargs='?', help='checkpoint; without one the untrained model is scored'
    )
    parser.add_argument(
        '--from',
        dest='saved',
        metavar='DIR',
        help='score the features that --out saved in this folder, without a model; a config may '
        'say how',
    )
    parser.add_argument(
        '--runtime',
        metavar='DIR',
        help='score the exported model in this folder; the config says on what',
    )
    add_runtime_options(parser)
    parser.add_argument('--out', help='folder for the features and metrics.json')
    parser.add_argument(
        '--features', help='comma-separated names of the features to score, e.g. all,cnn_fused'
    )
    parser.add_argument(
        '--rerank',
        nargs='*',
        type=name_and_number,
        metavar='NAME=VALUE',
        help=f'also score after k-reciprocal re-ranking; k1={DEFAULT_K1} k2={DEFAULT_K2} '
        f'lambda_value={DEFAULT_LAMBDA_VALUE} unless given',
    )
    add_open_set_argument(parser)
    parser.add_argument(
        '--ties',
        choices=TIES,
        help='how images at the same distance are scored: in gallery order, or the expected '
        'score over all their orders (default: order)',
    )
    parser.add_argument(
        '--flip', action='store_true', help='average the features of each image and its mirror'
    )
    parser.add_argument(
        '--datasets',
        nargs='+',
        metavar='[NAME:]TYPE=ROOT',
        help='score on these data sets instead, in one table, e.g. Market1501=data/market1501 '
        'MSMT17=data/msmt17 yard:MarketStyleDataset=data/yard',
    )


def check_arguments(args: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Refuse arguments that do not go together."""
    if args.saved is None and args.config is None:
        parser.error('a config is needed, or --from DIR')
    if args.runtime_options and not args.runtime:
        parser.error('--runtime-options needs --runtime DIR')
    if args.runtime is not None:
        for name, value in (('a checkpoint', args.checkpoint), ('--flip', args.flip)):
            if value:
                parser.error(f'{name} cannot be given with --runtime, whose model is as it is')
    if args.saved is not None:
        for name in ('a checkpoint', '--runtime', '--flip', '--datasets', '--data-root', '--quiet'):
            if getattr(args, name.removeprefix('a ').lstrip('-').replace('-', '_')):
                parser.error(f'{name} needs a model, --from uses none')
        if args.config is None and (args.cfg_options or args.work_dir):
            parser.error('--cfg-options and --work-dir need a config')


def name_and_number(text: str) -> tuple[str, int | float]:
    """Read an argument ``NAME=VALUE``."""
    name, _, value = text.partition('=')
    try:
        return name, int(value) if value.isdigit() else float(value)
    except ValueError:
        raise argparse.ArgumentTypeError(f'{text!r} is not of the form NAME=NUMBER') from None


def run(args: argparse.Namespace) -> None:
    """Score, and keep the scores where that is asked for."""
    if args.out:
        make_folder(args.out, '--out')
    with lost_process_errors(), build_errors(), quiet_terminal(args.quiet):
        scores = score_saved(args) if args.saved else score_model(args)
    if args.out and is_main_process():
        clear_links(Path(args.out), 'metrics.json')
        (Path(args.out) / 'metrics.json').write_text(json.dumps(scores, indent=2) + '\n')
    leave_process_group()


def score_saved(args: argparse.Namespace) -> dict[str, float]:
    """Score saved features."""
    evaluator = dict(type='ReIDMetric')
    if args.config:
        evaluator = dict(load_config(args, 'test_evaluator').test_evaluator)
    _set_scoring(evaluator, args)
    metric = METRICS.build(evaluator)
    with long_work('scoring'):
        scores = metric.compute_metrics(FeatureSet.load(args.saved))
    return {f'{metric.prefix}/{name}': score for name, score in scores.items()}


def score_model(args: argparse.Namespace) -> dict[str, float]:
    """Compute features and score them."""
    cfg = build_config(args)
    make_folder(cfg.work_dir, '--work-dir')
    clear_links(Path(cfg.work_dir), *written_in_place(cfg))
    if args.runtime:
        model = open_exported(args.runtime, args.runtime_options)
        return build_exported_runner(cfg, model).test()
    return Runner.from_cfg(cfg).test()


def build_config(args: argparse.Namespace) -> Config:
    """Merge the config file with the command line."""
    cfg = load_config(args, 'model', 'test_dataloader', 'test_evaluator')
    cfg.model = as_student(cfg.model)
    cfg.load_from = None
    if args.checkpoint is not None:
        cfg.load_from = check_checkpoint(args.checkpoint)
        _take_counts(cfg)
    elif not args.runtime:
        print_once(cfg, 'no checkpoint given: the scores are those of the untrained model')
    if not args.runtime:
        cfg.custom_hooks = [*(cfg.get('custom_hooks') or []), dict(type='StrictLoadHook')]
    if args.flip:
        cfg.model.flip_test = True
    _set_scoring(cfg.test_evaluator, args)
    if args.out:
        cfg.test_evaluator.out_dir = args.out
    if args.datasets:
        _set_test_datasets(cfg, args.datasets)
    return cfg


def _take_counts(cfg: Config) -> None:
    """Take the counts that the config leaves open from the config in the checkpoint."""
    if not open_counts(cfg.model):
        return
    content = read_weight_file(cfg.load_from, with_tensors=False)
    meta = content.get('meta') if isinstance(content, dict) else None
    if isinstance(meta, dict) and isinstance(meta.get('cfg'), str):
        saved = read_literals(meta['cfg'], ('model',), cfg.load_from)
        take_counts(cfg, saved.get('model') or {})


def _set_scoring(evaluator: dict[str, Any], args: argparse.Namespace) -> None:
    """Put what the command line says of scoring into the metric's config."""
    if args.features:
        evaluator['features'] = args.features.split(',')
    if args.ties:
        evaluator['ties'] = args.ties
    if args.open_set is not None:
        evaluator['open_set'] = args.open_set or list(DEFAULT_FPIRS)
    if args.rerank is not None:
        evaluator['rerank'] = dict(args.rerank)
        try:
            RerankProtocol.from_config(evaluator['rerank'])
        except ScoringInputError as error:
            raise ConfigError(f'--{error}') from error


def _set_test_datasets(cfg: Config, datasets: list[str]) -> None:
    """Make the test one on several data sets.

    Args:
        cfg: Config to change.
        datasets: ``[NAME:]TYPE=ROOT`` each; the root of a CsvDataset is its CSV file.

    Raises:
        ConfigError: If one is not of that form, or of an unknown type.
    """
    init_default_scope(cfg.default_scope)
    pairs = []
    for text in datasets:
        kind, _, root = text.partition('=')
        name, _, kind = kind.rpartition(':')
        table = root.endswith('.csv')
        if not root or DATASETS.get(kind) is None or table != (kind == 'CsvDataset'):
            raise ConfigError(
                f'--datasets {text}: [NAME:]TYPE=ROOT is expected, where TYPE is Market1501, '
                'DukeMTMCReID, MSMT17, MarketStyleDataset, CsvDataset (with a .csv as ROOT) or '
                'another data set class'
            )
        pair = dict(type=kind, data_root=root)
        if table:
            pair.update(data_root=str(Path(root).parent), ann_file=Path(root).name)
        if name:
            pair['dataset_name'] = name
        pairs.append(pair)
    cfg.test_cfg = dict(
        cfg.test_cfg,
        type='CrossDomainTestLoop',
        datasets=pairs,
        trained_on=cfg.train_dataloader.dataset if cfg.get('train_dataloader') else None,
    )
