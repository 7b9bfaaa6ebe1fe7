from __future__ import annotations

from typing import Any

import torch
from mmcv.cnn.bricks import DropPath
from torch import Tensor, nn

from fusionreid.errors import ConfigError

from .activation_checkpointing import run_checkpointed
from .position_embedding import fit_position_embedding
from .side_information import SideInformationEmbedding


class TokenEmbeddingMixin:
    """What ReID adds to an mmpretrain transformer: camera embedding, free patch grids, class token
    plus map as output.

    The class it is mixed into provides ``cls_token``, ``pos_embed`` (class token first),
    ``patch_resolution`` and ``with_cp``, and calls :meth:`finish_init` at the end of its
    constructor.
    """

    def finish_init(self, embed_dims: int, num_cameras: int | None, sie_coefficient: float) -> None:
        """Add the camera embedding (none for 0 cameras) and tidy what mmpretrain leaves behind.

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
        for module in self.modules():
            if isinstance(module, DropPath):
                # torch.compile breaks its graph at the NumPy scalars that mmpretrain passes.
                module.drop_prob = float(module.drop_prob)

    def train(self, mode: bool = True):
        """Switch the mode and return self, which mmpretrain's backbones do not."""
        super().train(mode)
        return self

    def _prepare_pos_embed(self, state_dict: dict, prefix: str, *args: Any, **kwargs: Any) -> None:
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
        tokens = torch.cat((self.cls_token.expand(len(patches), -1, -1), patches), 1)
        tokens = tokens + fit_position_embedding(self.pos_embed, tuple(grid), self.patch_resolution)
        return tokens if self.sie is None else tokens + self.sie(camera_ids)

    def run_block(self, block: nn.Module, inputs: Tensor) -> Any:
        """Run a block, in training without keeping its activations if ``with_cp``."""
        if self.with_cp and self.training:
            return run_checkpointed(block, inputs)
        return block(inputs)

    @staticmethod
    def split_tokens(tokens: Tensor, grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Split ``(B, 1 + N, D)`` into the class token ``(B, D)`` and the map ``(B, D, rows,
        columns)``.
        """
        return tokens[:, 0], tokens[:, 1:].transpose(1, 2).unflatten(2, tuple(grid))
