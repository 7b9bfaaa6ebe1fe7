"""What the command-line tools do with a config before the Runner takes over."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import torch
from mmengine.config import Config, DictAction
from mmengine.logging import print_log
from torch import distributed

from fusionreid.errors import ConfigError
from fusionreid.registry import DATASETS

LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that training and testing share, named as everywhere in OpenMMLab."""
    parser.add_argument('config', help='config file')
    parser.add_argument('--data-root', help="folder of the data set; the config's own otherwise")
    parser.add_argument('--work-dir', help='folder of logs and checkpoints')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        help='overrides, e.g. model.head.num_classes=100 train_cfg.max_epochs=60',
    )
    parser.add_argument(
        '--launcher', choices=('none', 'pytorch', 'slurm', 'mpi'), default='none', help='launcher'
    )
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)


def load_config(args: argparse.Namespace) -> Config:
    """Merge the config file with the arguments of :func:`add_common_arguments`.

    Raises:
        ConfigError: If there is no such file, or the launcher does not fit the machine.
    """
    check_file(args.config, 'config')
    cfg = Config.fromfile(args.config)
    if args.cfg_options:
        cfg.merge_from_dict(args.cfg_options)
    if args.work_dir is not None:
        cfg.work_dir = args.work_dir
    elif cfg.get('work_dir') is None:
        cfg.work_dir = str(Path('work_dirs') / Path(cfg.filename).stem)
    if args.data_root is not None:
        for name in LOADERS:
            if cfg.get(name):
                cfg[name].dataset.data_root = args.data_root
    set_launcher(cfg, args.launcher, args.local_rank)
    return cfg


def check_file(path: str, kind: str) -> None:
    """Raise a ConfigError unless the path is a file or a URL."""
    if '://' not in path and not Path(path).is_file():
        raise ConfigError(f'there is no {kind} file {path!r} ({Path(path).absolute()})')


def set_launcher(cfg: Config, launcher: str, local_rank: int) -> None:
    """Prepare for one process or several, with NCCL where there are GPUs and gloo where not.

    Args:
        cfg: Config to change.
        launcher: ``'none'``, ``'pytorch'``, ``'slurm'`` or ``'mpi'``.
        local_rank: Rank on this machine, from the command line; the environment's wins.

    Raises:
        ConfigError: If the launcher cannot work here.
    """
    if launcher == 'pytorch' and 'WORLD_SIZE' not in os.environ:
        raise ConfigError(
            '--launcher pytorch is for processes started by torchrun: use tools/dist_train.sh or '
            'tools/dist_test.sh'
        )
    os.environ.setdefault('LOCAL_RANK', str(local_rank))
    cfg.launcher = launcher
    if launcher == 'none' or torch.cuda.is_available():
        return
    # mmengine's launchers choose a GPU without asking whether there is one, but leave a running
    # process group alone.
    if launcher != 'pytorch':
        raise ConfigError(
            f'without a GPU, several processes need --launcher pytorch, not {launcher}'
        )
    if not distributed.is_initialized():
        distributed.init_process_group('gloo')
    cfg.env_cfg.dist_cfg = dict(backend='gloo')
    cfg.model_wrapper_cfg = dict(
        type='MMDistributedDataParallel',
        device_ids=None,
        broadcast_buffers=False,
        find_unused_parameters=cfg.get('find_unused_parameters', False),
    )


def set_precision(cfg: Config, precision: str | None) -> None:
    """Choose the precision of training.

    Args:
        cfg: Config to change.
        precision: ``'fp16'``, ``'bf16'``, ``'fp32'``, or None to leave it to the config.
    """
    if precision is None:
        return
    wrapper = cfg.optim_wrapper
    wrapper.pop('dtype', None)
    if precision == 'fp32':
        wrapper.pop('loss_scale', None)
        wrapper.type = 'OptimWrapper'
    else:
        wrapper.type = 'ReIDAmpOptimWrapper'
        wrapper.dtype = dict(fp16='float16', bf16='bfloat16')[precision]


def fill_in_counts(cfg: Config) -> None:
    """Take counts that a config leaves open (None) from the training set.

    The configs for custom data leave them open; the config that is saved in the work dir has them.

    Args:
        cfg: Config to change.

    Raises:
        DatasetError: If the training set cannot be read.
    """
    head = cfg.model.get('head') or {}
    open_cameras = [
        branch.backbone
        for branch in cfg.model.branches.values()
        if branch and branch.backbone.get('num_cameras', 0) is None
    ]
    open_classes = 'num_classes' in head and head.num_classes is None
    if not open_classes and not open_cameras:
        return
    dataset = DATASETS.build(dict(cfg.train_dataloader.dataset, pipeline=[]))
    dataset.full_init()
    if open_classes:
        head.num_classes = dataset.metainfo['num_ids']
        print_log(f'model.head.num_classes={head.num_classes}, from the training set')
    for backbone in open_cameras:
        backbone.num_cameras = dataset.metainfo['num_cameras']
        print_log(f'num_cameras={backbone.num_cameras} of the transformer, from the training set')
