"""The form of what a checkpoint holds of its training besides the weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from numbers import Real
from typing import Any

from fusionreid.errors import WeightsError

_HUB = ('log_scalars', 'runtime_info', 'resumed_keys')
_HISTORY = {'log_history', 'count_history', 'max_length'}
# NumPy takes no others.
_SEEDS = range(1 << 32)


def check_run_state(content: Mapping[str, Any]) -> None:
    """Refuse a checkpoint that MMEngine's Runner could not resume from, whatever the config.

    Args:
        content: A checkpoint with ``meta``, ``message_hub``, ``optimizer`` and
            ``param_schedulers``.

    Raises:
        WeightsError: Naming the first entry that is of another form.

    Example:
        >>> check_run_state(dict(meta=[1]))
        Traceback (most recent call last):
        fusionreid.errors.WeightsError: its meta does not say after which epoch and iter it was \
saved
    """
    meta = content['meta']
    if not isinstance(meta, Mapping) or not all(
        type(meta.get(count)) is int and meta[count] >= 0 for count in ('epoch', 'iter')
    ):
        raise WeightsError('its meta does not say after which epoch and iter it was saved')
    seed = meta.get('seed')
    if seed is not None and (type(seed) is not int or seed not in _SEEDS):
        raise WeightsError(f'meta.seed must be a whole number from 0 to {_SEEDS[-1]}, got {seed!r}')
    for name in _misformed(content):
        raise WeightsError(f'{name} is not of the form that the training state has')


def _misformed(content: Mapping[str, Any]) -> Iterator[str]:
    """Names of the entries that are of another form, outer ones first."""
    hub, schedules = content['message_hub'], content['param_schedulers']
    if not isinstance(hub, Mapping) or not all(isinstance(hub.get(k), Mapping) for k in _HUB):
        yield 'message_hub'
    else:
        for name, history in hub['log_scalars'].items():
            if isinstance(history, Mapping) and not _is_history(history):
                yield f'message_hub.log_scalars of {name!r:.80}'
    if not isinstance(content['optimizer'], Mapping):
        yield 'optimizer'
    # One list for each of several optimizers.
    lists = list(schedules.values()) if isinstance(schedules, Mapping) else [schedules]
    if not all(
        isinstance(part, list) and all(isinstance(state, Mapping) for state in part)
        for part in lists
    ):
        yield 'param_schedulers'


def _is_history(history: Mapping[str, Any]) -> bool:
    if history.keys() != _HISTORY or type(history['max_length']) is not int:
        return False
    values, counts = history['log_history'], history['count_history']
    return is_numbers(values) and is_numbers(counts) and len(values) == len(counts)


def is_numbers(values: Any) -> bool:
    """Whether something is a sequence of numbers, with or without members."""
    return (
        isinstance(values, Sequence)
        and not isinstance(values, (str, bytes))
        and all(isinstance(value, Real) for value in values)
    )
