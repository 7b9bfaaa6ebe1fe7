"""Verify what other commands have saved: ``fusionreid verify PATH``.

Every byte of an index, of saved features, of an exported model, of a calibration and of a
projection is compared with the checksums that were saved with them, and so are the tensors of a
checkpoint. Of a table in PostgreSQL every feature is read. The exit status is 1 if anything
differs.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch

from fusionreid.apis import Projection, load_calibration
from fusionreid.checkpoints.integrity import verify_checkpoint
from fusionreid.errors import GalleryError, UserError
from fusionreid.evaluation import feature_set
from fusionreid.gallery import Gallery, versioned_folder
from fusionreid.gallery.address import DatabaseAddress, read_place
from fusionreid.runtimes import export_manifest
from fusionreid.utils.feature_files import LENGTH_TOLERANCE
from fusionreid.utils.manifest import FILES
from fusionreid.utils.tables import format_table
from fusionreid.video import passage_folder

Facts = list[tuple[str, str]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        'path',
        help='folder or table of an index, or folder of saved features, an exported model or the '
        'tracklets of a video, or file of a checkpoint, a calibration or a projection',
    )


def run(args: argparse.Namespace) -> None:
    """Verify, and print what was compared."""
    place = read_place(args.path)
    if isinstance(place, DatabaseAddress):
        print(format_table(_describe_table(Gallery.load(place), place)))
        return
    folder = Path(args.path)
    if _is_json(folder):
        print(format_table(_describe_calibration(folder)))
        return
    if Projection.is_in(folder):
        print(format_table(_describe_projection(folder)))
        return
    if not folder.is_dir():
        print(format_table(verify_checkpoint(args.path)))
        return
    found: list[Facts] = []
    if (folder / versioned_folder.MANIFEST).exists():
        manifest = versioned_folder.load_generation(folder, lambda manifest, _: manifest)
        found.append(_describe_index(folder, manifest))
    if (folder / feature_set.MANIFEST).exists() or (folder / feature_set.OLD_FILE).exists():
        manifest = feature_set.verify_saved(folder)
        found.append(_describe_features(folder, manifest))
    if (folder / export_manifest.MANIFEST).exists():
        found.append(_describe_export(folder, export_manifest.verify_export(folder)))
    if (about := passage_folder.verify_passages(folder)) is not None:
        what = f'tracklets {folder}, of {about.get("video")}'
        found.append([('what', what), *_describe_files(passage_folder.MANIFEST, about)])
    if not found:
        raise UserError(
            f'{folder} is neither an index (it has no {versioned_folder.MANIFEST}) nor a folder of '
            f'saved features (no {feature_set.MANIFEST}) or of an exported model (no '
            f'{export_manifest.MANIFEST}); of a run, name one of the checkpoints'
        )
    for facts in found:
        print(format_table(facts))


def _is_json(path: Path) -> bool:
    """Whether a file begins as a JSON object does, which a checkpoint never does."""
    if not path.is_file():
        return False
    with path.open('rb') as file:
        return file.read(1) == b'{'


def _describe_calibration(path: Path) -> Facts:
    calibration = load_calibration(path)
    assert calibration.spec is not None
    return [
        ('what', f'calibration {path}, {calibration.describe()}'),
        ('features', calibration.spec.label),
        ('compared', 'all of it'),
        ('bytes', f'{path.stat().st_size:,}'),
        ('checksums', 'ok'),
    ]


def _describe_projection(path: Path) -> Facts:
    projection = Projection.load(path)
    source = projection.source
    return [
        ('what', f'projection {path}, {projection.label}'),
        ('features', 'not known' if source is None else source.label),
        ('compared', 'all of it'),
        ('bytes', f'{path.stat().st_size:,}'),
        ('checksums', 'ok'),
    ]


def _describe_index(folder: Path, manifest: dict[str, Any]) -> Facts:
    engine = manifest.get('engine')
    name = engine.get('type') if isinstance(engine, dict) else None
    what = f'index {folder}, {manifest.get("items")} images, engine {name}'
    return [('what', what), *_describe_files(versioned_folder.MANIFEST, manifest)]


def _describe_table(gallery: Gallery, place: DatabaseAddress) -> Facts:
    """Read all items of a table, whose pages the database itself checks."""
    items = bad = 0
    for _, features in gallery.engine.blocks():
        lengths = torch.linalg.vector_norm(features, dim=1)
        bad += int((~((lengths - 1).abs() < LENGTH_TOLERANCE)).sum())
        items += len(features)
    if bad:
        raise GalleryError(f'{place} is damaged: {bad} of {items} features are not of length 1')
    return [
        ('what', f'index {place}, {items} images, engine {gallery.engine.name}'),
        ('compared', 'features; the pages of its files have checksums of PostgreSQL'),
        ('read', 'ok'),
    ]


def _describe_features(folder: Path, manifest: dict[str, Any]) -> Facts:
    what = f'saved features {folder}, {", ".join(manifest.get("widths") or ())}'
    return [('what', what), *_describe_files(feature_set.MANIFEST, manifest)]


def _describe_export(folder: Path, manifest: dict[str, Any]) -> Facts:
    kind, precision = manifest.get('model_format'), manifest.get('precision')
    what = (
        f'exported model {folder}, {kind}, {precision}, {", ".join(manifest.get("features") or ())}'
    )
    return [('what', what), *_describe_files(export_manifest.MANIFEST, manifest)]


def _describe_files(name: str, manifest: dict[str, Any]) -> Facts:
    files = manifest[FILES]
    return [
        ('compared', ', '.join([name, *files]) + ('' if files else '; all else is not in files')),
        ('bytes', f'{sum(record["size"] for record in files.values()):,} besides {name}'),
        ('checksums', 'ok'),
    ]
