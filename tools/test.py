"""Score a checkpoint: ``python tools/test.py CONFIG [CHECKPOINT] [options]``."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from mmengine.config import Config, DictAction
from mmengine.dist import is_main_process
from mmengine.runner import Runner

from fusionreid.checkpoints.errors import WeightsError
from fusionreid.datasets.errors import DatasetError
from fusionreid.engine.launch import set_data_root, set_launcher, set_work_dir


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Score a person re-identification model')
    parser.add_argument('config', help='config file')
    parser.add_argument(
        'checkpoint', nargs='?', help='checkpoint; without one the untrained model is scored'
    )
    parser.add_argument('--data-root', help="folder of the data set; the config's own otherwise")
    parser.add_argument('--work-dir', help='folder of the logs')
    parser.add_argument('--out', help='folder for the features and metrics.json')
    parser.add_argument(
        '--features', help='comma-separated names of the features to score, e.g. all,cnn_fused'
    )
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, help='overrides')
    parser.add_argument(
        '--launcher',
        choices=('none', 'pytorch', 'slurm', 'mpi'),
        default='none',
        help='job launcher',
    )
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)
    return parser.parse_args(argv)


def build_config(args: argparse.Namespace) -> Config:
    """Merge the config file with the command line."""
    cfg = Config.fromfile(args.config)
    if args.cfg_options:
        cfg.merge_from_dict(args.cfg_options)
    set_work_dir(cfg, args.work_dir)
    set_data_root(cfg, args.data_root)
    set_launcher(cfg, args.launcher, args.local_rank)
    cfg.load_from = args.checkpoint
    cfg.custom_hooks = [*cfg.get('custom_hooks', []), dict(type='StrictLoadHook')]
    if args.out:
        cfg.test_evaluator.out_dir = args.out
    if args.features:
        cfg.test_evaluator.features = args.features.split(',')
    return cfg


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    cfg = build_config(args)
    if args.checkpoint is None:
        print('no checkpoint given: the scores are those of the untrained model')
    try:
        metrics = Runner.from_cfg(cfg).test()
    except (DatasetError, WeightsError) as error:
        sys.exit(f'error: {error}')
    if args.out and is_main_process():
        out = Path(args.out)
        out.mkdir(parents=True, exist_ok=True)
        (out / 'metrics.json').write_text(json.dumps(metrics, indent=2) + '\n')


if __name__ == '__main__':
    main()
