"""Score trackers with and without features of FusionReID: IDF1 and identity switches.

    python tools/trackers/score_trackers.py CLIPS CHECKPOINT

CLIPS is what ``fusionreid render-video`` has made. ``score_trackers.sh`` makes an environment with
the trackers and calls this.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import motmetrics
import numpy as np
import torch
from torchvision.ops import box_iou

from fusionreid.apis import FeatureExtractor
from fusionreid.trackers import BoxMotEncoder, DeepSortEmbedder, IoUTracker
from fusionreid.utils.tables import markdown_table
from fusionreid.video.box_file import Boxes, read_boxes
from fusionreid.video.frames import VideoReader

# People of whom less is seen need not be found.
VISIBLE = 0.25
# Takes a frame, BGR, and its boxes; gives boxes (N, 4) and their tracks (N,).
Track = Callable[[np.ndarray, Boxes], tuple[np.ndarray, np.ndarray]]


class RememberingEncoder(BoxMotEncoder):
    """Computes the feature of a crop once, whichever tracker asks for it."""

    def __init__(self, model: FeatureExtractor) -> None:
        super().__init__(model)
        self._rows: dict[tuple[tuple[int, ...], bytes], np.ndarray] = {}

    def encode_images(self, images: Sequence[np.ndarray], channel_order: str = 'bgr') -> np.ndarray:
        """Look features up, and compute those of crops that are new."""
        keys = [(image.shape, image.tobytes()) for image in images]
        new = {key: image for key, image in zip(keys, images, strict=True) if key not in self._rows}
        rows = super().encode_images(list(new.values()), channel_order)
        self._rows.update(zip(new, rows, strict=True))
        return np.stack([self._rows[key] for key in keys]) if keys else rows


def track_by_overlap() -> Track:
    """The tracker of ``fusionreid video``."""
    tracker, frames = IoUTracker(max_gap=10), iter(range(10**9))
    return lambda image, boxes: (boxes.corners, tracker.update(boxes.corners, next(frames)))


def track_by_boxmot(name: str, **settings: object) -> Track:
    """A tracker of BoxMOT."""
    import boxmot

    tracker = getattr(boxmot, name)(**settings)

    def track(image: np.ndarray, boxes: Boxes) -> tuple[np.ndarray, np.ndarray]:
        people = np.zeros(len(boxes))
        rows = np.column_stack([boxes.corners, boxes.scores, people]).astype(np.float32)
        found = np.asarray(tracker.update(rows, image)).reshape(-1, 8)
        return found[:, :4], found[:, 4].astype(int)

    return track


def track_by_deep_sort(embedder: DeepSortEmbedder | None, max_cosine: float = 0.2) -> Track:
    """deep-sort-realtime, with its own MobileNet if no embedder is given."""
    from deep_sort_realtime.deepsort_tracker import DeepSort

    tracker = DeepSort(
        embedder=None if embedder else 'mobilenet',
        embedder_gpu=False,
        n_init=3,
        max_age=30,
        max_cosine_distance=max_cosine,
    )
    if embedder:
        tracker.embedder = embedder

    def track(image: np.ndarray, boxes: Boxes) -> tuple[np.ndarray, np.ndarray]:
        given = [
            ([left, top, right - left, bottom - top], score, 'person')
            for (left, top, right, bottom), score in zip(
                boxes.corners.tolist(), boxes.scores.tolist(), strict=True
            )
        ]
        tracks = [
            one
            for one in tracker.update_tracks(given, frame=image)
            if one.is_confirmed() and one.time_since_update == 0
        ]
        corners = [one.to_ltrb(orig=True) for one in tracks]
        return np.reshape(corners, (-1, 4)), np.array([int(one.track_id) for one in tracks])

    return track


def score(make: Callable[[], Track], clips: Path) -> tuple[float, int, float]:
    """Track all clips.

    Returns:
        IDF1, identity switches, MOTA.
    """
    scored = []
    videos = sorted(clips.glob('*.mp4'))
    for video in videos:
        truth, found = (
            read_boxes(clips / kind / f'{video.stem}.txt') for kind in ('truth', 'boxes')
        )
        visible = read_visibility(clips / 'truth' / f'{video.stem}.txt')
        track = make()
        result = motmetrics.MOTAccumulator(auto_id=True)
        with VideoReader(video) as reader:
            for number, image in reader.frames():
                boxes = found.get(number, Boxes(np.empty((0, 4)), np.empty(0), np.empty(0)))
                corners, tracks = track(image, boxes)
                people = truth.get(number)
                if people is not None:
                    seen = [visible[number, person] >= VISIBLE for person in people.tracks]
                    people = people.take(np.array(seen))
                ids = [] if people is None else people.tracks
                there = np.empty((0, 4)) if people is None else people.corners
                result.update(ids, tracks, _distances(there, corners))
        scored.append(result)
    summary = motmetrics.metrics.create().compute_many(
        scored,
        metrics=['idf1', 'num_switches', 'mota'],
        names=[video.stem for video in videos],
        generate_overall=True,
    )
    whole = summary.loc['OVERALL']
    return whole.idf1, int(whole.num_switches), whole.mota


def read_visibility(path: Path) -> dict[tuple[int, int], float]:
    """How much is seen of each person, by 0-based frame and identity."""
    rows = [line.split(',') for line in path.read_text().splitlines()]
    return {(int(row[0]) - 1, int(row[1])): float(row[8]) for row in rows}


def _distances(there: np.ndarray, found: np.ndarray) -> np.ndarray:
    """One less the overlap, NaN where it is below one half (motmetrics' own needs NumPy 1)."""
    boxes = (torch.from_numpy(np.asarray(corners, np.float64)) for corners in (there, found))
    overlaps = box_iou(*boxes).numpy()
    return np.where(overlaps >= 0.5, 1 - overlaps, np.nan)


def main() -> None:
    """Score what is installed, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('clips', type=Path)
    parser.add_argument('checkpoint')
    parser.add_argument(
        '--max-distance',
        type=float,
        default=0.133,
        help='distance of features up to which two boxes may be one person, in further rows',
    )
    args = parser.parse_args()
    # Of features of length 1, and near enough is a matter of the model.
    near = args.max_distance**2 / 2
    tuned = f'ours, nearer than {args.max_distance}'
    # A few crops at once are too little for several threads to share.
    torch.set_num_threads(1)
    encoder = RememberingEncoder(FeatureExtractor(args.checkpoint, use_cameras=False))
    runs: list[tuple[str, str, Callable[[], Track]]] = [('IoUTracker', 'none', track_by_overlap)]
    if importlib.util.find_spec('boxmot'):
        runs += [
            ('BoxMOT ByteTrack', 'none', lambda: track_by_boxmot('ByteTrack')),
            ('BoxMOT BotSort', 'none', lambda: track_by_boxmot('BotSort', use_embeddings=False)),
            ('BoxMOT BotSort', 'ours', lambda: track_by_boxmot('BotSort', reid_model=encoder)),
            (
                'BoxMOT StrongSort',
                'ours',
                lambda: track_by_boxmot('StrongSort', reid_model=encoder),
            ),
            (
                'BoxMOT DeepOcSort',
                'ours',
                lambda: track_by_boxmot('DeepOcSort', reid_model=encoder),
            ),
        ]
        near_sort = partial(track_by_boxmot, 'StrongSort', reid_model=encoder, max_cos_dist=near)
        runs.append(('BoxMOT StrongSort', tuned, near_sort))
    if importlib.util.find_spec('deep_sort_realtime'):
        embedder = DeepSortEmbedder(encoder.extractor)
        embedder.encoder = encoder
        runs += [
            ('deep-sort-realtime', 'its MobileNet', lambda: track_by_deep_sort(None)),
            ('deep-sort-realtime', 'ours', lambda: track_by_deep_sort(embedder)),
            ('deep-sort-realtime', tuned, lambda: track_by_deep_sort(embedder, near)),
        ]
    rows = [('tracker', 'features', 'IDF1', 'switches', 'MOTA')]
    for tracker, features, make in runs:
        print(f'scoring {tracker}, features: {features}', file=sys.stderr, flush=True)
        idf1, switches, mota = score(make, args.clips)
        rows.append((tracker, features, f'{idf1:.3f}', f'{switches}', f'{mota:.3f}'))
        print(f'IDF1 {idf1:.3f}, {switches} switches', file=sys.stderr, flush=True)
    print(markdown_table(rows))


if __name__ == '__main__':
    main()
