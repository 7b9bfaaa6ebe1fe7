"""Side information embedding: what each camera adds to every token."""

from __future__ import annotations

import torch
from torch import Tensor, nn

UNKNOWN_CAMERA = -1


class SideInformationEmbedding(nn.Module):
    """Side information embedding (SIE): a learned vector per camera for every token.

    From TransReID (arXiv 2102.04378).

    Args:
        num_cameras: Cameras of the training set.
        embed_dims: Token width D.
        coefficient: Factor of the embedding; 3.0 in the published recipe.

    Raises:
        ValueError: If there is no camera.

    Example:
        >>> embedding = SideInformationEmbedding(num_cameras=6, embed_dims=8)
        >>> embedding(torch.tensor([0, 5, -1])).shape, embedding(None).shape
        (torch.Size([3, 1, 8]), torch.Size([1, 1, 8]))
    """

    def __init__(self, num_cameras: int, embed_dims: int, coefficient: float = 3.0) -> None:
        super().__init__()
        if num_cameras < 1:
            raise ValueError(f'SIE needs at least one camera, got num_cameras={num_cameras}')
        self.num_cameras = num_cameras
        self.coefficient = coefficient
        self.weight = nn.Parameter(torch.zeros(num_cameras, embed_dims))
        nn.init.trunc_normal_(self.weight, std=0.02)

    def forward(self, camera_ids: Tensor | None) -> Tensor:
        """Look up the cameras.

        Args:
            camera_ids: Cameras of shape ``(B,)``, 0-based; -1 stands for an unknown camera and
                gives the mean embedding. None means that all are unknown.

        Returns:
            Scaled embeddings of shape ``(B, 1, D)``, or ``(1, 1, D)`` when ``camera_ids`` is None.
        """
        mean = self.weight.mean(0, keepdim=True)
        if camera_ids is None:
            return self.coefficient * mean.unsqueeze(0)
        # The mean is appended as the last row, which index -1 addresses.
        table = torch.cat((self.weight, mean))
        rows = torch.where(camera_ids == UNKNOWN_CAMERA, self.num_cameras, camera_ids)
        return self.coefficient * table[rows].unsqueeze(1)
