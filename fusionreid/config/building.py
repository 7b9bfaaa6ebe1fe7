"""Building what a config describes, with one readable error for a wrong setting."""

from __future__ import annotations

import inspect
import sysconfig
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmengine.dataset import Compose
from mmengine.registry import build_from_cfg
from mmengine.runner import Runner

import fusionreid
from fusionreid.errors import ConfigError, UserError

_RUNNER_FILE = inspect.getfile(Runner)
# Methods of the Runner that make something of the config, but are not called `build_...`.
_RUNNER_STEPS = {
    '__init__': 'runner',
    '_init_model_weights': 'weights of the model',
    'scale_lr': 'auto_scale_lr',
    'wrap_model': 'model wrapper',
}
_OURS = inspect.getfile(fusionreid).removesuffix('__init__.py')
_STANDARD_LIBRARY = sysconfig.get_path('stdlib')
_INSTALLED = {'site-packages', 'dist-packages'}


@contextmanager
def build_errors(trial: str | None = None) -> Iterator[None]:
    """Turn what a wrong setting makes a part of the config raise into a ConfigError.

    A part's constructor refuses an argument by a KeyError, TypeError, ValueError or AssertionError.
    A library that was handed a wrong value may raise anything, a ZeroDivisionError for a stride of
    0. Whatever else a constructor of ours, or of the user, raises is a mistake in it and passes, as
    does every error from outside of building.

    Args:
        trial: What is tried, if the block does not build, but tries what was built. Then a
            ValueError and whatever a library raises are told.

    Yields:
        None; what builds belongs inside.

    Raises:
        ConfigError: It names the part of the config, and has the error as its cause.

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
    except Exception as error:
        problem = _find_part(error)
        if problem is None and trial and (isinstance(error, ValueError) or _is_of_library(error)):
            problem = trial
        if problem is None:
            raise
        raise ConfigError(f'{problem}: {describe(error)}') from error


def _find_part(error: Exception) -> str | None:
    """Say which part of a config refused its settings, the innermost one, if an error is that."""
    part, event = None, 'the config cannot be built'
    refused = isinstance(error, (AssertionError, KeyError, TypeError, ValueError))
    for frame, _ in traceback.walk_tb(error.__traceback__):
        code = frame.f_code
        if code is build_from_cfg.__code__:
            part = f'type={_kind(frame.f_locals)!r}'
        elif code is Compose.__call__.__code__:
            # Transforms look at their settings when they meet an image.
            part, event = f'type={type(frame.f_locals["t"]).__name__!r}', 'a transform fails'
        elif code.co_filename == _RUNNER_FILE and code.co_name.startswith('build_'):
            part = code.co_name.removeprefix('build_')
        elif code.co_filename == _RUNNER_FILE and code.co_name in _RUNNER_STEPS and part is None:
            part = _RUNNER_STEPS[code.co_name]
    # What the operating system refuses is no matter of the config.
    is_environment = isinstance(error, OSError) and error.errno is not None
    if part is None or is_environment or not (refused or _is_of_library(error)):
        return None
    return f'{event}, {part}'


def _kind(arguments: dict[str, Any]) -> Any:
    """The type of the part that a call of MMEngine's builder builds, as far as it came."""
    cfg = arguments['cfg']
    kind = arguments.get('obj_type', cfg.get('type') if isinstance(cfg, dict) else cfg)
    return getattr(kind, '__name__', kind)


def _is_of_library(error: Exception) -> bool:
    """Whether the code that raised is of an installed package other than ours, or of Python."""
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    file = frame.f_code.co_filename
    if file.startswith(_OURS):
        return False
    return file.startswith(_STANDARD_LIBRARY) or not _INSTALLED.isdisjoint(Path(file).parts)


def describe(error: BaseException) -> str:
    """Write an error in one line, with its type where the message alone would not do.

    Args:
        error: The error.

    Returns:
        The line.

    Example:
        >>> describe(ValueError('the depth must be 18')), describe(ZeroDivisionError('by zero'))
        ('the depth must be 18', 'ZeroDivisionError: by zero')
    """
    line = one_line(error)
    missing = error.__context__
    if isinstance(error, ImportError) and isinstance(missing, ModuleNotFoundError):
        # MMEngine names another package for some of its trackers.
        return f'the module {missing.name!r} is missing: install its package, or leave the part out'
    if line and isinstance(error, (ImportError, TypeError, ValueError)):
        return line
    if isinstance(error, KeyError) and ' ' in line:  # a sentence, not a key
        return line
    return f'{type(error).__name__}: {line}' if line else type(error).__name__


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
