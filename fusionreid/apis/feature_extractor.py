"""A trained model that turns images into features, without a data set around it."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from joblib import cpu_count
from mmengine.config import Config
from mmengine.registry import DefaultScope, Registry
from torch import Tensor, nn
from torch.nn import functional as F

from fusionreid.checkpoints.mismatch import describe_mismatch
from fusionreid.checkpoints.weight_file import (
    find_state_dict,
    locate_weight_file,
    read_weight_file,
)
from fusionreid.config import build_errors, build_untrusted, read_config, read_literals
from fusionreid.datasets.transforms import LoadReIDImage
from fusionreid.datasets.transforms.loading import check_still
from fusionreid.errors import ConfigError, ImageDecodeError, InferenceError, WeightsError
from fusionreid.evaluation.feature_set import ALL
from fusionreid.evaluation.functional import ScoringInputError
from fusionreid.evaluation.functional.unit_rows import unit_rows_
from fusionreid.models import FusionReID, as_student, inference_form, keep_branch_order
from fusionreid.models.image_size import check_image_size
from fusionreid.registry import MODELS, SCOPE, TRANSFORMS
from fusionreid.runtimes import ExportedModel, is_export, open_exported
from fusionreid.runtimes.export_manifest import MANIFEST
from fusionreid.structures import ReIDDataSample
from fusionreid.utils.device import find_device
from fusionreid.utils.files import file_sha256
from fusionreid.utils.integers import (
    UNKNOWN,
    are_several,
    as_integer,
    as_integers,
    clamp_unknown,
)
from fusionreid.utils.names import camera_names, is_name, tidy_name

from .exported_features import check_exported_use, describe_exported
from .feature_spec import FeatureSpec
from .hub_folder import hub_weights, read_hub_config
from .image_input import Image, check_channel_order, check_image, image_name, to_rgb
from .projection import Projection

LOADERS = ('test_dataloader', 'val_dataloader')
SETTINGS = ('model', 'input_size', *LOADERS)
SHOWN_NAMES = 20  # cameras that a message names
MEAN_CAMERA_ADVICE = (
    'take the mean of them (--mean-camera; in Python camera_id -1 for an image, or '
    'use_cameras=False for all)'
)
PRECISIONS = {'fp32': torch.float32, 'fp16': torch.float16, 'bf16': torch.bfloat16}


@dataclass(frozen=True)
class PreparedBatch:
    """Some of the images as the pipeline prepares them.

    Attributes:
        positions: Positions (B,) of the images in what was asked for, ascending.
        samples: For each of them what the pipeline gives: ``inputs`` and ``data_samples``.
        failed: Reasons by position for the images of this batch that cannot be decoded.
    """

    positions: list[int]
    samples: list[dict[str, Any]]
    failed: dict[int, str]


@dataclass(frozen=True)
class FeatureBatch:
    """Features of some of the images.

    Attributes:
        positions: Positions (B,) of the images in what was asked for, ascending.
        features: Their features (B, D), float32, L2-normalized, on the model's device.
        failed: Reasons by position for the images of this batch that cannot be decoded.
    """

    positions: list[int]
    features: Tensor
    failed: dict[int, str]


class FeatureExtractor:
    """A trained model that turns images into features.

    The config is taken from ``config``, else from the checkpoint itself, else from the only
    ``.py`` file beside it. Only ``config``, which the caller names, is run as Python; from
    the other two nothing but literals is read. Weights must fit exactly.

    Args:
        checkpoint: Weights, as a path or an ``http(s)://`` address; may be missing only for a model
            that has none. Or a folder that :class:`~fusionreid.apis.hub_model.HubModel` has saved,
            or that of an exported model, which need no config.
        config: Config file, name of a packaged config, a config that was read, or text of
            literals as :attr:`FeatureSpec.config` holds it.
        feature: Name of the feature, or ``'all'`` for all of them side by side.
        use_cameras: Whether the side information embedding (SIE) is told the cameras. False takes
            its mean for every image, for cameras that the model was not trained with. None leaves
            it to the config. A camera of -1 is unknown and always gets the mean.
        device: Where the model runs.
        batch_size: Images that go through the model at once.
        precision: ``'fp32'``, or ``'fp16'`` or ``'bf16'`` for automatic mixed precision.
        runtime: What runs an exported model, see :func:`~fusionreid.runtimes.open_export`.
        trusts_programs: Whether an exported model may be a program, see there too.
        projection: What makes the feature narrower, or its file; None leaves it as it is.
        fold: Whether the model computes in its :func:`~fusionreid.models.inference_form`. False
            keeps the layers as they were trained, for hooks and for saving the model.

    Raises:
        UserError: If the projection cannot be read, or takes features of another model.
        ConfigError: If there is no config, it is no valid one, there is no such device, or the
            feature, the batch size or the precision cannot be.
        WeightsError: If the weights cannot be read or do not fit the model.
        ExportError: If an exported model cannot be used.
    """

    def __init__(
        self,
        checkpoint: str | Path | None = None,
        config: str | Path | Config | None = None,
        *,
        feature: str = ALL,
        use_cameras: bool | None = None,
        device: str | torch.device = 'cpu',
        batch_size: int = 64,
        precision: str = 'fp32',
        runtime: str | dict[str, Any] | None = None,
        trusts_programs: bool = True,
        projection: str | Path | Projection | None = None,
        fold: bool = True,
    ) -> None:
        if as_integer(batch_size, 'batch_size', ConfigError) < 1:
            raise ConfigError(f'batch_size must be at least 1, got {batch_size}')
        if precision not in PRECISIONS:
            raise ConfigError(f'precision must be one of {list(PRECISIONS)}, got {precision!r}')
        self.dtype = PRECISIONS[precision]
        self.batch_size = batch_size
        self.model: Any
        source: str | None
        if is_export(checkpoint):
            # What it computes comes back to the CPU.
            self.device = torch.device('cpu')
            folder = Path(str(checkpoint))
            self.model = open_exported(folder, runtime, str(device), trusts_programs)
            check_exported_use(self.model, use_cameras, precision, config)
            self.spec = describe_exported(folder, self.model.runtime.manifest, feature)
            pipeline, source = self.model.runtime.manifest.pipeline, str(folder / MANIFEST)
            self.camera_names: dict[int, str] = {}
        else:
            if runtime is not None:
                raise ConfigError(
                    f'runtime={runtime!r} is for the folder of an exported model, {checkpoint} is '
                    f'none: make one (fusionreid export)'
                )
            self.device = find_device(device)
            pipeline, source = self._load_model(checkpoint, config, feature, use_cameras)
        self.pipeline = [_build(step, TRANSFORMS, source) for step in pipeline]
        if not any(isinstance(step, LoadReIDImage) for step in self.pipeline):
            # It alone takes arrays as well as files.
            raise ConfigError(f"the test pipeline has no dict(type='LoadReIDImage'): {pipeline}")
        size = self._check_image_size()
        if fold and isinstance(self.model, FusionReID):
            self.model = inference_form(self.model, size)
        if projection is not None and not isinstance(projection, Projection):
            projection = Projection.load(projection)
        self.projection = projection
        if projection is not None:
            self.spec = projection.spec_of(self.spec)

    def _load_model(
        self,
        checkpoint: str | Path | None,
        config: str | Path | Config | None,
        feature: str,
        use_cameras: bool | None,
    ) -> tuple[list[dict[str, Any]], str | None]:
        """Build the model; returns its pipeline, and where that is from unless it is trusted."""
        if checkpoint is not None:
            checkpoint = locate_weight_file(hub_weights(checkpoint))
        content = None if checkpoint is None else read_weight_file(checkpoint)
        settings, source = _find_config(checkpoint, content, config)
        model = settings.get('model')
        if not isinstance(model, dict):
            raise ConfigError(f'the config of {checkpoint or config} has no model')
        model = as_student(model)
        if use_cameras is not None:
            model['use_cameras'] = use_cameras
        self.model = _build(model, MODELS, source)
        if isinstance(self.model, FusionReID):
            keep_branch_order(model)
        pipeline = _find_pipeline(settings)
        self.settings: dict[str, Any] = dict(model=model, test_pipeline=pipeline)
        loader = dict(dataset=dict(pipeline=pipeline))
        load_weights(self.model, content, checkpoint)
        meta = content.get('meta') if isinstance(content, dict) else None
        self.camera_names = camera_names(
            meta.get('dataset_meta') if isinstance(meta, dict) else None
        )
        self.model.to(self.device).eval()
        widths = self.model.feature_widths
        if feature not in (ALL, *widths):
            raise ConfigError(f'feature {feature!r} is unknown: the model gives {[ALL, *widths]}')
        self.spec = FeatureSpec(
            width=sum(widths.values()) if feature == ALL else widths[feature],
            feature=feature,
            protocol=self.model.protocol,
            checkpoint=None if checkpoint is None else str(Path(checkpoint).resolve()),
            sha256=None if checkpoint is None else file_sha256(checkpoint),
            config=Config(dict(model=model, test_dataloader=loader)).dump(),
        )
        return pipeline, source

    @property
    def torch_model(self) -> Any:
        """The PyTorch model.

        Raises:
            InferenceError: If the model is an exported one, which has no layers to look into.
        """
        if isinstance(self.model, ExportedModel):
            raise InferenceError(
                f'{self.model.runtime.folder} is an exported model, which has no layers and '
                f'gradients: name the checkpoint that it was made from'
            )
        return self.model

    @property
    def known_cameras(self) -> int:
        """Number of cameras that the model tells apart, 0 if it takes no notice of them."""
        return self.model.num_cameras if self.model.use_cameras else 0

    def prepare(
        self,
        images: Sequence[Image],
        camera_ids: Sequence[int | str] | None = None,
        channel_order: str = 'rgb',
        batch_size: int | None = None,
    ) -> Iterator[PreparedBatch]:
        """Run the test pipeline on batches of images; the next ones are decoded meanwhile.

        Args:
            images: Paths of image files, uint8 arrays or PIL images, see
                :func:`~fusionreid.apis.image_input.check_image`.
            camera_ids: Their cameras: 0-based numbers, negative for unknown, or names that the
                training set gave them; None means all unknown.
            channel_order: ``'rgb'`` or ``'bgr'`` (as OpenCV reads), for the arrays.
            batch_size: Another one than the model was built with.

        Yields:
            The batches, in order.

        Raises:
            InferenceError: Before anything is decoded, if something is no image, or a camera is
                none of the model's.
        """
        cameras = self._check(images, camera_ids, channel_order)
        size = batch_size or self.batch_size
        with ThreadPoolExecutor(cpu_count()) as pool:

            def start(first: int) -> list[Future[dict[str, Any]]]:
                last = min(first + size, len(images))
                return [
                    pool.submit(
                        self._prepare, images[number], number, cameras[number], channel_order
                    )
                    for number in range(first, last)
                ]

            waiting = start(0)
            for first in range(0, len(images), size):
                current, waiting = waiting, start(first + size)
                positions, samples, failed = [], [], {}
                for number, future in enumerate(current, first):
                    try:
                        samples.append(future.result())
                        positions.append(number)
                    except ImageDecodeError as error:
                        failed[number] = str(error)
                yield PreparedBatch(positions, samples, failed)

    @torch.no_grad()
    def predict(self, batch: PreparedBatch, images: Sequence[Image]) -> list[ReIDDataSample]:
        """Run the model on a batch.

        Args:
            batch: From :meth:`prepare`.
            images: What was given to it, to name an image without a usable feature.

        Returns:
            For each image of the batch its data sample, whose ``features`` are float32 and not
            normalized.

        Raises:
            InferenceError: If the model gives an image no usable feature.
        """
        if not batch.samples:
            return []
        names = ('inputs', 'data_samples')
        data = {name: [sample[name] for sample in batch.samples] for name in names}
        reduced = self.dtype != torch.float32
        with torch.autocast(self.device.type, self.dtype, enabled=reduced):
            predicted = self.model.test_step(data)
        named = {number: images[number] for number in batch.positions}
        try:
            unit_rows_(self._columns(predicted), lambda row: _numbered(named, row))
        except ScoringInputError as error:
            raise InferenceError(str(error)) from error
        return predicted

    def select(self, samples: Sequence[ReIDDataSample]) -> Tensor:
        """Take the feature that the extractor is for.

        Args:
            samples: Data samples from :meth:`predict`.

        Returns:
            (B, D) float32, L2-normalized, on the model's device.
        """
        if not samples:
            return torch.empty(0, self.spec.width, device=self.device)
        features = F.normalize(self._columns(samples))
        return features if self.projection is None else self.projection.apply(features)

    def _columns(self, samples: Sequence[ReIDDataSample]) -> Tensor:
        """The feature, not normalized."""
        rows = [
            sample.features[self.spec.feature]
            if self.spec.feature in sample.features
            else torch.cat(list(sample.features.values()))
            for sample in samples
        ]
        return torch.stack(rows).float()

    def batches(
        self,
        images: Sequence[Image],
        camera_ids: Sequence[int | str] | None = None,
        channel_order: str = 'rgb',
    ) -> Iterator[FeatureBatch]:
        """Compute features batch by batch.

        Args:
            images: As for :meth:`prepare`.
            camera_ids: As for :meth:`prepare`.
            channel_order: ``'rgb'`` or ``'bgr'`` (as OpenCV reads), for the arrays.

        Yields:
            The batches, in order.

        Raises:
            InferenceError: As for :meth:`prepare` and :meth:`predict`.
        """
        for batch in self.prepare(images, camera_ids, channel_order):
            features = self.select(self.predict(batch, images))
            yield FeatureBatch(batch.positions, features, batch.failed)

    def extract(
        self,
        images: Sequence[Image],
        camera_ids: Sequence[int | str] | None = None,
        channel_order: str = 'rgb',
    ) -> Tensor:
        """Compute the features of all images.

        Args:
            images: As for :meth:`prepare`.
            camera_ids: As for :meth:`prepare`.
            channel_order: ``'rgb'`` or ``'bgr'`` (as OpenCV reads), for the arrays.

        Returns:
            Features of shape (N, D), float32, L2-normalized, on the model's device.

        Raises:
            InferenceError: As for :meth:`batches`.
            ImageDecodeError: If an image cannot be decoded.
        """
        parts = [self.select([])]
        for batch in self.batches(images, camera_ids, channel_order):
            if batch.failed:
                raise ImageDecodeError(next(iter(batch.failed.values())))
            parts.append(batch.features)
        return torch.cat(parts)

    def _check_image_size(self) -> tuple[int, int]:
        """Compare what the pipeline makes of an image with what the model is built for."""
        with build_errors():
            inputs = self._prepare(np.zeros((8, 8, 3), np.uint8), 0, UNKNOWN, 'rgb')['inputs']
        size = (inputs.shape[1], inputs.shape[2])
        check_image_size(self.model, size, 'the test pipeline')
        return size

    def _check(
        self, images: Sequence[Image], camera_ids: Sequence[int | str] | None, channel_order: str
    ) -> list[int]:
        check_channel_order(channel_order)
        for number, image in enumerate(images):
            check_image(image, number)
        if camera_ids is None:
            return [UNKNOWN] * len(images)
        numbers = self._number_cameras(camera_ids, images)
        cameras = clamp_unknown(as_integers(numbers, 'camera_ids', InferenceError))
        if len(cameras) != len(images):
            raise InferenceError(f'got {len(images)} images but {len(cameras)} camera_ids')
        known = self.known_cameras
        for number, (image, camera) in enumerate(zip(images, cameras, strict=True)):
            if known and camera >= known:
                raise InferenceError(
                    f'{image_name(image, number)} is of camera {camera + 1}, counted from 1 '
                    f'(camera_id {camera} in Python), the model was trained with cameras 1 to '
                    f'{known}: {MEAN_CAMERA_ADVICE}'
                )
        return cameras

    def _number_cameras(self, camera_ids: Any, images: Sequence[Image]) -> Any:
        """Put the numbers of the training set in the place of names."""
        listed = camera_ids.tolist() if hasattr(camera_ids, 'tolist') else camera_ids
        if not are_several(listed) or not any(map(is_name, listed)):
            return listed
        numbers = {tidy_name(name): number for number, name in self.camera_names.items()}
        known = self.known_cameras
        # That there are as many cameras as images is checked afterwards.
        for number, (image, camera) in enumerate(zip(images, listed, strict=False)):
            if known and is_name(camera) and tidy_name(camera) not in numbers:
                names = ', '.join(sorted(numbers)[:SHOWN_NAMES])
                trained = (
                    f'the cameras {names}' if names else f'cameras 1 to {known}, without names'
                )
                raise InferenceError(
                    f'{image_name(image, number)} is of the camera {camera!r}, the model was '
                    f'trained with {trained}: {MEAN_CAMERA_ADVICE}'
                )
        return [
            numbers.get(tidy_name(camera), UNKNOWN) if is_name(camera) else camera
            for camera in listed
        ]

    def _prepare(
        self, image: Image, number: int, camera_id: int, channel_order: str
    ) -> dict[str, Any]:
        sample: dict[str, Any] = dict(camera_id=camera_id)
        given = to_rgb(image, number, channel_order)
        if isinstance(given, str):
            check_still(given)
        sample['img_path' if isinstance(given, str) else 'img'] = given
        for step in self.pipeline:
            sample = step(sample)
        if self.device.type == 'cuda':
            # The preprocessor's copy to the device then runs beside the computation.
            sample['inputs'] = sample['inputs'].pin_memory()
        return sample


def default_pipeline(input_size: tuple[int, int]) -> list[dict[str, Any]]:
    """The test pipeline of the configs, for a config without a data set.

    Args:
        input_size: Height and width of the model's images.

    Returns:
        Configs of the transforms.

    Example:
        >>> default_pipeline((256, 128))[1]['scale']
        (128, 256)
    """
    height, width = input_size
    return [
        dict(type='LoadReIDImage'),
        dict(type='AntialiasedResize', scale=(width, height), interpolation='bilinear'),
        dict(type='PackReIDInputs'),
    ]


def _numbered(images: Mapping[int, Image], row: int) -> str:
    """Name the image of a row of a batch."""
    number, image = list(images.items())[row]
    return f'the feature of {image_name(image, number)}'


def _build(config: Any, registry: Registry, source: str | None) -> Any:
    """Build a part; a source that is named is a file that is not trusted."""
    with DefaultScope.overwrite_default_scope(SCOPE), build_errors():
        if source is None:
            return registry.build(copy.deepcopy(config))
        return build_untrusted(config, registry, source)


def _find_config(
    checkpoint: Any, content: Any, config: str | Path | Config | None
) -> tuple[dict[str, Any], str | None]:
    """Model and loaders of the config, wherever it is; with its source if that is not trusted."""
    if isinstance(config, Config):
        full = config.to_dict()
        return {name: full[name] for name in SETTINGS if full.get(name)}, None
    if config is not None and not (isinstance(config, str) and '\n' in config):
        full = read_config(str(config)).to_dict()
        return {name: full[name] for name in SETTINGS if full.get(name)}, None
    if config is not None:
        return read_literals(config, SETTINGS, source := 'the index'), source
    if checkpoint is None:
        raise ConfigError('neither a checkpoint nor a config: give one of them')
    meta = content.get('meta') if isinstance(content, dict) else None
    if isinstance(meta, dict) and isinstance(meta.get('cfg'), str):
        return read_literals(meta['cfg'], SETTINGS, source := str(checkpoint)), source
    if (saved := read_hub_config(checkpoint)) is not None:
        loader = dict(dataset=dict(pipeline=saved['test_pipeline']))
        return dict(model=saved['model'], test_dataloader=loader), str(checkpoint)
    beside = sorted(Path(checkpoint).parent.glob('*.py'))
    if len(beside) != 1:
        raise ConfigError(
            f'{checkpoint} holds no config, and {len(beside)} .py files lie beside it: name the '
            f'config file (--config)'
        )
    text = beside[0].read_text(encoding='utf-8')
    return read_literals(text, SETTINGS, source := str(beside[0])), source


def _find_pipeline(settings: dict[str, Any]) -> list[dict[str, Any]]:
    for name in LOADERS:
        loader = settings.get(name)
        dataset = loader.get('dataset') if isinstance(loader, dict) else None
        pipeline = dataset.get('pipeline') if isinstance(dataset, dict) else None
        if isinstance(pipeline, list) and pipeline:
            return pipeline
    # The config of converted weights has no data set.
    size = settings.get('input_size')
    if not isinstance(size, (list, tuple)) or len(size) != 2:
        raise ConfigError(
            'the config has neither a test pipeline nor an input_size of two numbers: give the '
            'config file with the data set (--config)'
        )
    return default_pipeline(tuple(size))


def load_weights(model: nn.Module, content: Any, checkpoint: Any) -> None:
    """Load the weights into a model, which they must fit exactly.

    Args:
        model: The model.
        content: What :func:`~fusionreid.checkpoints.read_weight_file` has read.
        checkpoint: The file, for messages; None for a model without weights.

    Raises:
        WeightsError: If they do not fit.
    """
    if checkpoint is None:
        if next(model.parameters(), None) is not None:
            raise WeightsError('the model has weights to load: name the checkpoint')
        return
    try:
        state = find_state_dict(content)[0]
    except WeightsError as error:
        raise WeightsError(f'{checkpoint}: {error}') from error
    state = {name.removeprefix('module.'): value for name, value in state.items()}
    if misfit := describe_mismatch(model.state_dict(), state):
        raise WeightsError(f'{checkpoint} does not fit the model of its config: {misfit}')
    model.load_state_dict(state)
