"""Where people are in a frame: a detector of torchvision, or boxes that are there already."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torchvision.models import detection, get_model, list_models

from fusionreid.checkpoints.weight_file import read_state_dict
from fusionreid.errors import ConfigError, WeightsError

from .box_file import NO_BOXES, UNTRACKED, Boxes, read_boxes

DEFAULT_DETECTOR = 'fasterrcnn_mobilenet_v3_large_fpn'
PERSON = 1  # of the categories of COCO


def detector_names() -> list[str]:
    """Names of the detectors that torchvision has."""
    return list_models(module=detection)


class FileDetector:
    """Boxes of a video, from a file.

    Args:
        path: See :func:`read_boxes`.

    Raises:
        DatasetFormatError: It is no file of boxes.
    """

    def __init__(self, path: str | Path) -> None:
        self.frames = read_boxes(path)

    def __call__(self, frame: int, image: np.ndarray) -> Boxes:
        """Look up the boxes of a frame.

        Args:
            frame: Its 0-based number.
            image: The frame, which is not looked at.

        Returns:
            The boxes.
        """
        return self.frames.get(frame, NO_BOXES)


class TorchvisionDetector:
    """A detector of torchvision that was trained on COCO.

    Args:
        name: One of :func:`detector_names`.
        weights: File of its weights, as torchvision publishes them.
        device: Where it runs.

    Raises:
        ConfigError: There is no such detector.
        WeightsError: The file cannot be read, or is of another detector.
    """

    def __init__(self, name: str, weights: str | Path, device: str | torch.device = 'cpu') -> None:
        if name not in detector_names():
            raise ConfigError(
                f'torchvision has no detector {name!r}: choose one of {", ".join(detector_names())}'
            )
        state = read_state_dict(weights)
        self.model = get_model(name, weights=None, weights_backbone=None)
        try:
            self.model.load_state_dict(state)
        except (RuntimeError, TypeError, AttributeError) as error:
            reason = ' '.join(str(error).split())[:160]
            raise WeightsError(
                f'{weights} does not hold weights of the detector {name}: {reason}'
            ) from error
        self.device = torch.device(device)
        self.model.to(self.device).eval()

    @torch.no_grad()
    def __call__(self, frame: int, image: np.ndarray) -> Boxes:
        """Find the people in a frame.

        Args:
            frame: Its number, which does not matter.
            image: BGR uint8 (H, W, 3).

        Returns:
            The boxes.
        """
        rgb = torch.from_numpy(np.ascontiguousarray(image[..., ::-1].transpose(2, 0, 1)))
        (found,) = self.model([rgb.to(self.device).float() / 255])
        people = found['labels'] == PERSON
        corners = found['boxes'][people].double().cpu().numpy()
        scores = found['scores'][people].double().cpu().numpy()
        return Boxes(corners, scores, np.full(len(corners), UNTRACKED, dtype=np.int64))
