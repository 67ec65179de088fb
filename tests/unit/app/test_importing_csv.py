"""What a CSV file may hold, and what is said about one that cannot be imported."""

import io

import pytest

from rhesis.backend.app.services.importing import ImportLimits, Row, RowError, parse_csv

LIMITS = ImportLimits(prompt_max_bytes=1024 * 1024, max_rows=100)


def parsed(content: bytes, limits: ImportLimits = LIMITS, *, chunk: int = 7) -> list[Row | RowError]:
    source = io.BytesIO(content)
    return list(parse_csv(iter(lambda: source.read(chunk), b""), limits))


def rows(content: bytes) -> list[Row]:
    found = parsed(content)
    assert all(isinstance(row, Row) for row in found), found
    return found


def error(content: bytes, limits: ImportLimits = LIMITS) -> RowError:
    found = [row for row in parsed(content, limits) if isinstance(row, RowError)]
    assert len(found) == 1, found
    return found[0]


def test_every_column_reaches_its_field():
    content = (
        b"id,prompt,expected_response,behaviour,metrics,priority,language_code\r\n"
        b'a-1,Say hi,hi,politeness,"[{""name"": ""contains"", ""parameters"": {""value"": ""hi""}}]",-3,pt-BR\r\n'
    )
    assert rows(content) == [
        Row(
            number=2,
            prompt="Say hi",
            external_id="a-1",
            expected_response="hi",
            behaviour="politeness",
            metrics=[{"name": "contains", "parameters": {"value": "hi"}}],
            priority=-3,
            language_code="pt-BR",
        )
    ]


def test_columns_may_stand_in_any_order_and_only_prompt_must_be_there():
    assert rows(b"priority,prompt\n4,one\n,two\n") == [Row(2, "one", priority=4), Row(3, "two")]


def test_a_byte_order_mark_and_capital_letters_in_the_header_do_no_harm():
    assert rows(b"\xef\xbb\xbf Prompt ,ID\nhello,1\n") == [Row(2, "hello", external_id="1")]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_line_ends_of_every_system_are_understood(end: bytes):
    assert [row.prompt for row in rows(end.join([b"prompt", b"one", b"two"]))] == ["one", "two"]


def test_quoted_line_breaks_commas_and_quotation_marks_belong_to_the_cell():
    assert rows(b'prompt\n"one\r\ntwo, ""three"""\nfour\n') == [Row(2, 'one\r\ntwo, "three"'), Row(3, "four")]


def test_empty_rows_are_passed_over_but_counted():
    assert rows(b"\nprompt\n\nhello\n\n") == [Row(4, "hello")]


def test_a_character_may_be_split_between_two_chunks():
    content = "prompt\n😀äöü\n".encode()
    assert [row.prompt for row in parsed(content, chunk=1) if isinstance(row, Row)] == ["😀äöü"]


def test_nul_becomes_a_visible_replacement_and_is_noted():
    assert rows(b"prompt\na\x00b\nc\n") == [Row(2, "a\ufffdb", replaced=True), Row(3, "c")]


def test_bytes_that_are_not_utf8_are_an_error_of_their_row_alone():
    found = parsed(b"prompt\nfine\ncaf\xe9\nalso fine\n")
    assert [type(row) for row in found] == [Row, RowError, Row]
    assert found[1].number == 3
    assert "UTF-8" in found[1].message


def test_a_file_in_utf16_is_refused_with_that_reason():
    assert "UTF-8" in error("prompt\nhello\n".encode("utf-16")).message


@pytest.mark.parametrize("content", [b"", b"\n\n", b"prompt\n", b"\xef\xbb\xbf"])
def test_a_file_without_tests_is_refused(content: bytes):
    assert error(content) == RowError(1, "the file holds no tests")


def test_a_file_without_prompt_column_is_refused_with_the_known_columns():
    found = error(b"id,expected_response\n1,2\n")
    assert found.number == 1
    assert found.message.startswith("column prompt is missing; known are id, prompt,")


def test_an_unknown_column_is_refused_by_name_and_nothing_is_read_after_it():
    assert error(b"prompt,colour\na,b\nc,d\n").message.startswith("unknown column 'colour'")


def test_semicolons_are_refused_with_a_hint_at_commas():
    assert "separated by commas" in error(b"id;prompt\n1;hello\n").message


def test_a_column_that_stands_twice_is_refused():
    assert error(b"prompt,prompt\na,b\n").message == "column prompt stands twice"


@pytest.mark.parametrize(("line", "count"), [(b"a", 1), (b"a,b,c", 3)])
def test_a_row_with_another_number_of_cells_is_refused_and_the_rest_is_read(line: bytes, count: int):
    found = parsed(b"prompt,id\n" + line + b"\nhello,1\n")
    assert found[0] == RowError(2, f"{count} cells, the header has 2")
    assert found[1] == Row(3, "hello", external_id="1")


@pytest.mark.parametrize("prompt", [b"", b"   ", b'"\n"'])
def test_a_row_without_a_visible_prompt_is_refused(prompt: bytes):
    assert error(b"prompt,id\n" + prompt + b",1\n") == RowError(2, "prompt is empty")


def test_an_external_id_used_twice_names_the_row_that_had_it_first():
    found = parsed(b"id,prompt\nx,a\ny,b\nx,c\nx,d\n")
    assert [row for row in found if isinstance(row, RowError)] == [
        RowError(4, "id 'x' is already the id of row 2"),
        RowError(5, "id 'x' is already the id of row 2"),
    ]


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        (b"nonsense", "metrics is not JSON"),
        (b'"{""name"": ""contains""}"', "metrics is not a JSON list"),
        (b"[NaN]", "metrics is not JSON"),
        (b'"[{""name"": ""no_such_metric""}]"', "no_such_metric"),
        (b"[" * 20_000, "metrics is not JSON"),
    ],
)
def test_a_metrics_cell_that_cannot_be_used_is_refused_with_the_reason(cell: bytes, reason: str):
    found = error(b"prompt,metrics\nhello," + cell + b"\n")
    assert found.number == 2
    assert reason in found.message


@pytest.mark.parametrize("cell", [b"1.5", b"high", b"1000001", b"9" * 5000, "٣".encode()])
def test_a_priority_that_is_no_whole_number_in_range_is_refused(cell: bytes):
    assert error(b"prompt,priority\nhello," + cell + b"\n").message.startswith("priority is not a whole number")


def test_all_that_is_wrong_with_a_row_is_said_at_once():
    message = error(b"prompt,priority,language_code\n,x,???\n").message
    assert message.count(";") == 2


def test_a_prompt_is_measured_in_bytes_and_may_have_exactly_the_limit():
    limits = ImportLimits(prompt_max_bytes=8, max_rows=10)
    assert parsed("prompt\nääää\n".encode(), limits) == [Row(2, "ääää")]
    assert error("prompt\nääääa\n".encode(), limits).message == "prompt has 9 bytes, at most 8 are accepted"


def test_a_prompt_of_ten_megabytes_is_refused_with_its_row_and_the_limit():
    content = b"prompt\nfine\n" + b"x" * 10_000_000 + b"\nnot read\n"
    found = list(parse_csv([content], LIMITS))
    assert found[0] == Row(2, "fine")
    assert isinstance(found[1], RowError)
    assert (found[1].number, len(found)) == (3, 2)
    assert "more than 1048576 bytes" in found[1].message


def test_a_quotation_mark_that_is_never_closed_does_not_swallow_the_file_silently():
    assert "quotation mark left open" in error(b'prompt\n"hello\nworld\n').message


def test_an_endless_line_is_given_up_before_it_fills_the_memory():
    limits = ImportLimits(prompt_max_bytes=1000, max_rows=10)
    sent = 0

    def endless():
        nonlocal sent
        yield b"prompt\n"
        while True:
            sent += 1
            yield b"a,," * 30_000

    found = list(parse_csv(endless(), limits))
    assert isinstance(found[-1], RowError)
    assert sent < 10


def test_text_after_a_closing_quotation_mark_is_refused_not_guessed_at():
    found = parsed(b'prompt\n"a"b\nfine\n')
    assert found[0].message.startswith("not valid CSV")
    assert found[1] == Row(3, "fine")


def test_rows_beyond_the_limit_are_refused_and_not_read():
    found = parsed(b"prompt\n" + b"x\n" * 500)
    assert len(found) == LIMITS.max_rows + 1
    assert found[-1] == RowError(102, "more than 100 tests; split the file, the rest was not read")
