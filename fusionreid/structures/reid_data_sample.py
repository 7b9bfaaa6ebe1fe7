"""The labels and features of one photo, as they pass from the pipeline to the metric."""

from __future__ import annotations

from mmengine.structures import BaseDataElement


class ReIDDataSample(BaseDataElement):
    """One photo of a person: where it comes from, who and which camera it shows, and its features.

    Metainfo fields, set by ``PackReIDInputs``:

    - ``img_path`` (str): the image file.
    - ``person_id`` (int): the identity; relabelled from 0 in the training split.
    - ``camera_id`` (int): 0-based camera, or -1 when it is unknown.
    - ``role`` (str): ``'train'``, ``'query'`` or ``'gallery'``.
    - ``sample_idx`` (int): position in the data set.
    - ``clothes_id`` (int): what the person wears; only where the data set tells.
    - ``tracklet_id`` (int): the tracklet that the photo is of; only in data sets of tracklets.
    - ``set_id`` (int): which of the sets of a ``JointDataset`` the photo is from; only there.
    - ``ori_shape``, ``img_shape`` (tuple[int, int]): height and width before and after resizing.
    - ``augment_seed`` (int): seed of the sample's random augmentation; only in training.

    Data fields:

    - ``features`` (dict[str, Tensor]): named features of shape ``(D,)``, set by a model's
      ``predict``.
    """
