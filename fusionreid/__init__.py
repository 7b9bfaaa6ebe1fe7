"""FusionReID: person re-identification by unified convolutional and transformer features."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from fusionreid.stack import warn_of_mixture
from fusionreid.workarounds.mmcv_operators import ignore_missing_operator

ignore_missing_operator()
warn_of_mixture()

from fusionreid import registry  # noqa: E402
from fusionreid.version import __version__  # noqa: E402

if TYPE_CHECKING:
    from fusionreid.apis import ReIDInferencer, get_model, list_models
    from fusionreid.apis.hub_model import HubModel
    from fusionreid.gallery import Gallery

__all__ = [
    'Gallery',
    'HubModel',
    'ReIDInferencer',
    '__version__',
    'get_model',
    'list_models',
    'registry',
]

# Loaded when they are first used: most commands need neither, and loading them takes seconds.
_HOMES = {
    'Gallery': 'fusionreid.gallery',
    'HubModel': 'fusionreid.apis.hub_model',
    'ReIDInferencer': 'fusionreid.apis',
    'get_model': 'fusionreid.apis',
    'list_models': 'fusionreid.apis',
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(importlib.import_module(_HOMES[name]), name)
