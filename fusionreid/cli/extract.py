"""Save the features of a folder of images.

    fusionreid extract IMAGES_DIR CHECKPOINT -o features.safetensors

Writes one file for N images, sorted by path: ``features`` (N, D) float32, L2-normalized, and what
the names of the images tell, ``person_ids`` and 0-based ``camera_ids`` (N,) int64, -1 where
unknown. In its metadata, ``paths`` is the image of each row as a JSON list, and ``label`` says
what the features are.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import torch
from torch import Tensor

from fusionreid.cli.extraction import add_extraction_arguments, build_extractor, find_images
from fusionreid.cli.output_file import check_output_file
from fusionreid.errors import UserError
from fusionreid.evaluation.functional.progress import Progress
from fusionreid.gallery.image_folder import read_name
from fusionreid.utils.files import atomic_path, save_tensors
from fusionreid.utils.terminal import say

SUFFIX = '.safetensors'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_extraction_arguments(parser)
    parser.add_argument(
        '-o', '--out', required=True, metavar='FILE', help=f'file to write, e.g. features{SUFFIX}'
    )


def run(args: argparse.Namespace) -> None:
    """Extract and save; images that cannot be decoded are named, the others are saved."""
    paths = find_images(args.images_dir)
    out = Path(args.out)
    # Before hours of work, not after them.
    if out.suffix != SUFFIX:
        raise UserError(f'{out} is to hold tensors: give it a name that ends in {SUFFIX}')
    check_output_file(out)
    extractor = build_extractor(args)
    labels = [read_name(path) for path in paths]
    meter = Progress('extracting', len(paths), sys.stderr.isatty())
    features: list[Tensor] = []
    kept: list[int] = []
    failed: list[str] = []
    for batch in extractor.batches(paths, [camera for _, camera in labels]):
        features.append(batch.features.cpu())
        kept += batch.positions
        failed += batch.failed.values()
        meter.update(len(kept) + len(failed))
    for reason in failed:
        say(reason, sys.stderr)
    if not kept:
        raise UserError(f'none of the {len(paths)} images, named above, could be decoded')
    people, cameras = torch.tensor([labels[row] for row in kept]).unbind(1)
    tensors = dict(features=torch.cat(features), person_ids=people, camera_ids=cameras)
    label = extractor.spec.label
    metadata = dict(paths=json.dumps([paths[row] for row in kept]), label=label)
    try:
        with atomic_path(out) as partial:
            save_tensors(partial, tensors, metadata)
    except OSError as error:
        raise UserError(f'{out} cannot be written: {error}') from error
    say(f'{out}: {len(kept)} of {len(paths)} images, {label}')
    if failed:
        raise UserError(f'{len(failed)} images, named above, could not be decoded')
