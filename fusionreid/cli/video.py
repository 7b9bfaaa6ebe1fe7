"""Make a searchable index of who passes through videos.

    fusionreid video VIDEO_OR_FOLDER CHECKPOINT -o INDEX --boxes BOXES
    fusionreid video VIDEO_OR_FOLDER CHECKPOINT -o INDEX --detector-weights WEIGHTS.pth

Each video is a camera of its name. Of every passage of a person the index holds one averaged
feature, and the folder `INDEX-tracklets` (of a database `TABLE-tracklets`) a picture. Run again,
the command goes on with the videos that are not in the index.
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import fields

import cv2

from fusionreid.cli.extraction import add_extraction_arguments, build_extractor
from fusionreid.cli.gallery_place import add_new_index_arguments, check_new_index_arguments
from fusionreid.cli.index import open_gallery
from fusionreid.errors import GalleryError
from fusionreid.gallery.storage import check_place
from fusionreid.utils.files import file_sha256
from fusionreid.utils.progress import Progress
from fusionreid.utils.terminal import say
from fusionreid.video.box_file import find_box_file
from fusionreid.video.detector import (
    DEFAULT_DETECTOR,
    FileDetector,
    TorchvisionDetector,
    detector_names,
)
from fusionreid.video.frames import list_videos
from fusionreid.video.indexing import VideoIndexer, check_names
from fusionreid.video.start_times import read_starts
from fusionreid.video.tracklets import TrackletSettings

HELP = dict(
    min_score='boxes less sure than this are left out',
    min_boxes='passages with fewer boxes are left out',
    min_iou='least overlap of boxes in following frames that are one person',
    max_gap='seconds without a box after which a passage is over',
    every='look only at each of so many frames',
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_extraction_arguments(parser, 'a video, or a folder of videos', name='source')
    add_new_index_arguments(parser)
    group = parser.add_mutually_exclusive_group(required=True)
    group.add_argument(
        '--boxes',
        metavar='PATH',
        help='where people are: a CSV file or one of the MOT challenge, or a folder with a file '
        'for each video; boxes with identities are taken for tracked',
    )
    group.add_argument(
        '--detector-weights', metavar='FILE', help="weights of torchvision's detector"
    )
    parser.add_argument(
        '--detector',
        choices=detector_names(),
        default=DEFAULT_DETECTOR,
        help=f'detector of torchvision (default: {DEFAULT_DETECTOR})',
        metavar='NAME',
    )
    parser.add_argument(
        '--started',
        nargs='+',
        default=[],
        metavar='TIME',
        help='when the videos began, such as 2026-11-27T18:30:00+01:00 (UTC unless it says '
        'otherwise), or VIDEO=TIME for each: for search --seen-after and gallery prune. The '
        'times of files are not taken, as copies have others',
    )
    for setting in fields(TrackletSettings):
        parser.add_argument(
            f'--{setting.name.replace("_", "-")}',
            type=type(setting.default),
            default=setting.default,
            help=f'{HELP[setting.name]} (default: {setting.default})',
        )


def check_arguments(args: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Refuse arguments that do not go together."""
    check_new_index_arguments(args, parser)


def run(args: argparse.Namespace) -> None:
    """Index the videos one after the other; each is saved when it is done."""
    # Broken files are reported once, by us.
    os.environ.setdefault('OPENCV_FFMPEG_LOGLEVEL', '-8')
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)
    settings = TrackletSettings(**{name: getattr(args, name) for name in HELP})
    settings.check()
    videos = list_videos(args.source)
    check_names(videos)
    starts = read_starts(args.started, videos)
    if starts and (without := [video.name for video in videos if video not in starts]):
        say(f'{len(without)} videos have no start, so their passages have no time: {without[0]}')
    boxes = {video: find_box_file(args.boxes, video) for video in videos} if args.boxes else {}
    detectors = {video: FileDetector(path) for video, path in boxes.items()}
    found_by = (
        TorchvisionDetector(args.detector, args.detector_weights, args.device)
        if args.detector_weights
        else None
    )
    source = dict(detector=args.detector) if found_by else {}
    gallery = open_gallery(args, build_extractor(args))
    # Before hours of work, not after them.
    check_place(args.out)
    indexer = VideoIndexer(gallery, args.out, settings)
    failed = 0
    for video in videos:
        made_by = source if found_by else dict(boxes=file_sha256(boxes[video]))
        meter = Progress(f'{video.name}: frames', 0, sys.stderr.isatty())

        def show(done: int, total: int, meter: Progress = meter) -> None:
            meter.total = max(done, total)
            meter.update(done)

        report = indexer.add(video, found_by or detectors[video], made_by, show, starts.get(video))
        if report.failed:
            say(report.line, sys.stderr)
        else:
            say(f'{video.name}: {report.line}')
        failed += report.failed
    if len(gallery):
        say(f'{args.out}: {len(gallery)} passages, {gallery.spec.label if gallery.spec else ""}')
    if failed:
        raise GalleryError(f'{failed} of {len(videos)} videos, named above, could not be read')
    if not len(gallery):
        raise GalleryError(
            f'nobody was found in {args.source}, so there is no index: see whether boxes have '
            f'scores above --min-score {settings.min_score} and passages --min-boxes '
            f'{settings.min_boxes} boxes'
        )
