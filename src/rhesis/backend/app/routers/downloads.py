"""Answers that are files, sent while they are written."""

from collections.abc import Iterator

from fastapi.responses import StreamingResponse


def download(pieces: Iterator[str], media_type: str, file_name: str) -> StreamingResponse:
    """Return a file that is written while it is sent. `file_name` is made of ids: titles are anybody's text."""
    return StreamingResponse(
        pieces, media_type=media_type, headers={"Content-Disposition": f'attachment; filename="{file_name}"'}
    )
