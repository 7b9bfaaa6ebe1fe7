"""Grad-CAM: what each cell of an activation map adds to a score, its gradient averaged."""

from __future__ import annotations

from torch import Tensor


def grad_cam(activations: Tensor, gradients: Tensor) -> Tensor:
    """Weigh channels by their mean gradient, as Grad-CAM does (arXiv 1610.02391).

    Args:
        activations: Activations of shape ``(B, C, H', W')``.
        gradients: Gradient of a score by them, of the same shape.

    Returns:
        ``sum_c mean(gradients_c) activations_c``, of shape ``(B, H', W')``, with its sign.

    Example:
        >>> import torch
        >>> activations = torch.tensor([[[[1.0, 2.0]], [[0.0, 4.0]]]])
        >>> gradients = torch.tensor([[[[1.0, 3.0]], [[-1.0, 0.0]]]])
        >>> grad_cam(activations, gradients)
        tensor([[[2., 2.]]])
    """
    return (gradients.mean((2, 3), keepdim=True) * activations).sum(1)
