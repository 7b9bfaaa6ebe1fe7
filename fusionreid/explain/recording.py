"""Looking into a model while it computes, without leaving anything behind."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from fusionreid.errors import ExplainError
from fusionreid.models import FusionReID
from fusionreid.models.layers.side_information import UNKNOWN_CAMERA
from fusionreid.models.retrievers.fusionreid import compute_features

# Receives what the module is called with, or what it returns; its own result is ignored.
Watcher = Callable[[Any], None]


@contextmanager
def eval_mode(model: nn.Module) -> Iterator[None]:
    """Put every module into eval mode, and each back into its own mode at the end.

    Args:
        model: The model.

    Yields:
        None; what is computed inside is computed as in testing.
    """
    modes = [(module, module.training) for module in model.modules()]
    try:
        for module, _ in modes:
            module.training = False
        yield
    finally:
        for module, training in modes:
            module.training = training


@contextmanager
def gradients() -> Iterator[None]:
    """Let autograd record inside, whatever the caller has switched off.

    Yields:
        None.
    """
    with torch.inference_mode(False), torch.enable_grad():
        yield


@contextmanager
def watch(
    inputs: Mapping[nn.Module, Watcher] | None = None,
    outputs: Mapping[nn.Module, Watcher] | None = None,
) -> Iterator[None]:
    """Show what goes into modules and what comes out of them while they run.

    Args:
        inputs: By module, a function that is called with the tuple of positional arguments.
        outputs: By module, a function that is called with the result.

    Yields:
        None; the hooks are removed at the end.
    """
    with ExitStack() as stack:
        for module, watcher in (inputs or {}).items():
            stack.enter_context(
                module.register_forward_pre_hook(lambda _, args, show=watcher: show(args))
            )
        for module, watcher in (outputs or {}).items():
            stack.enter_context(
                module.register_forward_hook(lambda _, __, output, show=watcher: show(output))
            )
        yield


def extract_features(
    model: FusionReID, images: Tensor, camera_ids: Tensor | None = None
) -> dict[str, Tensor]:
    """Compute all named features as in testing, in the graph of the caller.

    It is what the model computes, but never compiled, so that :func:`watch` sees its modules.

    Args:
        model: The model.
        images: Normalized images of shape ``(B, 3, H, W)``.
        camera_ids: 0-based cameras of shape ``(B,)``, -1 for unknown; None means all unknown. A
            model with ``use_cameras=False`` is not told them.

    Returns:
        Features before the BNNecks, of shape ``(B, D)``, by name.

    Raises:
        ExplainError: If the model, the images or the cameras are not what is described.
    """
    check_inputs(model, images, camera_ids)
    with eval_mode(model):
        return compute_features(model, images, camera_ids if model.use_cameras else None)


def check_inputs(model: nn.Module, images: Tensor, camera_ids: Tensor | None = None) -> None:
    """Check that maps can be made of a model and images.

    Args:
        model: The model.
        images: Normalized images of shape ``(B, 3, H, W)``.
        camera_ids: 0-based cameras of shape ``(B,)``, -1 for unknown, or None.

    Raises:
        ExplainError: If they cannot.
    """
    if not isinstance(model, FusionReID):
        raise ExplainError(
            f'a {type(model).__name__} cannot be looked into: give the FusionReID model itself, '
            'without a wrapper'
        )
    if images.ndim != 4 or images.shape[1] != 3 or not images.is_floating_point():
        raise ExplainError(
            f'images must be normalized floats of shape (B, 3, H, W), got {images.dtype} of shape '
            f"{tuple(images.shape)}: pass them through the model's data_preprocessor"
        )
    if camera_ids is None:
        return
    if camera_ids.shape != images.shape[:1]:
        raise ExplainError(
            f'got {len(images)} images but camera_ids of shape {tuple(camera_ids.shape)}: give one '
            'for each image, -1 where it is unknown'
        )
    outside = (camera_ids < UNKNOWN_CAMERA) | (camera_ids >= model.num_cameras)
    if model.num_cameras and model.use_cameras and outside.any():
        raise ExplainError(
            f'camera {int(camera_ids[outside][0])} is outside the {model.num_cameras} cameras of '
            'the model (0-based; -1 stands for unknown)'
        )


def grid_of(feature_map: Tensor) -> tuple[int, int]:
    """Rows and columns of a map of shape ``(B, C, rows, columns)``."""
    return feature_map.shape[2], feature_map.shape[3]
