"""What must hold where one gallery is merged into another, and what distances mean afterwards."""

from __future__ import annotations

from fusionreid.apis.calibration import Calibration
from fusionreid.apis.feature_spec import GIVEN, FeatureSpec
from fusionreid.errors import GalleryError


def check_mergeable(first: FeatureSpec, second: FeatureSpec) -> None:
    """Refuse features that cannot be compared with each other.

    Args:
        first: What the features of a gallery are.
        second: What those of the other are.

    Raises:
        GalleryError: They are not of one model and protocol.
    """
    if (first.feature == GIVEN) != (second.feature == GIVEN):
        raise GalleryError(
            f'features that were computed elsewhere are not merged with those of a model: '
            f'{first.label}; {second.label}'
        )
    first.check_same(second)


def common_calibration(first: Calibration | None, second: Calibration | None) -> Calibration | None:
    """Tell what distances mean among the items of two galleries.

    A calibration is of a model's feature, and of the photos that it was measured on. Of two that
    were measured on different photos, neither holds for both.

    Args:
        first: Calibration of the gallery that takes the other's items.
        second: Calibration of the other; None where it has none, which leaves the first one.

    Returns:
        The calibration of both; None where they differ, or the first has none.
    """
    if first is None or second is None or first is second:
        return first
    return first if first.as_dict() == second.as_dict() else None
