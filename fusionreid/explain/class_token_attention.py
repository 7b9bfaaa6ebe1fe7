"""What the class token of a transformer attends to: per layer and head, and by rollout."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from fusionreid.errors import ExplainError
from fusionreid.models import FusionReID

from .attention_map import AttentionMap, Grid
from .recording import Watcher, check_inputs, extract_features, grid_of, watch
from .transformer_blocks import (
    self_attention_weights,
    standard_attentions,
    transformer_blocks,
)


def class_token_attention(
    model: FusionReID,
    images: Tensor,
    camera_ids: Tensor | None = None,
    branch: str | None = None,
) -> list[AttentionMap]:
    """Compute what the class token attends to in every block of a transformer.

    Args:
        model: The model.
        images: Normalized images of shape ``(B, 3, H, W)``.
        camera_ids: 0-based cameras of shape ``(B,)``, -1 for unknown; None means all unknown.
        branch: Name of the transformer's branch; None for the only one.

    Returns:
        A map per block, in order.

    Raises:
        ExplainError: If there is no such branch, it has no class token, or its attention is not the
            standard one.
    """
    rows: list[Tensor] = []

    def keep_row(layer: nn.Module, tokens: Tensor) -> None:
        rows.append(self_attention_weights(layer, tokens, num_queries=1).squeeze(2))

    branch, grid = _show_attentions(model, images, camera_ids, branch, keep_row)
    return [
        AttentionMap.from_weights('class_token', number, branch, weights, {branch: grid})
        for number, weights in enumerate(rows)
    ]


def attention_rollout(
    model: FusionReID,
    images: Tensor,
    camera_ids: Tensor | None = None,
    branch: str | None = None,
) -> AttentionMap:
    """Compute how much of each patch reaches the class token, by attention rollout.

    "Quantifying Attention Flow in Transformers" (arXiv 2005.00928): with the weights ``W_l`` of
    block l averaged over the heads, ``A_l = (W_l + I) / 2`` stands for attention and residual
    connection, and the class token's row of ``A_L ... A_1`` is the map. MLPs, values and norms are
    not taken into account.

    Args:
        model: The model.
        images: Normalized images of shape ``(B, 3, H, W)``.
        camera_ids: 0-based cameras of shape ``(B,)``, -1 for unknown; None means all unknown.
        branch: Name of the transformer's branch; None for the only one.

    Returns:
        The map, with one head.

    Raises:
        ExplainError: As for :func:`class_token_attention`.
    """
    mixed: list[Tensor] = []  # their product so far

    def multiply(layer: nn.Module, tokens: Tensor) -> None:
        weights = self_attention_weights(layer, tokens).mean(1)
        kept = torch.eye(weights.shape[-1], dtype=weights.dtype, device=weights.device)
        weights = (weights + kept) / 2
        mixed[:] = [weights @ mixed[0] if mixed else weights]

    branch, grid = _show_attentions(model, images, camera_ids, branch, multiply)
    last = len(standard_attentions(model, branch)) - 1
    return AttentionMap.from_weights('rollout', last, branch, mixed[0][:, None, 0], {branch: grid})


def find_transformer(model: FusionReID, branch: str | None = None) -> str:
    """Find the branch whose class token is meant.

    Args:
        model: The model.
        branch: Its name; None for the only one that has the blocks of a transformer.

    Returns:
        The name.

    Raises:
        ExplainError: If the name is unknown, or None fits no branch or several.
    """
    if branch is not None:
        if branch not in model.branches:
            raise ExplainError(
                f'branch {branch!r} is unknown: the model has {list(model.branches)}'
            )
        return branch
    found = [name for name, part in model.branches.items() if transformer_blocks(part.backbone)]
    if len(found) != 1:
        raise ExplainError(
            f'the model has {len(found)} branches with the blocks of a Vision Transformer, of '
            f'{list(model.branches)}: name the branch whose class token is meant'
            if found
            else f'no branch of {list(model.branches)} has the blocks of a Vision Transformer, so '
            'there is no attention of a class token to show'
        )
    return found[0]


@torch.no_grad()
def _show_attentions(
    model: FusionReID,
    images: Tensor,
    camera_ids: Tensor | None,
    branch: str | None,
    show: Callable[[nn.Module, Tensor], None],
) -> tuple[str, Grid]:
    """Run the model, and show each attention layer of a transformer with its input tokens.

    Returns:
        The name of the transformer's branch and the grid of its patches.
    """
    check_inputs(model, images, camera_ids)
    branch = find_transformer(model, branch)
    watchers: dict[nn.Module, Watcher] = {
        layer: lambda args, layer=layer: show(layer, args[0])  # type: ignore[misc]
        for layer in standard_attentions(model, branch)
    }
    outputs: list[tuple[Tensor | None, Tensor]] = []
    with watch(watchers, {model.branches[branch].backbone: outputs.append}):
        extract_features(model, images, camera_ids)
    token, feature_map = outputs[0]
    if token is None:
        raise ExplainError(
            f'the backbone of branch {branch!r} gives no class token whose attention could be shown'
        )
    return branch, grid_of(feature_map)
