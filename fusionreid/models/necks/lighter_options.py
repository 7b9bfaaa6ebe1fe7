"""Which of the options that make the fusion lighter go together."""

from __future__ import annotations

import math
from collections.abc import Sequence


def check_lighter_options(
    embed_dims: int,
    num_heads: int,
    units: Sequence[str],
    *,
    patch_pooling: int,
    encode_once: bool,
    patch_mlp: bool,
    num_latents: int,
    rank: int | None,
    inner_dims: int | None,
) -> None:
    """Check options of :class:`~fusionreid.models.necks.DualAttentionMutualFusion`.

    Args:
        embed_dims: The mixing width d.
        num_heads: Attention heads.
        units: Units of each HTM.
        patch_pooling: As there.
        encode_once: As there.
        patch_mlp: As there.
        num_latents: As there.
        rank: As there.
        inner_dims: As there.

    Raises:
        ValueError: Naming the option that is out of its range, or those that do not go together.
    """
    _check_whole('patch_pooling', patch_pooling, 1)
    _check_whole('num_latents', num_latents, 0)
    if inner_dims is not None:
        _check_whole('inner_dims', inner_dims, 1, embed_dims - 1)
    if rank is not None:
        _check_whole('rank', rank, 1, (inner_dims or embed_dims) - 1)
    if inner_dims is not None and num_heads > 0 and inner_dims % num_heads:
        raise ValueError(f'inner_dims={inner_dims} is not divisible by num_heads={num_heads}')
    if (encode_once or not patch_mlp) and tuple(units) != ('seu', 'mfu'):
        option = 'encode_once=True' if encode_once else 'patch_mlp=False'
        raise ValueError(
            f"{option} needs patch tokens that an SEU encodes for an MFU: units=('seu', 'mfu'), "
            f'got units={tuple(units)}'
        )


def _check_whole(name: str, value: object, smallest: int, largest: float = math.inf) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not smallest <= value <= largest:
        limits = 'on' if largest == math.inf else f'to {largest}, less than what it narrows'
        raise ValueError(f'{name} must be a whole number from {smallest} {limits}, got {value!r}')
