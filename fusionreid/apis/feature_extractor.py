"""A trained model that turns images into features, without a data set around it."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
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

from fusionreid.checkpoints.mismatch import describe_mismatch
from fusionreid.checkpoints.weight_file import (
    find_state_dict,
    locate_weight_file,
    read_weight_file,
)
from fusionreid.config import build_errors, build_untrusted, read_config, read_literals
from fusionreid.datasets.transforms import LoadReIDImage
from fusionreid.errors import GalleryError, ImageDecodeError, WeightsError
from fusionreid.evaluation.feature_set import ALL
from fusionreid.evaluation.functional import ScoringInputError
from fusionreid.evaluation.functional.unit_rows import unit_rows_
from fusionreid.models.image_size import check_image_size
from fusionreid.registry import MODELS, SCOPE, TRANSFORMS
from fusionreid.utils.device import find_device
from fusionreid.utils.files import file_sha256
from fusionreid.utils.integers import UNKNOWN, as_integer, as_integers, clamp_unknown

from .feature_spec import FeatureSpec

Image = str | Path | np.ndarray
LOADERS = ('test_dataloader', 'val_dataloader')
SETTINGS = ('model', 'input_size', *LOADERS)
CHANNEL_ORDERS = ('rgb', 'bgr')


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
            that has none.
        config: Config file, name of a packaged config, or text of literals as
            :attr:`FeatureSpec.config` holds it.
        feature: Name of the feature, or ``'all'`` for all of them side by side.
        use_cameras: Whether the side information embedding (SIE) is told the cameras. False takes
            its mean for every image, for cameras that the model was not trained with. None leaves
            it to the config. A camera of -1 is unknown and always gets the mean.
        device: Where the model runs.
        batch_size: Images that go through the model at once.

    Raises:
        GalleryError: If there is no config, or the feature or the batch size cannot be.
        ConfigError: If the config is no valid one, or there is no such device.
        WeightsError: If the weights cannot be read or do not fit the model.
    """

    def __init__(
        self,
        checkpoint: str | Path | None = None,
        config: str | Path | None = None,
        *,
        feature: str = ALL,
        use_cameras: bool | None = None,
        device: str | torch.device = 'cpu',
        batch_size: int = 64,
    ) -> None:
        if as_integer(batch_size, 'batch_size', GalleryError) < 1:
            raise GalleryError(f'batch_size must be at least 1, got {batch_size}')
        self.device = find_device(device)
        self.batch_size = batch_size
        if checkpoint is not None:
            checkpoint = locate_weight_file(checkpoint)
        content = None if checkpoint is None else read_weight_file(checkpoint)
        settings, source = _find_config(checkpoint, content, config)
        model = settings.get('model')
        if not isinstance(model, dict):
            raise GalleryError(f'the config of {checkpoint or config} has no model')
        if use_cameras is not None:
            model['use_cameras'] = use_cameras
        self.model = _build(model, MODELS, source)
        pipeline = _find_pipeline(settings)
        self.pipeline = [_build(step, TRANSFORMS, source) for step in pipeline]
        if not any(isinstance(step, LoadReIDImage) for step in self.pipeline):
            # It alone takes arrays as well as files.
            raise GalleryError(f"the test pipeline has no dict(type='LoadReIDImage'): {pipeline}")
        self._check_image_size()
        loader = dict(dataset=dict(pipeline=pipeline))
        _load_weights(self.model, content, checkpoint)
        self.model.to(self.device).eval()
        widths = self.model.feature_widths
        if feature not in (ALL, *widths):
            raise GalleryError(f'feature {feature!r} is unknown: the model gives {[ALL, *widths]}')
        self.spec = FeatureSpec(
            width=sum(widths.values()) if feature == ALL else widths[feature],
            feature=feature,
            protocol=self.model.protocol,
            checkpoint=None if checkpoint is None else str(Path(checkpoint).resolve()),
            sha256=None if checkpoint is None else file_sha256(checkpoint),
            config=Config(dict(model=model, test_dataloader=loader)).dump(),
        )

    @property
    def known_cameras(self) -> int:
        """Number of cameras that the model tells apart, 0 if it takes no notice of them."""
        return self.model.num_cameras if self.model.use_cameras else 0

    @torch.no_grad()
    def batches(
        self,
        images: Sequence[Image],
        camera_ids: Sequence[int] | None = None,
        channel_order: str = 'rgb',
    ) -> Iterator[FeatureBatch]:
        """Compute features batch by batch; the next images are decoded meanwhile.

        Args:
            images: Paths of image files, or uint8 arrays of shape (H, W, 3).
            camera_ids: Their 0-based cameras, negative for unknown; None means all unknown.
            channel_order: ``'rgb'`` or ``'bgr'`` (as OpenCV reads), for the arrays.

        Yields:
            The batches, in order.

        Raises:
            GalleryError: Before anything is computed, if an array is no image or a camera is none
                of the model's; later, if the model gives an image no usable feature.
        """
        cameras = self._check(images, camera_ids, channel_order)
        with ThreadPoolExecutor(cpu_count()) as pool:

            def start(first: int) -> list[Future[dict[str, Any]]]:
                last = min(first + self.batch_size, len(images))
                return [
                    pool.submit(self._prepare, images[number], cameras[number], channel_order)
                    for number in range(first, last)
                ]

            waiting = start(0)
            for first in range(0, len(images), self.batch_size):
                current, waiting = waiting, start(first + self.batch_size)
                positions, samples, failed = [], [], {}
                for number, future in enumerate(current, first):
                    try:
                        samples.append(future.result())
                        positions.append(number)
                    except ImageDecodeError as error:
                        failed[number] = str(error)
                named = {number: images[number] for number in positions}
                features = _unit_rows(self._run(samples), named)
                yield FeatureBatch(positions, features, failed)

    def extract(
        self,
        images: Sequence[Image],
        camera_ids: Sequence[int] | None = None,
        channel_order: str = 'rgb',
    ) -> Tensor:
        """Compute the features of all images.

        Args:
            images: Paths of image files, or uint8 arrays of shape (H, W, 3).
            camera_ids: Their 0-based cameras, negative for unknown; None means all unknown.
            channel_order: ``'rgb'`` or ``'bgr'`` (as OpenCV reads), for the arrays.

        Returns:
            Features of shape (N, D), float32, L2-normalized, on the model's device.

        Raises:
            GalleryError: As for :meth:`batches`.
            ImageDecodeError: If an image cannot be decoded.
        """
        parts = [torch.empty(0, self.spec.width, device=self.device)]
        for batch in self.batches(images, camera_ids, channel_order):
            if batch.failed:
                raise ImageDecodeError(next(iter(batch.failed.values())))
            parts.append(batch.features)
        return torch.cat(parts)

    def _check_image_size(self) -> None:
        """Compare what the pipeline makes of an image with what the model is built for."""
        with build_errors():
            inputs = self._prepare(np.zeros((8, 8, 3), np.uint8), UNKNOWN, 'rgb')['inputs']
        check_image_size(self.model, (inputs.shape[1], inputs.shape[2]), 'the test pipeline')

    def _check(
        self, images: Sequence[Image], camera_ids: Sequence[int] | None, channel_order: str
    ) -> list[int]:
        if channel_order not in CHANNEL_ORDERS:
            raise GalleryError(f'channel_order must be one of {CHANNEL_ORDERS}: {channel_order!r}')
        for number, image in enumerate(images):
            if isinstance(image, (str, Path)):
                continue
            kind = getattr(image, 'dtype', type(image).__name__)
            shape = tuple(getattr(image, 'shape', ()))
            if kind != np.uint8 or len(shape) != 3 or shape[2] != 3 or 0 in shape:
                raise GalleryError(
                    f'image {number} is neither a path nor a uint8 array of shape (H, W, 3): '
                    f'{kind} of shape {shape}'
                )
        if camera_ids is None:
            return [UNKNOWN] * len(images)
        cameras = clamp_unknown(as_integers(camera_ids, 'camera_ids', GalleryError))
        if len(cameras) != len(images):
            raise GalleryError(f'got {len(images)} images but {len(cameras)} camera_ids')
        known = self.known_cameras
        for number, (image, camera) in enumerate(zip(images, cameras, strict=True)):
            if known and camera >= known:
                raise GalleryError(
                    f'{_name(image, number)} is of camera {camera + 1}, counted from 1 '
                    f'(camera_id {camera} in Python), the model was trained with cameras 1 to '
                    f'{known}: take the mean of them (--mean-camera; in Python camera_id -1 for '
                    f'an image, or use_cameras=False for all)'
                )
        return cameras

    def _prepare(self, image: Image, camera_id: int, channel_order: str) -> dict[str, Any]:
        sample: dict[str, Any] = dict(camera_id=camera_id)
        if isinstance(image, (str, Path)):
            sample['img_path'] = str(image)
        else:
            pixels = image if channel_order == 'rgb' else image[..., ::-1]
            sample['img'] = np.ascontiguousarray(pixels)
        for step in self.pipeline:
            sample = step(sample)
        return sample

    def _run(self, samples: list[dict[str, Any]]) -> Tensor:
        if not samples:
            return torch.empty(0, self.spec.width, device=self.device)
        names = ('inputs', 'data_samples')
        predicted = self.model.test_step({name: [item[name] for item in samples] for name in names})
        rows = [
            torch.cat(list(sample.features.values()))
            if self.spec.feature == ALL
            else sample.features[self.spec.feature]
            for sample in predicted
        ]
        return torch.stack(rows).float()


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


def _name(image: Image, number: int) -> str:
    return str(image) if isinstance(image, (str, Path)) else f'image {number}'


def _unit_rows(features: Tensor, images: dict[int, Image]) -> Tensor:
    """Normalize the features of a batch, whose images are given by their numbers."""
    named = list(images.items())

    def name(row: int) -> str:
        number, image = named[row]
        return f'the feature of {_name(image, number)}'

    try:
        return unit_rows_(features, name)
    except ScoringInputError as error:
        raise GalleryError(str(error)) from error


def _build(config: Any, registry: Registry, source: str | None) -> Any:
    """Build a part; a source that is named is a file that is not trusted."""
    with DefaultScope.overwrite_default_scope(SCOPE), build_errors():
        if source is None:
            return registry.build(copy.deepcopy(config))
        return build_untrusted(config, registry, source)


def _find_config(
    checkpoint: Any, content: Any, config: str | Path | None
) -> tuple[dict[str, Any], str | None]:
    """Model and loaders of the config, wherever it is; with its source if that is not trusted."""
    if config is not None and not (isinstance(config, str) and '\n' in config):
        full = read_config(str(config)).to_dict()
        return {name: full[name] for name in SETTINGS if full.get(name)}, None
    if config is not None:
        return read_literals(config, SETTINGS, source := 'the index'), source
    if checkpoint is None:
        raise GalleryError('neither a checkpoint nor a config: give one of them')
    meta = content.get('meta') if isinstance(content, dict) else None
    if isinstance(meta, dict) and isinstance(meta.get('cfg'), str):
        return read_literals(meta['cfg'], SETTINGS, source := str(checkpoint)), source
    beside = sorted(Path(checkpoint).parent.glob('*.py'))
    if len(beside) != 1:
        raise GalleryError(
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
        raise GalleryError(
            'the config has neither a test pipeline nor an input_size of two numbers: give the '
            'config file with the data set (--config)'
        )
    return default_pipeline(tuple(size))


def _load_weights(model: nn.Module, content: Any, checkpoint: Any) -> None:
    """Load the weights, which must fit exactly."""
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
