"""Labeled features from wherever a command has saved them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from fusionreid.apis import FeatureExtractor, FeatureSpec, Projection
from fusionreid.apis.feature_spec import PROJECTED
from fusionreid.errors import CalibrationError, InferenceError
from fusionreid.evaluation import FeatureSet
from fusionreid.evaluation.metrics.score_table import describe_data_set
from fusionreid.gallery.names import number_labels
from fusionreid.utils.feature_files import check_regular

# Photos whose features are computed again, to see whether they are the model's.
COMPARED_PHOTOS = 4
# Features that are projected at once.
PROJECTED_ROWS = 8192
# How far these may be from those that were saved: other devices, precisions and decoders.
LARGEST_DIFFERENCE = 0.02


@dataclass(frozen=True)
class LabeledFeatures:
    """Features of N photos and who is in them.

    Args:
        features: (N, D) float32.
        person_ids: Identities (N,) int64, -1 where unknown.
        camera_ids: 0-based cameras (N,) int64, -1 where unknown; of named ones the numbers that
            stand for them in a gallery.
        roles: Role of each photo; None for photos of one set.
        paths: Image files.
        data: What they are of, in words.
        protocol: How the model made them; None if that is not known.
        camera_names: Names of cameras by the number that stands for them.
    """

    features: Tensor
    person_ids: Tensor
    camera_ids: Tensor
    roles: Sequence[str] | None
    paths: Sequence[str]
    data: str
    protocol: str | None = None
    camera_names: Mapping[int, str] = field(default_factory=dict)

    def project(self, projection: Projection) -> LabeledFeatures:
        """The photos with narrower features.

        Args:
            projection: What takes features of this width.

        Returns:
            They, with the label that such features have.

        Raises:
            ScoringError: A feature that cannot be projected.
        """
        rows = torch.nn.functional.normalize(self.features)
        narrow = torch.cat([projection.apply(part) for part in rows.split(PROJECTED_ROWS)])
        digest = f'{PROJECTED}sha256 {projection.sha256}'
        protocol = None if self.protocol is None else f'{self.protocol}{digest}'
        return replace(self, features=narrow, protocol=protocol)

    def check_model(self, extractor: FeatureExtractor) -> str | None:
        """Compare with the features of a model, by computing a few again.

        Args:
            extractor: The model.

        Returns:
            Why nothing could be computed; None if it was.

        Raises:
            CalibrationError: They are of another model, or were made in another way.
        """
        spec = extractor.spec
        if self.features.shape[1] != spec.width:
            raise CalibrationError(
                f'{self.data}: features of width {self.features.shape[1]}, the model gives '
                f'{spec.width} ({spec.label}): name the right checkpoint (and --feature)'
            )
        if self.protocol is not None and not _is_of(self.protocol, spec):
            raise CalibrationError(
                f'{self.data}: {self.protocol}; the model gives {spec.label}: extract them again, '
                'or name the right checkpoint (and --mean-camera)'
            )
        there = [row for row, path in enumerate(self.paths) if Path(path).is_file()]
        if not there:
            return 'the images are not where they were'
        rows = there[:: max(1, len(there) // COMPARED_PHOTOS)][:COMPARED_PHOTOS]
        cameras = None
        if extractor.known_cameras:
            seen = self.camera_ids[rows].tolist()
            cameras = [self.camera_names.get(camera, camera) for camera in seen]
        try:
            computed = extractor.extract([self.paths[row] for row in rows], cameras).cpu()
        except InferenceError as error:
            raise CalibrationError(f'{self.data}: {error}') from error
        saved = torch.nn.functional.normalize(self.features[rows].double())
        apart = torch.linalg.vector_norm(computed.double() - saved, dim=1)
        if (worst := int(apart.argmax())) >= 0 and apart[worst] > LARGEST_DIFFERENCE:
            raise CalibrationError(
                f'{self.data}: the saved feature of {self.paths[rows[worst]]} differs from what '
                f'the model gives ({spec.label}): they are of another model or made in another '
                'way (such as --flip), so extract them again, or name the right checkpoint'
            )
        return None


def read_saved(source: Path, feature: str) -> LabeledFeatures:
    """Read features that a command saved, in a folder or a file.

    Args:
        source: Folder of ``fusionreid test --out``, or file of ``fusionreid extract``.
        feature: Feature to take of a folder, ``'all'`` for all side by side.

    Returns:
        The features.

    Raises:
        ScoringError: As :func:`read_feature_set`.
        CalibrationError: As :func:`read_extracted`.
    """
    return read_feature_set(source, feature) if source.is_dir() else read_extracted(source)


def read_feature_set(folder: Path, feature: str) -> LabeledFeatures:
    """Read what ``fusionreid test --out`` saved.

    Args:
        folder: The folder.
        feature: Feature to take, ``'all'`` for all side by side.

    Returns:
        The features.

    Raises:
        ScoringError: Nothing is saved there, it is damaged, or has no such feature.
    """
    saved = FeatureSet.load(folder)
    saved.query_and_gallery()
    protocol = saved.protocol.get('feature_protocol')
    # A data set counts the cameras that it names; in an index a name has one number everywhere.
    seen = [saved.camera_names.get(camera, camera) for camera in saved.camera_ids.tolist()]
    cameras, camera_names = number_labels(seen, 'camera_ids')
    return LabeledFeatures(
        saved.select(feature),
        saved.person_ids,
        torch.tensor(cameras),
        saved.roles,
        saved.img_paths,
        describe_data_set(saved.protocol) if saved.protocol.get('dataset_name') else str(folder),
        None if protocol is None else str(protocol),
        camera_names,
    )


def read_extracted(path: Path, spec: FeatureSpec | None = None) -> LabeledFeatures:
    """Read what ``fusionreid extract`` saved.

    Args:
        path: The file.
        spec: What the features must be; None for whatever they are.

    Returns:
        The features.

    Raises:
        CalibrationError: There is no such file, it holds something else, or other features.
    """
    if not path.exists():
        raise CalibrationError(f'{path} does not exist: name a file of fusionreid extract')
    check_regular(path, CalibrationError)
    try:
        with safe_open(path, framework='pt') as file:
            names = ('features', 'person_ids', 'camera_ids')
            features, people, cameras = (file.get_tensor(name) for name in names)
            metadata = file.metadata() or {}
        paths = json.loads(metadata['paths'])
        label = metadata['label']
        named = json.loads(metadata.get('camera_names', '{}'))
        camera_names = {int(number): str(name) for number, name in named.items()}
    except (SafetensorError, KeyError, ValueError, AttributeError) as error:
        raise CalibrationError(
            f'{path} is damaged, or was not written by fusionreid extract: {error}'
        ) from error
    counts = {len(people), len(cameras), len(paths), len(features)}
    if features.dim() != 2 or features.dtype != torch.float32 or len(counts) > 1:
        raise CalibrationError(f'{path} is damaged: its columns differ in length: extract again')
    if spec is not None and (features.shape[1] != spec.width or not _is_of(label, spec)):
        raise CalibrationError(f'{path} holds other features ({label}) than needed: {spec.label}')
    return LabeledFeatures(features, people, cameras, None, paths, str(path), label, camera_names)


def _is_of(label: str, spec: FeatureSpec) -> bool:
    """Whether a label names the protocol of features and, if it names weights, theirs."""
    weights, projection = spec.sha256, spec.projection_sha256
    label, _, projected = label.partition(PROJECTED)
    return (
        spec.protocol in label
        and (weights is None or ' (sha256 ' not in label or weights[:12] in label)
        and (projected == '' if projection is None else projection[:12] in projected)
    )
