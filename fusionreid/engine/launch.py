"""What the command-line tools do with a config before the Runner takes over."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from mmengine.config import Config
from torch import distributed


def set_work_dir(cfg: Config, work_dir: str | None) -> None:
    """Choose the output folder: the given one, else the config's own, else ``work_dirs/<config
    name>``.
    """
    if work_dir is not None:
        cfg.work_dir = work_dir
    elif cfg.get('work_dir') is None:
        cfg.work_dir = str(Path('work_dirs') / Path(cfg.filename).stem)


def set_data_root(cfg: Config, data_root: str | None) -> None:
    """Read all splits from the given folder; None leaves the config's own."""
    if data_root is None:
        return
    for name in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        if cfg.get(name):
            cfg[name].dataset.data_root = data_root


def set_launcher(cfg: Config, launcher: str, local_rank: int) -> None:
    """Prepare for one process or several, with NCCL where there are GPUs and gloo where there are
    none.

    Args:
        cfg: Config to change.
        launcher: ``'none'``, ``'pytorch'``, ``'slurm'`` or ``'mpi'``.
        local_rank: Rank on this machine, from the command line; the environment's wins.
    """
    os.environ.setdefault('LOCAL_RANK', str(local_rank))
    cfg.launcher = launcher
    if launcher == 'none' or torch.cuda.is_available():
        return
    # mmengine's launchers choose a GPU without asking whether there is one, but leave a running
    # process group alone.
    if launcher != 'pytorch':
        raise ValueError(
            f"without a GPU several processes need launcher 'pytorch', got {launcher!r}"
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
