"""The maps through which an image reaches a feature, kept with their gradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from fusionreid.errors import ExplainError
from fusionreid.models import FusionReID

from .recording import Watcher, extract_features, gradients, grid_of, watch
from .transformer_blocks import transformer_blocks


@dataclass(frozen=True)
class RecordedFeatures:
    """Features of a batch, and the activations that they are made of.

    Attributes:
        features: Features of shape ``(B, D)`` by name, each with its graph.
        maps: Map of each branch, ``(B, C, H', W')``: all that pooling and neck see of the image.
        tokens: Of each branch whose feature is a class token, the tokens ``(B, N, D)`` that the
            last attention reads; those of the patches come last.
        size: Height and width of the images in pixels.
    """

    features: dict[str, Tensor]
    maps: dict[str, Tensor]
    tokens: dict[str, Tensor]
    size: tuple[int, int]

    def sources(self, feature: str) -> dict[str, Tensor]:
        """Activations that a feature is made of.

        A class token leaves the last block together with the patches and reads none of them
        afterwards, so its sources are the patches that go into the last attention. All other
        features are made of the branches' maps.

        Args:
            feature: Name of the feature.

        Returns:
            Activations by branch, maps or tokens.
        """
        if feature in self.tokens:
            return {feature: self.tokens[feature]}
        return {feature: self.maps[feature]} if feature in self.maps else self.maps

    def on_grid(self, branch: str, values: Tensor) -> Tensor:
        """Lay values of tokens on their grid; values of maps lie there already.

        Args:
            branch: Name of the branch.
            values: Values of shape ``(B, N, D)`` or ``(B, C, H', W')``.

        Returns:
            Values of shape ``(B, C, H', W')``.
        """
        if values.ndim == 4:
            return values
        rows, columns = grid_of(self.maps[branch])
        return values[:, -rows * columns :].transpose(1, 2).unflatten(2, (rows, columns))


def record_features(
    model: FusionReID, images: Tensor, camera_ids: Tensor | None = None
) -> RecordedFeatures:
    """Compute features and keep the activations that they are made of, ready for gradients.

    Args:
        model: The model.
        images: Normalized images of shape ``(B, 3, H, W)``.
        camera_ids: 0-based cameras of shape ``(B,)``, -1 for unknown; None means all unknown.

    Returns:
        The features and activations.

    Raises:
        ExplainError: If the images or cameras are not what is described, or a branch gives a class
            token but has no blocks of a transformer, or no gradient.
    """
    maps: dict[str, Tensor] = {}
    tokens: dict[str, Tensor] = {}
    inputs: dict[nn.Module, Watcher] = {}
    outputs: dict[nn.Module, Watcher] = {}

    def keep_tokens(branch: str) -> Watcher:
        return lambda args: tokens.update({branch: args[0]})

    def keep_map(branch: str) -> Watcher:
        return lambda output: maps.update({branch: output[1]})

    for name, branch in model.branches.items():
        outputs[branch.backbone] = keep_map(name)
        if branch.pooling is None:
            inputs[_last_attention(name, branch.backbone)] = keep_tokens(name)
    # A leaf of its own: with frozen weights, too, there are gradients, and none reaches the caller.
    with gradients(), watch(inputs, outputs):
        features = extract_features(model, images.detach().clone().requires_grad_(), camera_ids)
    for name, activations in [*maps.items(), *tokens.items()]:
        if not activations.requires_grad:
            raise ExplainError(
                f'branch {name!r} ({type(model.branches[name].backbone).__name__}) has no gradient,'
                ' so no relevance can be computed'
            )
    return RecordedFeatures(features, maps, tokens, (images.shape[2], images.shape[3]))


def _last_attention(name: str, backbone: Any) -> nn.Module:
    blocks: list[Any] = transformer_blocks(backbone)
    if not blocks:
        raise ExplainError(
            f'the feature of branch {name!r} is the class token of a {type(backbone).__name__}, '
            'which has no blocks of a Vision Transformer whose patches could be weighed'
        )
    return blocks[-1].attn
