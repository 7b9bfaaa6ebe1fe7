"""What the features of a gallery are, and whether others can be compared with them."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from fusionreid.config import read_literals
from fusionreid.errors import GalleryError

GIVEN = 'given'
# What stands in a label before the projection.
PROJECTED = ', projected by '


@dataclass(frozen=True)
class FeatureSpec:
    """What the features of a gallery are, so that only like is compared with like.

    Args:
        width: Width D of a feature.
        feature: Name of the model's feature, ``'all'`` for all of them, ``'given'`` for features
            that were computed elsewhere.
        protocol: How the model makes it (before or after the BNNeck, SIE on or off).
        checkpoint: Path of the weights; None for features that need none.
        sha256: Checksum of that file.
        config: Text of the model's config and test pipeline; None without a model.
        projection: Path of the projection that made the feature narrower; None if none did.
        projection_sha256: Checksum of that file.

    Raises:
        ValueError: If ``config`` is a single line, which would be taken for the name of a file, or
            a checkpoint or a projection has no checksum, so that any file could be in its place.
        TypeError: If a value is of another type.
    """

    width: int
    feature: str = GIVEN
    protocol: str = 'computed elsewhere'
    checkpoint: str | None = None
    sha256: str | None = None
    config: str | None = None
    projection: str | None = None
    projection_sha256: str | None = None

    def __post_init__(self) -> None:
        if type(self.width) is not int or self.width < 1:
            raise ValueError(f'width must be a whole number from 1 on, got {self.width!r}')
        texts = [column.name for column in fields(self) if column.name != 'width']
        for name in texts:
            value = getattr(self, name)
            may_lack = name not in ('feature', 'protocol')
            if not isinstance(value, str) and not (value is None and may_lack):
                raise TypeError(f'{name} must be a text, got {value!r:.80}')
        if self.config is not None and '\n' not in self.config:
            raise ValueError(f'config is {self.config!r:.80}, not the text of a config')
        if self.checkpoint is not None and self.sha256 is None:
            raise ValueError(f'checkpoint is {self.checkpoint!r:.80}, without its sha256')
        if (self.projection is None) != (self.projection_sha256 is None):
            raise ValueError(f'projection is {self.projection!r:.80}, without its sha256')

    @property
    def weights(self) -> str:
        """The weights in words: the file's name and the beginning of its checksum."""
        if self.checkpoint is None or self.sha256 is None:
            return 'no weights'
        return f'{Path(self.checkpoint).name} (sha256 {self.sha256[:12]})'

    @property
    def projected(self) -> str:
        """The projection in words, as :attr:`weights` says the weights."""
        if self.projection is None or self.projection_sha256 is None:
            return 'no projection'
        return f'{Path(self.projection).name} (sha256 {self.projection_sha256[:12]})'

    @property
    def label(self) -> str:
        """One line about the features."""
        projected = '' if self.projection is None else f'{PROJECTED}{self.projected}'
        return f'{self.feature}, width {self.width}, {self.protocol}, {self.weights}{projected}'

    @property
    def fingerprint(self) -> str:
        """The label without the files' names, which say nothing about the features."""
        weights = 'no weights' if self.sha256 is None else f'sha256 {self.sha256[:12]}'
        digest = self.projection_sha256
        projected = '' if digest is None else f'{PROJECTED}sha256 {digest[:12]}'
        return f'{self.feature}, width {self.width}, {self.protocol}, {weights}{projected}'

    @property
    def pipeline(self) -> str:
        """How images are prepared for the model, as JSON, in which tuples are lists."""
        settings = read_literals(self.config or '', ('test_dataloader',), 'the index')
        found: Any = settings
        for name in ('test_dataloader', 'dataset', 'pipeline'):
            found = found.get(name) if isinstance(found, dict) else None
        return json.dumps(found, default=repr)

    @property
    def _identity(self) -> tuple[str | int | None, ...]:
        # The config counts where there are no weights to tell models apart.
        maker = self.config if self.sha256 is None else self.sha256
        return self.feature, self.width, self.protocol, maker, self.projection_sha256

    def difference(self, other: FeatureSpec) -> str | None:
        """Say how other features differ from these, in the first thing that does.

        Args:
            other: What the others are.

        Returns:
            What both are like; None where they can be compared.
        """
        if self._identity != other._identity:
            return f'of {self.label}, not {other.label}'
        if None not in (self.config, other.config) and self.pipeline != other.pipeline:
            return f'of images prepared by {self.pipeline}, not {other.pipeline}'
        return None

    def check_same(self, other: FeatureSpec) -> None:
        """Compare with the features of a model that is to be used with a gallery of these.

        Raises:
            GalleryError: If they cannot be compared, naming both.
        """
        # Of features that were computed elsewhere nobody knows whether they are projected.
        is_given = GIVEN in (self.feature, other.feature)
        if not is_given and self.projection_sha256 != other.projection_sha256:
            raise GalleryError(
                f'the gallery holds features made narrower by {self.projected}, the model gives '
                f'them with {other.projected}: name the projection of the gallery (--projection), '
                f'or index the images again'
            )
        if self.width != other.width:
            raise GalleryError(
                f'the gallery holds features of width {self.width} ({self.feature}, '
                f'{self.weights}), the model gives width {other.width} ({other.feature}, '
                f'{other.weights}): use the model of the gallery, or index the images again'
            )
        if not is_given and self._identity != other._identity:
            raise GalleryError(
                f'the gallery holds features of another model or protocol: {self.label}; the model '
                f'gives: {other.label}'
            )
        if None not in (self.config, other.config) and self.pipeline != other.pipeline:
            raise GalleryError(
                f'the images of the gallery were prepared by {self.pipeline}, the model takes them '
                f'by {other.pipeline}: use the same config, or index the images again'
            )
