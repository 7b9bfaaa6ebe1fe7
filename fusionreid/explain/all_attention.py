"""All attention of a model that can be shown: of its transformers and of its fusion."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import Tensor

from fusionreid.errors import ExplainError
from fusionreid.models import FusionReID

from .attention_map import AttentionMap
from .class_token_attention import attention_rollout, class_token_attention
from .fusion_attention import fusion_attention
from .transformer_blocks import transformer_blocks


def all_attention(
    model: FusionReID, images: Tensor, camera_ids: Tensor | None = None
) -> tuple[list[AttentionMap], list[str]]:
    """Compute what the class token of each transformer and the summary tokens attend to.

    Args:
        model: The model.
        images: Normalized images of shape ``(B, 3, H, W)``.
        camera_ids: 0-based cameras of shape ``(B,)``, -1 for unknown; None means all unknown.

    Returns:
        The maps, those of a transformer's blocks followed by its rollout, then those of the fusion;
        and why others cannot be shown.

    Raises:
        ExplainError: If there is none that can be shown.
    """
    branches: list[str | None] = [
        name for name, branch in model.branches.items() if transformer_blocks(branch.backbone)
    ]
    # Without a transformer, it is said that there is none.
    parts: list[Callable[[], list[AttentionMap]]] = [
        partial(_class_token, model, images, camera_ids, branch) for branch in branches or [None]
    ]
    parts.append(partial(fusion_attention, model, images, camera_ids))
    found: list[AttentionMap] = []
    refused: list[str] = []
    for part in parts:
        try:
            found += part()
        except ExplainError as error:
            refused.append(str(error))
    if not found:
        raise ExplainError('; '.join(refused))
    return found, refused


def _class_token(
    model: FusionReID, images: Tensor, camera_ids: Tensor | None, branch: str | None
) -> list[AttentionMap]:
    inputs = (model, images, camera_ids, branch)
    return [*class_token_attention(*inputs), attention_rollout(*inputs)]
