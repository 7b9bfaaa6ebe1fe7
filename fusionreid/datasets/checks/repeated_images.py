"""Images that are in the data several times, by their content."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from .image_facts import ImageFacts
from .sources import CheckedImage, CheckedSource

Place = tuple[CheckedSource, CheckedImage]
MOST_COMPARED = 64  # labels of one image


def find_repeated(sources: Sequence[CheckedSource], facts: Mapping[str, ImageFacts]) -> None:
    """Add to the sources' findings the images that have the same bytes or the same pixels.

    Args:
        sources: The images of all data sets.
        facts: What is known of each file, by path.
    """
    groups: dict[bytes, list[Place]] = defaultdict(list)
    for source in sources:
        for image in source.images:
            known = facts[image.path]
            # Files with the same bytes have the same pixels, if they have any.
            if key := known.pixels or known.content:
                groups[key].append((source, image))
    for places in groups.values():
        # Of thousands of equal images, one stands for all with the same labels.
        seen: dict[tuple[object, ...], Place] = {}
        for place in places:
            _compare(place, seen.values(), facts)
            source, image = place
            kind = (id(source), image.role)
            if len(seen) >= MOST_COMPARED:
                seen.setdefault(kind, place)
            else:
                seen.setdefault((*kind, image.person_id, image.camera_id), place)


def _compare(place: Place, earlier: Iterable[Place], facts: Mapping[str, ImageFacts]) -> None:
    """Note the worst that the repetition of an image means.

    Args:
        place: The image.
        earlier: Images with the same content.
        facts: What is known of each file, by path.
    """
    source, image = place
    judged = [(kind, other) for other in earlier if (kind := _judge(place, other))]
    if not judged:
        return
    kind, (other_source, other) = min(judged, key=lambda each: RANKS.index(each[0]))
    same = 'bytes' if facts[image.path].content == facts[other.path].content else 'pixels'
    labels = [other.role, f'person {other_source.person(other.person_id) or "unknown"}']
    detail = f'same {same} as an image of {", ".join(filter(None, labels))}'
    source.note(kind, image, detail, other.path)


# The worst first.
RANKS = (
    'image in train and test',
    'image of two people',
    'image in query and gallery',
    'repeated image',
)


def _judge(place: Place, other_place: Place) -> str | None:
    (source, image), (other_source, other) = place, other_place
    roles = {image.role, other.role}
    same_source = source is other_source
    if image.path == other.path and image.role == other.role:
        return None  # one data set that two parts of a config read
    if 'train' in roles and roles & {'query', 'gallery'}:
        return 'image in train and test'
    if roles == {'train'} and not same_source:
        return 'image of two people'  # sets that are joined have people of their own
    known = None not in (image.person_id, other.person_id)
    if known and same_source and image.person_id != other.person_id:
        return 'image of two people'
    if roles == {'query', 'gallery'} and same_source:
        # Images of the query's person and camera do not count in scoring.
        left_out = image.camera_id == other.camera_id >= 0
        return 'repeated image' if left_out else 'image in query and gallery'
    return 'repeated image' if same_source else None
