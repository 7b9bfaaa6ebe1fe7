"""The config of a Runner, from a config file and the arguments of training and testing."""

from __future__ import annotations

import argparse
import inspect
from pathlib import Path

from mmengine.config import Config

from fusionreid.checkpoints import locate_weight_file, read_state_dict
from fusionreid.checkpoints.run_files import LAST_CHECKPOINT
from fusionreid.config import check_arguments, check_settings, merge_options, read_config
from fusionreid.errors import ConfigError, WeightsError
from fusionreid.models import FusionReID, keep_branch_order
from fusionreid.registry import MODELS
from fusionreid.utils.device import has_accelerator

from .processes import check_parallelism, set_launcher

LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')


def load_config(args: argparse.Namespace, *parts: str) -> Config:
    """Merge the config file with the arguments of :func:`add_common_arguments`.

    Args:
        args: The arguments.
        *parts: Settings that the config must have.

    Returns:
        The config, and the launcher made ready.

    Raises:
        ConfigError: If there is no such file, it is no valid config, it lacks a part, the options
            or the order of branches do not fit it, or launcher and config do not fit the machine.
    """
    cfg = read_config(args.config)
    if args.cfg_options:
        merge_options(cfg, args.cfg_options)
    check_settings(cfg)
    check_arguments(cfg)
    require(cfg, *parts)
    if args.work_dir is not None:
        cfg.work_dir = args.work_dir
    elif cfg.get('work_dir') is None:
        cfg.work_dir = str(Path('work_dirs') / Path(cfg.filename).stem)
    for name in LOADERS:
        if cfg.get(name) and args.data_root is not None:
            cfg[name].dataset.data_root = args.data_root
        if cfg.get(name) and not has_accelerator():
            cfg[name].pin_memory = False  # torch warns that there is nothing to lock pages for
        if cfg.get(name) and cfg[name].get('num_workers') == 0:
            # Settings of workers, which torch refuses where there are none.
            cfg[name].persistent_workers = False
            cfg[name].pop('prefetch_factor', None)
    if cfg.get('model') and _is_fusion_model(cfg.model.type):
        keep_branch_order(cfg.model)
    check_parallelism(cfg, args.launcher)
    set_launcher(cfg, args.launcher, args.local_rank)
    return cfg


def _is_fusion_model(kind: str | type) -> bool:
    model = MODELS.get(kind) if isinstance(kind, str) else kind
    return inspect.isclass(model) and issubclass(model, FusionReID)


def require(cfg: Config, *parts: str) -> None:
    """Refuse a config that lacks something.

    Args:
        cfg: The config.
        *parts: Settings that it must have.

    Raises:
        ConfigError: Naming the first that is missing.
    """
    for part in parts:
        if not cfg.get(part):
            raise ConfigError(
                f'{cfg.filename} has no {part}: take a config that has all, such as '
                'fusionreid_vitb_r50_market1501'
            )


def check_checkpoint(path: str) -> str:
    """Raise unless the path or URL is a readable file with a state dict.

    Returns:
        Path of the file that was checked, which is the one to load; of a URL, its download.

    Raises:
        ConfigError: If there is no such file.
        WeightsError: If it cannot be fetched, is damaged, holds code, or no weights.
    """
    if '://' not in path and not Path(path).is_file():
        raise ConfigError(f'there is no checkpoint file {path!r} ({Path(path).absolute()})')
    file = locate_weight_file(path)
    try:
        read_state_dict(file)
    except WeightsError as error:
        raise WeightsError(f'{error}' if str(file) == path else f'{path}: {error}') from error
    return str(file)


def written_in_place(cfg: Config) -> list[str]:
    """Name the files of a work dir that MMEngine's Runner opens for writing if they are there.

    Args:
        cfg: The config of the Runner.

    Returns:
        Names of the copy of the config, and of the record of the last checkpoint.
    """
    copy = [Path(cfg.filename).name] if cfg.filename else []
    return [*copy, LAST_CHECKPOINT]


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
