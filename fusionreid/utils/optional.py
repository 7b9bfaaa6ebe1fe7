"""Libraries that only a part of the package needs."""

from __future__ import annotations

import importlib
from types import ModuleType

from fusionreid.errors import UserError


def import_optional(
    module: str, distribution: str, user: str, error: type[UserError]
) -> ModuleType:
    """Import what only a part of the package needs.

    Args:
        module: Name to import.
        distribution: What pip installs to provide it.
        user: What needs it, for the error.
        error: What to raise.

    Returns:
        The module.

    Raises:
        UserError: If it is not installed, saying what to install; raised as ``error``.
    """
    try:
        return importlib.import_module(module)
    except ImportError as reason:
        raise error(
            f'{user} needs {module}, which cannot be imported ({reason}): '
            f'pip install {distribution}'
        ) from reason
