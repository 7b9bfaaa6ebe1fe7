"""Save the features of a folder of images, or of a table of them.

    fusionreid extract IMAGES_DIR CHECKPOINT -o features.safetensors
    fusionreid extract people.csv CHECKPOINT -o features.safetensors --role query

Writes one file for N images, those of a folder sorted by path: ``features`` (N, D) float32,
L2-normalized, and what the table or the names of the images tell, ``person_ids`` and 0-based
``camera_ids`` (N,) int64, -1 where unknown. In its metadata, ``paths`` is the image of each row as
a JSON list, and ``label`` says what the features are; names of people and cameras are in
``person_names`` and ``camera_names``, JSON objects by the number that stands for them.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import torch
from torch import Tensor

from fusionreid.cli.extraction import add_extraction_arguments, build_extractor
from fusionreid.cli.indexing import add_label_arguments, read_sources
from fusionreid.cli.output_file import check_output_file
from fusionreid.errors import UserError
from fusionreid.gallery.names import number_labels
from fusionreid.utils.files import atomic_path, save_tensors
from fusionreid.utils.progress import Progress
from fusionreid.utils.terminal import say

SUFFIX = '.safetensors'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_extraction_arguments(
        parser, 'folder of images; the folders below it count too; or a table of images (.csv)'
    )
    add_label_arguments(parser)
    parser.add_argument(
        '-o', '--out', required=True, metavar='FILE', help=f'file to write, e.g. features{SUFFIX}'
    )


def run(args: argparse.Namespace) -> None:
    """Extract and save; images that cannot be decoded are named, the others are saved."""
    (images,) = read_sources(args, [args.images_dir])
    paths = images.paths
    out = Path(args.out)
    # Before hours of work, not after them.
    if out.suffix != SUFFIX:
        raise UserError(f'{out} is to hold tensors: give it a name that ends in {SUFFIX}')
    check_output_file(out)
    extractor = build_extractor(args)
    people, person_names = number_labels(images.people, 'person_ids')
    cameras, camera_names = number_labels(images.cameras, 'camera_ids')
    meter = Progress('extracting', len(paths), sys.stderr.isatty())
    features: list[Tensor] = []
    kept: list[int] = []
    failed: list[str] = []
    for batch in extractor.batches(paths, images.cameras):
        features.append(batch.features.cpu())
        kept += batch.positions
        failed += batch.failed.values()
        meter.update(len(kept) + len(failed))
    for reason in failed:
        say(reason, sys.stderr)
    if not kept:
        raise UserError(f'none of the {len(paths)} images, named above, could be decoded')
    tensors = dict(
        features=torch.cat(features),
        person_ids=torch.tensor(people)[kept],
        camera_ids=torch.tensor(cameras)[kept],
    )
    label = extractor.spec.label
    metadata = dict(paths=json.dumps([paths[row] for row in kept]), label=label)
    for name, names in (('person_names', person_names), ('camera_names', camera_names)):
        if names:
            metadata[name] = json.dumps(names)
    try:
        with atomic_path(out) as partial:
            save_tensors(partial, tensors, metadata)
    except OSError as error:
        raise UserError(f'{out} cannot be written: {error}') from error
    say(f'{out}: {len(kept)} of {len(paths)} images, {label}')
    if failed:
        raise UserError(f'{len(failed)} images, named above, could not be decoded')
