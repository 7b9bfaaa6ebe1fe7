"""Whether identities and cameras of a data set allow to train and to score."""

from __future__ import annotations

from collections import defaultdict

from .findings import Finding
from .sources import CheckedImage, CheckedSource

TEST = ('query', 'gallery')


def check_labels(source: CheckedSource) -> None:
    """Add to a source's findings what is wrong or odd about its identities and cameras.

    Args:
        source: The images with their labels.
    """
    people: dict[str, dict[int, list[CheckedImage]]] = defaultdict(lambda: defaultdict(list))
    for image in source.images:
        if image.person_id is not None and image.person_id not in source.distractors:
            people[image.role][image.person_id].append(image)
    _check_training(source, people['train'])
    if source.shared_ids:
        tested = people['query'].keys() | people['gallery'].keys()
        for person in sorted(people['train'].keys() & tested):
            (image, *_) = people['train'][person]
            (other, *_) = people['query'].get(person) or people['gallery'][person]
            source.note('person in train and test', image, f'also in {other.role}', other.path)
    _check_queries(source, people['query'], people['gallery'])


def _check_training(source: CheckedSource, people: dict[int, list[CheckedImage]]) -> None:
    for _, images in sorted(people.items()):
        if len(images) == 1:
            source.note('person with one image', images[0])
        elif len({image.camera_id for image in images}) == 1:
            source.note('person in one camera', images[0], f'{len(images)} images')


def _check_queries(
    source: CheckedSource,
    queries: dict[int, list[CheckedImage]],
    gallery: dict[int, list[CheckedImage]],
) -> None:
    found = False
    for person, images in sorted(queries.items()):
        answers = gallery.get(person, ())
        for image in images:
            # An image of an unknown camera counts as one of another camera, as in scoring.
            if any(image.camera_id < 0 or a.camera_id != image.camera_id for a in answers):
                found = True
                continue
            reason = 'only its own camera' if answers else 'no gallery image'
            source.note('query without a match', image, f'{reason} shows the person')
    if queries and gallery and not found:
        detail = 'no query is of a person whom another camera of the gallery shows'
        source.findings.append(Finding('no query has a match', source.name, 'query', detail=detail))
