"""Take the one file out of a multipart body while the body arrives, without keeping either."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from rhesis.backend.errors import InvalidInput

_FILE_FIELD: Final = "file"


def is_multipart(content_type: str) -> bool:
    """Say whether a request's Content-Type is that of a form with files."""
    return content_type.lstrip().lower().startswith("multipart/form-data")


class FormFile:
    """The part `file` of a multipart body, read as chunks of bytes.

    `name` and `content_type` are known once the first chunk has been read.
    """

    def __init__(self, content_type: str, body: Iterable[bytes]) -> None:
        boundary = parse_options_header(content_type)[1].get(b"boundary")
        if not boundary:
            raise _malformed("its Content-Type names no boundary")
        self.name = ""
        self.content_type = ""
        self._body = body
        self._pending: list[bytes] = []
        self._header_name = b""
        self._header_value = b""
        self._headers: dict[bytes, bytes] = {}
        self._found = False
        self._ended = False
        with _readable_errors():
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._headers.clear,
                    "on_header_field": self._on_header_field,
                    "on_header_value": self._on_header_value,
                    "on_header_end": self._on_header_end,
                    "on_headers_finished": self._on_headers_finished,
                    "on_part_data": self._on_data,
                    "on_end": self._on_end,
                },
            )

    def __iter__(self) -> Iterator[bytes]:
        """Yield the file's chunks; raise `InvalidInput` for a body that is malformed, cut short or without the file."""
        for chunk in self._body:
            with _readable_errors():
                self._parser.write(chunk)
            yield from self._taken()
        if not self._ended:
            raise _malformed("it ends before its closing boundary")
        if not self._found:
            raise _malformed(f"it has no file in the field {_FILE_FIELD}")

    def _taken(self) -> list[bytes]:
        taken, self._pending = self._pending, []
        return taken

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _on_header_end(self) -> None:
        self._headers[self._header_name.lower()] = self._header_value
        self._header_name = self._header_value = b""

    def _on_headers_finished(self) -> None:
        options = parse_options_header(self._headers.get(b"content-disposition", b""))[1]
        field = options.get(b"name", b"").decode("utf-8", "replace")
        if field != _FILE_FIELD:
            raise _malformed(f"the only field it may have is {_FILE_FIELD}; the rest goes into the query")
        if self._found:
            raise _malformed(f"the field {_FILE_FIELD} stands twice; send one file")
        self._found = True
        self.name = options.get(b"filename", b"").decode("utf-8", "replace")
        self.content_type = self._headers.get(b"content-type", b"").decode("latin-1")

    def _on_data(self, data: bytes, start: int, end: int) -> None:
        self._pending.append(data[start:end])

    def _on_end(self) -> None:
        self._ended = True


def _malformed(reason: str) -> InvalidInput:
    return InvalidInput(f"the multipart body cannot be read: {reason}", code="invalid_multipart")


@contextmanager
def _readable_errors() -> Iterator[None]:
    try:
        yield
    except FormParserError as error:
        raise _malformed("it does not follow its boundary") from error
