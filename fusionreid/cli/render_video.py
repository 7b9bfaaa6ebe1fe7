"""Render videos of a street: people who walk by, hide each other, leave and come back.

    fusionreid render-video OUT --cameras 2 --people 6

`OUT/truth` says who is where in every frame, `OUT/boxes` what a detector would find, both in the
format of the MOT challenge; `OUT/query` holds a photo of each person by another camera.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict

from fusionreid.datasets.synthetic import ClipConfig, render_clips
from fusionreid.utils.progress import Progress
from fusionreid.utils.terminal import say

HELP = dict(
    cameras='cameras, a video each',
    people='people, all of whom pass all cameras',
    frames='frames of a video',
    height='height in pixels; the width is 16/9 of it',
    fps='frames per second',
    seed='seed of people, streets and walks',
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument('out', help='folder to write; must be missing or empty')
    for name, value in asdict(ClipConfig()).items():
        parser.add_argument(
            f'--{name}', type=int, default=value, help=f'{HELP[name]} (default: {value})'
        )


def run(args: argparse.Namespace) -> None:
    """Render the videos."""
    config = ClipConfig(**{name: getattr(args, name) for name in HELP})
    meter = Progress('rendering frames', config.cameras * config.frames)
    render_clips(args.out, config, lambda done, _: meter.update(done))
    say(f'{args.out}: {config.cameras} videos of {config.frames} frames, {config.people} people')
