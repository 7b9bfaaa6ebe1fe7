"""Export a model, and prove that the exported one gives the same features.

    fusionreid export CONFIG CHECKPOINT -o DIR --format onnx

CONFIG is a config file or the name of one; - takes the config in the checkpoint. The graph takes
uint8 RGB images (B, 3, H, W) and, of a model that knows cameras, 0-based cameras (B,), -1 for
unknown, and gives the chosen features side by side, L2-normalized, for any B. It is compared with
PyTorch at several batch sizes, with known and unknown cameras; what is not right is not kept.
Beside the model, export.json says what it takes and gives, with checksums.

With --precision int8 the model is quantized after that, and scored in fp32 and in int8 on the test
data set of CONFIG; what loses more than --max-drop points of mAP is not kept.
"""

from __future__ import annotations

import argparse
import contextlib
import tempfile
from pathlib import Path

from fusionreid.apis import FeatureExtractor
from fusionreid.config import read_config
from fusionreid.datasets.synthetic import SyntheticConfig, render_data_set
from fusionreid.errors import DatasetError
from fusionreid.evaluation.feature_set import ALL
from fusionreid.export import ExportSettings, PersonImages, export_model, export_quantized
from fusionreid.export.exporting import BOXMOT, PRECISIONS, build_exporter, check_target
from fusionreid.export.formats import EXPORTERS
from fusionreid.export.quantization import (
    DEFAULT_MAX_DROP,
    INT8,
    check_quantization,
    read_data_set,
)
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
        choices=[*PRECISIONS, INT8],
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
    parser.add_argument(
        '--calibration',
        metavar='DIR',
        help='for int8: photos that the ranges of the activations are taken from (default: the '
        'training images of CONFIG, or without them those of --images)',
    )
    parser.add_argument(
        '--max-drop',
        type=float,
        metavar='POINTS',
        help=f'for int8: largest accepted loss of mAP (default: {DEFAULT_MAX_DROP:g})',
    )
    parser.add_argument(
        '--data-root', help="for int8: folder of the data set; the config's own otherwise"
    )


def check_arguments(args: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Refuse arguments that do not go together."""
    if args.precision != INT8:
        for name in ('--calibration', '--max-drop', '--data-root'):
            if getattr(args, name.lstrip('-').replace('-', '_')) is not None:
                parser.error(f'{name} needs --precision int8')
    elif args.config == CHECKPOINTS_OWN:
        parser.error('--precision int8 is measured on a labeled set: name the config that has it')


def run(args: argparse.Namespace) -> None:
    """Export, and print how far the exported model is from PyTorch."""
    settings = ExportSettings(
        format=args.format,
        precision='fp32' if args.precision == INT8 else args.precision,
        features=tuple(name.strip() for name in args.features.split(',')),
        raw_input=args.raw_input,
        named_outputs=args.named_outputs,
        layout=args.layout,
    )
    # Before minutes of work, not after them.
    build_exporter(settings)
    check_target(Path(args.out))
    labeled = read_labeled(args, settings) if args.precision == INT8 else None
    extractor = FeatureExtractor(
        args.checkpoint,
        None if args.config == CHECKPOINTS_OWN else args.config,
        use_cameras=False if args.mean_camera or args.layout == BOXMOT else None,
        fold=False,
    )
    with tempfile.TemporaryDirectory() as rendered:
        if args.images is None:
            paths, what = render_people(Path(rendered)), 'rendered people'
        else:
            paths, what = find_images(args.images), f'images of {args.images}'
        if labeled is None:
            manifest, report = export_model(extractor, args.out, settings, paths, what)
            print(report.table())
        else:
            calibration = choose_calibration(args, paths, what)
            manifest, loss = export_quantized(
                extractor, args.out, settings, paths, calibration, labeled, max_drop(args), what
            )
            print(loss.table())
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


def max_drop(args: argparse.Namespace) -> float:
    """The largest loss of mAP that is accepted, in points."""
    return DEFAULT_MAX_DROP if args.max_drop is None else args.max_drop


def read_labeled(args: argparse.Namespace, settings: ExportSettings) -> PersonImages:
    """Find the images that the loss by int8 is measured on.

    Args:
        args: The arguments.
        settings: How the model is exported, in fp32.

    Returns:
        Queries and gallery of the config's test data set.

    Raises:
        UserError: If there are none, or the model cannot be quantized as the arguments say.
    """
    check_quantization(settings, max_drop(args))
    return read_data_set(read_config(args.config), 'test_dataloader', args.data_root)


def choose_calibration(args: argparse.Namespace, compared: list[str], what: str) -> PersonImages:
    """Find the images that ranges of activations are taken from.

    Args:
        args: The arguments.
        compared: The images that the model is compared on.
        what: What they are.

    Returns:
        The images of ``--calibration``, else of the config's training set, else those that the
        model is compared on.
    """
    if args.calibration is not None:
        paths = find_images(args.calibration)
        return PersonImages(f'{len(paths)} images of {args.calibration}', paths, [-1] * len(paths))
    cfg = read_config(args.config)
    if cfg.get('train_dataloader'):
        with contextlib.suppress(DatasetError):
            return read_data_set(cfg, 'train_dataloader', args.data_root)
    return PersonImages(what, compared, [-1] * len(compared))


def render_people(folder: Path) -> list[str]:
    """Render a few people, for a comparison that needs no photos.

    Args:
        folder: An empty folder.

    Returns:
        Paths of the images.
    """
    render_data_set(folder, SyntheticConfig(ids_train=8, ids_test=1), workers=1)
    return sorted(str(path) for path in folder.glob('bounding_box_train/*.jpg'))
