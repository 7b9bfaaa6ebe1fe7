"""Score a checkpoint: ``python tools/test.py CONFIG [CHECKPOINT] [options]``."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.runner import Runner

from fusionreid.engine.launch import add_common_arguments, check_file, load_config
from fusionreid.errors import UserError


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Score a person re-identification model')
    add_common_arguments(parser)
    parser.add_argument(
        'checkpoint', nargs='?', help='checkpoint; without one the untrained model is scored'
    )
    parser.add_argument('--out', help='folder for the features and metrics.json')
    parser.add_argument(
        '--features', help='comma-separated names of the features to score, e.g. all,cnn_fused'
    )
    return parser.parse_args(argv)


def build_config(args: argparse.Namespace) -> Config:
    """Merge the config file with the command line."""
    cfg = load_config(args)
    if args.checkpoint is None:
        print('no checkpoint given: the scores are those of the untrained model')
    else:
        check_file(args.checkpoint, 'checkpoint')
    cfg.load_from = args.checkpoint
    cfg.custom_hooks = [*cfg.get('custom_hooks', []), dict(type='StrictLoadHook')]
    if args.out:
        cfg.test_evaluator.out_dir = args.out
    if args.features:
        cfg.test_evaluator.features = args.features.split(',')
    return cfg


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    try:
        metrics = Runner.from_cfg(build_config(args)).test()
    except UserError as error:
        sys.exit(f'error: {error}')
    if args.out and is_main_process():
        out = Path(args.out)
        out.mkdir(parents=True, exist_ok=True)
        (out / 'metrics.json').write_text(json.dumps(metrics, indent=2) + '\n')


if __name__ == '__main__':
    main()
