"""What is exported can be imported again, whatever its texts hold."""

import csv
import io
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from rhesis.backend.app.models import Test
from rhesis.backend.app.services.exporting import csv_of_tests, jsonl_of_tests
from rhesis.backend.app.services.importing import ImportLimits, Row, RowError, parse_csv, parse_jsonl

LIMITS = ImportLimits(prompt_max_bytes=100_000, max_rows=1000)
METRICS = st.sampled_from(
    [
        [],
        [{"name": "contains", "parameters": {"value": '"x", =1\n'}}],
        [{"name": "max_latency", "parameters": {"seconds": 2}}],
    ]
)
# What the database can hold: everything but NUL and surrogates.
TEXT = st.text(st.characters(exclude_characters="\x00", exclude_categories=("Cs",)), min_size=1, max_size=60)
TRICKY = st.sampled_from(
    ["=1+1", "-1", "@a", "\ttab", "\rreturn", "'", '"', ",", "\n", "\r\n", "\ufeff", " a ", "\x85", "\u2028"]
)
OPTIONAL = st.none() | TEXT | TRICKY
ROWS = st.lists(
    st.builds(
        Row,
        number=st.just(0),
        prompt=(TEXT | TRICKY).filter(str.strip),
        external_id=OPTIONAL,
        expected_response=OPTIONAL,
        behaviour=OPTIONAL,
        metrics=METRICS,
        priority=st.integers(-1_000_000, 1_000_000),
        language_code=st.none() | st.sampled_from(["en", "pt-BR"]),
    ),
    min_size=1,
    max_size=8,
    unique_by=lambda row: row.external_id or object(),
)
CHUNKS = st.integers(1, 40)


def stored(row: Row) -> Test:
    values = {name: getattr(row, name) for name in Row.__dataclass_fields__ if name not in ("number", "replaced")}
    return Test(**values)


def chunks(text: str, size: int) -> list[bytes]:
    source = io.BytesIO(text.encode())
    return list(iter(lambda: source.read(size), b""))


def without_numbers(found: list[Row | RowError]) -> list[Row | RowError]:
    return [replace(row, number=0) for row in found]


@given(rows=ROWS, size=CHUNKS)
def test_raw_csv_comes_back_as_it_was(rows, size):
    text = "".join(csv_of_tests([[stored(row) for row in rows]], raw=True))
    assert without_numbers(list(parse_csv(chunks(text, size), LIMITS))) == rows


@given(rows=ROWS, size=CHUNKS)
def test_jsonl_comes_back_as_it_was(rows, size):
    text = "".join(jsonl_of_tests([[stored(row) for row in rows]]))
    assert without_numbers(list(parse_jsonl(chunks(text, size), LIMITS))) == rows


@given(rows=ROWS)
def test_csv_for_people_has_no_cell_that_a_spreadsheet_would_run(rows):
    text = "".join(csv_of_tests([[stored(row) for row in rows]], raw=False))
    for cells in list(csv.reader(io.StringIO(text, newline="")))[1:]:
        texts = [cell for column, cell in enumerate(cells) if column != 5]
        assert not [cell for cell in texts if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]


@given(
    content=st.binary(max_size=300)
    | st.text(max_size=200).map(lambda text: ("prompt,id\n" + text).encode("utf-8", "ignore"))
)
def test_no_file_makes_the_parsers_raise(content):
    for parse in (parse_csv, parse_jsonl):
        assert list(parse([content], LIMITS))
