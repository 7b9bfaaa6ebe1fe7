"""Building what a config describes, with one readable error for a wrong setting."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from mmengine.registry import build_from_cfg
from mmengine.runner import Runner

from fusionreid.errors import ConfigError, UserError

_RUNNER_FILE = inspect.getfile(Runner)


@contextmanager
def build_errors() -> Iterator[None]:
    """Turn what a registry raises for a wrong setting into a ConfigError; other errors pass.

    Yields:
        None; what builds belongs inside.

    Raises:
        ConfigError: For an error of a registry; it names the part of the config.

    Example:
        >>> from fusionreid.registry import MODELS
        >>> with build_errors():
        ...     MODELS.build(dict(type='fusionreid.IDLoss', label_smoothing=2.0))
        Traceback (most recent call last):
        fusionreid.errors.ConfigError: the config cannot be built, type='fusionreid.IDLoss': \
label_smoothing must be in [0, 1), got 2.0
    """
    try:
        yield
    except UserError:
        raise
    except (KeyError, TypeError, ValueError) as error:
        part = _part_being_built(error)
        if part is None:
            raise
        raise ConfigError(f'the config cannot be built, {part}: {one_line(error)}') from error


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


def one_line(error: BaseException) -> str:
    r"""Write the message of an error without line breaks.

    Args:
        error: The error.

    Returns:
        Its first argument as text, one space between words.

    Example:
        >>> one_line(ValueError('two\n  lines'))
        'two lines'
    """
    return ' '.join(str(error.args[0] if error.args else error).split())
