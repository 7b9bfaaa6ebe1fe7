"""What the summary tokens attend to in the HTMs: their own branch (SEU) and the others (MFU)."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from fusionreid.errors import ExplainError
from fusionreid.models import FusionReID, plain_computation
from fusionreid.models.necks import HeterogenousTransmissionModule, SharedEncodingUnit
from fusionreid.models.necks.branch_units import BranchUnits, EncodingUnits
from fusionreid.models.necks.latent_tokens import LatentTokens

from .attention_map import AttentionMap, Grid
from .recording import Watcher, check_inputs, extract_features, grid_of, watch


def fusion_attention(
    model: FusionReID, images: Tensor, camera_ids: Tensor | None = None
) -> list[AttentionMap]:
    """Compute what every summary token attends to in every unit of every HTM.

    In an SEU, the summary token attends to itself and to its own branch's patches; in an MFU, to
    the patches of the other branches. The model computes these weights only implicitly (see
    ``folded_attention``); here each HTM is run once more, unit by unit, on the inputs that it
    had.

    Args:
        model: A model whose neck has HTMs.
        images: Normalized images of shape ``(B, 3, H, W)``.
        camera_ids: 0-based cameras of shape ``(B,)``, -1 for unknown; None means all unknown.

    Returns:
        Maps in the order of computation: by layer, then by unit, then by branch.

    Raises:
        ExplainError: If the model has no HTM.
    """
    check_inputs(model, images, camera_ids)
    neck = model.neck
    modules = [] if neck is None else list(neck.modules())
    layers = [each for each in modules if isinstance(each, HeterogenousTransmissionModule)]
    if neck is None or not layers:
        raise ExplainError(
            f'the model with the features {list(model.feature_widths)} has no HTM, so there is no '
            'attention between its branches to show'
        )
    if any(isinstance(each, LatentTokens) for each in modules):
        raise ExplainError(
            "the neck's HTMs read num_latents learned tokens per branch, which lie on no grid, so "
            'there is no attention between its branches to show'
        )
    grids: dict[str, Grid] = {}
    calls: list[tuple[Any, dict[str, Tensor], dict[str, Tensor]]] = []

    def note_grids(args: tuple[Any, ...]) -> None:
        factor = getattr(neck, 'patch_pooling', 1)
        for name, feature_map in args[0].items():
            rows, columns = grid_of(feature_map)
            grids[name] = -(-rows // factor), -(-columns // factor)

    # What encodes the patches once belongs to the first layer.
    encoders = [neck.encoder] if isinstance(getattr(neck, 'encoder', None), EncodingUnits) else []
    watchers: dict[nn.Module, Watcher] = {
        each: lambda args, each=each: calls.append((each, *args))  # type: ignore[misc]
        for each in [*encoders, *layers]
    }
    with torch.no_grad():
        with watch({neck: note_grids, **watchers}):
            extract_features(model, images, camera_ids)
        return [
            attention
            for place, (each, summaries, patches) in enumerate(calls)
            for attention in htm_attention(
                each, summaries, patches, grids, max(place - len(encoders), 0)
            )
        ]


@torch.no_grad()
def htm_attention(
    htm: HeterogenousTransmissionModule | EncodingUnits,
    summaries: dict[str, Tensor],
    patches: dict[str, Tensor],
    grids: dict[str, Grid],
    number: int = 0,
) -> list[AttentionMap]:
    """Compute what every summary token attends to in the units of one HTM.

    Args:
        htm: The HTM, or the SEUs that encode the patches for all HTMs.
        summaries: Per branch, the summary token of shape ``(B, 1, d)``.
        patches: Per branch, the patch tokens of shape ``(B, N, d)``.
        grids: Per branch, the grid (rows, columns) of its patches.
        number: 0-based number of the HTM, which the maps state as their layer.

    Returns:
        Maps in the order of computation: by unit, then by branch.

    Example:
        >>> htm = HeterogenousTransmissionModule(['cnn', 'transformer'], embed_dims=12, num_heads=3)
        >>> summaries = dict(cnn=torch.rand(2, 1, 12), transformer=torch.rand(2, 1, 12))
        >>> patches = dict(cnn=torch.rand(2, 8, 12), transformer=torch.rand(2, 15, 12))
        >>> grids = dict(cnn=(4, 2), transformer=(5, 3))
        >>> for attention in htm_attention(htm, summaries, patches, grids):
        ...     read = {name: tuple(map_.shape) for name, map_ in attention.maps.items()}
        ...     print(attention.unit, attention.branch, read)
        seu cnn {'cnn': (2, 3, 4, 2)}
        seu transformer {'transformer': (2, 3, 5, 3)}
        mfu cnn {'transformer': (2, 3, 5, 3)}
        mfu transformer {'cnn': (2, 3, 4, 2)}
    """
    found: list[Tensor] = []

    def weigh_encoded(unit: Any, args: tuple[Any, ...]) -> None:
        found.append(unit.attn.first_token_weights(unit.norm1(args[0])))

    def weigh_fused(unit: Any, args: tuple[Any, ...]) -> None:
        summary, others = args
        found.append(unit.attn.query_weights(unit.norm1(summary), others).squeeze(2))

    by_name: dict[str, BranchUnits] = (
        {'seu': htm}
        if isinstance(htm, EncodingUnits)
        else {name: getattr(htm, name) for name in htm.units}
    )
    watchers: dict[nn.Module, Watcher] = {
        unit: partial(weigh_encoded if isinstance(unit, SharedEncodingUnit) else weigh_fused, unit)
        for units in by_name.values()
        for unit in units.values()
    }
    # As written down, each unit is called once for each branch.
    with plain_computation(htm), watch(watchers):
        htm(summaries, patches)
    grids = {name: grids[name] for name in patches}  # joined in this order
    asked = [(unit, branch) for unit in by_name for branch in summaries]
    return [
        AttentionMap.from_weights(unit, number, branch, weights, _read(unit, branch, grids))
        for (unit, branch), weights in zip(asked, found, strict=True)
    ]


def _read(unit: str, branch: str, grids: dict[str, Grid]) -> dict[str, Grid]:
    """Grids of the branches that a summary token reads in a unit."""
    return {name: grid for name, grid in grids.items() if (name == branch) == (unit == 'seu')}
