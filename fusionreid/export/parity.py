"""Whether an exported model gives what PyTorch gives: at any batch size, for any cameras."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from fusionreid.apis import FeatureExtractor
from fusionreid.runtimes import Runtime
from fusionreid.structures import ReIDDataSample
from fusionreid.utils.tables import format_table

from .graph import EMBEDDING

BATCHES = (1, 2, 3, 17)
KNOWN, UNKNOWN, MIXED = 'known', 'unknown', 'mixed'
# Images that ranks are compared on.
GALLERY = 24
# Largest error of a feature, and largest difference of two distances that counts as a tie.
TOLERANCES = {
    'fp32': (1e-4, 1e-5),
    'fp16': (2e-2, 5e-3),
    'bf16': (1e-1, 4e-2),
}


@dataclass(frozen=True)
class ParityRow:
    """The features of one batch.

    Attributes:
        batch: Number of images.
        cameras: ``'known'``, ``'unknown'`` or ``'mixed'``; ``'none'`` for a model that takes none.
        errors: Largest difference of each feature, relative to the feature's largest value.
    """

    batch: int
    cameras: str
    errors: dict[str, float]


@dataclass(frozen=True)
class ParityReport:
    """How far an exported model is from PyTorch in float32.

    Attributes:
        images: What the images are.
        tolerance: Largest error that is accepted.
        tie: Largest difference of two distances that may change the order of a rank list.
        rows: The batches.
        gallery: Images of the gallery, each of which is searched for among the others.
        rank_gap: Largest difference of two distances, as PyTorch gives them, whose order the
            exported model changes; 0 where all rank lists are the same.
        cosine: Smallest cosine of an embedding and PyTorch's.
    """

    images: str
    tolerance: float
    tie: float
    rows: list[ParityRow]
    gallery: int
    rank_gap: float
    cosine: float

    @property
    def worst(self) -> float:
        """Largest error of any feature in any batch."""
        return max(max(row.errors.values()) for row in self.rows)

    @property
    def content(self) -> dict[str, Any]:
        """All of it as values that JSON can hold."""
        return dict(reference='PyTorch, fp32', worst=self.worst, **asdict(self))

    def find_failure(self) -> str | None:
        """Say what is wrong, the worst first; None where nothing is."""
        found = [
            (error, f'feature {name!r}, batch {row.batch}, cameras {row.cameras}')
            for row in self.rows
            for name, error in row.errors.items()
            if not error <= self.tolerance
        ]
        if found:
            error, where = max(found)
            return (
                f'{where}: the largest error is {error:.1e} of the largest value, at most '
                f'{self.tolerance:g} is accepted'
            )
        if not self.rank_gap <= self.tie:
            return (
                f'rank lists of {self.gallery} images differ: images are exchanged whose distances '
                f'differ by {self.rank_gap:.1e}, at most {self.tie:g} is accepted as a tie'
            )
        return None

    def table(self) -> str:
        """The report as lines: a row for each batch, a column for each feature."""
        names = list(self.rows[0].errors)
        rows = [('batch', 'cameras', *names)]
        rows += [
            (str(row.batch), row.cameras, *(f'{row.errors[name]:.1e}' for name in names))
            for row in self.rows
        ]
        ranks = (
            'the same' if self.rank_gap == 0 else f'the same but for ties of {self.rank_gap:.1e}'
        )
        return (
            f'{format_table(rows, rule=True)}\n'
            f'largest error over largest value, against PyTorch in fp32, on {self.images}; '
            f'accepted: {self.tolerance:g}\n'
            f'rank lists of {self.gallery} images: {ranks}; smallest cosine {self.cosine:.7f}'
        )


class ModelRunError(Exception):
    """The exported model does not run on a batch."""


class Parity:
    """Compares an exported model with the one that it comes from.

    Args:
        extractor: The model, in float32.
        features: Names of the features, in the order of the embedding.
        pixels: Images of shape ``(N, 3, H, W)``, uint8, prepared by the test pipeline.
        images: What they are, for the report.
    """

    def __init__(
        self, extractor: FeatureExtractor, features: Sequence[str], pixels: Tensor, images: str
    ) -> None:
        self.extractor = extractor
        self.features = list(features)
        self.images = images
        self.pixels = pixels
        self.cameras = extractor.known_cameras
        numbers = torch.arange(len(pixels))
        self.known = numbers % max(self.cameras, 1)
        # Any negative number is unknown.
        self.unknown = -1 - numbers % 2
        self._by_known = self._eager(self.known)
        self._by_unknown = self._eager(self.unknown) if self.cameras else self._by_known

    def compare(self, runtime: Runtime, precision: str) -> ParityReport:
        """Run the exported model on all batches.

        Args:
            runtime: The exported model.
            precision: Its precision.

        Returns:
            The report.

        Raises:
            ModelRunError: If it does not run, naming the batch.
        """
        tolerance, tie = TOLERANCES[precision]
        modes = [KNOWN, UNKNOWN, MIXED] if runtime.manifest.cameras else ['none']
        rows = [
            ParityRow(batch, mode, self._errors(runtime, batch, mode))
            for batch in BATCHES
            for mode in modes
        ]
        count = min(len(self.pixels), GALLERY)
        mode = MIXED if runtime.manifest.cameras else 'none'
        rank_gap, cosine = self._compare_ranks(runtime, count, mode)
        return ParityReport(self.images, tolerance, tie, rows, count, rank_gap, cosine)

    def compare_again(self, runtime: Runtime, precision: str) -> None:
        """Run a copy of a model that was compared on one batch.

        Args:
            runtime: The copy.
            precision: Its precision.

        Raises:
            ModelRunError: If it does not run, or differs.
        """
        mode = MIXED if runtime.manifest.cameras else 'none'
        error = max(self._errors(runtime, 3, mode).values())
        if not error <= TOLERANCES[precision][0]:
            raise ModelRunError(f'it changes when it is saved with its description: {error:.1e}')

    @torch.no_grad()
    def _eager(self, cameras: Tensor) -> dict[str, Tensor]:
        """Features of all images, not normalized, (N, D), as testing computes them."""
        found: list[ReIDDataSample] = []
        for rows in torch.arange(len(self.pixels)).split(max(BATCHES)):
            samples = [
                ReIDDataSample(metainfo=dict(camera_id=max(-1, camera)))
                for camera in cameras[rows].tolist()
            ]
            data = dict(inputs=list(self.pixels[rows]), data_samples=samples)
            found += self.extractor.model.test_step(data)
        return {
            name: torch.stack([sample.features[name] for sample in found]).cpu()
            for name in self.features
        }

    def _expected(self, rows: Tensor, mode: str) -> tuple[dict[str, Tensor], Tensor]:
        """PyTorch's features of some images, and the cameras that give them."""
        takes_known = dict(known=torch.ones_like(rows), mixed=rows % 2).get(
            mode, torch.zeros_like(rows)
        )
        takes_known = takes_known.bool()
        features = {
            name: torch.where(
                takes_known[:, None], self._by_known[name][rows], self._by_unknown[name][rows]
            )
            for name in self.features
        }
        return features, torch.where(takes_known, self.known[rows], self.unknown[rows])

    def _run(self, runtime: Runtime, rows: Tensor, cameras: Tensor) -> dict[str, Tensor]:
        images = self.pixels[rows]
        manifest = runtime.manifest
        if manifest.raw_input == 'float':
            mean, std = (
                torch.tensor(values).view(3, 1, 1) for values in (manifest.mean, manifest.std)
            )
            images = (images - mean) / std
        try:
            outputs = runtime(images, cameras)
        except Exception as error:  # those of ONNX Runtime have no other class in common
            lines = str(error).strip().splitlines() or [type(error).__name__]
            raise ModelRunError(f'batch {len(rows)} does not run: {lines[-1].strip()}') from error
        if outputs[EMBEDDING].shape != (len(rows), manifest.width):
            raise ModelRunError(
                f'batch {len(rows)} gives the shape {tuple(outputs[EMBEDDING].shape)} instead of '
                f'{(len(rows), manifest.width)}'
            )
        return outputs

    def _errors(self, runtime: Runtime, batch: int, mode: str) -> dict[str, float]:
        # From another image on for each batch size, so that no two rows have the same.
        rows = (torch.arange(batch) + batch) % len(self.pixels)
        expected, cameras = self._expected(rows, mode)
        outputs = self._run(runtime, rows, cameras)
        widths = [value.shape[1] for value in expected.values()]
        parts = outputs[EMBEDDING].split(widths, 1)
        wanted = unit_embedding(expected).split(widths, 1)
        errors = {
            name: relative_error(part, right)
            for name, part, right in zip(self.features, parts, wanted, strict=True)
        }
        for name, right in expected.items():
            if name in outputs:
                errors[name] = max(errors[name], relative_error(outputs[name], right))
        return errors

    def _compare_ranks(self, runtime: Runtime, count: int, mode: str) -> tuple[float, float]:
        expected, cameras = self._expected(torch.arange(count), mode)
        right = unit_embedding(expected)
        found = torch.cat(
            [
                self._run(runtime, rows, cameras[rows])[EMBEDDING]
                for rows in torch.arange(count).split(max(BATCHES))
            ]
        )
        return rank_gap(right, found), F.cosine_similarity(right, found).min().item()


def unit_embedding(features: dict[str, Tensor]) -> Tensor:
    """Concatenate features (B, D) and L2-normalize the rows."""
    return F.normalize(torch.cat(list(features.values()), 1))


def relative_error(found: Tensor, right: Tensor) -> float:
    """Compute the largest difference over the largest value.

    Args:
        found: Any values.
        right: What they should be, of the same shape.

    Returns:
        At least 0; infinite if a value is NaN or infinite.

    Example:
        >>> relative_error(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 4.0]))
        0.5
    """
    error = (found - right).abs().max() / right.abs().max().clamp(min=1e-30)
    return error.item() if error.isfinite() else math.inf


def rank_gap(right: Tensor, found: Tensor) -> float:
    """Compare the rank lists of features, each of which is searched for among the others.

    Args:
        right: Features of shape ``(N, D)``.
        found: Others of shape ``(N, D)``.

    Returns:
        Largest difference of two distances of ``right`` that stand in the wrong order in the lists
        of ``found``; 0 where all lists are the same.

    Example:
        >>> right = torch.tensor([[0.0], [1.0], [3.0]])
        >>> rank_gap(right, right), rank_gap(right, torch.tensor([[0.0], [4.0], [3.0]]))
        (0.0, 2.0)
    """
    others = ~torch.eye(len(right), dtype=torch.bool)
    distances = [torch.cdist(each.double(), each.double()) for each in (right, found)]
    own, other = (each[others].view(len(right), -1) for each in distances)
    order = other.argsort(dim=1, stable=True)
    ranked = own.gather(1, order)
    return (ranked.cummax(1).values - ranked).max().item()
