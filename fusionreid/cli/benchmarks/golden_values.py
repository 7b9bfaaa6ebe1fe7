"""Values that were measured on the authors' released code, and our models on the same input.

They are in ``tests/data`` of a clone of the repository. Weights and images are not: they are drawn
anew from streams of random numbers.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from torch import Tensor

from fusionreid.checkpoints.release import convert_original, convert_original_state
from fusionreid.errors import UserError
from fusionreid.models import FusionReID
from fusionreid.registry import MODELS
from fusionreid.structures import ReIDDataSample

DATA = Path(__file__).resolve().parents[3] / 'tests' / 'data'


def read_golden(name: str) -> dict[str, np.ndarray]:
    """Read golden values.

    Args:
        name: Of the file in ``tests/data``, without its ending.

    Returns:
        Arrays by name.

    Raises:
        UserError: If they are not there.
    """
    path = DATA / f'{name}.npz'
    if not path.is_file():
        raise UserError(
            f'there is no {path}: the golden values are in a clone of the repository, not in an '
            'installed package'
        )
    with np.load(path) as values:
        return dict(values)


def reference_state(variant: str) -> dict[str, Tensor]:
    """Draw the weights of the original with which a variant's golden values were measured.

    Args:
        variant: One of ``VARIANTS``.

    Returns:
        The original's state dict.
    """
    shapes = json.loads((DATA / 'golden' / f'{variant}.json').read_text())
    return {key: _draw(key, shape) for key, shape in shapes.items()}


def _draw(key: str, shape: list[int]) -> Tensor:
    # Each tensor comes from a random stream that depends on its name alone.
    if key.endswith('num_batches_tracked'):
        return torch.zeros(shape, dtype=torch.int64)
    stream = np.random.RandomState(zlib.crc32(key.encode()))
    if key.endswith('running_var') or (key.endswith('weight') and len(shape) == 1):
        low, span = (0.1, 0.2) if '.act1.' in key or '.act2.' in key else (0.75, 0.5)
        values = stream.random_sample(shape) * span + low
    elif key.endswith('.p'):
        values = np.full(shape, 3.0)
    elif len(shape) >= 2 and not key.endswith(('cls_token', 'pos_embed', 'sie_embed')):
        values = stream.standard_normal(shape) * np.prod(shape[1:]) ** -0.5
    else:
        values = stream.standard_normal(shape) * 0.1
    return torch.from_numpy(np.asarray(values, dtype=np.float32))


def reference_images(seed: int, batch: int, height: int = 256, width: int = 128) -> Tensor:
    """Draw normalized images.

    Args:
        seed: Seed of the stream.
        batch: Images.
        height: Rows.
        width: Columns.

    Returns:
        Shape ``(batch, 3, height, width)``.

    Example:
        >>> reference_images(7, 2, 4, 3).shape
        torch.Size([2, 3, 4, 3])
    """
    stream = np.random.RandomState(seed)
    return torch.from_numpy(stream.standard_normal((batch, 3, height, width)).astype(np.float32))


@dataclass
class GradientNorms:
    """Norms of the gradients of all weights, ours and the original's.

    Attributes:
        ours: By weight, (W,).
        golden: Those of the original, (W,).
        parts: Part of the model that each weight belongs to, (W,): ``branches.cnn``,
            ``branches.transformer``, ``neck`` or ``heads``.
    """

    ours: np.ndarray
    golden: np.ndarray
    parts: np.ndarray

    def errors(self) -> dict[str, float]:
        """Relative error of the norm over each part of the model."""
        found = {}
        for part in sorted(set(self.parts)):
            ours, golden = (np.linalg.norm(n[self.parts == part]) for n in (self.ours, self.golden))
            found[str(part)] = float(abs(ours - golden) / golden)
        return found


class GoldenModel:
    """A model as it comes out of the converter, built from the config that was inferred.

    Args:
        variant: One of ``VARIANTS``.
        device: Where it computes.
    """

    def __init__(self, variant: str, device: torch.device) -> None:
        #: Values of the original, by name.
        self.golden = read_golden(f'golden/{variant}')
        original = reference_state(variant)
        self._names = our_names(original)
        conversion = convert_original(original)
        cfg = Config.fromstring(conversion.config_text, '.py')
        with DefaultScope.overwrite_default_scope(cfg.default_scope):
            self.model: FusionReID = MODELS.build(cfg.model)
        self.model.load_state_dict(conversion.state_dict, strict=True)
        self.device = device
        self.model.to(device)

    @torch.no_grad()
    def features(self) -> tuple[Tensor, Tensor]:
        """Compute the features before and after the BNNecks of the golden images, (4, D) each."""
        self.model.eval()
        images = reference_images(7, 4).to(self.device)
        samples = [
            ReIDDataSample(metainfo=dict(camera_id=int(camera))) for camera in self.golden['cam']
        ]
        features = self.model(images, samples, mode='tensor')
        after = [self.model.heads[name](feature) for name, feature in features.items()]
        return torch.cat(list(features.values()), 1), torch.cat(after, 1)

    def losses_and_gradients(self) -> tuple[dict[str, list[float]], GradientNorms]:
        """Compute the losses of the golden training step, and their gradients.

        Returns:
            The losses ``id`` and ``triplet`` of each feature, and the norms of the gradients.
        """
        golden, model = self.golden, self.model.train()
        model.zero_grad()
        samples = [
            ReIDDataSample(metainfo=dict(camera_id=int(camera), person_id=int(person)))
            for camera, person in zip(golden['train_cam'], golden['train_label'], strict=True)
        ]
        losses = model(reference_images(8, 8).to(self.device), samples, mode='loss')
        kinds = {
            kind: [value.item() for name, value in losses.items() if name.endswith(f'.loss_{kind}')]
            for kind in ('id', 'triplet')
        }
        # Only the norms are kept: all gradients together take as much memory as the model.
        norms: dict[str, float] = {}

        def keep_norm(name: str, weight: Tensor) -> None:
            norms[name] = weight.grad.norm().item()  # type: ignore[union-attr]
            weight.grad = None

        handles = [
            weight.register_post_accumulate_grad_hook(partial(keep_norm, name))
            for name, weight in model.named_parameters()
            if weight.requires_grad
        ]
        sum(losses.values()).backward()
        for handle in handles:
            handle.remove()
        names = [self._names[str(key)] for key in golden['grad_keys']]
        return kinds, GradientNorms(
            np.array([norms[name] for name in names]),
            np.asarray(golden['grad_norms']),
            np.array([_part_of(name) for name in names]),
        )


def relative_error(ours: Tensor, golden: np.ndarray) -> float:
    """Compute the norm of the difference, relative to that of the golden values.

    Args:
        ours: Our values, on any device.
        golden: What they should be.

    Returns:
        The error.

    Example:
        >>> relative_error(torch.tensor([1.5, 0.0]), np.array([1.0, 0.0]))
        0.5
    """
    ours, expected = ours.double().cpu(), torch.from_numpy(np.asarray(golden)).double()
    return ((ours - expected).norm() / expected.norm()).item()


def our_names(original: dict[str, Tensor]) -> dict[str, str]:
    """Translate the names of all weights by following the tensors through the conversion."""
    markers = {
        key: torch.tensor(float(row)).expand(value.shape)
        for row, (key, value) in enumerate(original.items())
    }
    keys = list(original)
    converted = convert_original_state(markers)
    return {keys[int(value.flatten()[0])]: name for name, value in converted.items()}


def _part_of(name: str) -> str:
    first, second = name.split('.')[:2]
    return f'{first}.{second}' if first == 'branches' else first
