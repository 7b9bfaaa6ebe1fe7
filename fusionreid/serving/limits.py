"""What a server takes from those who ask it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Bounds of what is sent, and of what waits.

    Attributes:
        image_bytes: Of one image file.
        request_bytes: Of one request, with all its images.
        pixels: Of one image.
        request_pixels: Of all images of a request, which are decoded together.
        images: In one request.
        answers: For one image.
        queue: Requests that wait or are computed at once; one more is refused.
        seconds: For a request, from its first byte to its answer.
    """

    image_bytes: int = 20 << 20
    request_bytes: int = 32 << 20
    pixels: int = 50_000_000
    request_pixels: int = 200_000_000
    images: int = 16
    answers: int = 100
    queue: int = 16
    seconds: float = 60.0
