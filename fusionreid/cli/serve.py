"""Search an index on a page in the browser, and over HTTP.

fusionreid serve INDEX --port 8000

The page is for this machine alone. With --host, others may ask too, if they have the token that is
printed. Photos that are sent stay in memory and are forgotten with the answer.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import socket

from fusionreid.apis import load_calibration
from fusionreid.cli.arguments import positive
from fusionreid.cli.extraction import add_index_arguments
from fusionreid.errors import UserError
from fusionreid.gallery import Gallery
from fusionreid.gallery.address import place_name
from fusionreid.serving.access import Access, check_token, is_loopback, new_token
from fusionreid.serving.limits import Limits
from fusionreid.utils.optional import import_optional
from fusionreid.utils.terminal import say

DEFAULT_HOST, DEFAULT_PORT = '127.0.0.1', 8000
# Not visible to others of the machine, unlike arguments.
TOKEN_VARIABLE = 'FUSIONREID_TOKEN'
LIBRARIES = {'fastapi': 'fastapi', 'uvicorn': 'uvicorn', 'python_multipart': 'python-multipart'}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_index_arguments(parser)
    parser.add_argument(
        '--calibration',
        metavar='FILE',
        help="what distances mean (fusionreid calibrate); otherwise the index's own, or the one "
        'beside the checkpoint',
    )
    parser.add_argument(
        '--host',
        default=DEFAULT_HOST,
        help=f'address to be asked at (default: {DEFAULT_HOST}, from this machine alone)',
    )
    parser.add_argument(
        '--port', type=int, default=DEFAULT_PORT, help='default: 8000; 0 takes a free one'
    )
    parser.add_argument(
        '--token',
        help='what every request must bring; made and printed if --host lets others ask. The '
        f'variable {TOKEN_VARIABLE} gives one that is not seen in the list of processes',
    )
    parser.add_argument(
        '--allow-host',
        nargs='+',
        default=[],
        metavar='NAME',
        help='names by which the server is asked, besides localhost and the name of the machine',
    )
    limits = Limits()
    parser.add_argument(
        '--max-bytes',
        type=positive,
        default=limits.image_bytes,
        metavar='N',
        help=f'of an image file (default: {limits.image_bytes:,})',
    )
    parser.add_argument(
        '--max-pixels',
        type=positive,
        default=limits.pixels,
        metavar='N',
        help=f'of an image (default: {limits.pixels:,})',
    )
    parser.add_argument(
        '--max-images',
        type=positive,
        default=limits.images,
        metavar='N',
        help=f'in one request (default: {limits.images})',
    )
    parser.add_argument(
        '--queue',
        type=positive,
        default=limits.queue,
        metavar='N',
        help=f'requests that wait at once; more are told to come later (default: {limits.queue})',
    )
    parser.add_argument(
        '--timeout',
        type=positive,
        default=int(limits.seconds),
        metavar='SECONDS',
        help=f'for a request (default: {limits.seconds:.0f})',
    )


def check_arguments(args: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Refuse arguments that are out of their range."""
    if not 0 <= args.port <= 65535:
        parser.error(f'--port must be in 0..65535, got {args.port}')
    args.token = args.token or os.environ.get(TOKEN_VARIABLE) or None
    if args.token is not None:
        try:
            check_token(args.token)
        except ValueError as error:
            parser.error(f'--token: {error}')


def run(args: argparse.Namespace) -> None:
    """Load the index and its model, and answer until somebody stops it."""
    for module, distribution in LIBRARIES.items():
        import_optional(module, distribution, 'fusionreid serve', UserError)
    from fusionreid.serving.app import build_app
    from fusionreid.serving.finder import Finder
    from fusionreid.serving.server import BACKLOG, open_socket, serve

    with open_socket(args.host, args.port) as opened:
        gallery = Gallery.load(args.index, device=args.device)
        gallery.use_model(args.checkpoint, args.config, projection=args.projection)
        if args.calibration:
            gallery.calibration = load_calibration(args.calibration)
        limits = dataclasses.replace(
            Limits(),
            image_bytes=args.max_bytes,
            request_bytes=max(Limits.request_bytes, args.max_bytes + (1 << 20)),
            pixels=args.max_pixels,
            request_pixels=max(Limits.request_pixels, args.max_pixels),
            images=args.max_images,
            queue=args.queue,
            seconds=float(args.timeout),
        )
        access = _find_access(args)
        app = build_app(Finder(gallery, place_name(args.index), limits), access)
        # Whoever opens the page as soon as its address is known waits, and is not refused.
        opened.listen(BACKLOG)
        say(f'{args.index}: {len(gallery):,} images, {gallery.extractor.spec.label}')
        say(f'page: {_address(args.host, opened.getsockname()[1], access)}')
        say('Ctrl-C stops it')
        serve(app, opened)
    say('stopped')


def _find_access(args: argparse.Namespace) -> Access:
    loopback = is_loopback(args.host)
    names = {name.lower() for name in args.allow_host}
    if not loopback:
        names |= {args.host.lower(), socket.gethostname().lower(), socket.getfqdn().lower()}
    token = args.token or (None if loopback else new_token())
    return Access(token, loopback, frozenset(names))


def _address(host: str, port: int, access: Access) -> str:
    """The address to open; what follows the # is never sent to a server by a browser."""
    if host in ('0.0.0.0', '::', ''):
        host = socket.gethostname()
    shown = f'[{host}]' if ':' in host else host
    return f'http://{shown}:{port}/' + (f'#token={access.token}' if access.token else '')
