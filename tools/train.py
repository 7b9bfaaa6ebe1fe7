"""Train a model: ``python tools/train.py CONFIG [options]``."""

from __future__ import annotations

import argparse
import sys

from mmengine.config import Config, DictAction
from mmengine.runner import Runner

from fusionreid.checkpoints import find_resumable
from fusionreid.checkpoints.errors import WeightsError
from fusionreid.datasets.errors import DatasetError
from fusionreid.engine.launch import set_data_root, set_launcher, set_precision, set_work_dir


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Train a person re-identification model')
    parser.add_argument('config', help='config file')
    parser.add_argument('--data-root', help="folder of the data set; the config's own otherwise")
    parser.add_argument('--work-dir', help='folder of logs and checkpoints')
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        help='continue from a checkpoint; without a path, from the newest readable one in the '
        'work dir',
    )
    parser.add_argument(
        '--amp',
        nargs='?',
        const='fp16',
        choices=('fp16', 'bf16'),
        dest='precision',
        help='mixed precision, fp16 unless bf16 is asked for (a CPU computes bf16 in either case)',
    )
    parser.add_argument(
        '--no-amp', action='store_const', const='fp32', dest='precision', help='full precision'
    )
    parser.add_argument('--no-validate', action='store_true', help='train without scoring')
    parser.add_argument(
        '--auto-scale-lr',
        action='store_true',
        help='scale the learning rate to the actual total batch',
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        help="overrides, e.g. model.head.num_classes=100 or data_root='/data/people'",
    )
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
    set_precision(cfg, args.precision)
    set_launcher(cfg, args.launcher, args.local_rank)
    if args.no_validate:
        cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
        cfg.default_hooks.checkpoint.save_best = None
    if args.auto_scale_lr:
        cfg.auto_scale_lr = dict(cfg.get('auto_scale_lr', dict(base_batch_size=128)), enable=True)
    if args.resume:
        checkpoint = find_resumable(cfg.work_dir) if args.resume == 'auto' else args.resume
        cfg.resume = checkpoint is not None
        cfg.custom_hooks = [*cfg.get('custom_hooks', []), dict(type='StrictLoadHook')]
        cfg.load_from = str(checkpoint) if checkpoint else None
        if checkpoint is None:
            print(f'{cfg.work_dir} holds no readable checkpoint: training starts at epoch 1')
    return cfg


def main(argv: list[str] | None = None) -> None:
    cfg = build_config(parse_args(argv))
    try:
        Runner.from_cfg(cfg).train()
    except (DatasetError, WeightsError) as error:
        sys.exit(f'error: {error}')


if __name__ == '__main__':
    main()
