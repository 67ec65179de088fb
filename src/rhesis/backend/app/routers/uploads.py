"""A file in a request's body, read while it arrives."""

from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Final

from anyio import from_thread
from fastapi import Request

from rhesis.backend.app.services.importing import ImportLimits, Row, RowError, parse_csv, parse_jsonl
from rhesis.backend.app.services.multipart import FormFile, is_multipart
from rhesis.backend.errors import InputProblem, InvalidInput

Parser = Callable[[Iterable[bytes], ImportLimits], Iterator[Row | RowError]]

_PARSERS: Final[dict[str, Parser]] = {
    "text/csv": parse_csv,
    "application/csv": parse_csv,
    "application/x-ndjson": parse_jsonl,
    "application/jsonl": parse_jsonl,
    "application/x-jsonlines": parse_jsonl,
}
_SUFFIXES: Final[dict[str, Parser]] = {".csv": parse_csv, ".jsonl": parse_jsonl, ".ndjson": parse_jsonl}
ACCEPTED_BODIES: Final = {
    "required": True,
    "content": {
        "text/csv": {"schema": {"type": "string"}},
        "application/x-ndjson": {"schema": {"type": "string"}},
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "properties": {"file": {"type": "string", "format": "binary"}},
                "required": ["file"],
            }
        },
    },
}
"""What OpenAPI says about the body; FastAPI would read it whole if it were a parameter."""


def arriving_body(request: Request) -> Iterator[bytes]:
    """Yield the request's body as it arrives; to be used in a worker thread of the event loop that serves it."""
    stream = request.stream()

    async def following() -> bytes | None:
        return await anext(stream, None)

    while (chunk := from_thread.run(following)) is not None:
        yield chunk


def arriving_rows(content_type: str, body: Iterator[bytes], limits: ImportLimits) -> Iterator[Row | RowError]:
    """Yield the rows of the file in a body, in the format that its type or its name says."""
    if not is_multipart(content_type):
        return _parser_for(content_type, "")(body, limits)
    form = FormFile(content_type, body)
    chunks = iter(form)
    # The part's head comes before its first bytes, and says what they are.
    first = next(chunks, b"")
    return _parser_for(form.content_type, form.name)(chain([first], chunks), limits)


def _parser_for(content_type: str, name: str) -> Parser:
    media_type = content_type.partition(";")[0].strip().lower()
    suffix = name[name.rfind(".") :].lower() if "." in name else ""
    parser = _SUFFIXES.get(suffix) or _PARSERS.get(media_type)
    if parser is None:
        message = (
            "expected a CSV or JSONL file: text/csv or application/x-ndjson, or a name that ends in .csv or .jsonl"
        )
        raise InvalidInput(message, code="unknown_format", problems=(InputProblem("header.content-type", message),))
    return parser
