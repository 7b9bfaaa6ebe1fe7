"""What the features of an exported model are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from fusionreid.errors import ConfigError, ExportError
from fusionreid.evaluation.feature_set import ALL
from fusionreid.runtimes import ExportedModel
from fusionreid.runtimes.export_manifest import MANIFEST, ExportManifest

from .feature_spec import FeatureSpec


def describe_exported(folder: Path, manifest: ExportManifest, feature: str) -> FeatureSpec:
    """Describe a feature of an exported model as one of the model that it was made from.

    Features of both may be compared, to the deviation that the manifest states.

    Args:
        folder: Folder of the exported model.
        manifest: What it is.
        feature: Name of one of its features, or ``'all'`` for its embedding.

    Returns:
        The description, in which the folder takes the place of the checkpoint.

    Raises:
        ConfigError: If it has no such feature.
        ExportError: If the manifest is wrong.
    """
    try:
        spec = FeatureSpec(**manifest.spec)
    except (TypeError, ValueError) as error:
        raise ExportError(f'{folder / MANIFEST} is damaged: {error}: export it again') from error
    if spec.width != manifest.width:
        raise ExportError(
            f'{folder / MANIFEST} is damaged: its features are {manifest.width} numbers wide, its '
            f'embedding {spec.width}: export it again'
        )
    if spec.sha256 is not None:
        spec = replace(spec, checkpoint=str(folder.resolve()))
    if feature in (ALL, spec.feature):
        return spec
    if feature not in manifest.features:
        raise ConfigError(
            f'feature {feature!r} is unknown: the exported model gives '
            f'{", ".join([ALL, *manifest.features])}'
        )
    return replace(spec, feature=feature, width=manifest.features[feature])


def check_exported_use(
    model: ExportedModel, use_cameras: bool | None, precision: str, config: object
) -> None:
    """Refuse settings that were decided when the model was exported.

    Args:
        model: The exported model.
        use_cameras: Whether cameras are to be told; None leaves it to the model.
        precision: ``'fp32'`` where nothing was asked for.
        config: None where none was given.

    Raises:
        ConfigError: Naming the setting.
    """
    if config is not None:
        raise ConfigError('an exported model takes no config: it holds its own')
    if use_cameras is not None and use_cameras != model.use_cameras:
        given = 'tells its cameras' if model.use_cameras else 'takes the mean camera'
        raise ConfigError(
            f'the exported model {given}: export it {"with" if model.use_cameras else "without"} '
            f'--mean-camera for the other'
        )
    if precision != 'fp32':
        raise ConfigError(
            f'the precision of an exported model was decided when it was exported '
            f'({model.runtime.manifest.precision}): export it with --precision {precision}'
        )
