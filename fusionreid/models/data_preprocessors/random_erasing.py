"""Random erasing on a batch: which images are erased, and the noise that fills the boxes.

How often is decided by the configs: ``data_preprocessor.random_erasing`` in
``configs/_base_/models/``.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from fusionreid.utils.random_box import check_boxes, sample_erasing_box


def seeded_normal(seeds: Tensor, positions: Tensor) -> Tensor:
    """Draw N(0, 1) values that depend on a seed and a position alone.

    A counter-based generator (the 64-bit finalizer of SplitMix64, then Box-Muller): the same values
    for any batch size and any number of processes, and, up to the last bit of a logarithm or
    cosine, on every device that has float64.

    Args:
        seeds: Seeds, int64, of shape ``(N,)``.
        positions: Positions in the image, int64, of shape ``(N,)``.

    Returns:
        float32 values of shape ``(N,)``.

    Example:
        >>> seeded_normal(torch.tensor([7, 7]), torch.tensor([0, 1]))
        tensor([-0.1912, -1.5399])
    """

    def mix(value: Tensor) -> Tensor:
        # Constants of SplitMix64 as signed integers; int64 products wrap, shifts are made logical
        # by the mask.
        value = (value ^ ((value >> 30) & 0x3FFFFFFFF)) * -0x40A7B892E31B1A47
        value = (value ^ ((value >> 27) & 0x1FFFFFFFFF)) * -0x6B2FB644ECCEEE15
        return value ^ ((value >> 31) & 0x1FFFFFFFF)

    bits = mix(mix(seeds) + positions * -0x61C8864680B583EB)
    scale = 2.0**-32
    first = ((bits & 0xFFFFFFFF).double() + 1) * scale  # in (0, 1], so that the logarithm is finite
    second = ((bits >> 32) & 0xFFFFFFFF).double() * scale
    return (torch.sqrt(-2 * torch.log(first)) * torch.cos(2 * math.pi * second)).float()


def check_erasing(
    probability: float = 0.5,
    area: tuple[float, float] = (0.02, 1 / 3),
    aspect: tuple[float, float] = (0.3, 1 / 0.3),
) -> None:
    """Refuse settings that :func:`random_erase` cannot work with.

    Args:
        probability: Share of the images that are erased.
        area: Smallest and largest share of the image area.
        aspect: Smallest and largest height over width.

    Raises:
        ValueError: Naming the setting and its range.

    Example:
        >>> check_erasing(probability=2)
        Traceback (most recent call last):
        ValueError: probability of random erasing must be in [0, 1], got 2
    """
    check_boxes('random erasing', area, aspect, probability=probability)


def random_erase(
    images: Tensor,
    seeds: list[int],
    probability: float = 0.5,
    area: tuple[float, float] = (0.02, 1 / 3),
    aspect: tuple[float, float] = (0.3, 1 / 0.3),
) -> Tensor:
    """Overwrite a random rectangle of each image with N(0, 1) noise, pixel by pixel.

    As in arXiv 1708.04896.

    Args:
        images: Normalized images of shape ``(B, C, H, W)``; changed in place.
        seeds: One seed per image, from which all its randomness comes.
        probability: Share of the images that are erased.
        area: Smallest and largest share of the image area.
        aspect: Smallest and largest height over width.

    Returns:
        ``images``.

    Example:
        >>> images = random_erase(torch.zeros(4, 3, 64, 32), seeds=[0, 1, 2, 3])
        >>> images.flatten(1).any(1)  # which were erased
        tensor([False, False,  True,  True])
    """
    _, channels, height, width = images.shape
    boxes = []
    for index, seed in enumerate(seeds):
        generator = np.random.default_rng(seed)
        if generator.random() >= probability:
            continue
        box = sample_erasing_box(generator, height, width, area, aspect)
        if box is not None:
            boxes.append((index, seed, *box))
    if boxes:
        _fill_with_noise(images, torch.tensor(boxes))
    return images


def _fill_with_noise(images: Tensor, boxes: Tensor) -> None:
    """Overwrite all boxes at once: a GPU would spend its time starting kernels box by box.

    Args:
        images: Images of shape ``(B, C, H, W)``.
        boxes: Per box: image, seed, top, left, height and width; int64 of shape ``(N, 6)``.
    """
    counts = images.shape[1] * boxes[:, 4] * boxes[:, 5]
    ends = counts.cumsum(0)
    total = int(ends[-1])
    table = torch.cat((boxes, (ends - counts)[:, None], counts[:, None]), 1)
    if images.is_cuda:
        table = table.pin_memory()
    table = table.to(images.device, non_blocking=True)
    owner = torch.repeat_interleave(table[:, 7], output_size=total)
    image, seed, top, left, height, width, start = table[:, :7][owner].unbind(1)
    position = torch.arange(total, device=images.device) - start
    channel = position // (height * width)
    row = top + position // width % height
    column = left + position % width
    images[image, channel, row, column] = seeded_normal(seed, position).to(images.dtype)
