"""Makes the features of a model narrower, so that an index of many takes less and is faster."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load as load_tensors
from torch import Tensor

from fusionreid.errors import UserError
from fusionreid.evaluation.functional import (
    PrincipalComponents,
    fit_principal_components,
    principal_coordinates,
)
from fusionreid.evaluation.functional.unit_rows import unit_rows_
from fusionreid.evaluation.scoring_errors import scoring_errors
from fusionreid.utils.feature_files import check_regular
from fusionreid.utils.files import atomic_path, save_tensors

from .feature_spec import FeatureSpec

FORMAT = 'fusionreid-projection-1'
SUFFIX = '.safetensors'
TENSORS = ('mean', 'directions', 'variances')
ADVICE = 'copy it again from where it is whole, or fit it again (fusionreid fit-projection)'


@dataclass(frozen=True)
class Projection:
    """Principal components of a model's features, and where they are kept.

    Args:
        components: Mean, directions and variances of the features that it was fitted to.
        whiten: Whether every direction counts the same.
        source: What the features are that it takes; None if that is not known.
        data: What it was fitted to, in words.
        path: Its file; None before it is saved.
        sha256: Checksum of that file.

    Example:
        >>> from fusionreid.apis import Projection
        >>> features = torch.nn.functional.normalize(torch.randn(100, 32))
        >>> projection = Projection.fit([features], dims=8, whiten=True)
        >>> projection.apply(features[:2]).shape
        torch.Size([2, 8])
    """

    components: PrincipalComponents
    whiten: bool = False
    source: FeatureSpec | None = None
    data: str = ''
    path: str | None = None
    sha256: str | None = None

    @classmethod
    def fit(
        cls,
        blocks: Iterable[Tensor],
        dims: int,
        whiten: bool = False,
        source: FeatureSpec | None = None,
        data: str = '',
    ) -> Projection:
        """Fit a projection, exactly, in memory that does not depend on the number of features.

        Args:
            blocks: Features, (n, D) at a time, L2-normalized. Labels are not needed.
            dims: Width of the projected features.
            whiten: Divide every coordinate by its standard deviation.
            source: What the features are.
            data: What they are of, in words.

        Returns:
            The projection.

        Raises:
            ScoringError: There are too few features, or they differ in fewer directions.
        """
        with scoring_errors():
            return cls(fit_principal_components(blocks, dims), whiten, source, data)

    @property
    def width(self) -> int:
        """Width K of projected features."""
        return len(self.components.directions)

    @property
    def takes(self) -> int:
        """Width D of the features that it takes."""
        return len(self.components.mean)

    @property
    def label(self) -> str:
        """One line about the projection."""
        kind = 'whitened principal components' if self.whiten else 'principal components'
        return (
            f'{self.takes} to {self.width} numbers, {kind}, {self.components.explained:.1%} of the '
            f'variance of {self.components.count:,} features'
        )

    @cached_property
    def _on_device(self) -> dict[torch.device, PrincipalComponents]:
        return {}

    def _components_on(self, device: torch.device) -> PrincipalComponents:
        if device not in self._on_device:
            moved = {name: getattr(self.components, name).to(device) for name in TENSORS}
            self._on_device[device] = replace(self.components, **moved)
        return self._on_device[device]

    def apply(self, features: Tensor) -> Tensor:
        """Project features.

        Args:
            features: (N, D), L2-normalized, on any device.

        Returns:
            (N, K) float32, L2-normalized, on the same device.

        Raises:
            ScoringError: Features of another width, or one that is the mean itself or not finite.
        """
        with scoring_errors():
            components = self._components_on(features.device)
            placed = principal_coordinates(features, components, self.whiten)
            return unit_rows_(placed, 'projected feature {}'.format).float()

    def spec_of(self, spec: FeatureSpec) -> FeatureSpec:
        """What the projected features are.

        Args:
            spec: What the features are that are to be projected.

        Returns:
            The spec of this projection's features.

        Raises:
            UserError: It was fitted to other features, or is not saved.
        """
        if self.path is None or self.sha256 is None:
            raise UserError('the projection has no file that says which it is: save it first')
        if spec.projection is not None:
            raise UserError(f'{self.path}: the features are projected already: {spec.label}')
        if self.source is not None and (difference := self.source.difference(spec)):
            raise UserError(
                f'the projection {self.path} takes features {difference}: fit another one '
                f'(fusionreid fit-projection), or use the model that it was fitted for'
            )
        if spec.width != self.takes:
            raise UserError(
                f'the projection {self.path} takes features of width {self.takes}, the model gives '
                f'{spec.width} ({spec.label})'
            )
        return replace(spec, width=self.width, projection=self.path, projection_sha256=self.sha256)

    @staticmethod
    def check_name(path: str | Path) -> None:
        """See that a file has a name for tensors, before anything is computed.

        Raises:
            UserError: It has another one.
        """
        if Path(path).suffix != SUFFIX:
            raise UserError(f'{path} is to hold tensors: give it a name that ends in {SUFFIX}')

    @staticmethod
    def is_in(path: str | Path) -> bool:
        """Tell whether a file has the tensors of a projection, whole or not.

        Args:
            path: Any file.
        """
        try:
            with safe_open(path, 'pt') as file:
                return set(file.keys()) == set(TENSORS)
        except (SafetensorError, OSError):
            return False

    def save(self, path: str | Path) -> Projection:
        """Write the projection; the file appears whole or not at all.

        Args:
            path: The file, a safetensors file that also holds a checksum over all of it.

        Returns:
            The projection as it is in the file, in float32.

        Raises:
            UserError: The file has no name for tensors, or cannot be written.
        """
        path = Path(path)
        self.check_name(path)
        tensors = {name: getattr(self.components, name).cpu().float() for name in TENSORS}
        about = json.dumps(
            dict(
                format=FORMAT,
                whiten=self.whiten,
                count=self.components.count,
                total_variance=self.components.total_variance,
                data=self.data,
                features=None if self.source is None else asdict(self.source),
            )
        )
        try:
            with atomic_path(path) as partial:
                metadata = dict(about=about, sha256=_checksum(tensors, about))
                save_tensors(partial, tensors, metadata)
        except OSError as error:
            raise UserError(f'{path} cannot be written: {error}') from error
        return self.load(path)

    @classmethod
    def load(cls, path: str | Path) -> Projection:
        """Read a projection, and compare it with its checksum.

        Args:
            path: The file.

        Returns:
            The projection.

        Raises:
            UserError: There is no such file, or it is damaged or something else.
        """
        path = Path(path)
        if not path.exists():
            raise UserError(
                f'there is no projection {path}: name it (--projection), or fit one (fusionreid '
                f'fit-projection)'
            )
        check_regular(path, UserError)
        try:
            # What is verified is what is used: the same bytes.
            content = path.read_bytes()
        except OSError as error:
            raise UserError(f'{path} cannot be read: {error}') from error
        try:
            tensors, metadata = load_tensors(content), _metadata(content)
        except (SafetensorError, ValueError) as error:
            raise UserError(f'{path} is no projection, or damaged: {error}: {ADVICE}') from error
        about = metadata.get('about')
        if not isinstance(about, str) or set(tensors) != set(TENSORS):
            raise UserError(f'{path} is no projection: make one by fusionreid fit-projection')
        if metadata.get('sha256') != _checksum(tensors, about):
            raise UserError(f'{path} is damaged: its checksum differs: {ADVICE}')
        try:
            known = json.loads(about)
            if known['format'] != FORMAT:
                raise ValueError(f'its format is {known["format"]!r}, expected {FORMAT!r}')
            source = None if known['features'] is None else FeatureSpec(**known['features'])
            components = _check_components(tensors, known)
            whiten, data = bool(known['whiten']), str(known['data'])
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f'{path} is damaged: {error!r:.200}: {ADVICE}') from error
        digest = hashlib.sha256(content).hexdigest()
        return cls(components, whiten, source, data, str(path.resolve()), digest)


def _metadata(content: bytes) -> dict[str, Any]:
    """The texts in a safetensors file that its reader has accepted."""
    size = int.from_bytes(content[:8], 'little')
    found = json.loads(content[8 : 8 + size]).get('__metadata__')
    return found if isinstance(found, dict) else {}


def _checksum(tensors: dict[str, Tensor], about: str) -> str:
    """Checksum over the values and shapes of the tensors, and what is said about them."""
    digest = hashlib.sha256(about.encode())
    for name in TENSORS:
        digest.update(f'{name} {tensors[name].dtype} {tuple(tensors[name].shape)}'.encode())
        digest.update(tensors[name].contiguous().numpy().tobytes())
    return digest.hexdigest()


def _check_components(tensors: dict[str, Tensor], known: dict[str, Any]) -> PrincipalComponents:
    """Check that tensors fit together.

    Raises:
        ValueError: They do not.
    """
    mean, directions, variances = (tensors[name] for name in TENSORS)
    shapes = [tuple(tensors[name].shape) for name in TENSORS]
    fits = directions.dim() == 2 and shapes == [
        (directions.shape[1],),
        tuple(directions.shape),
        (directions.shape[0],),
    ]
    if not fits or not all(part.dtype == torch.float32 for part in tensors.values()):
        raise ValueError(f'tensors of the shapes {shapes}')
    if not all(part.isfinite().all() for part in tensors.values()) or (variances <= 0).any():
        raise ValueError('values that are not finite, or variances that are not positive')
    return PrincipalComponents(
        mean.double(),
        directions.double(),
        variances.double(),
        float(known['total_variance']),
        int(known['count']),
    )
