"""Train a model: ``fusionreid train CONFIG [options]``."""

from __future__ import annotations

import argparse

from joblib import cpu_count
from mmengine.config import Config
from mmengine.runner import Runner

from fusionreid.checkpoints import find_resumable
from fusionreid.config import build_errors, fill_in_counts, merge_options, read_config
from fusionreid.engine.optimizers import scale_learning_rate
from fusionreid.errors import ConfigError

from .arguments import add_common_arguments
from .check_dataset import check_config
from .processes import is_first_process, leave_process_group, print_once
from .runner_config import check_checkpoint, load_config, make_folder, require, set_precision


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_common_arguments(parser)
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        help='continue from a checkpoint; without a path, the newest readable one in the work dir',
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
        help='scale the learning rate to the images behind one update',
    )
    parser.add_argument(
        '--check',
        action='store_true',
        help='check every image and label first, as fusionreid check-dataset does, and do not '
        'train if there are errors',
    )


def run(args: argparse.Namespace) -> None:
    """Train."""
    if args.check:
        check_data(args)
    cfg = build_config(args)
    make_folder(cfg.work_dir, '--work-dir')
    with build_errors():
        runner = Runner.from_cfg(cfg)
        scale_learning_rate(runner)
        runner.train()
    leave_process_group()


def check_data(args: argparse.Namespace) -> None:
    """Check the data sets in the first process; the others wait for it when they meet."""
    if not is_first_process(args.launcher):
        return
    cfg = read_config(args.config)
    merge_options(cfg, args.cfg_options or {})
    if args.no_validate:
        cfg.val_dataloader = None
    cfg.test_dataloader = None
    check_config(cfg, args.data_root, cpu_count())


def build_config(args: argparse.Namespace) -> Config:
    """Merge the config file with the command line."""
    cfg = load_config(args, 'model')
    if not cfg.get('train_cfg'):
        raise ConfigError(f'{args.config} trains nothing: score it with fusionreid test')
    require(cfg, 'train_dataloader', 'optim_wrapper')
    set_precision(cfg, args.precision)
    if args.no_validate:
        cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
        if checkpoint := (cfg.get('default_hooks') or {}).get('checkpoint'):
            checkpoint.save_best = None
    if args.auto_scale_lr:
        cfg.auto_scale_lr = dict(cfg.get('auto_scale_lr') or {}, enable=True)
    resume = args.resume or (cfg.get('resume') and (cfg.get('load_from') or 'auto'))
    if resume:
        choose_resumed(cfg, resume)
    hooks = cfg.get('custom_hooks') or []
    if not any(str(hook.get('type')).endswith('SafeCheckpointHook') for hook in hooks):
        cfg.custom_hooks = [*hooks, dict(type='fusionreid.SafeCheckpointHook')]
    if cfg.get('load_from'):
        cfg.load_from = check_checkpoint(cfg.load_from)
        check = 'StrictLoadHook' if cfg.get('resume') else 'WeightCoverageHook'
        cfg.custom_hooks = [*cfg.custom_hooks, dict(type=check)]
    for name, count in fill_in_counts(cfg).items():
        print_once(cfg, f'{name}={count}, from the training set')
    return cfg


def choose_resumed(cfg: Config, wanted: str) -> None:
    """Continue from a checkpoint; without one, start as the config says.

    Args:
        cfg: The config, changed in place.
        wanted: A checkpoint, or ``'auto'`` for the newest readable one in the work dir.
    """
    checkpoint = find_resumable(cfg.work_dir) if wanted == 'auto' else wanted
    cfg.resume = checkpoint is not None
    if checkpoint is not None:
        cfg.load_from = str(checkpoint)
        return
    start = f' from the weights of {cfg.load_from}' if cfg.get('load_from') else ''
    print_once(
        cfg, f'{cfg.work_dir} holds no readable checkpoint: training starts at epoch 1{start}'
    )
