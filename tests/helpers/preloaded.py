"""Imports what commands need, for the process that the others are forked from."""

from __future__ import annotations

import gc
import os
from importlib import import_module
from pkgutil import walk_packages

os.environ.setdefault('MPLBACKEND', 'Agg')

import fusionreid  # noqa: E402

for found in walk_packages(fusionreid.__path__, 'fusionreid.'):
    if not found.name.endswith('.__main__'):
        import_module(found.name)
for name in ('mmengine.visualization', 'pytest', 'torch.utils.tensorboard', 'tensorboard.compat'):
    import_module(name)

import quick_mmengine  # noqa: E402

quick_mmengine.make_quick()
gc.freeze()  # what was imported stays as it is, in the memory that all forks share
