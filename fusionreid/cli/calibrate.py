"""Measure what distances mean, on labeled photos: how often strangers are as near.

    fusionreid calibrate FEATURES_DIR CHECKPOINT
    fusionreid calibrate features.safetensors CHECKPOINT
    fusionreid calibrate INDEX

FEATURES_DIR is what ``fusionreid test --out`` saved, the file is of ``fusionreid extract``, and
INDEX one of ``fusionreid index`` whose images have identities. The calibration is written beside
the checkpoint, as CHECKPOINT.FEATURE.calibration.json; indexes that are made with it from then on
have it. That of INDEX is written into the index too.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from fusionreid.apis import (
    Calibration,
    FeatureSpec,
    calibration_path,
    save_calibration,
)
from fusionreid.cli.answers import format_estimate, format_rate
from fusionreid.cli.gallery_place import gallery_place
from fusionreid.cli.output_file import check_output_file
from fusionreid.cli.saved_features import (
    SOURCE_HELP,
    add_saved_model_arguments,
    compare_with_model,
    read_with_model,
    refuse_arguments_of_saved,
)
from fusionreid.errors import CalibrationError
from fusionreid.gallery import Gallery
from fusionreid.gallery.storage import gallery_exists
from fusionreid.utils.files import file_sha256
from fusionreid.utils.tables import format_table
from fusionreid.utils.terminal import say

RATES = (1e-2, 1e-3, 1e-4)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument('source', type=gallery_place, help=SOURCE_HELP)
    add_saved_model_arguments(parser)
    parser.add_argument(
        '--projection',
        metavar='FILE',
        help='what makes the features narrower (fusionreid fit-projection): of saved ones that are '
        'not projected yet, or that fusionreid extract projected',
    )
    parser.add_argument(
        '--keep-same-camera',
        action='store_true',
        help='do not leave out pairs of one person in one camera',
    )
    parser.add_argument(
        '--index', type=gallery_place, help='index to write the calibration into too'
    )
    parser.add_argument(
        '-o', '--out', metavar='FILE', help='file to write instead of the one beside the checkpoint'
    )


def run(args: argparse.Namespace) -> None:
    """Measure, write, and show what was measured."""
    if gallery_exists(args.source):
        calibration = _calibrate_index(args)
    else:
        gallery = Gallery.load(args.index) if args.index else None
        calibration = _calibrate_saved(args, gallery)
        if gallery is not None:
            gallery.calibration = calibration
            gallery.save(args.index)
            say(f'calibration: in the index {args.index}')
    say(calibration.describe())
    print(_lay_out(calibration))
    if calibration.camera_pairs:
        say(f'{len(calibration.camera_pairs)} pairs of cameras have rates of their own')


def _calibrate_index(args: argparse.Namespace) -> Calibration:
    """Measure on the items of an index, and keep it there."""
    refuse_arguments_of_saved(args, ['checkpoint', 'config', 'index', 'projection'])
    gallery = Gallery.load(args.source)
    if args.out:
        check_output_file(Path(args.out))
    calibration = gallery.calibrate(
        str(args.source), not args.keep_same_camera, sys.stderr.isatty()
    )
    gallery.save(args.source)
    say(f'calibration: in the index {args.source}')
    spec = calibration.spec
    assert spec is not None
    is_there = (
        spec.checkpoint is not None
        and Path(spec.checkpoint).is_file()
        and file_sha256(spec.checkpoint) == spec.sha256
    )
    if args.out or is_there:
        _save(calibration, spec, args.out)
    return calibration


def _calibrate_saved(args: argparse.Namespace, gallery: Gallery | None) -> Calibration:
    """Measure on features that were saved, and keep it beside the checkpoint.

    Args:
        args: Those of the command.
        gallery: What is to have the calibration too; of other features, nothing is measured.
    """
    photos, extractor = read_with_model(args, 'calibration', args.projection)
    held = None if gallery is None else gallery.spec
    if held is not None and (problem := held.difference(extractor.spec)):
        raise CalibrationError(
            f'{args.index} holds features {problem}: name the model of the index'
        )
    projection = extractor.projection
    if projection is not None and photos.features.shape[1] == projection.takes:
        photos = photos.project(projection)
    if args.out or calibration_path(extractor.spec) is None:
        check_output_file(_target(extractor.spec, args.out))
    compare_with_model(photos, extractor)
    calibration = Calibration.fit(
        photos.features,
        photos.person_ids,
        photos.camera_ids,
        photos.roles,
        spec=extractor.spec,
        data=photos.data,
        remove_same_camera=not args.keep_same_camera,
        progress=sys.stderr.isatty(),
    )
    _save(calibration, extractor.spec, args.out)
    return calibration


def _target(spec: FeatureSpec, out: str | None) -> Path:
    path = Path(out) if out else calibration_path(spec)
    if path is None:
        raise CalibrationError('a model without weights has no file to lie beside: name one (-o)')
    return path


def _save(calibration: Calibration, spec: FeatureSpec, out: str | None) -> None:
    path = _target(spec, out)
    save_calibration(calibration, path)
    say(f'calibration: {path}')


def _lay_out(calibration: Calibration) -> str:
    """Rates that may be asked for, and what they lead to."""
    size = round(calibration.searches.gallery_size)
    rows = [
        (
            'pairs of strangers',
            'nearer than',
            'measured',
            'found',
            f'searches for a stranger in {size:,} images',
        )
    ]
    pairs = calibration.pairs
    for rate in RATES:
        if rate < 1 / pairs.num_different:
            rows.append((f'at most {format_rate(rate)}', '-', 'too few pairs', '-', '-'))
            continue
        distance = calibration.distance_at(rate)
        place = int((pairs.distances < distance).sum())
        rows.append(
            (
                f'at most {format_rate(rate)}',
                f'{distance:.4f}',
                format_estimate(calibration.false_match_rate(distance)),
                format_rate(float(pairs.true_match_rates[place])),
                format_estimate(calibration.search_rate(distance, size)),
            )
        )
    return format_table(rows)
