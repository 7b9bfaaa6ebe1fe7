"""Libraries that only one engine needs."""

from __future__ import annotations

import importlib
from types import ModuleType

from fusionreid.errors import GalleryError


def import_optional(module: str, distribution: str, engine: str) -> ModuleType:
    """Import what only one engine needs.

    Args:
        module: Name to import.
        distribution: What pip installs to provide it.
        engine: Name of the engine, for the error.

    Returns:
        The module.

    Raises:
        GalleryError: If it is not installed, saying what to install.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise GalleryError(
            f'the engine {engine!r} needs {module}, which cannot be imported ({error}): '
            f'pip install {distribution}'
        ) from error
