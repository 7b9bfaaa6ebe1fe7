"""From an exported model in fp32 to one in int8, which appears only if it loses little mAP."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import logging
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from torch import Tensor
from torch.nn import functional as F

from fusionreid.apis import FeatureExtractor
from fusionreid.config import build_errors
from fusionreid.errors import ExportError, ImageDecodeError
from fusionreid.evaluation import FeatureSet
from fusionreid.evaluation.feature_comparison import ALL_EACH_NORMALIZED, compare_features
from fusionreid.evaluation.feature_set import ALL
from fusionreid.registry import DATASETS, RUNTIMES, SCOPE
from fusionreid.runtimes import ExportedModel, ExportManifest
from fusionreid.utils.optional import import_optional
from fusionreid.utils.progress import Progress
from fusionreid.utils.tables import format_table

from .exporting import METADATA, ExportSettings, check_target, export_model, whole_folder
from .formats import EXPORTERS
from .graph import CAMERAS, EMBEDDING, IMAGES

INT8 = 'int8'
FORMATS = ('onnx', 'openvino')
DEFAULT_MAX_DROP = 0.5
# Images that ranges are taken from: more change no score by a tenth of a point.
CALIBRATION_IMAGES = 128
MIN_CALIBRATION_IMAGES = 16
SCORING_BATCH = 32
# Largest difference between an embedding that is computed alone and in a batch.
BATCH_TOLERANCE = 0.05


@dataclass(frozen=True)
class PersonImages:
    """Images and what is known of them.

    Args:
        name: What they are, for the report.
        paths: Image files.
        camera_ids: Their 0-based cameras, -1 for unknown.
        person_ids: Who they show; empty where nobody needs to know.
        roles: ``'query'`` or ``'gallery'`` for each; empty where nobody needs to know.
        remove_same_camera: Whether scoring removes gallery images of the query's identity and
            camera.
    """

    name: str
    paths: Sequence[str]
    camera_ids: Sequence[int]
    person_ids: Sequence[int] = ()
    roles: Sequence[str] = ()
    remove_same_camera: bool = True

    def spread(self, count: int) -> PersonImages:
        """Take some of the images, spread evenly over all.

        Args:
            count: How many, at most.

        Returns:
            They, without labels.
        """
        rows = np.linspace(0, len(self.paths) - 1, min(count, len(self.paths))).round().astype(int)
        return PersonImages(
            self.name, [self.paths[row] for row in rows], [self.camera_ids[row] for row in rows]
        )


def read_data_set(cfg: Config, loader: str, data_root: str | None = None) -> PersonImages:
    """List the images of a data set of a config.

    Args:
        cfg: The config.
        loader: ``'train_dataloader'`` or ``'test_dataloader'``.
        data_root: Folder of the data set; the config's own otherwise.

    Returns:
        Its images, with labels.

    Raises:
        ExportError: If the config has no such data set.
        DatasetError: If it is not there, or not as it must be.
    """
    settings = (cfg.get(loader) or {}).get('dataset')
    if not settings:
        raise ExportError(
            f'{cfg.filename} has no {loader}: int8 is measured on a labeled set, take a config '
            f'with the data set that the model is tested on'
        )
    settings = dict(settings, pipeline=[])
    if data_root is not None:
        settings['data_root'] = data_root
    with DefaultScope.overwrite_default_scope(SCOPE), build_errors():
        data_set = DATASETS.build(settings)
        data_set.full_init()
    infos = [data_set.get_data_info(row) for row in range(len(data_set))]
    return PersonImages(
        f'{len(infos)} images of {data_set.metainfo["dataset_name"]}',
        paths=[info['img_path'] for info in infos],
        camera_ids=[info['camera_id'] for info in infos],
        person_ids=[info['person_id'] for info in infos],
        roles=[info['role'] for info in infos],
        remove_same_camera=(cfg.get('test_evaluator') or {}).get('remove_same_camera', True),
    )


@dataclass(frozen=True)
class QuantizationLoss:
    """What a model loses by int8.

    Attributes:
        labeled: What it was measured on.
        images: Their number.
        calibration: What the ranges are taken from.
        calibration_images: Their number.
        max_drop: Largest accepted loss of mAP, in points.
        decides: Name of the feature whose loss counts: all of them side by side, if there are
            several.
        before: mAP in fp32, in percent, of each feature.
        after: mAP in int8.
        cosine: Smallest cosine of an embedding in int8 and in fp32.
    """

    labeled: str
    images: int
    calibration: str
    calibration_images: int
    max_drop: float
    decides: str
    before: dict[str, float]
    after: dict[str, float]
    cosine: float

    @property
    def drop(self) -> float:
        """Points of mAP that are lost; negative if int8 is better."""
        return self.before[self.decides] - self.after[self.decides]

    def find_failure(self) -> str | None:
        """Say what is lost, if it is too much."""
        if self.drop <= self.max_drop:
            return None
        return (
            f'int8 loses {self.drop:.2f} points of mAP ({self.decides}: '
            f'{self.before[self.decides]:.2f} to {self.after[self.decides]:.2f}) on '
            f'{self.labeled}, at most {self.max_drop:g} are accepted, nothing is kept: calibrate '
            f'on other images (--calibration), or accept more (--max-drop)'
        )

    def table(self) -> str:
        """The loss as lines: a row for each feature."""
        rows = [('feature', 'mAP in fp32', 'mAP in int8', 'lost')]
        rows += [
            (name, f'{score:.2f}', f'{self.after[name]:.2f}', f'{score - self.after[name]:.2f}')
            for name, score in self.before.items()
        ]
        return (
            f'{format_table(rows, rule=True)}\n'
            f'on {self.labeled}, calibrated on {self.calibration_images} of {self.calibration}; '
            f'accepted: {self.max_drop:g} points of {self.decides}; smallest cosine of an '
            f'embedding and its fp32: {self.cosine:.4f}'
        )


def check_quantization(settings: ExportSettings, max_drop: float) -> None:
    """Check whether a model can be quantized, before anything is computed.

    Args:
        settings: How it is exported, in fp32.
        max_drop: Largest accepted loss of mAP, in points.

    Raises:
        ExportError: If the format has no int8, NNCF is not installed, or no loss is such.
    """
    if settings.format not in FORMATS:
        raise ExportError(
            f'int8 is there for the formats {" and ".join(FORMATS)}, got {settings.format!r}'
        )
    if not 0 <= max_drop <= 100:
        raise ExportError(f'max_drop must be from 0 to 100 points of mAP, got {max_drop:g}')
    import_optional('nncf', 'nncf', 'the precision int8', ExportError)


def export_quantized(
    extractor: FeatureExtractor,
    folder: str | Path,
    settings: ExportSettings,
    images: Sequence[str | Path],
    calibration: PersonImages,
    labeled: PersonImages,
    max_drop: float = DEFAULT_MAX_DROP,
    description: str | None = None,
) -> tuple[ExportManifest, QuantizationLoss]:
    """Export a model in fp32, compare it, quantize it, and keep it only if it loses little.

    Args:
        extractor: The model, on the CPU and in float32.
        folder: Where to; it must not exist, or be empty.
        settings: How, in fp32.
        images: Image files on which the model in fp32 is compared with PyTorch.
        calibration: Images that the ranges of the activations are taken from, of which at most
            128 are used; they need no labels.
        labeled: Queries and gallery that the loss of mAP is measured on.
        max_drop: Largest accepted loss of mAP, in points.
        description: What ``images`` are, for the report.

    Returns:
        What was written, and what it loses.

    Raises:
        ExportError: If the model cannot be exported or quantized, or loses too much. Nothing is
            written then.
    """
    folder = Path(folder)
    check_quantization(settings, max_drop)
    check_target(folder)
    with tempfile.TemporaryDirectory() as scratch:
        exact = Path(scratch) / 'fp32'
        manifest, _ = export_model(extractor, exact, settings, images, description)
        calibration = calibration.spread(CALIBRATION_IMAGES)
        quantized = quantize(
            read_model(exact / manifest.model_file, settings.format),
            calibration_inputs(extractor, manifest, calibration),
        )
        with whole_folder(folder) as partial:
            int8 = replace(
                manifest,
                precision=INT8,
                versions={**manifest.versions, 'nncf': importlib.metadata.version('nncf')},
            )
            exporter = EXPORTERS[settings.format](settings.precision)
            exporter.model = quantized  # type: ignore[attr-defined]
            exporter.save(partial, {})
            loss = measure_loss(
                extractor,
                _open(exact, manifest),
                _open(partial, int8),
                labeled,
                calibration,
                max_drop,
            )
            if failure := loss.find_failure():
                raise ExportError(failure)
            int8 = replace(int8, parity={**manifest.parity, 'quantization': asdict(loss)})
            exporter.save(partial, {METADATA: json.dumps(int8.content)})
            _check_batches(extractor, _open(partial, int8), labeled)
            int8.write(partial)
    return int8, loss


def read_model(path: Path, model_format: str) -> Any:
    """Read an exported model to change it.

    Args:
        path: Its file.
        model_format: ``'onnx'``, or ``'openvino'``, which reads ONNX files too.

    Returns:
        The model, as the format's library has it.
    """
    if model_format == 'onnx':
        import onnx

        return onnx.load(path)
    import openvino

    return openvino.Core().read_model(path)


def quantize(model: Any, inputs: Sequence[dict[str, Any]]) -> Any:
    """Quantize weights and activations of a model after its training.

    NNCF keeps what has no room for 8 bits in floating point: softmax, normalizations and powers.

    Args:
        model: The model in fp32, from :func:`read_model`.
        inputs: Arrays by name that the ranges are taken from.

    Returns:
        The quantized model.

    Raises:
        ExportError: If NNCF is not installed, or the model cannot be quantized.
    """
    nncf: Any = import_optional('nncf', 'nncf', 'the precision int8', ExportError)
    nncf.set_log_level(logging.ERROR)
    try:
        # Its progress does not belong to the result.
        with contextlib.redirect_stdout(sys.stderr):
            return nncf.quantize(
                model,
                nncf.Dataset(inputs),
                subset_size=len(inputs),
                # For models without attention too: weights symmetric, activations not.
                model_type=nncf.ModelType.TRANSFORMER,
            )
    except Exception as error:  # some of NNCF's errors have no other class in common
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise ExportError(
            f'the model cannot be quantized ({type(error).__name__}: {reason})'
        ) from error


def calibration_inputs(
    extractor: FeatureExtractor, manifest: ExportManifest, images: PersonImages
) -> list[dict[str, Any]]:
    """Prepare images for calibration, each alone.

    Args:
        extractor: The model, whose pipeline prepares them.
        manifest: What is calibrated.
        images: The images.

    Returns:
        Arrays by name of input.

    Raises:
        ExportError: If there are less than 16.
        ImageDecodeError: If one cannot be decoded.
    """
    if len(images.paths) < MIN_CALIBRATION_IMAGES:
        raise ExportError(
            f'int8 needs at least {MIN_CALIBRATION_IMAGES} images for calibration, got '
            f'{len(images.paths)} ({images.name})'
        )
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (manifest.mean, manifest.std))
    inputs = []
    for samples, rows in _prepare(extractor, images):
        for sample, row in zip(samples, rows, strict=True):
            pixels: Tensor = sample['inputs']
            if manifest.raw_input == 'float':
                pixels = (pixels - mean) / std
            arrays = {IMAGES: pixels[None].numpy()}
            if manifest.cameras:
                arrays[CAMERAS] = np.array([images.camera_ids[row]], np.int64)
            inputs.append(arrays)
    return inputs


def measure_loss(
    extractor: FeatureExtractor,
    exact: ExportedModel,
    quantized: ExportedModel,
    labeled: PersonImages,
    calibration: PersonImages,
    max_drop: float = DEFAULT_MAX_DROP,
) -> QuantizationLoss:
    """Score a model in fp32 and in int8.

    Args:
        extractor: The model, whose pipeline prepares the images.
        exact: The exported model in fp32.
        quantized: It in int8.
        labeled: Queries and gallery.
        calibration: What it was calibrated on.
        max_drop: Largest accepted loss of mAP, in points.

    Returns:
        The loss.

    Raises:
        ImageDecodeError: If an image cannot be decoded.
        ScoringError: If the images cannot be scored, such as without a query.
    """
    progress = Progress('scoring fp32 and int8, images', len(labeled.paths))
    parts: tuple[list[Tensor], list[Tensor]] = ([], [])
    for samples, rows in _prepare(extractor, labeled):
        for model, found in zip((exact, quantized), parts, strict=True):
            found.append(_features(model, samples))
        progress.update(rows[-1] + 1)
    before, after = (torch.cat(found) for found in parts)
    scores = [_score(features, exact.feature_widths, labeled) for features in (before, after)]
    return QuantizationLoss(
        labeled=labeled.name,
        images=len(labeled.paths),
        calibration=calibration.name,
        calibration_images=len(calibration.paths),
        max_drop=max_drop,
        decides=ALL if ALL in scores[0] else next(iter(scores[0])),
        before=scores[0],
        after=scores[1],
        cosine=F.cosine_similarity(before, after).min().item(),
    )


def _open(folder: Path, manifest: ExportManifest) -> ExportedModel:
    kind = RUNTIMES.get(EXPORTERS[manifest.model_format].runtime)
    return ExportedModel(kind(folder, manifest))


def _prepare(extractor: FeatureExtractor, images: PersonImages) -> Any:
    """Batches of prepared images, and their rows."""
    prepared = extractor.prepare(images.paths, images.camera_ids, batch_size=SCORING_BATCH)
    for batch in prepared:
        if batch.failed:
            raise ImageDecodeError(next(iter(batch.failed.values())))
        yield batch.samples, batch.positions


def _features(model: ExportedModel, samples: Sequence[dict[str, Any]]) -> Tensor:
    names = ('inputs', 'data_samples')
    predicted = model.test_step({name: [sample[name] for sample in samples] for name in names})
    return torch.stack(
        [
            torch.cat([sample.features[name] for name in model.feature_widths])
            for sample in predicted
        ]
    )


def _score(features: Tensor, widths: dict[str, int], labeled: PersonImages) -> dict[str, float]:
    feature_set = FeatureSet(
        features=features,
        widths=widths,
        person_ids=torch.tensor(labeled.person_ids),
        camera_ids=torch.tensor(labeled.camera_ids),
        roles=labeled.roles,
        img_paths=labeled.paths,
    )
    results = compare_features(feature_set, labeled.remove_same_camera)
    results.pop(ALL_EACH_NORMALIZED, None)
    return {name: 100 * result.mAP for name, result in results.items()}


def _check_batches(extractor: FeatureExtractor, model: ExportedModel, images: PersonImages) -> None:
    """Refuse a model that gives other embeddings at another batch size."""
    samples, _ = next(_prepare(extractor, images.spread(5)))
    pixels = torch.stack([sample['inputs'] for sample in samples])
    manifest = model.runtime.manifest
    if manifest.raw_input == 'float':
        pixels = (pixels - model.mean) / model.std
    together = model.runtime(pixels)[EMBEDDING]
    alone = torch.cat(
        [model.runtime(pixels[row : row + 1])[EMBEDDING] for row in range(len(pixels))]
    )
    difference = (together - alone).abs().max().item()
    if not difference <= BATCH_TOLERANCE:
        raise ExportError(
            f'the model in int8 is not right, nothing is kept: an embedding differs by '
            f'{difference:.1e} between a batch of 1 and of {len(pixels)}'
        )
