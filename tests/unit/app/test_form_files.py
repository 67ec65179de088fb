"""The one file of a multipart body, taken out while the body arrives."""

import tracemalloc

import pytest

from rhesis.backend.app.services.multipart import FormFile, is_multipart
from rhesis.backend.errors import InvalidInput

TYPE = 'multipart/form-data; boundary="edge"'
HEAD = b'--edge\r\nContent-Disposition: form-data; name="file"; filename="a b.csv"\r\nContent-Type: text/csv\r\n\r\n'
TAIL = b"\r\n--edge--\r\n"


def in_chunks(body: bytes, size: int) -> list[bytes]:
    return [body[start : start + size] for start in range(0, len(body), size)]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_the_content_is_the_same_however_the_body_is_cut(size: int):
    content = b"prompt\r\nx--edge is no boundary\n--edge neither\r\n--edg\r\n"
    form = FormFile(TYPE, in_chunks(HEAD + content + TAIL, size))
    assert b"".join(form) == content
    assert (form.name, form.content_type) == ("a b.csv", "text/csv")


def test_what_follows_the_closing_boundary_is_ignored():
    assert b"".join(FormFile(TYPE, [HEAD + b"x" + TAIL + b"epilogue"])) == b"x"


@pytest.mark.parametrize(
    ("content_type", "body", "reason"),
    [
        ("multipart/form-data", HEAD + TAIL, "names no boundary"),
        (TYPE, b"", "ends before"),
        (TYPE, HEAD + b"x", "ends before"),
        (TYPE, b"nonsense", "does not follow its boundary"),
        (TYPE, b"--edge--\r\n", "no file"),
        (TYPE, HEAD.replace(b'"file"', b'"data"') + TAIL, "only field"),
        (TYPE, HEAD + b"x\r\n" + HEAD + b"y" + TAIL, "stands twice"),
        (TYPE, b"--edge\r\nX: " + b"y" * 100_000 + TAIL, "does not follow its boundary"),
    ],
)
def test_a_body_that_cannot_be_read_is_refused_with_the_reason(content_type: str, body: bytes, reason: str):
    with pytest.raises(InvalidInput, match=reason):
        list(FormFile(content_type, [body]))


def test_a_large_file_is_never_held():
    chunk = b"x" * 65_536
    tracemalloc.start()
    try:
        sizes = sum(len(piece) for piece in FormFile(TYPE, (part for part in [HEAD, *([chunk] * 500), TAIL])))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert sizes == 500 * len(chunk)
    assert peak < 2_000_000


def test_only_forms_are_taken_for_forms():
    assert is_multipart("Multipart/Form-Data; boundary=x")
    assert not is_multipart("text/csv")
