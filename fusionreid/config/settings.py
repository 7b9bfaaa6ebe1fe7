"""The settings of MMEngine that are checked before anything is built, each with what it may be.

MMEngine takes these as they are and fails later, in the middle of its own code or of an epoch. The
arguments of a part are checked by the part's constructor.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

from mmengine.config import Config
from mmengine.fileio.backends import backends

from fusionreid.errors import ConfigError

LARGEST_SEED = 2**32 - 1  # NumPy's


@dataclass(frozen=True)
class Rule:
    """What a setting may be.

    Attributes:
        expectation: In words, for the error.
        holds: Whether a value is such.
    """

    expectation: str
    holds: Callable[[Any], bool]

    def __or__(self, other: Rule) -> Rule:
        """A rule by which either of two may hold."""
        return Rule(
            f'{self.expectation} or {other.expectation}',
            lambda value: self.holds(value) or other.holds(value),
        )


def whole(smallest: int, largest: float = math.inf) -> Rule:
    """A whole number of a range.

    Args:
        smallest: The smallest.
        largest: The largest.

    Returns:
        The rule.

    Example:
        >>> [whole(1).holds(value) for value in (1, 0, 1.5, True, '1')]
        [True, False, False, False, False]
    """
    limits = f'from {smallest} on' if largest == math.inf else f'from {smallest} to {largest}'
    return Rule(
        f'a whole number {limits}',
        lambda value: (
            isinstance(value, Integral)
            and not isinstance(value, bool)
            and smallest <= int(value) <= largest
        ),
    )


def number(smallest: float = -math.inf, above: float = -math.inf) -> Rule:
    """A finite number.

    Args:
        smallest: The smallest.
        above: What it must be above of.

    Returns:
        The rule.

    Example:
        >>> [number(above=0).holds(value) for value in (0.5, 0, float('nan'), '0.5')]
        [True, False, False, False]
    """
    limits = f' above {above:g}' if above > -math.inf else ''
    limits += f' from {smallest:g} on' if smallest > -math.inf else ''
    return Rule(
        f'a finite number{limits}',
        lambda value: (
            isinstance(value, Real)
            and not isinstance(value, bool)
            and math.isfinite(value)
            and smallest <= float(value)
            and above < float(value)
        ),
    )


def one_of(*names: str) -> Rule:
    """One of some texts."""
    return Rule(
        f'one of {", ".join(names)}', lambda value: isinstance(value, str) and value in names
    )


def section(*names: str) -> Rule:
    """A dict, with none but these keys if any are given."""
    keys = f' of {", ".join(names)}' if names else ''
    return Rule(
        f'a dict{keys}',
        lambda value: isinstance(value, Mapping) and (not names or set(value) <= set(names)),
    )


# A share of 1 drops everything, and divides by 0.
DROPPED = Rule(
    'a number from 0 to below 1', lambda value: number(0).holds(value) and float(value) < 1
)
FILE_BACKEND = Rule(
    'the name of a file backend, such as local',
    lambda value: isinstance(value, str) and value in backends,
)
FLAG = Rule('True or False', lambda value: isinstance(value, bool))
TEXT = Rule('a text', lambda value: isinstance(value, str) and bool(value))
NOTHING = Rule('None', lambda value: value is None)
PART = Rule(
    'a dict with the name of a type',
    lambda value: (
        isinstance(value, Mapping)
        and (isinstance(kind := value.get('type'), str) or callable(kind))
        and bool(kind)
    ),
)
LIST = Rule('a list', lambda value: isinstance(value, Sequence) and not isinstance(value, str))
# MMEngine's hooks take -1 for never.
INTERVAL = whole(1) | Rule('-1, never', lambda value: type(value) is int and value == -1)

_LOADER = {
    '': section() | NOTHING,
    'batch_size': whole(1),
    'num_workers': whole(0),
    'prefetch_factor': whole(1) | NOTHING,
    'persistent_workers': FLAG,
    'pin_memory': FLAG,
    'drop_last': FLAG,
    'timeout': number(0),
    'dataset': PART,
    'dataset.pipeline': LIST,
    'dataset.pipeline.[]': PART,
    'sampler': PART,
    'batch_sampler': PART | NOTHING,
    'collate_fn': PART,
}
# In this order: what holds others comes before them. `*` is every entry of a dict, `[]` of a list.
# What a config leaves out is not checked.
RULES: dict[str, Rule] = {
    'work_dir': TEXT,
    'default_scope': TEXT,
    'model': PART,
    'model.branches': section(),
    'model.branches.*': section() | NOTHING,
    'model.branches.*.backbone': PART,
    **{
        f'model.branches.*.backbone.{inner}{name}': DROPPED
        for inner in ('', 'backbone.')
        for name in ('drop_rate', 'attn_drop_rate', 'drop_path_rate')
    },
    'model.branches.*.pooling': PART | NOTHING,
    'model.data_preprocessor': section() | NOTHING,
    'model.neck': section() | LIST | NOTHING,
    'model.head': section() | LIST | NOTHING,
    'model.teacher': section('cfg', 'checkpoint', 'precision', 'cache'),
    'model.teacher.cfg': TEXT | PART,
    'model.teacher.checkpoint': TEXT,
    'model.teacher.precision': TEXT,
    'model.teacher.cache': TEXT | NOTHING,
    'model.distill_losses.*': PART | NOTHING,
    **{
        f'{loader}_dataloader{"." if name else ""}{name}': rule
        for loader in ('train', 'val', 'test')
        for name, rule in _LOADER.items()
    },
    'train_cfg': section() | NOTHING,
    'train_cfg.by_epoch': FLAG,
    'train_cfg.max_epochs': whole(1),
    'train_cfg.max_iters': whole(1),
    'train_cfg.val_interval': whole(1),
    'train_cfg.val_begin': whole(0),
    'val_cfg': section() | NOTHING,
    'val_cfg.fp16': FLAG,
    'test_cfg': section() | NOTHING,
    'test_cfg.fp16': FLAG,
    'val_evaluator': section() | LIST | NOTHING,
    'val_evaluator.[]': PART,
    'test_evaluator': section() | LIST | NOTHING,
    'test_evaluator.[]': PART,
    'optim_wrapper': section() | NOTHING,
    'optim_wrapper.type': TEXT,
    'optim_wrapper.constructor': TEXT,
    'optim_wrapper.accumulative_counts': whole(1),
    'optim_wrapper.clip_grad': section(
        'type', 'max_norm', 'clip_value', 'norm_type', 'error_if_nonfinite', 'foreach'
    )
    | NOTHING,
    'optim_wrapper.clip_grad.type': one_of('norm', 'value'),
    'optim_wrapper.clip_grad.max_norm': number(above=0),
    'optim_wrapper.clip_grad.clip_value': number(above=0),
    'optim_wrapper.clip_grad.norm_type': number(above=0),
    'optim_wrapper.optimizer': PART,
    'optim_wrapper.optimizer.lr': number(0),
    'optim_wrapper.optimizer.weight_decay': number(0),
    'optim_wrapper.optimizer.momentum': number(0),
    'optim_wrapper.optimizer.eps': number(0),
    'optim_wrapper.paramwise_cfg': section() | NOTHING,
    'optim_wrapper.paramwise_cfg.bias_lr_mult': number(0),
    'optim_wrapper.paramwise_cfg.bias_decay_mult': number(0),
    'optim_wrapper.paramwise_cfg.norm_decay_mult': number(0),
    'optim_wrapper.paramwise_cfg.dwconv_decay_mult': number(0),
    'optim_wrapper.paramwise_cfg.flat_decay_mult': number(0),
    'optim_wrapper.paramwise_cfg.layer_decay_rate': number(above=0) | section(),
    'optim_wrapper.paramwise_cfg.layer_decay_rate.*': number(above=0),
    'optim_wrapper.paramwise_cfg.bypass_duplicate': FLAG,
    'optim_wrapper.paramwise_cfg.custom_keys': section(),
    'optim_wrapper.paramwise_cfg.custom_keys.*': section(),
    'optim_wrapper.paramwise_cfg.custom_keys.*.lr_mult': number(0),
    'optim_wrapper.paramwise_cfg.custom_keys.*.decay_mult': number(0),
    'param_scheduler': section() | LIST | NOTHING,
    'param_scheduler.[]': PART,
    'auto_scale_lr': section() | NOTHING,
    'auto_scale_lr.enable': FLAG,
    'auto_scale_lr.base_batch_size': whole(1),
    'default_hooks': section() | NOTHING,
    'default_hooks.*': PART | NOTHING,
    'default_hooks.*.interval': INTERVAL,
    'default_hooks.*.by_epoch': FLAG,
    'default_hooks.logger.interval': whole(1),
    'default_hooks.checkpoint.max_keep_ckpts': INTERVAL,
    'default_hooks.checkpoint.backend_args': section() | NOTHING,
    'default_hooks.checkpoint.backend_args.backend': FILE_BACKEND,
    'default_hooks.checkpoint.out_dir': TEXT | NOTHING,
    'default_hooks.checkpoint.save_best': TEXT | LIST | NOTHING,
    'default_hooks.checkpoint.published_keys': TEXT | LIST | NOTHING,
    'default_hooks.checkpoint.rule': one_of('greater', 'less') | NOTHING,
    'custom_hooks': LIST | NOTHING,
    'custom_hooks.[]': PART,
    'custom_hooks.[].interval': INTERVAL,
    'custom_hooks.[].by_epoch': FLAG,
    'env_cfg': section(),
    'env_cfg.cudnn_benchmark': FLAG,
    'env_cfg.mp_cfg': section(),
    'env_cfg.mp_cfg.mp_start_method': one_of('fork', 'spawn', 'forkserver') | NOTHING,
    'env_cfg.mp_cfg.opencv_num_threads': whole(0),
    'env_cfg.dist_cfg': section(),
    'env_cfg.dist_cfg.backend': TEXT,
    'visualizer': PART | NOTHING,
    'visualizer.vis_backends': LIST | NOTHING,
    'visualizer.vis_backends.[]': PART,
    'log_processor': section() | NOTHING,
    'log_processor.window_size': whole(1),
    'log_processor.num_digits': whole(0),
    'log_processor.by_epoch': FLAG,
    'log_level': one_of('DEBUG', 'INFO', 'WARNING', 'ERROR', 'CRITICAL') | whole(0),
    'load_from': TEXT | NOTHING,
    'resume': FLAG | TEXT | NOTHING,
    'randomness': section() | NOTHING,
    'randomness.seed': whole(0, LARGEST_SEED) | NOTHING,
    'randomness.deterministic': FLAG,
    'randomness.diff_rank_seed': FLAG,
    'find_unused_parameters': FLAG,
    'compile': FLAG | section(),
    'input_size': Rule(
        'two whole numbers from 1 on, (height, width)',
        lambda value: (
            isinstance(value, Sequence) and len(value) == 2 and all(map(whole(1).holds, value))
        ),
    ),
}


def check_settings(cfg: Config | dict[str, Any]) -> None:
    """Refuse a config in which one of MMEngine's settings has an impossible value.

    Args:
        cfg: The whole config, with all overrides.

    Raises:
        ConfigError: Naming the setting, its value and what it may be.

    Example:
        >>> check_settings(dict(train_cfg=dict(max_iters=0)))
        Traceback (most recent call last):
        fusionreid.errors.ConfigError: train_cfg.max_iters must be a whole number from 1 on, got 0
    """
    settings = dict(cfg.items())  # a Config is no Mapping
    for pattern, rule in RULES.items():
        for name, value in _find(settings, pattern.split('.')):
            if not rule.holds(value):
                raise ConfigError(f'{name} must be {rule.expectation}, got {value!r:.80}')


def _find(value: Any, keys: list[str], path: str = '') -> Iterator[tuple[str, Any]]:
    """Find the settings that a pattern names, with their dotted names."""
    if not keys:
        yield path, value
        return
    key, *rest = keys
    if isinstance(value, Mapping):
        names = [key] if key in value else list(value) if key == '*' else []
    else:
        names = list(range(len(value))) if key == '[]' and LIST.holds(value) else []
    for name in names:
        yield from _find(value[name], rest, f'{path}.{name}' if path else str(name))
