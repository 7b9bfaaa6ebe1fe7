"""One process or several: the launcher, what cannot be done by several, and leaving together."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

import torch
from mmengine.config import Config
from mmengine.dist import broadcast_object_list, get_rank, init_dist
from mmengine.utils.dl_utils import set_multi_processing
from torch import distributed

from fusionreid.engine.rank_watch import (
    DEFAULT_LONG_TIMEOUT,
    DEFAULT_TIMEOUT,
    current_watch,
    long_work,
    start_watch,
    stop_watch,
)
from fusionreid.errors import ConfigError, ProcessLostError, UserError
from fusionreid.utils.terminal import say_lines

T = TypeVar('T')


LAUNCHERS = ('none', 'pytorch', 'slurm', 'mpi')
# Seconds: the least that a process may be silent.
SHORTEST_TIMEOUT = 5
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
    if launcher == 'pytorch' and not {'RANK', 'WORLD_SIZE'} <= os.environ.keys():
        raise ConfigError(
            '--launcher pytorch is for processes started by torchrun: use tools/dist_train.sh or '
            'tools/dist_test.sh'
        )
    os.environ.setdefault('LOCAL_RANK', str(local_rank))
    cfg.launcher = launcher
    if launcher == 'none':
        return
    timeout, long_timeout = timeouts_of(cfg)
    # Of a collective: longer than what the watch waits for, which says who is lost.
    longest = 2 * max(timeout, long_timeout)
    if launcher == 'pytorch':
        # Before all have joined, since one may be lost already.
        start_watch(int(os.environ['RANK']), int(os.environ['WORLD_SIZE']), timeout, long_timeout)
    if torch.cuda.is_available():
        _join_with_gpus(cfg, launcher, longest)
    else:
        _join_without_gpus(cfg, launcher, longest)
    start_watch(distributed.get_rank(), distributed.get_world_size(), timeout, long_timeout)
    hooks = cfg.get('custom_hooks') or []
    if not any(str(hook.get('type')).endswith('RankWatchHook') for hook in hooks):
        cfg.custom_hooks = [*hooks, dict(type='fusionreid.RankWatchHook')]


def timeouts_of(cfg: Config) -> tuple[float, float]:
    """Read how long processes wait for one that does not answer.

    Args:
        cfg: The config.

    Returns:
        Seconds for one that has declared nothing, and for one at long work such as scoring.

    Raises:
        ConfigError: If one of them is no number, or too small.
    """
    env_cfg = cfg.get('env_cfg') or {}
    given = {
        'dist_cfg.timeout': (env_cfg.get('dist_cfg') or {}).get('timeout', DEFAULT_TIMEOUT),
        'long_timeout': env_cfg.get('long_timeout', DEFAULT_LONG_TIMEOUT),
    }
    for name, seconds in given.items():
        is_number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
        if not is_number or not math.isfinite(seconds) or seconds < SHORTEST_TIMEOUT:
            raise ConfigError(
                f'env_cfg.{name} must be a number of seconds, at least {SHORTEST_TIMEOUT}, '
                f'got {seconds!r}'
            )
    timeout, long_timeout = map(float, given.values())
    return timeout, max(timeout, long_timeout)


def _join_with_gpus(cfg: Config, launcher: str, longest: float) -> None:
    """Join the process group as mmengine's Runner does, which then leaves it as it is."""
    if distributed.is_initialized():
        return
    env_cfg = cfg.get('env_cfg') or {}
    set_multi_processing(**(env_cfg.get('mp_cfg') or {}), distributed=True)
    init_dist(launcher, **dict(env_cfg.get('dist_cfg') or {}, timeout=longest))


def _join_without_gpus(cfg: Config, launcher: str, longest: float) -> None:
    # mmengine's launchers choose a GPU without asking whether there is one, but leave a running
    # process group alone.
    if launcher != 'pytorch':
        raise ConfigError(
            f'without a GPU, several processes need --launcher pytorch, not {launcher}'
        )
    if not distributed.is_initialized():
        distributed.init_process_group('gloo', timeout=timedelta(seconds=longest))
    env_cfg = cfg.get('env_cfg') or {}
    cfg.env_cfg = dict(env_cfg, dist_cfg=dict(env_cfg.get('dist_cfg') or {}, backend='gloo'))
    cfg.model_wrapper_cfg = dict(
        type='MMDistributedDataParallel',
        device_ids=None,
        broadcast_buffers=False,
        find_unused_parameters=cfg.get('find_unused_parameters', False),
    )


@contextmanager
def lost_process_errors() -> Iterator[None]:
    """Say which process is lost where communication with it has failed; other errors pass.

    Yields:
        None; what communicates belongs inside.

    Raises:
        ProcessLostError: Naming the process.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        watch = current_watch()
        lost = watch.find_lost() if watch is not None else None
        if lost is None:
            raise
        raise ProcessLostError(
            f'{lost} any more, so this one cannot go on: look at what it said before, and start '
            'all processes again with --resume'
        ) from error


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


def decide_in_first_process(decide: Callable[[], T]) -> T:
    """Let the first of all processes decide for all, while they wait.

    Args:
        decide: Is called in the first process; may take long.

    Returns:
        What it returned, in every process.

    Raises:
        UserError: In the first process, what the function raised.
        SystemExit: In the other processes, if it raised a UserError.
    """
    if not distributed.is_initialized():
        return decide()
    decision: list = [None, False]
    error: UserError | None = None
    if get_rank() == 0:
        try:
            with long_work('deciding'):
                decision = [decide(), False]
        except UserError as raised:
            error, decision = raised, [None, True]
    broadcast_object_list(decision)
    if error is not None:
        raise error
    if decision[1]:
        raise SystemExit(1)
    return decision[0]


def leave_process_group() -> None:
    """End the communication with the other processes, where there is any.

    A process that leaves this to the interpreter's exit can be aborted there, after all of its
    work, by a thread that still listens, or still frees what it has sent. So all wait for each
    other once more, which ends such work, before they leave.
    """
    if distributed.is_initialized():
        distributed.barrier()
        stop_watch()
        distributed.destroy_process_group()
