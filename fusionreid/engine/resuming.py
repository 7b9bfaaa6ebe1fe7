"""What a resumed training keeps of its checkpoint, what changes, and what cannot be combined.

MMEngine restores weights, the options and the state of the optimizer, the schedule, the seed and
the position. All else is as the config of the resumed run says.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator, Sequence
from numbers import Real
from typing import Any, NamedTuple

import torch
from mmengine.optim import _ParamScheduler
from torch.optim import Optimizer

from fusionreid.errors import ConfigError

from .optimizers.merged_param_groups import MULTIPLES, refuse_other_groups

KEPT = "the checkpoint's is kept"
CHANGES = 'changes from here on'
NOT_SET = 'not set'
# Settings that are compared as the two configs have them; the rest is compared as it is in effect.
SECTIONS = (
    'model',
    'train_dataloader',
    'train_cfg',
    'optim_wrapper',
    'randomness',
    'sync_bn',
    'val_evaluator',
    'default_hooks',
    'param_scheduler',
)
_IN_EFFECT = (
    'optim_wrapper.optimizer.',
    'optim_wrapper.paramwise_cfg',
    'optim_wrapper.constructor',
    'param_scheduler',
    'randomness.seed',
)
# How fast batches come, not what is in them.
_SPEED = {'num_workers', 'persistent_workers', 'pin_memory', 'prefetch_factor'}
# Options of the optimizer's implementation, and what is no option.
_NO_OPTIONS = {'params', 'param_names', 'fused', 'foreach', 'capturable', 'differentiable'}
# Where the schedule stands, and what follows from the optimizer's own options.
_POSITION = {'last_step', '_global_step', '_last_value', 'verbose', 'base_values'}
_COUNTERS = ('last_step', '_global_step')
_MAX_WIDTH = 40


class Difference(NamedTuple):
    """A setting of which the checkpoint and this config say different things.

    Args:
        setting: Its name in the config.
        checkpoint: Its value in the checkpoint, as text.
        config: Its value in the config of the resumed run, as text.
        effect: What happens: :data:`KEPT`, or :data:`CHANGES` and what follows.
    """

    setting: str
    checkpoint: str
    config: str
    effect: str


def compare_configs(saved: dict[str, Any], current: dict[str, Any]) -> list[Difference]:
    """Compare settings that a resumed run takes from its own config.

    Args:
        saved: Settings of the checkpoint's config, of :data:`SECTIONS`.
        current: Settings of this run's.

    Returns:
        The settings that differ. Those of the optimizer and the schedule, and the seed, are left
        out.

    Example:
        >>> saved, current = (dict(train_dataloader=dict(batch_size=size)) for size in (8, 16))
        >>> [difference] = compare_configs(saved, current)
        >>> difference.setting, difference.effect
        ('train_dataloader.batch_size', 'changes from here on')
    """
    return [
        Difference(name, show(before), show(now), CHANGES)
        for name, before, now in _walk(saved, current)
        if not name.startswith(_IN_EFFECT) and name.rpartition('.')[2] not in _SPEED
    ]


def _walk(saved: Any, current: Any, name: str = '') -> Iterator[tuple[str, Any, Any]]:
    if isinstance(saved, dict) and isinstance(current, dict):
        prefix = f'{name}.' if name else ''
        for key in saved | current:
            if prefix == 'default_hooks.' and key != 'checkpoint':
                continue
            yield from _walk(saved.get(key, NOT_SET), current.get(key, NOT_SET), f'{prefix}{key}')
    elif isinstance(saved, list) and isinstance(current, list) and len(saved) == len(current):
        for index, (before, now) in enumerate(zip(saved, current, strict=True)):
            yield from _walk(before, now, f'{name}.{index}')
    # To say None and to say nothing is the same.
    elif saved != current and {str(saved), str(current)} != {NOT_SET, 'None'}:
        yield name, saved, current


def show(value: Any) -> str:
    """Write a value for a cell of a table.

    Args:
        value: The value.

    Returns:
        One short line.

    Example:
        >>> show(0.30000000000000004), show('SGD'), show([1] * 100)[-5:]
        ('0.3', 'SGD', '1,...')
    """
    text = f'{value:g}' if isinstance(value, float) else ' '.join(str(value).split())
    return text if len(text) <= _MAX_WIDTH else f'{text[: _MAX_WIDTH - 3].rstrip()}...'


def compare_options(optimizer: Optimizer, state: dict[str, Any]) -> list[Difference]:
    """Compare the options by which an optimizer steps.

    Args:
        optimizer: Optimizer of this run, with the groups that this config makes.
        state: State dict that will be loaded into it, with the same number of groups.

    Returns:
        The options that differ, with their values in all groups. A scheduled option is compared by
        its base value.
    """
    groups, saved_groups = optimizer.param_groups, state['param_groups']
    known = set.intersection(*(set(group) for group in (*groups, *saved_groups)))
    scheduled = {name.removeprefix('initial_') for name in known if name.startswith('initial_')}
    found = []
    for name in groups[0]:
        if name not in known - scheduled - _NO_OPTIONS - set(MULTIPLES):
            continue
        saved, ours = ([_plain(group[name]) for group in part] for part in (saved_groups, groups))
        if saved != ours:
            option = name.removeprefix('initial_')
            found.append(
                Difference(
                    f'optim_wrapper.optimizer.{option}', _distinct(saved), _distinct(ours), KEPT
                )
            )
    return found


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _distinct(values: Sequence[Any]) -> str:
    return show(' and '.join(dict.fromkeys(map(show, values))))


def refuse_other_optimizer(
    optimizer: Optimizer,
    state: dict[str, Any],
    saved_kind: str | None,
    has_stepped: bool,
    way_out: str,
) -> None:
    """Refuse the state of an optimizer that this one cannot go on with.

    Args:
        optimizer: Optimizer of this run.
        state: State dict that is to be loaded into it.
        saved_kind: Name of the class that wrote it; None if that is not known.
        has_stepped: Whether it had made a step when it was saved.
        way_out: What to do instead.

    Raises:
        ConfigError: If it is of another class, of other groups, or of parameters of other shapes,
            holds an option that the optimizer does not take, or no state where it had stepped.
    """
    kind = type(optimizer).__name__
    if saved_kind not in (None, kind):
        raise ConfigError(
            f'the checkpoint holds the state of {saved_kind}, which {kind} cannot go on with: set '
            f'optim_wrapper.optimizer.type={saved_kind}, or {way_out}'
        )
    groups = state.get('param_groups') if isinstance(state, dict) else None
    if not isinstance(groups, list) or not all(
        isinstance(group, dict) and isinstance(group.get('params'), list) for group in groups
    ):
        raise ConfigError(f'the checkpoint holds no state of an optimizer: {way_out}')
    refuse_other_groups(optimizer, state)
    states = state.get('state', {})
    if not isinstance(states, dict) or not all(isinstance(own, dict) for own in states.values()):
        raise ConfigError(f'the checkpoint holds no state of an optimizer: {way_out}')
    for group, saved in zip(optimizer.param_groups, groups, strict=True):
        lacks = (optimizer.defaults.keys() & group.keys()) - saved.keys() - _NO_OPTIONS
        # Later versions of torch have more options than earlier ones, but none of these is new.
        lacks &= {'lr', 'momentum', 'dampening', 'nesterov', 'betas', 'eps', 'alpha', 'rho'}
        if lacks:
            raise ConfigError(
                f'the checkpoint holds the state of another optimizer than {kind}, it lacks '
                f'{", ".join(sorted(lacks))}: set optim_wrapper.optimizer to that of the '
                f'checkpoint, or {way_out}'
            )
        for name in group.keys() & saved.keys() - {'params'}:
            _refuse_other_kind(f'{name} of its optimizer', saved[name], group[name], way_out)
        _refuse_options(optimizer, saved, way_out)
        for parameter, number in zip(group['params'], saved['params'], strict=True):
            for name, value in states.get(number, {}).items():
                if not isinstance(value, (torch.Tensor, Real, type(None))):
                    raise ConfigError(
                        f"the checkpoint's optimizer holds {value!r:.80} as {name}: {way_out}"
                    )
                if isinstance(value, torch.Tensor) and _is_other_shape(value, parameter):
                    raise ConfigError(
                        f"the checkpoint's optimizer holds {name} of shape {list(value.shape)} for "
                        f'parameter {number}, which has shape {list(parameter.shape)} here: the '
                        f'parameters are grouped in another way; resume it with the optim_wrapper '
                        f'that it was trained with, or {way_out}'
                    )
    numbers = [number for group in groups for number in group['params']]
    if has_stepped and _keeps_state(groups, kind) and not any(map(states.get, numbers)):
        raise ConfigError(
            f'the checkpoint was saved after steps of {kind}, but holds no moments of any '
            f'parameter: resume another checkpoint of the run, or {way_out}'
        )


def _keeps_state(groups: list[dict[str, Any]], kind: str) -> bool:
    """Whether steps with these options leave something in the state."""
    return kind != 'SGD' or any(group.get('momentum') for group in groups)


def _refuse_options(optimizer: Optimizer, saved: dict[str, Any], way_out: str) -> None:
    """Refuse options that the optimizer itself would not take from a config."""
    kind = type(optimizer)
    if not kind.__module__.startswith('torch.optim'):
        return  # may need more than options to be built
    known = inspect.signature(kind).parameters.keys() - _NO_OPTIONS
    options = {name: saved[name] for name in known & saved.keys()}
    try:
        kind([torch.nn.Parameter(torch.zeros(1))], **options)
    except ValueError as error:
        raise ConfigError(
            f"the options of the checkpoint's optimizer cannot be ({error}): {way_out}"
        ) from error


def _is_other_shape(value: torch.Tensor, parameter: torch.Tensor) -> bool:
    # Counters are scalars, and factored moments have a size of one for each other axis.
    if value.dim() == 0:
        return False
    if value.dim() != parameter.dim():
        return value.numel() > 1
    return any(
        size not in (1, wanted) for size, wanted in zip(value.shape, parameter.shape, strict=True)
    )


def _refuse_other_kind(name: str, saved: Any, current: Any, way_out: str) -> None:
    """Refuse what is no number, or no list of as many, where this run has one."""
    if isinstance(current, (list, tuple)):
        if isinstance(saved, (list, tuple)) and len(saved) == len(current):
            for each, own in zip(saved, current, strict=True):
                _refuse_other_kind(name, each, own, way_out)
            return
    elif (
        type(current) not in (int, float)
        or (isinstance(saved, torch.Tensor) and saved.numel() == 1)
        or (isinstance(saved, Real) and math.isfinite(saved))
    ):
        return
    raise ConfigError(
        f'the checkpoint holds {saved!r:.80} as {name}, where this run has {show(current)}: '
        f'{way_out}'
    )


def refuse_other_members(names: list[list[str]], saved: Any, way_out: str) -> None:
    """Refuse the state of an optimizer whose groups hold other parameters, or in another order.

    Args:
        names: Names of the parameters of this run, by group.
        saved: Those of the checkpoint; None if it does not say.
        way_out: What to do instead.

    Raises:
        ConfigError: Naming the first parameter that stands elsewhere.

    Example:
        >>> refuse_other_members([['a'], ['b']], [['b'], ['a']], 'start anew')
        Traceback (most recent call last):
        fusionreid.errors.ConfigError: the checkpoint's optimizer holds the state of b where this \
config has a: the parameters are grouped in another way; resume it with the optim_wrapper that it \
was trained with, or start anew
    """
    if saved is None:
        return
    if not isinstance(saved, list) or not all(isinstance(group, list) for group in saved):
        raise ConfigError(f'meta.param_groups of the checkpoint is no list of lists: {way_out}')
    ours = [name for group in names for name in group]
    theirs = [name for group in saved for name in group]
    for name, other in zip(ours, theirs, strict=False):
        if name != other:
            raise ConfigError(
                f"the checkpoint's optimizer holds the state of {other} where this config has "
                f'{name}: the parameters are grouped in another way; resume it with the '
                f'optim_wrapper that it was trained with, or {way_out}'
            )


def kinds_of(settings: Any) -> list[str]:
    """Name the classes of a config's schedulers.

    Args:
        settings: ``param_scheduler`` of a config: a dict, a list of them or None.

    Returns:
        The names, without scopes.

    Example:
        >>> kinds_of(dict(type='fusionreid.WarmupCosineLR')), kinds_of(None)
        (['WarmupCosineLR'], [])
    """
    parts = settings if isinstance(settings, list) else [settings]
    return [str(part.get('type')).rpartition('.')[2] for part in parts if isinstance(part, dict)]


def compare_schedules(
    schedulers: Sequence[_ParamScheduler],
    states: Sequence[dict[str, Any]],
    saved_kinds: list[str] | None,
    way_out: str,
) -> list[Difference]:
    """Compare the schedules of the optimizer's options.

    Args:
        schedulers: Those of this run; none if the config has no schedule.
        states: Their states in the checkpoint.
        saved_kinds: Names of the classes that wrote the states; None if they are not known.
        way_out: What to do instead.

    Returns:
        The settings that differ.

    Raises:
        ConfigError: If the two are different schedules.
    """
    if not isinstance(states, (list, tuple)):
        raise ConfigError(f"the checkpoint's schedules are of several optimizers: {way_out}")
    kinds = [type(scheduler).__name__ for scheduler in schedulers]
    if not schedulers:
        saved = ', '.join(saved_kinds or []) or f'{len(states)} schedule(s)'
        rates = f'{CHANGES}: rates stay as they are'
        return [Difference('param_scheduler', saved, 'None', rates)] if states else []
    if len(states) != len(kinds) or saved_kinds not in (None, kinds):
        saved = ', '.join(saved_kinds or []) or f'{len(states)} schedule(s)'
        raise ConfigError(
            f"the checkpoint's schedule is {saved}, which {', '.join(kinds)} cannot go on with: "
            f'set param_scheduler to that of the checkpoint, or {way_out}'
        )
    found = []
    for index, (scheduler, state) in enumerate(zip(schedulers, states, strict=True)):
        name = 'param_scheduler' if len(kinds) == 1 else f'param_scheduler.{index}'
        # MMEngine sets whatever the state holds as attributes.
        misused = [key for key in state if callable(getattr(scheduler, str(key), None))]
        misused += [key for key in _COUNTERS if type(state.get(key, 0)) is not int]
        if misused:
            raise ConfigError(
                f'the checkpoint holds {state[misused[0]]!r:.80} as {misused[0]} of its schedule: '
                f'{way_out}'
            )
        for key, value in scheduler.state_dict().items():
            if key in state:
                _refuse_other_kind(f'{key} of its schedule', state[key], value, way_out)
            if key not in _POSITION and key in state and state[key] != value:
                found.append(Difference(f'{name}.{key}', _shown(state[key]), _shown(value), KEPT))
    return found


def _shown(value: Any) -> str:
    return _distinct(value) if isinstance(value, list) else show(value)
