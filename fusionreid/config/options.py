"""Overrides of a config, as ``--cfg-options`` gives them."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterable
from typing import Any

from mmengine.config import Config
from mmengine.runner import Runner

from fusionreid.errors import ConfigError

from .building import one_line

# What is read from a config besides the Runner's own arguments.
OTHER_KEYS = (
    'auto_scale_lr',
    'compile',
    'custom_imports',
    'find_unused_parameters',
    'input_size',
    'model_wrapper_cfg',
    'runner_type',
    'strategy',
    'sync_bn',
)


def merge_options(cfg: Config, options: dict[str, Any]) -> None:
    """Merge ``--cfg-options`` into a config.

    Args:
        cfg: Config to change.
        options: Values by dotted key.

    Raises:
        ConfigError: If a key begins with a name that nothing reads, or does not lead anywhere.

    Example:
        >>> cfg = Config(dict(train_cfg=dict(max_epochs=180)))
        >>> merge_options(cfg, {'train_cfg.max_epochs': 2})
        >>> cfg.train_cfg.max_epochs
        2
    """
    known = {*cfg.keys(), *inspect.signature(Runner.__init__).parameters, *OTHER_KEYS}
    for key in options:
        first = key.partition('.')[0]
        if first not in known:
            raise ConfigError(
                f'--cfg-options {key}: nothing is called {first!r}{_hint(first, known)}'
            )
    try:
        cfg.merge_from_dict(options)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        keys = ' '.join(options)
        raise ConfigError(
            f'--cfg-options {keys} do not fit the config: {one_line(error)}'
        ) from error


def _hint(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f', did you mean {close[0]!r}?' if close else ''
