"""One object for inference: give it anything that shows people, get named features."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.infer import BaseInferencer
from mmengine.logging import print_log
from mmengine.visualization import Visualizer

from fusionreid.datasets.image_listing import list_images
from fusionreid.datasets.transforms import read_image
from fusionreid.errors import ConfigError, ImageDecodeError, InferenceError
from fusionreid.evaluation.feature_set import ALL
from fusionreid.runtimes import is_export
from fusionreid.structures import ReIDDataSample
from fusionreid.utils.integers import are_several, as_integer, as_integers
from fusionreid.utils.names import is_name, number_of, tidy_name
from fusionreid.utils.progress import Progress
from fusionreid.visualization import draw_distance_matrix, figure_pixels, save_picture

from .calibration import Calibration, RateEstimate
from .calibration_file import find_calibration
from .feature_extractor import FeatureExtractor, PreparedBatch
from .feature_spec import FeatureSpec
from .image_input import (
    Image,
    Input,
    as_input,
    check_channel_order,
    check_image,
    list_inputs,
    to_rgb,
)
from .model_zoo import list_models
from .projection import Projection

# More do not fit into one picture.
DRAWN = 16
PICTURE = 'distances.png'


@dataclass(frozen=True)
class ReIDResult:
    """What came of one input.

    Attributes:
        name: Its file, or its position in what was given, such as ``'image 3'``.
        named_features: Features by name, float32, not normalized: (D,) of an image, (N, D) of a
            frame with N boxes. Empty where the image cannot be decoded.
        embedding: The inferencer's feature, L2-normalized: (D,), or (N, D).
        error: Why the image cannot be decoded; None where it can.
    """

    name: str
    named_features: dict[str, np.ndarray]
    embedding: np.ndarray
    error: str | None = None

    @property
    def features(self) -> dict[str, np.ndarray]:
        """Features by name.

        Raises:
            ImageDecodeError: If the image cannot be decoded.
        """
        if self.error is not None:
            raise ImageDecodeError(self.error)
        return self.named_features


@dataclass(frozen=True)
class Comparison:
    """How alike two photos are.

    Attributes:
        distance: Euclidean distance of their embeddings, in [0, 2].
        false_match_rate: How often photos of two different people are as near, with its interval;
            None without a calibration.
    """

    distance: float
    false_match_rate: RateEstimate | None = None


class ReIDInferencer(BaseInferencer):
    """Turns images of people into features.

    An input is a path, a uint8 array of shape (H, W, 3), (H, W, 4), (H, W, 1) or (H, W), a PIL
    image of any mode, or a tuple ``(frame, boxes)``: an image and the boxes (N, 4) of people in
    it, as left, top, right and bottom in pixels. A folder stands for the images in it, an array
    (N, H, W, 3) for N images. Inputs of all kinds may be mixed in a list.

    Args:
        model: Name of a packaged config (:func:`~fusionreid.apis.list_models`), path of a config
            file, which is run, or a config that was read. None takes the config in the checkpoint.
            Or the folder of an exported model, which needs no ``pretrained``.
        pretrained: Weights, as a path or an ``http(s)://`` address; may be missing only for a
            model that has none.
        device: Where the model runs; None takes a GPU if there is one, and for an exported model
            the CPU.
        feature: Feature of :attr:`ReIDResult.embedding` and of comparisons; ``'all'`` for all of
            them side by side.
        use_cameras: See :class:`~fusionreid.apis.FeatureExtractor`.
        precision: ``'fp32'``, or ``'fp16'`` or ``'bf16'`` for automatic mixed precision.
        batch_size: Images that go through the model at once.
        calibration: What distances mean for this model and feature; None takes the one beside the
            checkpoint, if ``fusionreid calibrate`` wrote one.
        show_progress: Show a line on stderr with the time left.
        runtime: What runs an exported model: ``'onnxruntime'``, ``'openvino'``, ``'torch'``, or
            settings such as ``dict(type='openvino', threads=2, hint='throughput')``.
        projection: What makes :attr:`ReIDResult.embedding` narrower, or its file; None leaves it.

    Raises:
        UserError: The projection cannot be read, or takes features of another model.
        ConfigError: There is no config, it is no valid one, or a setting cannot be.
        WeightsError: The weights cannot be read or do not fit the model.
        CalibrationError: The calibration is of other features.

    Example:
        >>> inferencer = ReIDInferencer('color_histogram_synthetic', device='cpu')
        >>> red, blue = np.zeros((2, 64, 32, 3), np.uint8)
        >>> red[..., 0], blue[..., 2] = 200, 200
        >>> first, second = inferencer([red, blue])
        >>> {name: feature.shape for name, feature in first.features.items()}
        {'color': (3072,)}
        >>> frame = np.concatenate([red, blue], axis=1)
        >>> (result,) = inferencer((frame, [[0, 0, 32, 64], [32, 0, 64, 64]]))
        >>> result.embedding.shape
        (2, 3072)
        >>> inferencer.compare(red, red).distance
        0.0
    """

    preprocess_kwargs = {'camera_ids', 'channel_order'}
    visualize_kwargs = {'show', 'out_dir'}

    def __init__(
        self,
        model: str | Path | Config | None = None,
        pretrained: str | Path | None = None,
        device: str | torch.device | None = None,
        *,
        feature: str = ALL,
        use_cameras: bool | None = None,
        precision: str = 'fp32',
        batch_size: int = 64,
        calibration: Calibration | None = None,
        show_progress: bool = False,
        runtime: str | dict[str, Any] | None = None,
        projection: str | Path | Projection | None = None,
    ) -> None:
        if pretrained is None and isinstance(model, (str, Path)) and is_export(model):
            model, pretrained = None, model
        if isinstance(pretrained, bool):
            raise ConfigError(
                f'pretrained={pretrained}: no weights come with the package, so name a checkpoint '
                '(docs/weights.md)'
            )
        if device is None:
            takes_gpu = torch.cuda.is_available() and not is_export(str(pretrained))
            device = 'cuda' if takes_gpu else 'cpu'
        self.extractor = FeatureExtractor(
            pretrained,
            model,
            feature=feature,
            use_cameras=use_cameras,
            device=device,
            batch_size=batch_size,
            precision=precision,
            runtime=runtime,
            projection=projection,
        )
        self.model = self.extractor.model
        self.pipeline = self._init_pipeline({})
        self.calibration = find_calibration(self.spec) if calibration is None else calibration
        self.show_progress = show_progress

    @property
    def calibration(self) -> Calibration | None:
        """What distances mean; one of other features is refused."""
        return self._calibration

    @calibration.setter
    def calibration(self, calibration: Calibration | None) -> None:
        self._calibration = None if calibration is None else calibration.bound_to(self.spec)

    @property
    def spec(self) -> FeatureSpec:
        """What the embeddings are, so that only like is compared with like."""
        return self.extractor.spec

    def __call__(
        self,
        inputs: Any,
        return_datasamples: bool = False,
        batch_size: int | None = None,
        *,
        camera_ids: Sequence[int] | int | None = None,
        channel_order: str = 'rgb',
        show: bool = False,
        out_dir: str | Path | None = None,
    ) -> list[Any]:
        """Compute features.

        All of them stay in memory: to turn a large folder into a file, use ``fusionreid extract``.

        Args:
            inputs: One input, or several.
            return_datasamples: Return the data sample of each image in place of the result; of a
                frame the list of its boxes' samples, of an image that cannot be decoded None.
            batch_size: Images that go through the model at once; None takes the inferencer's.
            camera_ids: 0-based camera of each input, or one for all, for a model with SIE; None or
                negative is unknown.
            channel_order: ``'rgb'`` or ``'bgr'`` (as OpenCV reads), for the arrays.
            show: Show a picture of the distances between the inputs.
            out_dir: Folder to save it to, as ``distances.png``.

        Returns:
            A :class:`ReIDResult` for each input, in order. One whose image cannot be decoded says
            so in its ``error``.

        Raises:
            InferenceError: Before anything is computed, if something is no image, a box has no
                pixel in its frame, or a camera is none of the model's; later, if the model gives
                an image no usable feature.
        """
        if batch_size is not None and as_integer(batch_size, 'batch_size', ConfigError) < 1:
            raise ConfigError(f'batch_size must be at least 1, got {batch_size}')
        check_channel_order(channel_order)
        given = [
            as_input(one, number, channel_order)
            for number, one in enumerate(self._inputs_to_list(inputs))
        ]
        images = [image for one in given for image in one.images]
        predictions: list[ReIDDataSample | str | None] = [None] * len(images)
        meter = Progress('inference', len(images), self.show_progress)
        done = 0
        cameras = _cameras_of_images(given, camera_ids)
        for batch in self.preprocess(images, batch_size, cameras, channel_order):
            for position, sample in zip(batch.positions, self.forward(batch, images), strict=True):
                predictions[position] = sample
            for position, reason in batch.failed.items():
                predictions[position] = reason
            done += len(batch.positions) + len(batch.failed)
            meter.update(done)
        results = self.postprocess(given, predictions)
        if show or out_dir is not None:
            self.visualize(given, results, channel_order, show=show, out_dir=out_dir)
        return _samples_of(given, predictions) if return_datasamples else results

    def compare(
        self,
        first: Any,
        second: Any,
        *,
        camera_ids: tuple[int | str, int | str] | None = None,
        channel_order: str = 'rgb',
    ) -> Comparison:
        """Tell how alike two photos are.

        Args:
            first: An image.
            second: Another one.
            camera_ids: Their cameras, 0-based numbers or names.
            channel_order: ``'rgb'`` or ``'bgr'``, for arrays.

        Returns:
            Their distance and, with a calibration, how often strangers are as near: in these two
            cameras, if the calibration had pairs enough.

        Raises:
            InferenceError: As for a call, and for something that is not one image.
            ImageDecodeError: An image that cannot be decoded.
        """
        for number, image in enumerate((first, second)):
            check_image(image, number)
        photos = [first, second]
        features = self.extractor.extract(photos, camera_ids, channel_order)
        distance = float(torch.linalg.vector_norm(features[0] - features[1]))
        if self.calibration is None:
            return Comparison(distance)
        cameras = None
        if camera_ids is not None:
            one, other = (
                number_of(tidy_name(camera)) if is_name(camera) else int(camera)
                for camera in camera_ids
            )
            cameras = (one, other)
        return Comparison(distance, self.calibration.false_match_rate(distance, cameras))

    def preprocess(
        self,
        inputs: Sequence[Image],
        batch_size: int | None = None,
        camera_ids: Sequence[int] | None = None,
        channel_order: str = 'rgb',
    ) -> Iterator[PreparedBatch]:
        """Run the test pipeline on batches of images.

        Args:
            inputs: The images.
            batch_size: Images of a batch.
            camera_ids: 0-based camera of each image.
            channel_order: ``'rgb'`` or ``'bgr'``, for arrays.

        Yields:
            The batches, in order.
        """
        yield from self.extractor.prepare(inputs, camera_ids, channel_order, batch_size)

    def forward(self, inputs: PreparedBatch, images: Sequence[Image]) -> list[ReIDDataSample]:
        """Run the model on a batch.

        Args:
            inputs: The batch.
            images: All images, to name one without a usable feature.

        Returns:
            The data samples of the batch, with ``features``.
        """
        return self.extractor.predict(inputs, images)

    def postprocess(
        self, inputs: Sequence[Input], preds: Sequence[ReIDDataSample | str | None]
    ) -> list[ReIDResult]:
        """Put the predictions of the images together by input.

        Args:
            inputs: The inputs.
            preds: Data sample of each of their images, or why it cannot be decoded.

        Returns:
            A result for each input.
        """
        widths = self.model.feature_widths
        results, start = [], 0
        for one in inputs:
            samples = preds[start : start + len(one.images)]
            start += len(one.images)
            good = [sample for sample in samples if isinstance(sample, ReIDDataSample)]
            embedding = self.extractor.select(good).cpu().numpy()
            if not one.is_frame and not good:
                results.append(ReIDResult(one.name, {}, embedding[:0], str(samples[0])))
                continue
            rows = {
                name: torch.stack([sample.features[name] for sample in good]).cpu().numpy()
                if good
                else np.empty((0, width), np.float32)
                for name, width in widths.items()
            }
            if not one.is_frame:
                rows, embedding = {name: row[0] for name, row in rows.items()}, embedding[0]
            results.append(ReIDResult(one.name, rows, embedding))
        return results

    def visualize(
        self,
        inputs: Sequence[Input],
        preds: Sequence[ReIDResult],
        channel_order: str = 'rgb',
        *,
        show: bool = False,
        out_dir: str | Path | None = None,
    ) -> list[np.ndarray]:
        """Draw how far the first photos are from each other.

        Args:
            inputs: The inputs.
            preds: Their results.
            channel_order: ``'rgb'`` or ``'bgr'``, of arrays.
            show: Show the picture in a window.
            out_dir: Folder to save it to, as ``distances.png``.

        Returns:
            The picture, uint8 of shape (H, W, 3), RGB, if there is anything to draw.

        Raises:
            UserError: The folder cannot be written.
        """
        photos, rows = [], []
        for one, result in zip(inputs, preds, strict=True):
            if result.error is None:
                rows += list(result.embedding.reshape(len(one.images), -1))
                photos += list(one.images)
        if not photos:
            return []
        del photos[DRAWN:], rows[DRAWN:]
        pixels = []
        for number, photo in enumerate(photos):
            given = to_rgb(photo, number, channel_order)
            pixels.append(read_image(given) if isinstance(given, str) else given)
        features = torch.from_numpy(np.stack(rows)).double()
        figure = draw_distance_matrix(
            pixels, torch.cdist(features, features).numpy(), 'Distances', self.spec.label
        )
        if out_dir is not None:
            save_picture(figure, Path(out_dir) / PICTURE)
        drawn = figure_pixels(figure)
        if show:
            Visualizer().show(drawn, win_name='distances')
        return [drawn]

    @staticmethod
    def list_models(pattern: str = '*') -> list[str]:
        """List the models that come with the package, see :func:`fusionreid.apis.list_models`."""
        return list_models(pattern)

    def _init_pipeline(self, cfg: Any) -> Compose:
        return Compose(self.extractor.pipeline)

    def _inputs_to_list(self, inputs: Any) -> list[Any]:
        listed = []
        for one in list_inputs(inputs):
            if not isinstance(one, (str, Path)) or not Path(one).is_dir():
                listed.append(one)
                continue
            listing = list_images(one, below=True)
            listed += listing.paths
            for line in listing.summary():
                print_log(line, 'current', logging.WARNING)
        return listed


def _cameras_of_images(
    inputs: Sequence[Input], camera_ids: Sequence[int] | int | None
) -> list[int] | None:
    """The camera of each image, where each input has one, or all have the same."""
    if camera_ids is None:
        return None
    if not are_several(camera_ids):
        camera_ids = [as_integer(camera_ids, 'camera_ids', InferenceError)] * len(inputs)
    cameras = as_integers(camera_ids, 'camera_ids', InferenceError)
    if len(cameras) != len(inputs):
        raise InferenceError(f'got {len(inputs)} inputs but {len(cameras)} camera_ids')
    return [camera for one, camera in zip(inputs, cameras, strict=True) for _ in one.images]


def _samples_of(
    inputs: Sequence[Input], preds: Sequence[ReIDDataSample | str | None]
) -> list[ReIDDataSample | list[Any] | None]:
    """The data samples of each input; None for an image that cannot be decoded."""
    samples: list[Any] = [pred if isinstance(pred, ReIDDataSample) else None for pred in preds]
    grouped, start = [], 0
    for one in inputs:
        own = samples[start : start + len(one.images)]
        start += len(own)
        grouped.append(own if one.is_frame else own[0])
    return grouped
