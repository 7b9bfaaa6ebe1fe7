"""Render a synthetic data set: people who walk past cameras.

fusionreid render OUT --ids-train 300 --ids-test 60
"""

from __future__ import annotations

import argparse

from fusionreid.datasets.synthetic import (
    DIFFICULTIES,
    LAYOUTS,
    WORLDS,
    SyntheticConfig,
    render_data_set,
)
from fusionreid.utils.progress import Progress
from fusionreid.utils.terminal import say


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    defaults = SyntheticConfig()
    parser.add_argument('out', help='folder to write; must be missing or empty')
    parser.add_argument(
        '--ids-train', type=int, default=defaults.ids_train, help='people to train with'
    )
    parser.add_argument(
        '--ids-test', type=int, default=defaults.ids_test, help='people to test with'
    )
    parser.add_argument(
        '--images-per-camera',
        type=int,
        default=defaults.images_per_camera,
        help='images of each person in each camera that they pass',
    )
    parser.add_argument('--cameras', type=int, help='cameras (default: as many as the layout has)')
    parser.add_argument('--height', type=int, default=defaults.height, help='pixels')
    parser.add_argument('--width', type=int, default=defaults.width, help='pixels')
    parser.add_argument('--seed', type=int, default=defaults.seed)
    parser.add_argument('--workers', type=int, help='processes (default: one per core)')
    parser.add_argument('--layout', choices=LAYOUTS, default=defaults.layout)
    parser.add_argument(
        '--no-distractors',
        action='store_true',
        help='leave the ids -1 and 0 out of a Market-1501 gallery',
    )
    parser.add_argument(
        '--world',
        choices=WORLDS,
        default=defaults.world,
        help='other people, garments, streets, light and cameras (default: %(default)s)',
    )
    parser.add_argument(
        '--difficulty',
        choices=DIFFICULTIES,
        default=defaults.difficulty,
        help='people who look alike, crowds, occlusion, viewpoint, light (default: %(default)s)',
    )


def run(args: argparse.Namespace) -> None:
    """Render, unless the folder holds this very data set."""
    config = SyntheticConfig(
        ids_train=args.ids_train,
        ids_test=args.ids_test,
        images_per_camera=args.images_per_camera,
        cameras=args.cameras,
        height=args.height,
        width=args.width,
        seed=args.seed,
        layout=args.layout,
        distractors=not args.no_distractors,
        world=args.world,
        difficulty=args.difficulty,
    )
    meter: Progress | None = None

    def show(done: int, total: int) -> None:
        nonlocal meter
        # The renderer knows how many images there are.
        meter = meter or Progress('rendering images', total)
        meter.update(done)

    rendered = render_data_set(args.out, config, args.workers, show)
    say(f'{args.out}: {"rendered" if rendered else "already holds this data set"}')
