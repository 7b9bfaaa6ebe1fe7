"""The frozen model that a student learns from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.config import Config
from torch import Tensor

from fusionreid.config import read_config
from fusionreid.config.counts import open_counts
from fusionreid.errors import ConfigError, WeightsError
from fusionreid.registry import MODELS, WEIGHT_INITIALIZERS
from fusionreid.structures import ReIDDataSample

from ..data_preprocessors import ReIDDataPreprocessor
from ..image_size import branches_of_other_sizes
from ..meta_device import build_on_meta
from .fusionreid import FeatureDict, FusionReID
from .student_config import as_student

PRECISIONS = {'fp32': torch.float32, 'bf16': torch.bfloat16}


class Teacher:
    """A trained model that is asked, and never changed.

    It is no module: what lists the parts of the student's model, such as its state dict, the
    optimizer and distributed training, does not find it. Its weights are loaded when it is first
    asked, or by :meth:`load`; names and widths of its features are known before.

    Args:
        cfg: Name or path of the config of its model, or the config of the model itself.
        checkpoint: Its weights, as a path or an ``http(s)://`` address; they must fit exactly.
        precision: ``'fp32'`` (default), or ``'bf16'`` for automatic mixed precision.
        cache: Folder in which its features of the training images are kept, see
            :class:`~fusionreid.engine.hooks.DistillationHook`. None (default) for asking the
            teacher about each batch as it is augmented.

    Raises:
        ConfigError: If the config has no model that can be a teacher, leaves counts open, or the
            precision is unknown.

    Example:
        >>> cfg = dict(
        ...     type='fusionreid.FusionReID',
        ...     branches=dict(color=dict(backbone=dict(type='fusionreid.ColorHistogram'))),
        ... )
        >>> Teacher(cfg, 'trained.pth').widths
        {'color': 3072}
    """

    def __init__(
        self,
        cfg: str | dict[str, Any],
        checkpoint: str,
        precision: str = 'fp32',
        cache: str | None = None,
    ) -> None:
        if precision not in PRECISIONS:
            raise ConfigError(
                f'model.teacher.precision must be one of {list(PRECISIONS)}, got {precision!r}'
            )
        self.config = _model_config(cfg)
        self.checkpoint = checkpoint
        self.dtype = PRECISIONS[precision]
        self.cache = cache
        built: Any = build_on_meta(self.config)
        if not isinstance(built, FusionReID):
            raise ConfigError(f'model.teacher is a {type(built).__name__}, expected a FusionReID')
        self.widths: dict[str, int] = dict(built.feature_widths)
        self.num_classes = built.num_classes
        self.num_cameras = built.num_cameras if built.use_cameras else 0
        self.scored = list(scored_heads(built))
        self._model: FusionReID | None = None
        # Whether its images are normalized otherwise; asked once, since a GPU would wait for it.
        self._renormalizes: bool | None = None
        self._kept: Tensor | None = None
        self._rows: dict[str, int] = {}

    def __deepcopy__(self, memo: dict[int, Any]) -> Teacher:
        """Return itself, so that copies of a student, as for EMA, share their teacher."""
        return self

    def load(self) -> FusionReID:
        """Build the model and load its weights, unless that is done.

        The state of the random generators stays as it is, so that a student starts from the same
        weights with a teacher as without one.

        Returns:
            The model, in evaluation mode.

        Raises:
            WeightsError: If the weights cannot be read or do not fit the model exactly.
        """
        if self._model is None:
            with torch.random.fork_rng(devices=[]):
                model: FusionReID = MODELS.build(self.config)
            settings = dict(type='fusionreid.Pretrained', checkpoint=self.checkpoint, exact=True)
            try:
                WEIGHT_INITIALIZERS.build(settings)(model)
            except WeightsError as error:
                raise WeightsError(f'model.teacher.checkpoint: {error}') from error
            self._model = model.eval().requires_grad_(False)
        return self._model

    def keep(self, features: Tensor, paths: Sequence[str]) -> None:
        """Answer from now on by features that were computed before.

        Args:
            features: All features side by side, of shape ``(N, D)``, float32.
            paths: The images' ``img_path``.
        """
        self._kept = features
        self._rows = {path: row for row, path in enumerate(paths)}

    def ask(self, images: Tensor, samples: list[ReIDDataSample], normalization: Any) -> FeatureDict:
        """Compute the features of a batch, or look them up where there is a cache.

        Args:
            images: As for :meth:`compute`.
            samples: As for :meth:`compute`; with ``img_path`` to look them up.
            normalization: As for :meth:`compute`.

        Returns:
            As :meth:`compute`.

        Raises:
            ConfigError: As :meth:`compute` does, or if there are no features to look up.
        """
        if self.cache is None:
            return self.compute(images, samples, normalization)
        return self._look_up(samples, images.device)

    @torch.no_grad()
    def compute(
        self, images: Tensor, samples: list[ReIDDataSample], normalization: Any
    ) -> FeatureDict:
        """Compute the features of a batch.

        Args:
            images: Images of shape ``(B, 3, H, W)``, normalized for the student.
            samples: Their data samples.
            normalization: The student's data preprocessor.

        Returns:
            Features of shape ``(B, D)``, float32, by name.

        Raises:
            ConfigError: If the images do not have the size that the teacher is built for.
        """
        model = self.load().to(images.device)
        size = (images.shape[2], images.shape[3])
        for name, expected in branches_of_other_sizes(model, size).items():
            raise ConfigError(
                f'the branch {name} of model.teacher is built for images of {expected} (height, '
                f'width), the student is trained on {size}: take a teacher of that size, or train '
                'the student at the size of the teacher'
            )
        own: Any = model.data_preprocessor
        if self._renormalizes is None:
            self._renormalizes = _differ(own, normalization)
        if self._renormalizes:
            images = (images * normalization.std + normalization.mean - own.mean) / own.std
        reduced = self.dtype != torch.float32
        # Whatever precision the student is trained in.
        with torch.autocast(images.device.type, self.dtype, enabled=reduced):
            features = model.extract(images, model._camera_ids(samples, images.device))
        return {name: feature.float() for name, feature in features.items()}

    @torch.no_grad()
    def normalize(self, features: FeatureDict) -> FeatureDict:
        """Pass features through the BNNecks.

        Args:
            features: From :meth:`ask`, on any device.

        Returns:
            Features of shape ``(B, D)`` by name; those without a head as they are.
        """
        device = next(iter(features.values())).device
        heads: Any = self.load().heads.to(device)
        with torch.autocast(device.type, enabled=False):
            return {
                name: heads[name](feature) if name in heads else feature
                for name, feature in features.items()
            }

    @torch.no_grad()
    def score(self, features: FeatureDict) -> FeatureDict:
        """Score the training identities.

        Args:
            features: From :meth:`ask`, on any device.

        Returns:
            Scores of shape ``(B, num_classes)`` by the name of the feature.
        """
        normalized = self.normalize(features)
        with torch.autocast(next(iter(features.values())).device.type, enabled=False):
            return {
                name: head.classifier(normalized[name])
                for name, head in scored_heads(self.load()).items()
            }

    def _look_up(self, samples: list[ReIDDataSample], device: torch.device) -> FeatureDict:
        if self._kept is None:
            raise ConfigError(
                'model.teacher.cache needs the hook that fills it: add '
                "dict(type='DistillationHook') to custom_hooks"
            )
        try:
            rows = [self._rows[sample.get('img_path')] for sample in samples]
        except KeyError as error:
            raise ConfigError(
                f'model.teacher.cache={self.cache} has no features of {error.args[0]}'
            ) from error
        parts = self._kept[rows].to(device).split(list(self.widths.values()), dim=1)
        return dict(zip(self.widths, parts, strict=True))


def scored_heads(model: FusionReID) -> dict[str, Any]:
    """Find the heads that score the training identities.

    Args:
        model: The model.

    Returns:
        Heads with a ``bnneck`` and a ``classifier``, by the names of their features.
    """
    heads: dict[str, Any] = dict(model.heads.items())
    return {
        name: head for name, head in heads.items() if getattr(head, 'classifier', None) is not None
    }


def _differ(own: Any, other: Any) -> bool:
    """Whether two data preprocessors normalize images differently, if both do so."""
    if not (isinstance(own, ReIDDataPreprocessor) and isinstance(other, ReIDDataPreprocessor)):
        return False
    return not (torch.equal(own.mean, other.mean) and torch.equal(own.std, other.std))


def _model_config(cfg: str | dict[str, Any]) -> dict[str, Any]:
    """The config of a teacher's model, as that of a plain one."""
    model = cfg if isinstance(cfg, dict) else read_config(cfg).get('model')
    if not model:
        raise ConfigError(f'the config model.teacher.cfg={cfg} has no model')
    model = as_student(Config(dict(model=model)).to_dict()['model'])
    if counts := open_counts(model):
        raise ConfigError(
            f'the config of model.teacher leaves {", ".join(counts)} open: name the config.py that '
            'its training has saved (vis_data/config.py in its folder)'
        )
    return model
