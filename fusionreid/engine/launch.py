"""What the command-line tools do with a config before the Runner takes over."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import torch
from mmengine.config import Config
from torch import distributed

from fusionreid.checkpoints import read_state_dict
from fusionreid.errors import ConfigError
from fusionreid.registry import DATASETS

from .config_errors import OptionAction, merge_options, read_config

LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')
# Where each launcher tells a process its rank, before there is a process group to ask.
RANK_VARIABLES = dict(pytorch='RANK', slurm='SLURM_PROCID', mpi='OMPI_COMM_WORLD_RANK')


def add_common_arguments(parser: argparse.ArgumentParser, needs_config: bool = True) -> None:
    """Add the arguments that training and testing share, named as everywhere in OpenMMLab.

    Args:
        parser: Parser to add them to.
        needs_config: Whether there is nothing to do without a config file.
    """
    parser.add_argument('config', nargs=None if needs_config else '?', help='config file')
    parser.add_argument('--data-root', help="folder of the data set; the config's own otherwise")
    parser.add_argument('--work-dir', help='folder of logs and checkpoints')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=OptionAction,
        help='overrides, e.g. model.head.num_classes=100 train_cfg.max_epochs=60',
    )
    parser.add_argument(
        '--launcher', choices=('none', 'pytorch', 'slurm', 'mpi'), default='none', help='launcher'
    )
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)


def load_config(args: argparse.Namespace) -> Config:
    """Merge the config file with the arguments of :func:`add_common_arguments`.

    Raises:
        ConfigError: If there is no such file, it is no valid config, the options do not fit it, or
            launcher and config do not fit the machine.
    """
    check_file(args.config, 'config')
    cfg = read_config(args.config)
    if args.cfg_options:
        merge_options(cfg, args.cfg_options)
    if args.work_dir is not None:
        cfg.work_dir = args.work_dir
    elif cfg.get('work_dir') is None:
        cfg.work_dir = str(Path('work_dirs') / Path(cfg.filename).stem)
    for name in LOADERS:
        if cfg.get(name) and args.data_root is not None:
            cfg[name].dataset.data_root = args.data_root
        if cfg.get(name) and not torch.accelerator.is_available():
            cfg[name].pin_memory = False  # torch warns that there is nothing to lock pages for
        if cfg.get(name) and cfg[name].get('num_workers') == 0:
            # Settings of workers, which torch refuses where there are none.
            cfg[name].persistent_workers = False
            cfg[name].pop('prefetch_factor', None)
    check_parallelism(cfg, args.launcher)
    set_launcher(cfg, args.launcher, args.local_rank)
    return cfg


def check_parallelism(cfg: Config, launcher: str) -> None:
    """Refuse what several processes cannot do here.

    Args:
        cfg: Config to check.
        launcher: As for :func:`set_launcher`.

    Raises:
        ConfigError: If the config asks for another way of training on several processes than
            DistributedDataParallel, or for batch norm over processes where there is none.
    """
    wrapper = (cfg.get('model_wrapper_cfg') or {}).get('type', 'MMDistributedDataParallel')
    if (
        cfg.get('strategy')
        or cfg.get('runner_type', 'Runner') != 'Runner'
        or not str(wrapper).endswith('DistributedDataParallel')
    ):
        raise ConfigError(
            'several processes train by DistributedDataParallel alone, FSDP and the other '
            'strategies of FlexibleRunner are not supported: remove strategy, runner_type and '
            'model_wrapper_cfg from the config'
        )
    sync_bn = cfg.get('sync_bn')
    if sync_bn not in (None, 'torch'):
        raise ConfigError(f"sync_bn must be None or 'torch', got {sync_bn!r}")
    if sync_bn and launcher != 'none' and not torch.cuda.is_available():
        raise ConfigError(
            'torch has batch norm over processes (sync_bn) for GPUs only: train with --cfg-options '
            'sync_bn=None'
        )


def print_once(cfg: Config, message: str) -> None:
    """Print a message from the first of all processes.

    Args:
        cfg: Config from :func:`load_config`.
        message: What to print.
    """
    if int(os.environ.get(RANK_VARIABLES.get(cfg.launcher, ''), 0)) == 0:
        print(message, flush=True)


def check_file(path: str, kind: str) -> None:
    """Raise a ConfigError unless the path is a file or a URL."""
    if '://' not in path and not Path(path).is_file():
        raise ConfigError(f'there is no {kind} file {path!r} ({Path(path).absolute()})')


def check_checkpoint(path: str) -> None:
    """Raise unless the path or URL is a readable file with a state dict.

    Raises:
        ConfigError: If there is no such file.
        WeightsError: If it cannot be fetched, is damaged, holds code, or no weights.
    """
    check_file(path, 'checkpoint')
    read_state_dict(path)


def make_work_dir(cfg: Config) -> None:
    """Make the folder of logs and checkpoints.

    Raises:
        ConfigError: If it cannot be made.
    """
    try:
        Path(cfg.work_dir).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f'--work-dir {cfg.work_dir} cannot be made: {error.strerror}') from error


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


def leave_process_group() -> None:
    """End the communication with the other processes, where there is any.

    A process that leaves this to the interpreter's exit can be aborted there, after all of its
    work, by a thread that still listens, or still frees what it has sent. So all wait for each
    other once more, which ends such work, before they leave.
    """
    if distributed.is_initialized():
        distributed.barrier()
        distributed.destroy_process_group()


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
        print_once(cfg, f'model.head.num_classes={head.num_classes}, from the training set')
    for backbone in open_cameras:
        backbone.num_cameras = dataset.metainfo['num_cameras']
        print_once(
            cfg,
            f'num_cameras={backbone.num_cameras} of the transformer, from the training set',
        )
