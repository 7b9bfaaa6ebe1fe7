"""Features for deep-sort-realtime."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fusionreid.apis import FeatureExtractor, ReIDInferencer

from .frame_encoder import FrameEncoder

NO_PIXEL = np.zeros((1, 1, 3), np.uint8)


class DeepSortEmbedder:
    """What deep-sort-realtime asks for the features of what it cut out.

    ``tracker = DeepSort(embedder=None)``, then ``tracker.embedder = DeepSortEmbedder(inferencer)``.

    Args:
        model: The model.
        camera_id: Camera of all frames, a 0-based number or a name, for a model with SIE.
        channel_order: ``'bgr'`` or ``'rgb'``, of the frames that the tracker is given.
    """

    def __init__(
        self,
        model: ReIDInferencer | FeatureExtractor,
        camera_id: int | str | None = None,
        channel_order: str = 'bgr',
    ) -> None:
        self.encoder = FrameEncoder(model, camera_id)
        self.channel_order = channel_order

    def predict(self, np_images: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Compute features in one forward pass.

        Args:
            np_images: Images of people, uint8, (H, W, 3). One without a pixel, of a box outside of
                its frame, stands for a black one.

        Returns:
            A feature (D,) of each, float32, L2-normalized.
        """
        images = [image if image.size else NO_PIXEL for image in np_images]
        return list(self.encoder.encode_images(images, self.channel_order))

    __call__ = predict
