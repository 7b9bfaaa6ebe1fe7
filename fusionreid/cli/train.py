"""Train a model: ``fusionreid train CONFIG [options]``."""

from __future__ import annotations

import argparse
import gc
from contextlib import ExitStack

from joblib import cpu_count
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner

from fusionreid.checkpoints import check_resumable
from fusionreid.config import build_errors, fill_in_counts, merge_options, read_config
from fusionreid.engine.loops import make_interruptible
from fusionreid.engine.optimizers import scale_learning_rate
from fusionreid.errors import ConfigError, TrainingInterrupted
from fusionreid.models import is_distiller

from .arguments import add_common_arguments
from .check_dataset import check_config
from .processes import (
    decide_in_first_process,
    leave_process_group,
    lost_process_errors,
    print_once,
)
from .quiet import quiet_terminal
from .run_folder import take_folder
from .runner_config import check_checkpoint, load_config, require, set_precision

AUTO = 'auto'
# Every training needs them, also by a config that has replaced custom_hooks.
NEEDED_HOOKS = ('SafeCheckpointHook', 'CheckpointChecksumHook', 'InterruptHook')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_common_arguments(parser)
    parser.add_argument(
        '--resume',
        nargs='?',
        const=AUTO,
        help='continue from a checkpoint; without a path, the newest readable one in the work dir',
    )
    parser.add_argument(
        '--overwrite',
        action='store_true',
        help='start anew where a run has its checkpoints; they are moved into a folder beside',
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


def check_arguments(args: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Refuse arguments that do not go together."""
    if args.overwrite and args.resume == AUTO:
        parser.error('--overwrite moves aside what --resume continues: give one of them')


def run(args: argparse.Namespace) -> None:
    """Train."""
    train(args)
    # The runner is part of a cycle. Its worker processes end here, in order, and not when Python
    # ends, which would print that they were killed.
    gc.collect()


def train(args: argparse.Namespace, *hooks: Hook) -> None:
    """Train a model as the arguments of the command say.

    Args:
        args: The arguments.
        *hooks: Hooks besides those of the config.

    Raises:
        TrainingInterrupted: If a signal stops the training; it is saved.
    """
    cfg = build_config(args)
    with ExitStack() as folder:
        choose_start(cfg, args, folder)
        with lost_process_errors(), build_errors(), quiet_terminal(args.quiet):
            runner = Runner.from_cfg(cfg)
            scale_learning_rate(runner)
            make_interruptible(runner)
            for hook in hooks:
                runner.register_hook(hook)
            try:
                runner.train()
            except TrainingInterrupted as stop:
                leave_process_group()
                if runner.rank:  # the first process says it
                    raise SystemExit(stop.status) from stop
                raise
        leave_process_group()


def check_data(args: argparse.Namespace) -> None:
    """Check the data sets."""
    cfg = read_config(args.config)
    merge_options(cfg, args.cfg_options or {})
    if args.no_validate:
        cfg.val_dataloader = None
    cfg.test_dataloader = None
    check_config(cfg, args.data_root, cpu_count())


def build_config(args: argparse.Namespace) -> Config:
    """Merge the config file with the command line, and check the data where that is asked for.

    Args:
        args: The arguments.

    Returns:
        The config, but for what the training starts from, see :func:`choose_start`.
    """
    cfg = load_config(args, 'model')
    if args.check:
        # Before the classes are counted, which ends at the first fault.
        decide_in_first_process(lambda: check_data(args))
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
    add_missing_hooks(cfg, *NEEDED_HOOKS)
    if is_distiller(cfg.model):
        add_missing_hooks(cfg, 'DistillationHook')
    for name, count in fill_in_counts(cfg).items():
        print_once(cfg, f'{name}={count}, from the training set')
    return cfg


def choose_start(cfg: Config, args: argparse.Namespace, folder: ExitStack) -> None:
    """Take the run folder, and choose the checkpoint that the training starts from, if any.

    All processes get the same one, from the first.

    Args:
        cfg: The config, changed in place.
        args: The arguments.
        folder: Keeps the folder until it is closed.

    Raises:
        ConfigError: If the folder belongs to another training or another run.
        WeightsError: If the checkpoint cannot be used.
    """
    resume = args.resume or (cfg.get('resume') and (cfg.get('load_from') or AUTO)) or None
    if args.overwrite and resume == AUTO:
        raise ConfigError('--overwrite starts a new run, but the config has resume=True')
    named = None if resume == AUTO else resume or cfg.get('load_from')
    if named:
        named = check_checkpoint(named)
        if resume:
            check_resumable(named)
    continued = decide_in_first_process(
        lambda: take_folder(cfg, named, bool(resume), args.overwrite, folder)
    )
    cfg.resume = continued is not None
    if continued is not None:
        cfg.load_from = continued
    elif resume:
        start = f' from the weights of {cfg.load_from}' if cfg.get('load_from') else ''
        print_once(
            cfg, f'{cfg.work_dir} holds no readable checkpoint: training starts at epoch 1{start}'
        )
    if cfg.get('load_from'):
        if continued is None:
            cfg.load_from = named or check_checkpoint(cfg.load_from)
        checks = ('StrictLoadHook', 'ResumeReportHook') if cfg.resume else ('WeightCoverageHook',)
        add_missing_hooks(cfg, *checks)


def add_missing_hooks(cfg: Config, *names: str) -> None:
    """Add hooks of this package to a config that lacks them.

    Args:
        cfg: The config, changed in place.
        *names: The hooks.
    """
    hooks = list(cfg.get('custom_hooks') or [])
    known = {str(hook.get('type')).rpartition('.')[2] for hook in hooks}
    added = [dict(type=f'fusionreid.{name}') for name in names if name not in known]
    cfg.custom_hooks = [*hooks, *added]
