"""Data loaders of a config whose base is in another package."""

from __future__ import annotations

from typing import Any


def drop_collate_scopes(cfg: Any) -> None:
    """Remove the scopes that MMEngine adds to collate functions.

    Reason: of a base such as ``fusionreid::baselines/r50_market1501.py`` MMEngine 0.10.7 and
    onedl-mmengine 0.10.12 give every part a ``_scope_``, and then call the collate function with
    it. It ends with an MMEngine that removes it before.

    Args:
        cfg: A config, or a part of it, which is changed.
    """
    for key, value in cfg.items():
        if not isinstance(value, dict):
            continue
        if key == 'collate_fn':
            value.pop('_scope_', None)
        drop_collate_scopes(value)
