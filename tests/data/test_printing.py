"""Text of strangers: in a spreadsheet it stays text."""

import csv
import io

import pytest

from data.printing import spreadsheet_text


@pytest.mark.parametrize(
    "text",
    ["=1+1", "+1", "-1", "@SUM(1)", "\t=1", "\r=1", " =1", "\n=1", "\uff1d1", "\uff20a", "\u00a0=1", "\tx", "\rx", "-"],
)
def test_what_a_spreadsheet_would_run_begins_with_an_apostrophe(text: str) -> None:
    assert spreadsheet_text(text) == f"'{text}"


@pytest.mark.parametrize("value", ["a=1", "", " ", "1 - 2", "it's", -1, -1.5, None, True])
def test_everything_else_stays(value: object) -> None:
    assert spreadsheet_text(value) is value


def test_it_survives_a_csv_file() -> None:
    out = io.StringIO()
    csv.writer(out).writerow([spreadsheet_text('=HYPERLINK("x","y")')])
    assert next(csv.reader(io.StringIO(out.getvalue())))[0].startswith("'=")
