"""Lighter fusions that ``fusionreid ablate`` compares: name, title, changes of the config."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.config import Config

MERGED = {'model.branches.transformer.backbone.keep_ratio': 0.25}


def half(width: int) -> int:
    """Return half of a width."""
    return width // 2


def sixth(width: int) -> int:
    """Return a sixth of a width."""
    return width // 6


def _fusion(**neck: Any) -> dict[str, Any]:
    """The published fusion with other settings of its neck."""
    settings = dict(num_layers=2, shared=('seu',), **neck)
    return {f'model.neck.{name}': value for name, value in settings.items()}


# A function makes a setting from the width d of the config.
LIGHTER_VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    'lite_mfu': ('MFU alone', _fusion(units=('mfu',))),
    'lite_patch_mlp': ('no MLP on patches', _fusion(patch_mlp=False)),
    'lite_once': ('patches encoded once', _fusion(encode_once=True)),
    'lite_pooled': ('pooled 2x2', _fusion(patch_pooling=2)),
    'lite_shared_layers': ('layers share weights', _fusion(share_layers=True)),
    'lite_latents': ('8 latents per branch', _fusion(num_latents=8)),
    'lite_rank': ('rank d / 6', _fusion(rank=sixth)),
    'lite_narrow': ('width d / 2 inside', _fusion(inner_dims=half)),
    'lite_pooled_mlp': (
        'pooled 2x2, no MLP on patches',
        _fusion(patch_pooling=2, patch_mlp=False),
    ),
    'lite_pooled_once': ('pooled 2x2, once', _fusion(patch_pooling=2, encode_once=True)),
    'lite_merged': ('a quarter of the tokens (ToMe)', {**_fusion(), **MERGED}),
    'lite_pooled_once_merged': (
        'pooled 2x2, once, ToMe',
        {**_fusion(patch_pooling=2, encode_once=True), **MERGED},
    ),
}


def apply_variant(cfg: Config, changes: Mapping[str, Any]) -> None:
    """Change a config to that of a variant.

    Args:
        cfg: Config of a fusion; it is changed.
        changes: Settings by their dotted keys.

    Example:
        >>> cfg = Config(dict(model=dict(neck=dict(embed_dims=128))))
        >>> apply_variant(cfg, {'model.neck.rank': sixth})
        >>> cfg.model.neck.rank
        21
    """
    width = cfg.model.neck.get('embed_dims', 768)
    cfg.merge_from_dict(
        {key: value(width) if callable(value) else value for key, value in changes.items()}
    )
