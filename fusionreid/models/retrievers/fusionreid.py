"""The model: branches side by side, the neck that fuses them, a head per feature."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from mmengine.config import Config
from mmengine.model import BaseModel, ModuleDict
from torch import Tensor, nn

from fusionreid.errors import ConfigError
from fusionreid.registry import MODELS
from fusionreid.structures import ReIDDataSample

from ..heads.batch_labels import list_ids
from ..layers.domain_batch_norm import tell_sets
from ..layers.side_information import UNKNOWN_CAMERA
from .branch import Branch
from .branch_order import order_branches
from .uncertainty_weighting import UncertaintyWeighting

FeatureDict = dict[str, Tensor]


@MODELS.register_module()
class FusionReID(BaseModel):
    """Person ReID by one branch or several side by side, with a neck that fuses them.

    The method of arXiv 2412.17239.

    The feature of each branch comes first, in the order of ``branches``, then those that the neck
    adds; ``branch_order`` names another order. With the published branches and neck they are
    ``cnn``, ``transformer``, ``cnn_refined``, ``transformer_refined``, ``cnn_fused`` and
    ``transformer_fused``. One branch and no neck is a single-branch baseline.

    Args:
        branches: Configs of the branches by name; see :class:`Branch`. None switches off a branch
            that a config inherits.
        head: Config of the head that supervises each feature; one is built per feature, with its
            width. None makes a model that only extracts features.
        neck: Config of the fusion neck, built with the branches' widths. None for none.
        supervision: By the name of a feature, what is different in its head, merged into ``head``
            as configs are merged; None for a feature without a head and so without losses of its
            own. None (default) for the same head everywhere.
        uncertainty_weighting: Whether the weights of all losses are learned (arXiv 1705.07115).
            Defaults to False: they are summed.
        bnneck: Whether ``predict`` returns features ``'before'`` or ``'after'`` the BNNeck.
            Defaults to ``'before'``.
        use_cameras: Whether the side information embedding is told the cameras. False takes the
            mean camera embedding for every image, as for cameras that were not trained with.
            Defaults to True.
        flip_test: Whether ``predict`` averages the features of each image and of its mirror image.
            Defaults to False.
        channels_last: Whether convolutions keep the channels of a pixel side by side in memory
            (NHWC), as tensor cores want them. The values are the same up to rounding. Defaults to
            False.
        compile: True, or the arguments of ``torch.compile``, to compile one graph for training,
            features and losses together, and one for extraction, whose batch size is free from two
            images on. Names in the state dict stay as they are. The built model's attribute
            ``compiled`` switches it off and on. Defaults to False.
        branch_order: Names of branches that come first, in this order. None (default) for the order
            of ``branches``, which a config that MMEngine saves does not keep: it sorts names.
            ``fusionreid train`` sets it where the two differ.
        data_preprocessor: Config of the data preprocessor.
        init_cfg: Initialization config, e.g. ``dict(type='Pretrained', checkpoint=...)``.

    Raises:
        ValueError: If there is no branch, ``bnneck`` is unknown, or features after a BNNeck are
            asked for where one has no head.
        ConfigError: If ``supervision`` names a feature that there is not, or ``branch_order`` a
            branch, or nothing is left to supervise.

    Example:
        >>> cnn = dict(
        ...     backbone=dict(type='fusionreid.ReIDResNet', depth=18),
        ...     pooling=dict(type='fusionreid.GeMPooling'),
        ... )
        >>> head = dict(type='fusionreid.BNNeckHead', num_classes=751)
        >>> model = FusionReID(branches=dict(cnn=cnn), head=head).eval()
        >>> features = model(torch.zeros(1, 3, 64, 32), mode='tensor')
        >>> {name: tuple(feature.shape) for name, feature in features.items()}
        {'cnn': (1, 512)}
        >>> model.protocol
        'features before BNNeck, no SIE'
    """

    def __init__(
        self,
        branches: dict[str, dict[str, Any] | None],
        head: dict[str, Any] | None = None,
        neck: dict[str, Any] | None = None,
        supervision: dict[str, dict[str, Any] | None] | None = None,
        uncertainty_weighting: bool = False,
        bnneck: str = 'before',
        use_cameras: bool = True,
        flip_test: bool = False,
        channels_last: bool = False,
        compile: bool | dict[str, Any] = False,
        branch_order: Sequence[str] | None = None,
        data_preprocessor: dict[str, Any] | None = None,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(data_preprocessor=data_preprocessor, init_cfg=init_cfg)
        configs = {name: branches[name] for name in order_branches(branches, branch_order)}
        used = {name: cfg for name, cfg in configs.items() if cfg is not None}
        if not used:
            raise ValueError('a model needs at least one branch')
        if bnneck not in ('before', 'after'):
            raise ValueError(f"bnneck must be 'before' or 'after', got {bnneck!r}")
        self.bnneck = bnneck
        self.use_cameras = use_cameras
        self.flip_test = flip_test
        # MMEngine's, since init_weights() does not look into torch's.
        self.branches = ModuleDict({name: Branch(**cfg) for name, cfg in used.items()})
        widths = {name: branch.out_channels for name, branch in self.branches.items()}
        self.neck = MODELS.build({'in_channels': dict(widths), **neck}) if neck else None
        self.feature_widths: dict[str, int] = dict(widths)
        if self.neck is not None:
            self.feature_widths.update(self.neck.out_channels)
        heads = head_configs(head, supervision or {}, list(self.feature_widths))
        self.heads = nn.ModuleDict(
            {
                name: MODELS.build({'in_channels': self.feature_widths[name], **cfg})
                for name, cfg in heads.items()
            }
        )
        if bnneck == 'after' and (left := self.feature_widths.keys() - heads.keys()):
            raise ValueError(f"bnneck='after' needs a head of every feature: {min(left)} has none")
        self.loss_weighting: UncertaintyWeighting | None = None
        if uncertainty_weighting:
            self.loss_weighting = UncertaintyWeighting(loss_names(self.heads))
        self.channels_last = channels_last
        self.compiled = compile is not False
        if self.compiled:
            # Not bound methods: a copy of the model, as for EMA, must run with its own weights.
            options = compile if isinstance(compile, dict) else {}
            self._compiled_features = torch.compile(compute_features, **options)
            self._compiled_losses = torch.compile(compute_losses, **options)

    @property
    def channels_last(self) -> bool:
        """Whether convolutions keep the channels of a pixel side by side in memory.

        Setting it reorders the weights.
        """
        return self._channels_last

    @channels_last.setter
    def channels_last(self, wanted: bool) -> None:
        if wanted != getattr(self, '_channels_last', False):
            self.to(memory_format=torch.channels_last if wanted else torch.contiguous_format)
        self._channels_last = wanted

    @property
    def num_classes(self) -> int | None:
        """Identities that the heads classify; None without heads."""
        head: Any = next(iter(self.heads.values()), None)
        return None if head is None else head.num_classes

    @property
    def num_cameras(self) -> int:
        """Cameras of the side information embedding; 0 without one."""
        return max(branch.num_cameras for branch in self.branches.values())

    def forward(
        self,
        inputs: Tensor,
        data_samples: list[ReIDDataSample] | None = None,
        mode: str = 'tensor',
    ) -> FeatureDict | list[ReIDDataSample]:
        """Run the model.

        Args:
            inputs: Normalized images of shape ``(B, 3, H, W)``.
            data_samples: The images' data samples; their cameras are used by SIE, their identities
                by the losses. Without them every camera is unknown.
            mode: ``'tensor'``: features before the BNNecks, by name. ``'loss'``: the losses
                ``<feature>.loss_id`` and ``<feature>.loss_triplet``. ``'predict'``: the data
                samples with ``features`` filled in.

        Returns:
            As ``mode`` says; features have shape ``(B, D)``, in ``predict`` ``(D,)`` and float32.

        Raises:
            ValueError: If the mode is unknown, samples and images differ in number, or an id or
                camera is out of range.
        """
        if data_samples is not None and len(data_samples) != len(inputs):
            raise ValueError(f'got {len(inputs)} images but {len(data_samples)} data samples')
        if mode == 'tensor':
            return self.extract(inputs, self._camera_ids(data_samples, inputs.device))
        if mode == 'loss':
            return self.loss(inputs, data_samples)
        if mode == 'predict':
            return self.predict(inputs, data_samples)
        raise ValueError(f"mode must be 'tensor', 'loss' or 'predict', got {mode!r}")

    def extract(self, images: Tensor, camera_ids: Tensor | None = None) -> FeatureDict:
        """Compute all named features before the BNNecks.

        Args:
            images: Normalized images of shape ``(B, 3, H, W)``.
            camera_ids: Cameras of shape ``(B,)``, -1 for unknown; None means all unknown.

        Returns:
            Features of shape ``(B, D)`` by name, in the order of their concatenation.
        """
        if not self.compiled:
            return compute_features(self, images, camera_ids)
        # Another view, since the mark stays on the tensor, which may go into training too.
        images = images.view_as(images)
        for tensor in (images, camera_ids):
            if tensor is not None:
                torch._dynamo.maybe_mark_dynamic(tensor, 0)
        features = self._compiled_features(self, images, camera_ids)
        # What CUDA graphs return is overwritten by their next run.
        return {name: feature.clone() for name, feature in features.items()}

    def loss(self, inputs: Tensor, data_samples: list[ReIDDataSample] | None) -> FeatureDict:
        """Compute the losses of every feature that has a head; the total is their sum.

        Args:
            inputs: Normalized images of shape ``(B, 3, H, W)``.
            data_samples: The images' data samples, with ``person_id`` and ``camera_id``.

        Returns:
            Scalars by name, by default ``<feature>.loss_id`` and ``<feature>.loss_triplet``.

        Raises:
            ValueError: If the model has no head, there are no data samples, or an identity or
                camera is out of range.
        """
        ids = self._labels(inputs, data_samples)
        compute = self._compiled_losses if self.compiled else compute_losses
        return compute(self, inputs, ids, self._camera_ids(data_samples, inputs.device))

    def _labels(self, inputs: Tensor, data_samples: list[ReIDDataSample] | None) -> Tensor:
        """The identities of a training batch, whose data sets the batch norms are told."""
        if not self.heads:
            raise ValueError('this model has no head, so nothing can be trained')
        ids = self._person_ids(data_samples, inputs.device)
        tell_sets(self, data_samples)
        return ids

    def predict(
        self, inputs: Tensor, data_samples: list[ReIDDataSample] | None
    ) -> list[ReIDDataSample]:
        """Fill ``features`` of the data samples.

        Args:
            inputs: Normalized images of shape ``(B, 3, H, W)``.
            data_samples: The images' data samples; None for new ones.

        Returns:
            The data samples, each with its features of shape ``(D,)``, float32, by name.
        """
        if data_samples is None:
            data_samples = [ReIDDataSample() for _ in inputs]
        features = self.scored_features(inputs, self._camera_ids(data_samples, inputs.device))
        for row, sample in enumerate(data_samples):
            sample.features = {name: feature[row] for name, feature in features.items()}
            sample.set_metainfo(dict(feature_protocol=self.protocol))
        return data_samples

    def scored_features(self, images: Tensor, camera_ids: Tensor | None = None) -> FeatureDict:
        """Compute all named features as :attr:`protocol` says.

        Args:
            images: Normalized images of shape ``(B, 3, H, W)``.
            camera_ids: Cameras of shape ``(B,)``, -1 for unknown; None means all unknown.

        Returns:
            Features of shape ``(B, D)``, float32, by name, in the order of their concatenation.
        """
        features = self.extract(images, camera_ids)
        if self.flip_test:
            mirrored = self.extract(images.flip(3), camera_ids)
            features = {name: (own + mirrored[name]) / 2 for name, own in features.items()}
        if self.bnneck == 'after':
            features = {name: self.heads[name](feature) for name, feature in features.items()}
        return {name: feature.float() for name, feature in features.items()}

    @property
    def protocol(self) -> str:
        """How features are made, as stated beside every score."""
        neck = f'{self.bnneck} BNNeck' if self.heads else 'without BNNeck'
        if self.flip_test:
            neck += ', averaged with those of the mirror image'
        if not self.num_cameras:
            return f'features {neck}, no SIE'
        cameras = f'{self.num_cameras} cameras' if self.use_cameras else 'mean camera'
        return f'features {neck}, SIE on ({cameras})'

    def _camera_ids(
        self, data_samples: list[ReIDDataSample] | None, device: torch.device
    ) -> Tensor | None:
        if data_samples is None or not self.num_cameras or not self.use_cameras:
            return None
        cameras = [sample.get('camera_id', UNKNOWN_CAMERA) for sample in data_samples]
        for camera, sample in zip(cameras, data_samples, strict=True):
            if not UNKNOWN_CAMERA <= camera < self.num_cameras:
                raise ValueError(
                    f'camera {camera} of {sample.get("img_path", "an image")} is outside the '
                    f'{self.num_cameras} cameras of '
                    'the model (0-based; -1 stands for unknown): set num_cameras of the backbone '
                    'to that of the data set'
                )
        return to_device(cameras, device)

    def _person_ids(
        self, data_samples: list[ReIDDataSample] | None, device: torch.device
    ) -> Tensor:
        assert self.num_classes is not None
        return to_device(list_ids(data_samples, self.num_classes), device)


def compute_features(model: FusionReID, images: Tensor, camera_ids: Tensor | None) -> FeatureDict:
    """Compute all named features; see :meth:`FusionReID.extract`.

    Args:
        model: The model.
        images: Normalized images of shape ``(B, 3, H, W)``.
        camera_ids: Cameras of shape ``(B,)``, -1 for unknown; None means all unknown.

    Returns:
        Features of shape ``(B, D)`` by name.
    """
    if model.channels_last:
        images = images.contiguous(memory_format=torch.channels_last)
    outputs = {name: branch(images, camera_ids) for name, branch in model.branches.items()}
    features = {name: feature for name, (feature, _) in outputs.items()}
    if model.neck is not None:
        features.update(model.neck({name: map_ for name, (_, map_) in outputs.items()}))
    return features


def compute_losses(
    model: FusionReID, images: Tensor, ids: Tensor, camera_ids: Tensor | None
) -> FeatureDict:
    """Compute the losses of all features; see :meth:`FusionReID.loss`.

    Args:
        model: The model, with heads.
        images: Normalized images of shape ``(B, 3, H, W)``.
        ids: Training identities of shape ``(B,)``.
        camera_ids: Cameras of shape ``(B,)``, -1 for unknown; None means all unknown.

    Returns:
        Losses by name, scalars.
    """
    return supervise(model, compute_features(model, images, camera_ids), ids)


def supervise(model: FusionReID, features: FeatureDict, ids: Tensor) -> FeatureDict:
    """Compute the losses of the heads.

    Args:
        model: The model, with heads.
        features: Features of shape ``(B, D)`` by name.
        ids: Training identities of shape ``(B,)``.

    Returns:
        Losses by name, scalars.
    """
    losses: FeatureDict = {}
    head: Any
    for name, head in model.heads.items():
        own = head.loss(features[name], ids)
        losses.update({f'{name}.{key}': value for key, value in own.items()})
    return losses if model.loss_weighting is None else model.loss_weighting(losses)


def head_configs(
    head: dict[str, Any] | None, supervision: dict[str, dict[str, Any] | None], features: list[str]
) -> dict[str, dict[str, Any]]:
    """Work out the heads of all features.

    Args:
        head: Config of the head that they share; None for no heads.
        supervision: What is different, by feature; see :class:`FusionReID`.
        features: Names of the features.

    Returns:
        Configs by the names of the features that have a head.

    Raises:
        ConfigError: If ``supervision`` names a feature that there is not, or leaves no head.

    Example:
        >>> head = dict(type='BNNeckHead', loss_id=dict(type='IDLoss', label_smoothing=0.1))
        >>> change = dict(cnn=dict(loss_id=dict(label_smoothing=0.0)), transformer=None)
        >>> head_configs(head, change, ['cnn', 'transformer'])
        {'cnn': {'type': 'BNNeckHead', 'loss_id': {'type': 'IDLoss', 'label_smoothing': 0.0}}}
    """
    if unknown := supervision.keys() - set(features):
        raise ConfigError(
            f'model.supervision has {min(unknown)!r}, which is no feature of this model: '
            f'give some of {features}'
        )
    if head is None:
        if supervision:
            raise ConfigError('model.supervision changes model.head, which is None: give one')
        return {}
    configs = {}
    for name in features:
        change = supervision.get(name, {})
        if change is not None:
            merged = Config(dict(head=copy.deepcopy(head)))
            merged.merge_from_dict(dict(head=change))
            configs[name] = merged.to_dict()['head']
    if not configs:
        raise ConfigError('model.supervision leaves no feature a head: nothing could be trained')
    return configs


def loss_names(heads: nn.ModuleDict) -> list[str]:
    """List the losses of all heads, by the names in the log.

    Args:
        heads: Heads by the names of their features.

    Returns:
        Names such as ``'cnn.loss_id'``.

    Raises:
        ConfigError: If there is no head, or one does not tell its losses.
    """
    if not heads:
        raise ConfigError('uncertainty_weighting needs a head: there is no loss to weigh')
    each: dict[str, Any] = dict(heads.items())
    for name, head in each.items():
        if not hasattr(head, 'loss_names'):
            raise ConfigError(
                f'uncertainty_weighting needs heads with loss_names, as BNNeckHead has them: '
                f'the head of {name} is a {type(head).__name__}'
            )
    return [f'{name}.{loss}' for name, head in each.items() for loss in head.loss_names]


def to_device(values: list[int], device: torch.device) -> Tensor:
    """Copy whole numbers to a device without waiting for what it is computing.

    Args:
        values: B whole numbers.
        device: The device.

    Returns:
        int64 tensor of shape ``(B,)`` on the device.
    """
    tensor = torch.tensor(values)
    if device.type == 'cuda':
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)
