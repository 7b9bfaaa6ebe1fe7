"""What ReID adds around the blocks of a transformer: cameras, any grid, and a map as output."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from fusionreid.errors import ConfigError
from fusionreid.workarounds.drop_path import use_plain_drop_rates
from fusionreid.workarounds.train_mode import TrainReturnsSelf

from .activation_checkpointing import run_checkpointed
from .position_embedding import fit_position_embedding
from .side_information import SideInformationEmbedding


class TokenEmbeddingMixin(TrainReturnsSelf, nn.Module):
    """What ReID adds to an mmpretrain transformer.

    That is the camera embedding, patch grids of any shape, and class token and map as output. The
    class it is mixed into provides ``cls_token``, ``pos_embed`` (class token first),
    ``patch_resolution``, ``fixed_image_size`` and ``with_cp``, and calls :meth:`finish_init` at the
    end of its constructor.
    """

    cls_token: Tensor
    pos_embed: Tensor
    patch_resolution: tuple[int, int]
    fixed_image_size: tuple[int, int]
    with_cp: bool
    sie: SideInformationEmbedding | None

    def finish_init(self, embed_dims: int, num_cameras: int | None, sie_coefficient: float) -> None:
        """Add the camera embedding and tidy what mmpretrain leaves behind.

        Args:
            embed_dims: Token width D.
            num_cameras: Cameras of the training set; 0 leaves the embedding out.
            sie_coefficient: Factor of the embedding.

        Raises:
            ConfigError: If ``num_cameras`` is None, as in configs for a data set yet unknown.
        """
        if num_cameras is None:
            raise ConfigError(
                'num_cameras of the transformer is not set: give the number of cameras of your '
                'data set, e.g. by --cfg-options '
                'model.branches.transformer.backbone.num_cameras=6, or 0 to leave the camera '
                'embedding out'
            )
        self.out_channels = embed_dims
        self.num_cameras = num_cameras
        self.sie = (
            SideInformationEmbedding(num_cameras, embed_dims, sie_coefficient)
            if num_cameras
            else None
        )
        use_plain_drop_rates(self)

    def _prepare_pos_embed(
        self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        # Called by torch before loading: a checkpoint made for another grid is resized to ours.
        name = f'{prefix}pos_embed'
        if name in state_dict:
            state_dict[name] = fit_position_embedding(
                state_dict[name], self.patch_resolution, self.patch_resolution
            )

    def embed_tokens(
        self, patches: Tensor, grid: tuple[int, int], camera_ids: Tensor | None
    ) -> Tensor:
        """Prepend the class token, then add the position and the camera embedding.

        Args:
            patches: Patch tokens of shape ``(B, N, D)``.
            grid: Their grid (rows, columns); one other than ``patch_resolution`` resizes the
                position embedding.
            camera_ids: Cameras of shape ``(B,)``, -1 for unknown; None means all unknown.

        Returns:
            Tokens of shape ``(B, 1 + N, D)``.
        """
        tokens = torch.cat((self.cls_token.expand(patches.shape[0], -1, -1), patches), 1)
        tokens = tokens + fit_position_embedding(self.pos_embed, grid, self.patch_resolution)
        return tokens if self.sie is None else tokens + self.sie(camera_ids)

    def run_block(
        self, block: nn.Module, *inputs: Any, compute: Callable[..., Any] | None = None
    ) -> Any:
        """Run a block, in training without keeping its activations if ``with_cp``.

        Args:
            block: The block.
            *inputs: Its inputs, such as images or tokens.
            compute: What is computed from them with the block's weights; None (default) for the
                block itself.

        Returns:
            Its output.
        """
        if self.with_cp and self.training:
            return run_checkpointed(block, *inputs, compute=compute)
        return (compute or block)(*inputs)

    @staticmethod
    def split_tokens(tokens: Tensor, grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Separate the class token from the patch tokens.

        Args:
            tokens: Tokens of shape ``(B, 1 + rows * columns, D)``, class token first.
            grid: Grid (rows, columns) of the patch tokens.

        Returns:
            The class token of shape ``(B, D)`` and the map of shape ``(B, D, rows, columns)``.

        Example:
            >>> token, feature_map = TokenEmbeddingMixin.split_tokens(torch.rand(2, 7, 8), (3, 2))
            >>> token.shape, feature_map.shape
            (torch.Size([2, 8]), torch.Size([2, 8, 3, 2]))
        """
        return tokens[:, 0], tokens[:, 1:].transpose(1, 2).unflatten(2, grid)
