"""Random patch on a batch: parts of other images of the batch pasted over a person."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from fusionreid.utils.random_box import check_boxes, sample_erasing_box

# Apart from the stream of random erasing, which has the same seeds.
STREAM = 1


def check_patches(
    probability: float = 0.5,
    area: tuple[float, float] = (0.01, 0.5),
    aspect: tuple[float, float] = (0.1, 10.0),
    flip_probability: float = 0.5,
) -> None:
    """Refuse settings that :func:`paste_patches` cannot work with.

    Args:
        probability: Share of the images with a patch.
        area: Smallest and largest share of the image area.
        aspect: Smallest and largest height over width.
        flip_probability: Share of the patches that are mirrored.

    Raises:
        ValueError: Naming the setting and its range.
    """
    check_boxes(
        'random patch', area, aspect, probability=probability, flip_probability=flip_probability
    )


def paste_patches(
    images: Tensor,
    seeds: list[int],
    probability: float = 0.5,
    area: tuple[float, float] = (0.01, 0.5),
    aspect: tuple[float, float] = (0.1, 10.0),
    flip_probability: float = 0.5,
) -> Tensor:
    """Paste a rectangle of another image of the batch over some images, as if it stood in front.

    After RandomPatch of OSNet-AIN (arXiv 1910.06827), whose patches come from a pool of earlier
    images; here they come from the batch, so that a resumed run pastes what an unbroken one does.

    Args:
        images: Images of shape ``(B, C, H, W)``; changed in place.
        seeds: One seed per image, from which all its randomness comes.
        probability: Share of the images with a patch. The only image of a batch has none.
        area: Smallest and largest share of the image area.
        aspect: Smallest and largest height over width.
        flip_probability: Share of the patches that are mirrored.

    Returns:
        ``images``.

    Example:
        >>> import torch
        >>> images = torch.arange(4.0).view(4, 1, 1, 1).repeat(1, 1, 64, 32)
        >>> pasted = paste_patches(images, seeds=[0, 1, 2, 3])
        >>> [sorted(set(image.flatten().tolist())) for image in pasted]
        [[0.0], [0.0, 1.0], [2.0], [2.0, 3.0]]
    """
    count, _, rows, columns = images.shape
    pasted = []
    for index, seed in enumerate(seeds):
        generator = np.random.default_rng([seed, STREAM])
        if count < 2 or generator.random() >= probability:
            continue
        box = sample_erasing_box(generator, rows, columns, area, aspect)
        if box is None:
            continue
        top, left, height, width = box
        # Any image but this one, and any place in it.
        source = (index + int(generator.integers(1, count))) % count
        first_row = int(generator.integers(0, rows - height + 1))
        first_column = int(generator.integers(0, columns - width + 1))
        patch = images[
            source, :, first_row : first_row + height, first_column : first_column + width
        ]
        # A copy: its own image may be pasted over before it is used.
        patch = patch.flip(-1) if generator.random() < flip_probability else patch.clone()
        pasted.append((index, top, left, patch))
    for index, top, left, patch in pasted:
        height, width = patch.shape[-2:]
        images[index, :, top : top + height, left : left + width] = patch
    return images
