"""The plain model that is left of a distillation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

Model = TypeVar('Model', bound=Mapping[str, Any])
DISTILLER = 'FusionReIDDistiller'
_OWN = ('teacher', 'distill_losses')


def is_distiller(model: Mapping[str, Any]) -> bool:
    """Whether a config is that of a :class:`~fusionreid.models.FusionReIDDistiller`.

    Args:
        model: Config of a model; nothing that it names is imported.

    Returns:
        Whether it is.
    """
    kind = model.get('type')
    return getattr(kind, '__name__', str(kind).rpartition('.')[2]) == DISTILLER


def as_student(model: Model) -> Model:
    """Make the config of a model that is scored, searched with or exported: without a teacher.

    Args:
        model: Config of a model; it is not changed.

    Returns:
        Of a :class:`~fusionreid.models.FusionReIDDistiller` the config of its student, a
        :class:`~fusionreid.models.FusionReID` into which its checkpoints fit; other configs as
        they are.

    Example:
        >>> teacher = dict(cfg='fusionreid_vitb_r50_market1501', checkpoint='trained.pth')
        >>> as_student(dict(type='FusionReIDDistiller', branches={}, teacher=teacher))
        {'type': 'FusionReID', 'branches': {}}
    """
    if not is_distiller(model):
        return model
    plain = {key: value for key, value in model.items() if key not in _OWN}
    kind = model['type']
    # With the scope that may stand in front.
    plain['type'] = kind.removesuffix('Distiller') if isinstance(kind, str) else 'FusionReID'
    return type(model)(plain)  # type: ignore[call-arg]
