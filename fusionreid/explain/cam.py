"""Class activation maps: what each cell of an activation map adds to a score."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor


def grad_cam(activations: Tensor, gradients: Tensor) -> Tensor:
    """Weigh channels by their mean gradient, as Grad-CAM does (arXiv 1610.02391).

    Args:
        activations: Activations of shape ``(B, C, H', W')``.
        gradients: Gradient of a score by them, of the same shape.

    Returns:
        ``sum_c mean(gradients_c) activations_c``, of shape ``(B, H', W')``, with its sign.
    """
    return (gradients.mean((2, 3), keepdim=True) * activations).sum(1)


def hires_cam(activations: Tensor, gradients: Tensor) -> Tensor:
    """Weigh every activation by its own gradient, as HiResCAM does (arXiv 2011.08891).

    Each cell has what it adds to the score to first order. Averaging the gradient, as Grad-CAM
    does, mixes cells up where it differs between them: after attention, and after GeM pooling.

    Args:
        activations: Activations of shape ``(B, C, H', W')``.
        gradients: Gradient of a score by them, of the same shape.

    Returns:
        ``sum_c gradients_c activations_c``, of shape ``(B, H', W')``, with its sign.

    Example:
        >>> import torch
        >>> activations, weight = torch.rand(1, 2, 4, 3), torch.rand(1, 2, 4, 3)
        >>> score = (activations * weight).sum()  # linear: the cells add up to it
        >>> hires_cam(activations, weight).sum().allclose(score)
        True
    """
    return (gradients * activations).sum(1)


METHODS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    'gradcam': grad_cam,
    'hirescam': hires_cam,
}
