"""Export a model, and prove that the exported one gives the same features.

    fusionreid export CONFIG CHECKPOINT -o DIR --format onnx

CONFIG is a config file or the name of one; - takes the config in the checkpoint. The graph takes
uint8 RGB images (B, 3, H, W) and, of a model that knows cameras, 0-based cameras (B,), -1 for
unknown, and gives the chosen features side by side, L2-normalized, for any B. It is compared with
PyTorch at several batch sizes, with known and unknown cameras; what is not right is not kept.
Beside the model, export.json says what it takes and gives, with checksums.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from fusionreid.apis import FeatureExtractor
from fusionreid.datasets.synthetic import SyntheticConfig, render_data_set
from fusionreid.evaluation.feature_set import ALL
from fusionreid.export import ExportSettings, export_model
from fusionreid.export.exporting import BOXMOT, PRECISIONS, build_exporter, check_target
from fusionreid.export.formats import EXPORTERS
from fusionreid.runtimes.export_manifest import LAYOUTS, MANIFEST, RAW_INPUTS
from fusionreid.utils.terminal import say

from .extraction import find_images

CHECKPOINTS_OWN = '-'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument('config', help="name or path of a config; - for the checkpoint's own")
    parser.add_argument('checkpoint', help='trained model')
    parser.add_argument(
        '-o', '--out', required=True, metavar='DIR', help='new folder of the exported model'
    )
    parser.add_argument('--format', choices=EXPORTERS, default='onnx', help='default: onnx')
    parser.add_argument(
        '--precision',
        choices=PRECISIONS,
        default='fp32',
        help='of weights and computation, as far as the format has it (default: fp32)',
    )
    parser.add_argument(
        '--features',
        default=ALL,
        metavar='NAME[,NAME...]',
        help='features of the embedding, in this order (default: all of the model)',
    )
    parser.add_argument(
        '--raw-input',
        choices=RAW_INPUTS,
        default=RAW_INPUTS[0],
        help='whether the graph takes pixels or normalized images (default: uint8)',
    )
    parser.add_argument(
        '--named-outputs',
        action='store_true',
        help='give each feature as an output of its name too, not normalized',
    )
    parser.add_argument(
        '--layout',
        choices=LAYOUTS,
        default=LAYOUTS[0],
        help='boxmot: what its trackers load as their ReID weights (default: fusionreid)',
    )
    parser.add_argument(
        '--mean-camera',
        action='store_true',
        help='take the mean camera embedding for every image; there is no input for cameras then',
    )
    parser.add_argument(
        '--images',
        metavar='DIR',
        help='photos on which the exported model is compared (default: rendered people)',
    )


def run(args: argparse.Namespace) -> None:
    """Export, and print how far the exported model is from PyTorch."""
    settings = ExportSettings(
        format=args.format,
        precision=args.precision,
        features=tuple(name.strip() for name in args.features.split(',')),
        raw_input=args.raw_input,
        named_outputs=args.named_outputs,
        layout=args.layout,
    )
    # Before minutes of work, not after them.
    build_exporter(settings)
    check_target(Path(args.out))
    extractor = FeatureExtractor(
        args.checkpoint,
        None if args.config == CHECKPOINTS_OWN else args.config,
        use_cameras=False if args.mean_camera or args.layout == BOXMOT else None,
    )
    with tempfile.TemporaryDirectory() as rendered:
        if args.images is None:
            paths, what = render_people(Path(rendered)), 'rendered people'
        else:
            paths, what = find_images(args.images), f'images of {args.images}'
        manifest, report = export_model(extractor, args.out, settings, paths, what)
    print(report.table())
    size = sum(path.stat().st_size for path in Path(args.out).iterdir())
    say(
        f'{args.out}: {manifest.model_file}, {manifest.precision}, {", ".join(manifest.features)}, '
        f'width {manifest.width}, {size / 1e6:,.1f} MB, described by {MANIFEST}'
    )
    if args.format == 'tensorrt':
        say(
            f'the engine is built by build_tensorrt.sh in {args.out} on the machine that it is '
            f'for; it was neither built nor compared here, its ONNX was'
        )


def render_people(folder: Path) -> list[str]:
    """Render a few people, for a comparison that needs no photos.

    Args:
        folder: An empty folder.

    Returns:
        Paths of the images.
    """
    render_data_set(folder, SyntheticConfig(ids_train=8, ids_test=1), workers=1)
    return sorted(str(path) for path in folder.glob('bounding_box_train/*.jpg'))
