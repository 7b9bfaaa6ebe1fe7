"""The calibration of a checkpoint's feature, in a file beside the checkpoint."""

from __future__ import annotations

import logging
from dataclasses import asdict
from pathlib import Path

from mmengine.logging import print_log

from fusionreid.errors import CalibrationError
from fusionreid.utils.files import open_atomic
from fusionreid.utils.manifest import read_manifest, seal

from .calibration import Calibration
from .feature_spec import FeatureSpec

FORMAT = 'fusionreid-calibration-1'
ADVICE = 'calibrate again (fusionreid calibrate), or copy the file again from where it is whole'
SUFFIX = '.calibration.json'


def calibration_path(spec: FeatureSpec) -> Path | None:
    """Name the file of a feature's calibration.

    Args:
        spec: What the features are.

    Returns:
        ``CHECKPOINT.FEATURE.calibration.json``, of projected features with the beginning of the
        projection's checksum behind the feature; None for features without a checkpoint.

    Example:
        >>> spec = FeatureSpec(8, 'cnn', 'before BNNeck', '/runs/epoch_6.pth', 64 * '0')
        >>> calibration_path(spec).name
        'epoch_6.pth.cnn.calibration.json'
    """
    if spec.checkpoint is None:
        return None
    digest = spec.projection_sha256
    projected = '' if digest is None else f'.{digest[:12]}'
    return Path(f'{spec.checkpoint}.{spec.feature}{projected}{SUFFIX}')


def save_calibration(calibration: Calibration, path: str | Path) -> None:
    """Write a calibration, with a checksum over all of it; it appears whole or not at all.

    Args:
        calibration: One that knows its features.
        path: The file.

    Raises:
        CalibrationError: It does not know its features, or the file cannot be written.
    """
    if calibration.spec is None:
        raise CalibrationError(
            'the calibration does not say of which features it is: fit it with spec='
        )
    content = dict(
        format=FORMAT, features=asdict(calibration.spec), calibration=calibration.as_dict()
    )
    try:
        with open_atomic(path) as file:
            file.write(seal(content))
    except OSError as error:
        raise CalibrationError(f'{path} cannot be written: {error}') from error


def load_calibration(path: str | Path) -> Calibration:
    """Read a calibration, and compare it with its checksum.

    Args:
        path: The file.

    Returns:
        The calibration.

    Raises:
        CalibrationError: There is no such file, or it is damaged or something else.
    """
    path = Path(path)
    if not path.is_file():
        raise CalibrationError(f'there is no calibration {path}: make it by fusionreid calibrate')
    try:
        content = read_manifest(path, FORMAT, CalibrationError, ADVICE)
        spec = FeatureSpec(**content['features'])
    except OSError as error:
        raise CalibrationError(f'{path} cannot be read: {error}') from error
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, CalibrationError):
            raise
        raise CalibrationError(f'{path} is damaged, {ADVICE}: {error}') from error
    return Calibration.from_dict(content.get('calibration'), path, spec)


def find_calibration(spec: FeatureSpec) -> Calibration | None:
    """Look for a calibration beside the checkpoint of a model.

    Args:
        spec: What the features are.

    Returns:
        The calibration; None if there is none. One of other features, as that of a checkpoint that
        had the same name before, is named in a warning and left alone, and so is a damaged one.
    """
    path = calibration_path(spec)
    if path is None or not path.is_file():
        return None
    try:
        return load_calibration(path).bound_to(spec)
    except CalibrationError as error:
        print_log(f'{path} is not used: {error}', logger='current', level=logging.WARNING)
        return None
