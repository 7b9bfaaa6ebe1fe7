"""Why a search found wrong images: what makes each of them and its query alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fusionreid.apis import FeatureExtractor
from fusionreid.errors import ExplainError
from fusionreid.evaluation.feature_set import ALL
from fusionreid.explain import pair_relevance
from fusionreid.visualization import MapPanel, relevance_panel

from .photos import load_photos, photo_distances

BATCH = 8
# Distances of the same features computed twice, by any device and batch size.
TOLERANCE = 0.01

Panels = tuple[MapPanel, MapPanel]


@dataclass(frozen=True)
class FoundImage:
    """A query and an image that was found for it.

    Attributes:
        query_path: File of the query.
        query_camera: Its 0-based camera, -1 for unknown.
        path: File of the image.
        camera: Its 0-based camera, -1 for unknown.
        distance: Their distance, as the search has it.
    """

    query_path: str
    query_camera: int
    path: str
    camera: int
    distance: float


def explain_found(
    found: Mapping[tuple[int, int], FoundImage], checkpoint: str, features: Sequence[str]
) -> dict[tuple[int, int], Panels]:
    """Compute what makes queries and images alike that were found for them.

    Args:
        found: The images, by row and rank.
        checkpoint: Weights of the model that the search was made with; they bring their config.
        features: Name of the feature that the search was made with; ``'all'``, or the names of all,
            for all of them side by side.

    Returns:
        By row and rank, query and image with a map each.

    Raises:
        ExplainError: If some of several features were used, or the distances are not the model's.
        ImageDecodeError: If an image cannot be read.
        UserError: If the model cannot be loaded.
    """
    extractor = FeatureExtractor(checkpoint, fold=False)
    every = list(extractor.model.feature_widths)
    feature = ALL if list(features) == every and len(every) > 1 else features[0]
    if len(features) > 1 and feature != ALL:
        raise ExplainError(
            f'why an image was found can be shown for one feature or {ALL!r}, not for '
            f'{" + ".join(features)}'
        )
    reasons: dict[tuple[int, int], Panels] = {}
    places = list(found)
    for first in range(0, len(places), BATCH):
        part = places[first : first + BATCH]
        pairs = [found[place] for place in part]
        queries = load_photos(
            extractor, [pair.query_path for pair in pairs], [pair.query_camera for pair in pairs]
        )
        answers = load_photos(
            extractor, [pair.path for pair in pairs], [pair.camera for pair in pairs]
        )
        maps = pair_relevance(
            extractor.model,
            queries.images,
            answers.images,
            [feature],
            camera_ids=queries.camera_ids,
            other_camera_ids=answers.camera_ids,
        )[feature]
        distances = photo_distances(extractor, queries, answers, [feature])[feature]
        for row, (place, pair) in enumerate(zip(part, pairs, strict=True)):
            if abs(distances[row] - pair.distance) > TOLERANCE:
                raise ExplainError(
                    f'{checkpoint} gives {pair.query_path} and {pair.path} the distance '
                    f'{distances[row]:.3f}, the saved features {pair.distance:.3f}: name the '
                    'checkpoint that they were saved from'
                )
            left, right = (
                relevance_panel(side.pixels[row], map_[row].cpu().numpy())
                for side, map_ in zip((queries, answers), maps, strict=True)
            )
            reasons[place] = (left, right)
    return reasons
