"""Fit a projection that makes the features of a model narrower.

    fusionreid fit-projection FEATURES_DIR CHECKPOINT -o narrow.safetensors --dims 128
    fusionreid fit-projection features.safetensors CHECKPOINT -o narrow.safetensors --dims 128
    fusionreid fit-projection INDEX -o narrow.safetensors --dims 128

FEATURES_DIR is what ``fusionreid test --out`` saved, the file is of ``fusionreid extract``, and
INDEX one of ``fusionreid index``. Labels are not needed. The projection keeps the directions in
which the features differ most (principal components), and is used by ``--projection FILE`` of the
commands that compute features.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from torch.nn import functional as F

from fusionreid.apis import FeatureSpec, Projection
from fusionreid.errors import UserError
from fusionreid.gallery import Gallery
from fusionreid.gallery.versioned_folder import MANIFEST
from fusionreid.utils.terminal import say

from .arguments import positive
from .labeled_features import PROJECTED_ROWS
from .output_file import check_output_file
from .saved_features import (
    SOURCE_HELP,
    add_saved_model_arguments,
    compare_with_model,
    read_with_model,
    refuse_arguments_of_saved,
)

DEFAULT_DIMS = 128


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument('source', type=Path, help=SOURCE_HELP)
    add_saved_model_arguments(parser)
    parser.add_argument(
        '-o', '--out', required=True, metavar='FILE', help='file to write, e.g. narrow.safetensors'
    )
    parser.add_argument(
        '--dims',
        type=positive,
        default=DEFAULT_DIMS,
        help=f'width of the projected features (default: {DEFAULT_DIMS})',
    )
    parser.add_argument(
        '--whiten',
        action='store_true',
        help='let all directions count the same, by dividing by their standard deviations',
    )


def run(args: argparse.Namespace) -> None:
    """Fit, write, and say what is kept."""
    # Before minutes of work, not after them.
    Projection.check_name(args.out)
    check_output_file(Path(args.out))
    is_index = (args.source / MANIFEST).exists()
    projection = _fit_to_index(args) if is_index else _fit_to_saved(args)
    say(f'{args.out}: {projection.save(args.out).label}')


def _fit_to_index(args: argparse.Namespace) -> Projection:
    """Fit to the items of an index, which knows its model."""
    refuse_arguments_of_saved(args, ['checkpoint', 'config'])
    gallery = Gallery.load(args.source)
    spec = gallery.spec
    assert spec is not None
    _check_width(args, spec)
    blocks = (block.cpu() for block in gallery.engine.feature_blocks())
    return Projection.fit(blocks, args.dims, args.whiten, spec, str(args.source))


def _fit_to_saved(args: argparse.Namespace) -> Projection:
    """Fit to features that were saved, and see that they are the model's."""
    photos, extractor = read_with_model(args, 'projection')
    compare_with_model(photos, extractor)
    _check_width(args, extractor.spec)
    blocks = (F.normalize(part) for part in photos.features.split(PROJECTED_ROWS))
    return Projection.fit(blocks, args.dims, args.whiten, extractor.spec, photos.data)


def _check_width(args: argparse.Namespace, spec: FeatureSpec) -> None:
    if spec.projection is not None:
        raise UserError(
            f'{args.source} holds projected features ({spec.label}): fit to features as the model '
            f'gives them'
        )
    if args.dims >= spec.width:
        raise UserError(
            f'--dims {args.dims} is not narrower than the features, which have width {spec.width}'
        )
