"""From a trained model to a folder with an exported one, which appears only if it is right."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fusionreid.apis import FeatureExtractor
from fusionreid.apis.feature_spec import FeatureSpec
from fusionreid.errors import ExportError, ImageDecodeError
from fusionreid.evaluation.feature_set import ALL
from fusionreid.models import inference_form
from fusionreid.registry import RUNTIMES
from fusionreid.runtimes import ExportManifest, Runtime
from fusionreid.runtimes.export_manifest import LAYOUTS, RAW_INPUTS
from fusionreid.utils.optional import import_optional
from fusionreid.version import __version__

from .formats import EXAMPLE_BATCH, EXPORTERS, Exporter
from .graph import ExportGraph, pixel_statistics
from .parity import GALLERY, ModelRunError, Parity, ParityReport

# The oldest torch that exports are tested with. Older ones refuse what they do not know.
TESTED_TORCH = (2, 11)
PRECISIONS = {'fp32': torch.float32, 'fp16': torch.float16, 'bf16': torch.bfloat16}
BOXMOT = 'boxmot'
BOXMOT_FORMATS = ('onnx', 'openvino')
# What boxmot makes of pixels, in [0, 255].
IMAGENET_MEAN, IMAGENET_STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
METADATA = 'fusionreid'
# The fewest images that say something about batches and ranks.
MIN_IMAGES = 4


@dataclass(frozen=True)
class ExportSettings:
    """How a model is exported.

    Args:
        format: ``'onnx'``, ``'openvino'``, ``'torchscript'``, ``'torch_export'`` or ``'tensorrt'``.
        precision: ``'fp32'``, ``'fp16'`` or ``'bf16'``; not every format has each.
        features: Names of the features in the order of the embedding; ``('all',)`` for all.
        raw_input: ``'uint8'`` for a graph that takes pixels, ``'float'`` for one that takes
            normalized images.
        named_outputs: Whether each feature is an output too.
        layout: ``'fusionreid'``, or ``'boxmot'`` for the variant that boxmot loads.

    Raises:
        ExportError: If there is no such setting, or two do not go together.
    """

    format: str = 'onnx'
    precision: str = 'fp32'
    features: tuple[str, ...] = (ALL,)
    raw_input: str = 'uint8'
    named_outputs: bool = False
    layout: str = 'fusionreid'

    def __post_init__(self) -> None:
        if self.format not in EXPORTERS:
            raise ExportError(f'format must be one of {list(EXPORTERS)}, got {self.format!r}')
        precisions = EXPORTERS[self.format].precisions
        if self.precision not in precisions:
            raise ExportError(
                f'the format {self.format} has the precisions {", ".join(precisions)}, got '
                f'{self.precision!r}'
            )
        for name, value, known in (
            ('raw_input', self.raw_input, RAW_INPUTS),
            ('layout', self.layout, LAYOUTS),
        ):
            if value not in known:
                raise ExportError(f'{name} must be one of {list(known)}, got {value!r}')
        if self.layout == BOXMOT and (self.named_outputs or self.format not in BOXMOT_FORMATS):
            raise ExportError(
                f'the layout {BOXMOT} has one output and the formats {", ".join(BOXMOT_FORMATS)}, '
                f'got the format {self.format!r}{" and named outputs" * self.named_outputs}'
            )


def export_model(
    extractor: FeatureExtractor,
    folder: str | Path,
    settings: ExportSettings,
    images: Sequence[str | Path],
    description: str | None = None,
) -> tuple[ExportManifest, ParityReport]:
    """Export a model, compare it with PyTorch, and keep it only if it is right.

    Args:
        extractor: The model, on the CPU and in float32.
        folder: Where to; it must not exist, or be empty.
        settings: How.
        images: Image files on which the exported model is compared with PyTorch, at least 4;
            24 are enough.
        description: What they are, for the report; their number otherwise.

    Returns:
        What was written, and how far it is from PyTorch.

    Raises:
        ExportError: If the format is not installed, the model has no such feature, the folder
            is in use, the model cannot be exported or the exported one is not right. Nothing is
            written then.
    """
    folder = Path(folder)
    exporter = build_exporter(settings)
    features = choose_features(extractor, settings.features)
    if settings.layout == BOXMOT and extractor.known_cameras:
        raise ExportError(
            f'the layout {BOXMOT} takes no cameras: build the model with the mean one'
        )
    pixels = read_pixels(extractor, images)
    graph = build_graph(extractor, settings, features, (pixels.shape[2], pixels.shape[3]))
    mean, std = (
        (IMAGENET_MEAN, IMAGENET_STD) if settings.layout == BOXMOT else _own_pixels(extractor)
    )
    cameras = torch.arange(EXAMPLE_BATCH) % graph.model.num_cameras if graph.takes_cameras else None
    example = pixels[:EXAMPLE_BATCH]
    is_float = settings.raw_input == 'float' or settings.layout == BOXMOT
    with whole_folder(folder) as partial:
        try:
            exporter.convert(graph, example.float() if is_float else example, cameras)
        except RuntimeError as error:  # of PyTorch, its ONNX exporter and OpenVINO alike
            reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
            raise ExportError(
                f'the model cannot be exported to {settings.format} ({type(error).__name__}: '
                f'{reason}){_hint_of_version()}'
            ) from error
        manifest = ExportManifest(
            model_format=settings.format,
            model_file=exporter.file,
            precision=settings.precision,
            layout=settings.layout,
            raw_input='float' if is_float else 'uint8',
            input_size=(pixels.shape[2], pixels.shape[3]),
            color_order='rgb',
            mean=[round(value, 6) for value in mean],
            std=[round(value, 6) for value in std],
            resize=find_resize(extractor),
            pipeline=json.loads(extractor.spec.pipeline),
            features=features,
            outputs=graph.output_names,
            cameras=extractor.known_cameras if graph.takes_cameras else 0,
            spec=asdict(describe_embedding(extractor, features)),
            versions={'fusionreid': __version__, 'torch': torch.__version__, **exporter.versions()},
            parity={},
        )
        parity = Parity(extractor, list(features), pixels, description or f'{len(pixels)} images')
        exporter.save(partial, {})
        with _named_failure(manifest):
            report = parity.compare(_open(exporter, partial, manifest), settings.precision)
        if failure := report.find_failure():
            raise ExportError(f'{_refusal(manifest)}: {failure}')
        manifest = replace(manifest, parity=report.content)
        exporter.save(partial, {METADATA: json.dumps(manifest.content)})
        # The file that is kept is another one than that which was compared.
        with _named_failure(manifest):
            parity.compare_again(_open(exporter, partial, manifest), settings.precision)
        manifest.write(partial)
    return manifest, report


def check_target(folder: Path) -> None:
    """Check that a folder does not exist, or is empty.

    Args:
        folder: The folder.

    Raises:
        ExportError: If it is in use.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        kind = 'exists and is not empty' if folder.is_dir() else 'is a file'
        raise ExportError(f'{folder} {kind}: name a new folder')


def build_exporter(settings: ExportSettings) -> Exporter:
    """Build the exporter of a format.

    Args:
        settings: How a model is exported.

    Returns:
        The exporter.

    Raises:
        ExportError: If a package that it needs is not installed.
    """
    kind = EXPORTERS[settings.format]
    for module, distribution in kind.packages.items():
        import_optional(module, distribution, f'the format {settings.format}', ExportError)
    return kind(settings.precision)


def choose_features(extractor: FeatureExtractor, names: Sequence[str]) -> dict[str, int]:
    """Find the widths of the features that are chosen.

    Args:
        extractor: The model.
        names: Their names; ``'all'`` alone for all of them.

    Returns:
        Widths by name, in the order of the names.

    Raises:
        ExportError: If the model has no such feature, or one is named twice.
    """
    widths = extractor.torch_model.feature_widths
    if tuple(names) == (ALL,):
        return dict(widths)
    for name in names:
        if name not in widths:
            raise ExportError(
                f'feature {name!r} is unknown: the model gives {", ".join([ALL, *widths])}'
            )
    if len(set(names)) < len(names) or not names:
        raise ExportError(f'features must be different names, got {", ".join(names) or "none"}')
    return {name: widths[name] for name in names}


def describe_embedding(extractor: FeatureExtractor, features: dict[str, int]) -> FeatureSpec:
    """Say what the embedding is, so that a gallery compares like with like.

    Args:
        extractor: The model.
        features: Widths of the chosen features by name.

    Returns:
        The description, in which the checkpoint is named without its folder.
    """
    spec = extractor.spec
    is_all = list(features) == list(extractor.model.feature_widths) and len(features) > 1
    return replace(
        spec,
        width=sum(features.values()),
        feature=ALL if is_all else ','.join(features),
        checkpoint=None if spec.checkpoint is None else Path(spec.checkpoint).name,
    )


def build_graph(
    extractor: FeatureExtractor,
    settings: ExportSettings,
    features: dict[str, int],
    image_size: tuple[int, int],
) -> ExportGraph:
    """Build the graph of a model, in which batch norms are part of the convolutions.

    Args:
        extractor: The model.
        settings: How it is exported.
        features: Widths of the chosen features by name.
        image_size: Height and width of the images in pixels.

    Returns:
        The graph.
    """
    mean, std = pixel_statistics(extractor.model)
    normalization: tuple[Tensor, Tensor] | None = (mean, std)
    if settings.layout == BOXMOT:
        # From ImageNet's normalization back to pixels, and on to the model's own.
        theirs = [torch.tensor(v).view(3, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_STD)]
        normalization = ((mean - theirs[0]) / theirs[1], std / theirs[1])
    elif settings.raw_input == 'float':
        normalization = None
    return ExportGraph(
        # The comparison is with the layers as trained, if the extractor has them.
        inference_form(extractor.model, image_size),
        list(features),
        normalization,
        takes_cameras=extractor.known_cameras > 0,
        named_outputs=settings.named_outputs,
        dtype=exporter_dtype(settings),
    )


def exporter_dtype(settings: ExportSettings) -> torch.dtype:
    """Type of the graph's weights: OpenVINO compresses float32 weights itself."""
    return torch.float32 if settings.format == 'openvino' else PRECISIONS[settings.precision]


def read_pixels(extractor: FeatureExtractor, images: Sequence[str | Path]) -> Tensor:
    """Prepare images as the test pipeline does.

    Args:
        extractor: The model.
        images: Image files, of which the first 24 are taken.

    Returns:
        Pixels of shape ``(N, 3, H, W)``, uint8.

    Raises:
        ExportError: If there are less than 4.
        ImageDecodeError: If one cannot be decoded.
    """
    taken = list(images)[:GALLERY]
    if len(taken) < MIN_IMAGES:
        raise ExportError(
            f'the exported model is compared with PyTorch on at least {MIN_IMAGES} images, got '
            f'{len(taken)}'
        )
    (batch,) = extractor.prepare(taken, batch_size=len(taken))
    if batch.failed:
        raise ImageDecodeError(next(iter(batch.failed.values())))
    return torch.stack([sample['inputs'] for sample in batch.samples])


def find_resize(extractor: FeatureExtractor) -> dict[str, Any] | None:
    """Read how the test pipeline resizes.

    Args:
        extractor: The model.

    Returns:
        ``interpolation``, ``antialias`` (whether the filter widens where it shrinks an image, as
        Pillow's does) and ``transform``, the name of the class; None where nothing resizes.
    """
    for step in extractor.pipeline:
        interpolation = getattr(step, 'interpolation', None)
        if isinstance(interpolation, str):
            name = type(step).__name__
            return dict(
                interpolation=interpolation, antialias=name == 'AntialiasedResize', transform=name
            )
    return None


def _own_pixels(extractor: FeatureExtractor) -> tuple[list[float], list[float]]:
    mean, std = pixel_statistics(extractor.model)
    return mean.flatten().tolist(), std.flatten().tolist()


def _open(exporter: Exporter, folder: Path, manifest: ExportManifest) -> Runtime:
    """Load what was saved."""
    runtime: Runtime = RUNTIMES.get(exporter.runtime)(folder, manifest)
    return runtime


def _refusal(manifest: ExportManifest) -> str:
    kind = manifest.model_format
    return f'the {kind} model ({manifest.precision}) is not right, nothing is kept'


@contextmanager
def _named_failure(manifest: ExportManifest) -> Iterator[None]:
    try:
        yield
    except ModelRunError as error:
        raise ExportError(f'{_refusal(manifest)}: {error}') from error


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """Name a folder beside the target, which takes its place at the end, or never.

    Args:
        folder: The target.

    Yields:
        The folder beside it.

    Raises:
        ExportError: If the target is in use or cannot be written.
    """
    check_target(folder)
    partial = folder.parent / f'.{folder.name}.{os.getpid()}.part'
    try:
        partial.mkdir(parents=True)
        yield partial
        os.replace(partial, folder)
    except OSError as error:
        raise ExportError(f'{folder} cannot be written: {error}') from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _hint_of_version() -> str:
    """What to do about an export that fails, where the reason may be an old torch."""
    major, minor = torch.__version__.split('.')[:2]
    if (int(major), int(minor)) >= TESTED_TORCH:
        return ''
    oldest = '.'.join(map(str, TESTED_TORCH))
    return f': exports are tested with torch {oldest} or newer, here is {torch.__version__}'
