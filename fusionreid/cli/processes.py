"""One process or several: the launcher, what cannot be done by several, and leaving together."""

from __future__ import annotations

import os

import torch
from mmengine.config import Config
from torch import distributed

from fusionreid.errors import ConfigError
from fusionreid.utils.terminal import say_lines

LAUNCHERS = ('none', 'pytorch', 'slurm', 'mpi')
# Where each launcher tells a process its rank, before there is a process group to ask.
RANK_VARIABLES = dict(pytorch='RANK', slurm='SLURM_PROCID', mpi='OMPI_COMM_WORLD_RANK')


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


def is_first_process(launcher: str) -> bool:
    """Whether this is the first of all processes that a launcher has started."""
    return int(os.environ.get(RANK_VARIABLES.get(launcher, ''), 0)) == 0


def print_once(cfg: Config, message: str) -> None:
    """Print a message from the first of all processes.

    Args:
        cfg: Config from :func:`load_config`.
        message: What to print; control characters but line breaks are escaped.
    """
    if is_first_process(cfg.launcher):
        say_lines(message)


def leave_process_group() -> None:
    """End the communication with the other processes, where there is any.

    A process that leaves this to the interpreter's exit can be aborted there, after all of its
    work, by a thread that still listens, or still frees what it has sent. So all wait for each
    other once more, which ends such work, before they leave.
    """
    if distributed.is_initialized():
        distributed.barrier()
        distributed.destroy_process_group()
