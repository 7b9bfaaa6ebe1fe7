"""Reads what a request sends: images and fields, in memory alone and within limits."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from fusionreid.gallery.names import Label
from fusionreid.utils.integers import UNKNOWN

from .finder import Finder, Query
from .images import decode_upload
from .labels import read_camera
from .limits import Limits
from .refusals import RefusedError

DEFAULT_K = 20
FIELDS = 64
FIELD_BYTES = 4096


class _InMemoryParser(MultiPartParser):
    # Files larger than that are written to disk.
    spool_max_size = 1 << 62


@dataclass(frozen=True)
class Upload:
    """An image file that was sent, not decoded yet.

    Attributes:
        name: Its name, as whoever sent it says.
        content: Its bytes.
    """

    name: str
    content: bytes


@dataclass(frozen=True)
class Form:
    """What a request says.

    Attributes:
        uploads: The images that it sends.
        items: Numbers of items of the gallery that it asks about besides.
        fields: Its other fields; those given twice have several values.
    """

    uploads: list[Upload]
    items: list[int]
    fields: dict[str, list[str]]

    def numbers(self, name: str) -> list[int]:
        """The values of a field as whole numbers.

        Args:
            name: Name of the field.

        Returns:
            The numbers; none where the field is missing.

        Raises:
            RefusedError: One is none (422).
        """
        values = self.fields.get(name, [])
        for value in values:
            if not (value.isascii() and value.isdigit() and len(value) <= 15):
                raise RefusedError(422, f'{name} must be a whole number, got {value[:40]!r}')
        return [int(value) for value in values]

    def number(self, name: str, default: int, most: int) -> int:
        """The value of a field as a whole number from 1 on.

        Args:
            name: Name of the field.
            default: What is taken where it is missing.
            most: The largest one.

        Returns:
            The number.

        Raises:
            RefusedError: It is none, or too large (422).
        """
        value = (self.numbers(name) or [default])[-1]
        if not 1 <= value <= most:
            raise RefusedError(422, f'{name} must be in 1..{most}, got {value}')
        return value

    def fraction(self, name: str) -> float | None:
        """The value of a field as a number.

        Args:
            name: Name of the field.

        Returns:
            The number; None where the field is missing.

        Raises:
            RefusedError: It is none (422).
        """
        values = self.fields.get(name, [])
        if not values:
            return None
        try:
            value = float(values[-1])
        except ValueError:
            value = math.nan
        if math.isnan(value):
            raise RefusedError(422, f'{name} must be a number, got {values[-1][:40]!r}')
        return value

    def flag(self, name: str) -> bool:
        """Whether a field is ``true``.

        Args:
            name: Name of the field.

        Returns:
            That; False where the field is missing.

        Raises:
            RefusedError: It is neither that nor ``false`` (422).
        """
        value = (self.fields.get(name) or ['false'])[-1]
        if value not in ('true', 'false'):
            raise RefusedError(422, f'{name} must be true or false, got {value[:40]!r}')
        return value == 'true'

    def cameras(self, name: str) -> list[Label]:
        """The values of a field as cameras.

        Args:
            name: Name of the field.

        Returns:
            The cameras; none where the field is missing.

        Raises:
            RefusedError: One is none (422).
        """
        return [read_camera(value) for value in self.fields.get(name, [])]

    def queries(self, finder: Finder) -> list[Query]:
        """Decode the images, and take the items.

        Args:
            finder: Of the gallery.

        Returns:
            The queries, at least one: images first.

        Raises:
            RefusedError: An image cannot be taken, or there is no such item.
        """
        camera = (self.cameras('query_camera') or [UNKNOWN])[-1]
        limits = finder.limits
        queries: list[Query] = []
        pixels = 0
        for upload in self.uploads:
            image = decode_upload(upload.content, upload.name, limits)
            pixels += image.shape[0] * image.shape[1]
            if pixels > limits.request_pixels:
                raise RefusedError(
                    413,
                    f'the images have more than {limits.request_pixels:,} pixels together: send '
                    'fewer at once',
                )
            queries.append(Query(upload.name, image, camera))
        return [*queries, *map(finder.as_query, self.items)]


async def read_form(request: Request, limits: Limits) -> Form:
    """Read the body of a request.

    Args:
        request: The request.
        limits: Bounds of its bytes and images.

    Returns:
        What it says.

    Raises:
        RefusedError: It is no form (415, 422), or too large (413).
    """
    if not request.headers.get('content-type', '').startswith('multipart/form-data'):
        raise RefusedError(415, 'send images as multipart/form-data, in the field images')
    length = request.headers.get('content-length', '')
    if length.isdigit() and int(length) > limits.request_bytes:
        raise _too_long(limits)
    parser = _InMemoryParser(
        request.headers,
        _bounded(request.stream(), limits),
        max_files=limits.images,
        max_fields=FIELDS,
        max_part_size=FIELD_BYTES,
    )
    try:
        data = await parser.parse()
    except MultiPartException as error:
        status = 413 if 'Too many files' in error.message else 422
        raise RefusedError(status, f'{error.message} ({limits.images} images at once)') from error
    except (KeyError, ValueError) as error:
        raise RefusedError(422, 'the form cannot be read') from error
    try:
        return await _as_form(data, limits)
    finally:
        await data.close()


async def _as_form(data: FormData, limits: Limits) -> Form:
    uploads: list[Upload] = []
    fields: dict[str, list[str]] = {}
    for name, value in data.multi_items():
        if not isinstance(value, UploadFile):
            fields.setdefault(name, []).append(value)
        elif name == 'images':
            uploads.append(Upload(f'{value.filename or "image"}'[:200], await value.read()))
        else:
            raise RefusedError(422, f'files are sent in the field images, not in {name[:40]!r}')
    form = Form(uploads, [], fields)
    items = form.numbers('items')
    if not uploads and not items:
        raise RefusedError(422, 'there is no photo: send one in the field images')
    if len(uploads) + len(items) > limits.images:
        raise RefusedError(413, f'{limits.images} images at once are allowed')
    return Form(uploads, items, fields)


async def _bounded(
    stream: AsyncGenerator[bytes, None], limits: Limits
) -> AsyncGenerator[bytes, None]:
    """Pass the body on, and end where it is too long, whatever its head says."""
    size = 0
    async for chunk in stream:
        size += len(chunk)
        if size > limits.request_bytes:
            raise _too_long(limits)
        yield chunk


def _too_long(limits: Limits) -> RefusedError:
    return RefusedError(
        413, f'a request may have {limits.request_bytes:,} bytes: send less at once'
    )
