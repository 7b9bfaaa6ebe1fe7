"""The application: its routes, and what they take and give."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import anyio
import anyio.to_thread
from fastapi import FastAPI, Request
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from fusionreid.errors import UserError
from fusionreid.version import __version__

from .access import COOKIE, Access
from .finder import LARGE, SMALL, Finder
from .forms import DEFAULT_K, Form, read_form
from .groups import Groups
from .guard import Guard
from .metrics import Metrics
from .model_thread import ModelThread
from .refusals import RefusedError
from .schemas import (
    GalleryInfo,
    Health,
    PeoplePage,
    Person,
    Reason,
    SearchResults,
    describe_form,
)

T = TypeVar('T')
STATIC = Path(__file__).parent / 'static'
# Photos that are scaled down at once.
SCALERS = 4
PEOPLE, MOST_PEOPLE, MOST_PHOTOS = 24, 100, 500
WEEK = 7 * 24 * 3600


def build_app(finder: Finder, access: Access) -> ASGIApp:
    """Build the application of a gallery.

    Args:
        finder: Of the gallery.
        access: Who may ask.

    Returns:
        The ASGI application.
    """
    limits = finder.limits
    model, metrics, groups = ModelThread(limits.queue), Metrics(), Groups(finder)
    scalers = anyio.CapacityLimiter(SCALERS)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        model.close()

    app = FastAPI(
        title='FusionReID',
        version=__version__,
        description='Finds people in a gallery of photos.',
        docs_url=None,  # these pages load their parts from elsewhere
        redoc_url=None,
        lifespan=lifespan,
    )

    @app.exception_handler(RefusedError)
    async def _refuse(_: Request, refusal: RefusedError) -> Response:
        return JSONResponse(
            dict(detail=refusal.reason), status_code=refusal.status, headers=refusal.headers
        )

    @app.exception_handler(UserError)
    async def _tell(_: Request, error: UserError) -> Response:
        return JSONResponse(dict(detail=str(error)), status_code=422)

    @app.exception_handler(HTTPException)
    async def _tell_status(_: Request, error: HTTPException) -> Response:
        return JSONResponse(
            dict(detail=error.detail), status_code=error.status_code, headers=error.headers
        )

    async def compute(request: Request, function: Callable[[Form], T]) -> T:
        """Read a form and run a function of it on the model's thread, in time."""
        with model.place():
            try:
                with anyio.fail_after(limits.seconds):
                    form = await read_form(request, limits)
                    return await model.run(partial(function, form))
            except TimeoutError as error:
                raise RefusedError(
                    504, f'there was no answer within {limits.seconds:g} seconds'
                ) from error

    @app.get('/', include_in_schema=False)
    async def page() -> Response:
        return FileResponse(STATIC / 'index.html', headers={'Cache-Control': 'no-cache'})

    @app.get('/static/{name}', include_in_schema=False)
    async def static(name: str) -> Response:
        if name not in ('app.js', 'style.css'):
            raise RefusedError(404, 'there is no such file')
        return FileResponse(STATIC / name, headers={'Cache-Control': 'no-cache'})

    @app.get('/health', summary='Whether the server lives', response_model=Health)
    async def health() -> Any:
        return dict(status='ok', version=__version__)

    @app.get('/metrics', summary='Counts for Prometheus', response_class=PlainTextResponse)
    async def show_metrics() -> Response:
        return PlainTextResponse(
            metrics.text(model.taken), media_type='text/plain; version=0.0.4; charset=utf-8'
        )

    @app.post('/api/session', summary='Keep the token in a cookie', status_code=204)
    async def session() -> Response:
        response = Response(status_code=204)
        if access.token is not None:
            # Images are loaded by the browser itself, which sends cookies only.
            response.set_cookie(COOKIE, access.token, httponly=True, samesite='strict', path='/')
        return response

    @app.get('/api/gallery', summary='What the gallery holds', response_model=GalleryInfo)
    async def gallery() -> Any:
        return described

    described = finder.describe()

    @app.post(
        '/api/search',
        summary='Find the people of photos',
        response_model=SearchResults,
        openapi_extra=describe_form(search=True),
    )
    async def search(request: Request) -> Any:
        def find(form: Form) -> list[dict[str, Any]]:
            queries = form.queries(finder)
            return finder.search(
                queries,
                form.number('k', min(DEFAULT_K, limits.answers), limits.answers),
                form.cameras('camera'),
                other_cameras=form.flag('other_cameras'),
                seconds=(form.fraction('from_second'), form.fraction('to_second')),
                where=form.fields.get('where', []),
                max_distance=form.fraction('max_distance'),
                max_fpr=form.fraction('max_fpr'),
                max_search_fpr=form.fraction('max_search_fpr'),
            )

        found = await compute(request, find)
        metrics.images += len(found)
        return dict(queries=found)

    @app.post(
        '/api/why/{number}',
        summary='Show which pixels make a photo and an item alike',
        response_model=Reason,
        openapi_extra=describe_form(search=False),
    )
    async def why(request: Request, number: int) -> Any:
        def explain(form: Form) -> dict[str, Any]:
            queries = form.queries(finder)
            if len(queries) > 1:
                raise RefusedError(422, 'ask about one photo at a time')
            return finder.explain(queries[0], number)

        return await compute(request, explain)

    @app.get('/api/items/{number}/image', summary='The photo of an item', response_class=Response)
    async def image(number: int, large: bool = False) -> Response:
        size = LARGE if large else SMALL
        content = await anyio.to_thread.run_sync(finder.thumbnail, number, size, limiter=scalers)
        return Response(
            content,
            media_type='image/jpeg',
            headers={'Cache-Control': f'private, max-age={WEEK}'},
        )

    @app.get('/api/people', summary='The people of the gallery, grouped', response_model=PeoplePage)
    async def people(first: int = 0, count: int = PEOPLE) -> Any:
        if first < 0 or not 1 <= count <= MOST_PEOPLE:
            raise RefusedError(422, f'first must be 0 or more, count in 1..{MOST_PEOPLE}')
        groups.start()
        return groups.page(first, count)

    @app.get('/api/people/{person}', summary='The photos of a person', response_model=Person)
    async def photos(person: int) -> Any:
        return groups.person(person - 1, MOST_PHOTOS)

    return Guard(app, access, metrics)
