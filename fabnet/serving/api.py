"""The HTTP interface of `fabnet serve`: one form of request, its limits, and errors of one line.

A body is counted while it comes in, so one that is too long is never held; and its values are counted before it is
parsed, so a bomb of brackets or keys is never unpacked.
"""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Request, Response
from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from fabnet import __version__
from fabnet.host_allowlist import error_response
from fabnet.serving.reader import MAX_IMAGES, ImageReader, InvalidImages

JSON = "application/json"

#: Bytes of a request. An image of 16 MiB is 22.4 million letters of base64.
MAX_BODY = 32 * 2**20
#: Bytes of all in-flight requests of a worker.
MAX_HELD = 8 * MAX_BODY
#: Seconds in which a request's body must arrive.
RECEIVE_S = 30.0
#: Seconds in which a request must be answered once it has arrived, waiting for a thread included.
ANSWER_S = 60.0

# Each value of a JSON document but one comes with one of these, and base64 has none of them. Parsed, a value takes some
# hundred bytes; a request of MAX_IMAGES needs three values for each.
_MARKS, _MAX_MARKS = b"[{,:", 64 * MAX_IMAGES
# What is left unread of a refused request is read away for a while: a client that still sends does not see the answer.
_DRAIN_S = 5.0
_TOO_LONG = f"a request of more than {MAX_BODY:,} bytes; send fewer images at once"
_MAX_LINE = 300
_FORM = 'a request is {"inputs": [BASE64, ...]} or MLflow\'s dataframe_split'
#: What JSON calls what Python calls otherwise.
_KINDS = {"NoneType": "null", "list": "an array", "dict": "an object", "bool": "a boolean", "int": "a number"}


class _Form(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ImageColumn(_Form):
    """MLflow's table by columns."""

    image: list[str]


class DataFrameSplit(_Form):
    """MLflow's table by rows, as `DataFrame.to_dict(orient="split")` writes it. The index is not used."""

    columns: tuple[Literal["image"]]
    data: list[tuple[str]]
    index: list[Any] | None = None


class Invocation(_Form):
    """Images of one face each, JPEG or PNG in base64: `inputs` or `dataframe_split`."""

    inputs: (
        Annotated[
            Annotated[list[str], Tag("images")] | Annotated[ImageColumn, Tag("table")],
            Discriminator(lambda value: "table" if isinstance(value, dict) else "images"),
        ]
        | None
    ) = Field(None, examples=[["/9j/4AAQSkZJRg..."]])
    dataframe_split: DataFrameSplit | None = None

    def images(self) -> list[str]:
        """Raises InvalidImages unless exactly one form is there."""
        if (self.inputs is None) == (self.dataframe_split is None):
            raise InvalidImages(f"{_FORM}, and not both")
        if self.dataframe_split is not None:
            return [text for (text,) in self.dataframe_split.data]
        return self.inputs.image if isinstance(self.inputs, ImageColumn) else self.inputs or []


def build_api(reader: ImageReader, slots: int) -> FastAPI:
    """The application around a registered model.

    Args:
        reader: the model.
        slots: requests that are worked on at once; others wait.
    """
    # No pages of documentation: theirs load scripts from other machines. /openapi.json describes it all.
    api = FastAPI(title="fabnet serve", version=__version__, docs_url=None, redoc_url=None)
    bodies = BodyReader()
    threads = ThreadPoolExecutor(slots, "invocation")
    # References within the schema are relative to its $id, not to the document.
    schema = {"$id": "invocation", **Invocation.model_json_schema()}
    body_schema = {"requestBody": {"required": True, "content": {JSON: {"schema": schema}}}}

    @api.get("/ping", response_class=Response)
    @api.get("/health", response_class=Response)
    def healthy() -> Response:
        return Response("\n", media_type=JSON)

    @api.get("/version", response_class=Response)
    def version() -> Response:
        return Response(__version__, media_type=JSON)

    @api.post("/invocations", response_class=Response, openapi_extra=body_schema)
    async def invocations(request: Request) -> Response:
        """`{"predictions": [...]}`, a row for each image in their order."""
        async with bodies.read(request) as body:
            answering = asyncio.get_running_loop().run_in_executor(threads, answer, reader, body)
            try:
                return Response(await asyncio.wait_for(answering, ANSWER_S), media_type=JSON)
            except TimeoutError:
                raise HTTPException(504, f"not answered within {ANSWER_S:g} s; send fewer images at once") from None

    @api.exception_handler(HTTPException)
    async def refused(_: Request, error: HTTPException) -> Response:
        # A body may be left unread, and is no beginning of a next request.
        response = error_response(error.status_code, str(error.detail), close=error.status_code in (408, 413, 415, 503))
        response.headers.update(error.headers or {})
        return response

    @api.exception_handler(InvalidImages)
    async def invalid(_: Request, error: InvalidImages) -> Response:
        return error_response(400, str(error))

    @api.exception_handler(ClientDisconnect)
    async def gone(_: Request, error: ClientDisconnect) -> Response:
        return error_response(400, "the client went away", close=True)

    @api.exception_handler(Exception)
    async def failed(_: Request, error: Exception) -> Response:  # it is raised again, and logged with its traceback
        return error_response(500, "the server failed; its log says more")

    return api


def answer(reader: ImageReader, body: bytes) -> str:
    """The JSON that answers the body of a request.

    Args:
        reader: the model.
        body: the request.

    Raises:
        InvalidImages: what is wrong with it, in one line.
    """
    if sum(body.count(mark) for mark in _MARKS) > _MAX_MARKS:
        raise InvalidImages(f"more than {_MAX_MARKS:,} values in one request; at most {MAX_IMAGES:,} images are taken")
    try:
        images = Invocation.model_validate_json(body).images()
    except ValidationError as error:
        raise InvalidImages(_problem(error)[:_MAX_LINE]) from None
    # pandas takes 2 ms for 64 embeddings, json 40.
    return f'{{"predictions": {reader.read(images).to_json(orient="records", double_precision=15)}}}'


def _problem(error: ValidationError) -> str:
    """The first thing that is wrong with a body, in one line."""
    first = error.errors(include_url=False, include_context=False)[0]
    number = next((part for part in first["loc"] if isinstance(part, int)), None)
    if first["type"] == "string_type" and number is not None:
        kind = type(first["input"]).__name__
        return f"image {number}: must be base64 text, not {_KINDS.get(kind, 'a number')}"
    if first["type"] == "json_invalid":
        said = " ".join(first["msg"].split())
        return f"nested too deep; {_FORM}" if "recursion limit" in said else said
    where = ".".join(str(part) for part in first["loc"] if part not in ("images", "table"))
    problem = " ".join(f"{where}: {first['msg']}".removeprefix(": ").split())
    return f"{problem}; {_FORM}"


class BodyReader:
    """Reads the bodies of one worker's requests within its limits of bytes and time."""

    def __init__(self) -> None:
        self._held = 0

    @asynccontextmanager
    async def read(self, request: Request) -> AsyncIterator[bytes]:
        """The body of a request, which counts as held until the block ends.

        Raises:
            HTTPException: it is no JSON (415), too long (413), too slow (408), or too much is held (503).
        """
        chunks = list[bytes]()
        length = 0
        stream = request.stream()
        try:
            try:
                _check_content_type(request)
                if int(request.headers.get("content-length", "0")) > MAX_BODY:
                    raise HTTPException(413, _TOO_LONG)
                async with asyncio.timeout(RECEIVE_S):
                    async for chunk in stream:
                        if length + len(chunk) > MAX_BODY:
                            raise HTTPException(413, _TOO_LONG)
                        if self._held + len(chunk) > MAX_HELD:
                            raise HTTPException(503, "too many requests at once; try again")
                        chunks.append(chunk)
                        length += len(chunk)
                        self._held += len(chunk)
            except TimeoutError:
                raise HTTPException(408, f"the request did not arrive within {RECEIVE_S:g} s") from None
            except HTTPException:
                chunks.clear()
                await _drain(stream)
                raise
            body = b"".join(chunks)
            chunks.clear()
            yield body
        finally:
            self._held -= length


async def _drain(stream: AsyncIterator[bytes]) -> None:
    with suppress(TimeoutError, ClientDisconnect):
        async with asyncio.timeout(_DRAIN_S):
            async for _ in stream:
                pass


def _check_content_type(request: Request) -> None:
    kind, _, options = request.headers.get("content-type", "").partition(";")
    kind = kind.strip().lower()
    if kind != JSON:
        given = f"content type {kind[:100]!a}" if kind else "no content type"
        raise HTTPException(415, f"{given}: send {JSON}")
    charset = options.strip().lower().removeprefix("charset=").strip('"')
    if charset not in ("", "utf-8", "utf8"):
        raise HTTPException(415, f"{options.strip()[:100]!a}: JSON is UTF-8")
