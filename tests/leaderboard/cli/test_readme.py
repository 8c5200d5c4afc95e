"""speedrun readme: the tables are fresh, everything else stays, and a stranger's words stay words."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UserError
from harness.formats import layout
from leaderboard.cli.readme import readme, rewritten
from leaderboard.text.markdown import as_words

Call = Callable[..., Result]
OPEN, CLOSE = "<!-- leaderboard:tiny -->", "<!-- /leaderboard -->"


def test_the_tables_of_our_own_readme_are_fresh() -> None:
    content = (layout.ROOT / layout.README_FILE).read_bytes()
    assert rewritten(content, "README.md")[0] == content, "run `speedrun readme`"


def test_a_table_is_written_once_and_nothing_else_is_touched(
    two_records: list[Path], call: Call, tmp_path: Path
) -> None:
    path = tmp_path / "README.md"
    path.write_bytes(f"before  \n\n{OPEN}\nold\n{CLOSE}\nafter\t\n<!-- tree -->\nno newline".encode())
    assert call(readme, str(path), "--check").exit_code == 1
    assert "old" in path.read_text()
    assert call(readme, str(path)).exit_code == 0
    content = path.read_text()
    assert content.startswith(f"before  \n\n{OPEN}\n| # | record |")
    assert content.endswith(f"\n{CLOSE}\nafter\t\n<!-- tree -->\nno newline")
    assert content.index("A faster one") < content.index("A first one")
    assert "old" not in content
    at = path.stat().st_mtime_ns
    done = call(readme, str(path), "--json")
    assert json.loads(done.stdout) == {"file": str(path), "tracks": ["tiny"], "changed": False, "written": False}
    assert call(readme, str(path), "--check").exit_code == 0
    assert path.stat().st_mtime_ns == at


def test_the_newest_few_and_windows_line_ends(two_records: list[Path]) -> None:
    text = f"a\r\n<!-- leaderboard:tiny 1 -->\r\n{CLOSE}\r\nb\r\n"
    content, tracks = rewritten(text.encode(), "x")
    assert tracks == ["tiny"]
    assert b"A faster one" in content
    assert b"A first one" not in content
    assert b"The newest 1 of 2 records" in content
    assert content.count(b"\n") == content.count(b"\r\n")
    assert rewritten(content, "x")[0] == content


@pytest.mark.parametrize(
    "text",
    [
        OPEN, f"{OPEN}\n{OPEN}\n{CLOSE}\n", f"{CLOSE}\n", f"{OPEN}\n{CLOSE}\n{CLOSE}\n",
        f"<!--leaderboard:tiny-->\n{CLOSE}\n", f"<!-- leaderboard:tiny  -->\n{CLOSE}\n",
        f"<!-- leaderboard: -->\n{CLOSE}",
        f"<!-- leaderboard:no-such-track -->\n{CLOSE}\n", f"<!-- leaderboard:../tiny -->\n{CLOSE}\n",
    ],
)  # fmt: skip
def test_markers_that_would_hide_a_stale_table_are_refused(contest: Path, text: str) -> None:
    with pytest.raises(UserError):
        rewritten(text.encode(), "README.md")


def test_a_file_without_markers_stays(tmp_path: Path, call: Call) -> None:
    path = tmp_path / "x.md"
    path.write_text("text")
    assert "no markers" in call(readme, str(path)).stdout
    with pytest.raises(UserError, match="UTF-8"):
        rewritten(b"\xff", "x")
    with pytest.raises(UserError, match="plain"):
        call(readme, str(tmp_path / "none.md"))


@pytest.mark.parametrize(
    "text",
    ["a|b", "<img src=x>", "[a](http://b)", "`code`", "**b**", "@someone", "#12", "\u202egnirts", "a\nb", "&amp;"],
)
def test_a_strangers_words_stay_words(text: str) -> None:
    safe = as_words(text)
    assert not set("|<>[]`*@\n\u202e") & set(safe)
    assert not re.search(r"#(?!\d+;)", safe)


@given(st.text(max_size=60))
def test_words_come_back_as_they_were(text: str) -> None:
    import html

    safe = as_words(text)
    assert not re.search(r"[|<>\[\]`*_@\\:!{}~]", safe)
    assert "www." not in safe.lower()
    shown = "".join(c if c.isprintable() else "\ufffd" for c in text)
    assert html.unescape(safe) == shown
