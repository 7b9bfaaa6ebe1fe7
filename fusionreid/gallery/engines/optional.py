"""Libraries that only one engine needs."""

from __future__ import annotations

import importlib
from types import ModuleType

from fusionreid.errors import GalleryError


def import_optional(module: str, distribution: str, engine: str) -> ModuleType:
    """Import what only one engine needs.

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
