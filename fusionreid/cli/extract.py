"""Save the features of a folder of images: ``fusionreid extract IMAGES_DIR CHECKPOINT -o OUT``.

Writes one ``.safetensors`` file: ``features`` (N, D) float32, L2-normalized, and in its metadata
``paths``, the image of each row as a JSON list, and ``label``, which says what the features are.
"""

from __future__ import annotations

import argparse
import json
import sys

import torch

from fusionreid.apis import FeatureExtractor
from fusionreid.errors import UserError
from fusionreid.evaluation.functional.progress import Progress
from fusionreid.gallery.image_folder import find_images, read_name
from fusionreid.utils.files import atomic_path, save_tensors
from fusionreid.utils.integers import UNKNOWN


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument('images_dir', help='folder of images; the folders below it count too')
    parser.add_argument(
        'checkpoint', nargs='?', help='trained model; only a model without weights needs none'
    )
    parser.add_argument(
        '-o',
        '--out',
        required=True,
        metavar='FILE',
        help='file to write, e.g. features.safetensors',
    )
    parser.add_argument('--config', help="config file; the checkpoint's own otherwise")
    parser.add_argument('--feature', default='all', help='feature to save (default: all)')
    parser.add_argument(
        '--mean-camera',
        action='store_true',
        help='take the mean camera embedding for every image: for cameras that the model was not '
        'trained with',
    )
    parser.add_argument('--batch-size', type=int, default=64)
    parser.add_argument('--device', default='cpu', help='where the model runs, e.g. cuda')


def run(args: argparse.Namespace) -> None:
    """Extract and save; images that cannot be decoded are named, the others are saved."""
    paths = find_images(args.images_dir)
    extractor = FeatureExtractor(
        args.checkpoint,
        args.config,
        feature=args.feature,
        use_cameras=False if args.mean_camera else None,
        device=args.device,
        batch_size=args.batch_size,
    )
    cameras = [(read_name(path) or (UNKNOWN, UNKNOWN))[1] for path in paths]
    meter = Progress('extracting', len(paths), sys.stderr.isatty())
    features, kept, failed = [], [], {}
    for batch in extractor.batches(paths, cameras):
        features.append(batch.features.cpu())
        kept += [paths[position] for position in batch.positions]
        failed.update(batch.failed)
        meter.update(len(kept) + len(failed))
    metadata = dict(paths=json.dumps(kept), label=extractor.spec.label)
    try:
        with atomic_path(args.out) as partial:
            save_tensors(partial, dict(features=torch.cat(features)), metadata)
    except OSError as error:
        raise UserError(f'{args.out} cannot be written: {error}') from error
    print(f'{args.out}: {len(kept)} of {len(paths)} images, {extractor.spec.label}')
    for reason in failed.values():
        print(reason, file=sys.stderr)
    if failed:
        raise UserError(f'{len(failed)} images, named above, could not be decoded')
