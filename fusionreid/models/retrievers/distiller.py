"""A model that learns from a larger one that is trained already."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.model import ModuleDict
from torch import Tensor, nn

from fusionreid.errors import ConfigError
from fusionreid.registry import MODELS
from fusionreid.structures import ReIDDataSample

from ..losses.distillation_loss_base import DistillationLoss
from .fusionreid import FeatureDict, FusionReID, supervise
from .teacher import Teacher, scored_heads

ALL = 'all'


@MODELS.register_module()
class FusionReIDDistiller(FusionReID):
    """A student: a :class:`FusionReID` that also learns from a frozen teacher.

    All settings but two are the student's own, so the config of a model becomes that of a student
    by these two and another ``type``. The student is scored, and it alone is saved: its checkpoints
    are those of the :class:`FusionReID` with the same settings, and fit that.

    A student starts from the same weights as that :class:`FusionReID` with the same seed.

    Args:
        teacher: What it learns from, arguments of
            :class:`~fusionreid.models.retrievers.teacher.Teacher`: ``cfg``, ``checkpoint``,
            ``precision`` and ``cache``.
        distill_losses: Configs of the losses by name, logged as ``distill.loss_<name>``. They come
            on top of those of the heads. Losses that take ``in_channels`` and
            ``teacher_channels`` are given the widths of the two features. None for one that is
            inherited and not wanted.
        **settings: Settings of :class:`FusionReID`.

    Raises:
        ConfigError: If there is no loss, a loss names a feature that there is not, or compares
            scores of different numbers of identities, or the teacher cannot be.
        ValueError: If :class:`FusionReID` refuses a setting.

    Example:
        >>> color = dict(backbone=dict(type='fusionreid.ColorHistogram'))
        >>> cnn = dict(
        ...     backbone=dict(type='fusionreid.ReIDResNet', depth=18),
        ...     pooling=dict(type='fusionreid.GeMPooling'),
        ... )
        >>> student = FusionReIDDistiller(
        ...     branches=dict(cnn=cnn),
        ...     head=dict(type='fusionreid.BNNeckHead', num_classes=751),
        ...     teacher=dict(
        ...         cfg=dict(type='fusionreid.FusionReID', branches=dict(color=color)),
        ...         checkpoint='trained.pth',
        ...     ),
        ...     distill_losses=dict(feature=dict(type='fusionreid.FeatureLoss')),
        ... )
        >>> student.distill_losses['feature'].projection
        Linear(in_features=512, out_features=3072, bias=True)
        >>> sum(name.startswith('distill') for name in student.state_dict())
        0
    """

    def __init__(
        self,
        *,
        teacher: dict[str, Any],
        distill_losses: dict[str, dict[str, Any] | None],
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        self.teacher = Teacher(**teacher)
        # The weights that the student draws afterwards are those that it would draw without.
        with torch.random.fork_rng(devices=[]):
            self.distill_losses = ModuleDict(
                {
                    name: self._build_loss(name, config)
                    for name, config in distill_losses.items()
                    if config is not None
                }
            )
        if not len(self.distill_losses):
            raise ConfigError(
                'model.distill_losses is empty, so the teacher would not be asked: give a loss, '
                "or train the student alone by model.type='FusionReID'"
            )
        self._register_state_dict_hook(_leave_out_losses)
        self.register_load_state_dict_post_hook(_miss_no_losses)

    def _build_loss(self, name: str, config: Mapping[str, Any]) -> nn.Module:
        kind = config.get('type')
        part = MODELS.get(kind) if isinstance(kind, str) else kind
        taken = inspect.signature(part).parameters if part is not None else {}
        own = config.get('student_feature', ALL)
        other = config.get('teacher_feature', ALL)
        widths = dict(
            in_channels=_width(self.feature_widths, own, name, 'student'),
            teacher_channels=_width(self.teacher.widths, other, name, 'teacher'),
        )
        loss = MODELS.build({**{k: v for k, v in widths.items() if k in taken}, **config})
        if not isinstance(loss, DistillationLoss):
            raise ConfigError(
                f'model.distill_losses.{name} is a {type(loss).__name__}, which compares no '
                'student with a teacher: give one of FeatureLoss, LogitLoss, RelationalLoss, '
                'SimilarityLoss'
            )
        if loss.compares == 'scores':
            self._check_scores(name, own, other)
        return loss

    def _check_scores(self, name: str, own: str, other: str) -> None:
        scored = dict(student=list(scored_heads(self)), teacher=self.teacher.scored)
        for who, wanted in (('student', own), ('teacher', other)):
            if not scored[who] or wanted not in (ALL, *scored[who]):
                raise ConfigError(
                    f'model.distill_losses.{name} compares scores, but the {who} has no '
                    f'classifier of {wanted!r}: there is one of {scored[who] or "no feature"}'
                )
        if self.num_classes != self.teacher.num_classes:
            raise ConfigError(
                f'model.distill_losses.{name} compares scores, but the teacher knows '
                f'{self.teacher.num_classes} identities and the student {self.num_classes}: leave '
                'this loss out, or take a teacher that was trained on the same people'
            )

    def init_weights(self) -> None:
        """Initialize the student, and load the teacher.

        Raises:
            WeightsError: If weights cannot be read or do not fit.
        """
        super().init_weights()
        self.teacher.load()

    def loss(self, inputs: Tensor, data_samples: list[ReIDDataSample] | None) -> FeatureDict:
        """Compute the losses of the heads, and those of the distillation.

        Args:
            inputs: Normalized images of shape ``(B, 3, H, W)``.
            data_samples: The images' data samples, with ``person_id`` and ``camera_id``, and with
                ``img_path`` where the teacher's features are looked up.

        Returns:
            Scalars by name: ``<feature>.loss_id``, ..., and ``distill.loss_<name>``.

        Raises:
            ValueError: As :meth:`FusionReID.loss` does.
            ConfigError: As :meth:`Teacher.ask` does.
        """
        ids = self._labels(inputs, data_samples)
        features = self.extract(inputs, self._camera_ids(data_samples, inputs.device))
        with self._watch_bnnecks() as normalized:
            losses = supervise(self, features, ids)
        taught = self.teacher.ask(inputs, data_samples or [], self.data_preprocessor)
        loss: Any
        compared = {loss.compares for loss in self.distill_losses.values()}
        views = dict(features=(features, taught))
        if 'normalized' in compared:
            views['normalized'] = features, self.teacher.normalize(taught)
        if 'scores' in compared:
            views['scores'] = self._score(normalized), self.teacher.score(taught)
        for name, loss in self.distill_losses.items():
            own, other = views[loss.compares]
            losses[f'distill.loss_{name}'] = loss(
                _pick(own, loss.student_feature, loss.compares),
                _pick(other, loss.teacher_feature, loss.compares),
            )
        return losses

    @contextmanager
    def _watch_bnnecks(self) -> Iterator[FeatureDict]:
        """What the BNNecks give, which must not see a batch twice: they average over batches."""
        found: FeatureDict = {}
        handles = [
            head.bnneck.register_forward_hook(
                lambda _, __, output, name=name: found.update({name: output})
            )
            for name, head in scored_heads(self).items()
        ]
        try:
            yield found
        finally:
            for handle in handles:
                handle.remove()

    def _score(self, normalized: FeatureDict) -> FeatureDict:
        """Score the training identities, without the margins that some classifiers train with."""
        heads = scored_heads(self)
        return {name: heads[name].classifier(feature) for name, feature in normalized.items()}


def _width(widths: Mapping[str, int], feature: str, loss: str, who: str) -> int:
    if feature == ALL:
        return sum(widths.values())
    if feature not in widths:
        raise ConfigError(
            f'model.distill_losses.{loss}.{who}_feature={feature!r}: the {who} gives '
            f'{[ALL, *widths]}'
        )
    return widths[feature]


def _pick(values: FeatureDict, feature: str, kind: str) -> Tensor:
    if feature != ALL:
        return values[feature]
    if kind == 'scores':
        return torch.stack(list(values.values())).mean(0)
    return torch.cat(list(values.values()), dim=1)


def _leave_out_losses(module: nn.Module, state: dict[str, Tensor], prefix: str, _: Any) -> None:
    """Keep the losses' weights out of a state dict, which is then that of the student."""
    for name in [name for name in state if name.startswith(f'{prefix}distill_losses.')]:
        del state[name]


def _miss_no_losses(module: nn.Module, keys: Any) -> None:
    """Do not miss what a student's state dict does not have."""
    keys.missing_keys[:] = [key for key in keys.missing_keys if 'distill_losses.' not in key]
