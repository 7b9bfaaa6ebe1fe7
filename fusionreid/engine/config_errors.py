"""Mistakes in a config or on the command line, told in one line."""

from __future__ import annotations

import argparse
import difflib
import inspect
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from mmengine.config import Config, DictAction
from mmengine.registry import build_from_cfg
from mmengine.runner import Runner

from fusionreid.errors import ConfigError, UserError

_RUNNER_FILE = inspect.getfile(Runner)
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


class OptionAction(DictAction):
    """mmengine's ``KEY=VALUE ...``, which names what is not of that form."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """Read the options; the arguments are argparse's."""
        for text in values:
            if not all(text.partition('=')[:2]):
                raise argparse.ArgumentError(self, f'{text!r} is not of the form KEY=VALUE')
        try:
            super().__call__(parser, namespace, values, option_string)
        except AssertionError as error:  # brackets that do not match
            raise argparse.ArgumentError(self, str(error)) from error


def read_config(path: str) -> Config:
    """Read a config file.

    Raises:
        ConfigError: If it is no valid config.
    """
    try:
        return Config.fromfile(path)
    except UserError:
        raise
    except Exception as error:  # a config is Python, in which anything may be wrong
        raise ConfigError(
            f'{path} is no valid config ({type(error).__name__}: {_one_line(error)})'
        ) from error


def merge_options(cfg: Config, options: dict[str, Any]) -> None:
    """Merge ``--cfg-options`` into a config.

    Args:
        cfg: Config to change.
        options: Values by dotted key.

    Raises:
        ConfigError: If a key begins with a name that nothing reads, or does not lead anywhere.
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
            f'--cfg-options {keys} do not fit the config: {_one_line(error)}'
        ) from error


def _hint(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f', did you mean {close[0]!r}?' if close else ''


@contextmanager
def build_errors() -> Iterator[None]:
    """Turn what a registry raises for a wrong setting into a ConfigError; other errors pass."""
    try:
        yield
    except UserError:
        raise
    except (KeyError, TypeError, ValueError) as error:
        part = _part_being_built(error)
        if part is None:
            raise
        raise ConfigError(f'the config cannot be built, {part}: {_one_line(error)}') from error


def _part_being_built(error: BaseException) -> str | None:
    """The innermost part of a config whose building raised an error, if it came from that."""
    part = None
    for frame, _ in traceback.walk_tb(error.__traceback__):
        code = frame.f_code
        if code is build_from_cfg.__code__:
            kind = frame.f_locals.get('obj_type', frame.f_locals['cfg'].get('type'))
            part = f'type={getattr(kind, "__name__", kind)!r}'
        elif code.co_filename == _RUNNER_FILE and code.co_name.startswith('build_'):
            part = code.co_name.removeprefix('build_')
    return part


def _one_line(error: BaseException) -> str:
    return ' '.join(str(error.args[0] if error.args else error).split())
