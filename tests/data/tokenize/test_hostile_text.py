"""Text that would become other tokens without a word: marks, kinds, separators, whitespace without end."""

import gzip
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.datasets import read_manifest
from data.errors import DataError
from data.shards import read_shard
from data.tokenize import cutting, documents, gpt2
from data.tokenize.kinds import kind_of
from data.tokenize.order import Order
from data.tokenize.tokenizing import tokenize
from tests.data.conftest import Command

pytestmark = pytest.mark.usefixtures("gpt2")
MARK = "<|endoftext|>"
TALE = f"A fox.\n{MARK}\nA hen.\n{MARK}\n"


def tokens_of(order: Order) -> list[int]:
    made = tokenize(order, 1)
    return [int(t) for name in (made.val_file, *made.train_files()) for t in read_shard(order.out / name)]


def an_order(tmp_path: Path, *inputs: Path, **options: Any) -> Order:
    return Order(
        inputs=list(inputs), out=tmp_path / "out", val_tokens=8, shard_tokens=10_000, duplicates="keep", **options
    )


def test_a_mark_that_separates_documents_is_no_part_of_them(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(TALE * 9)
    encode = gpt2.load_encoding().encode_ordinary
    found = tokens_of(an_order(tmp_path, tmp_path / "a.txt", separator=MARK))
    documents = ["A fox.\n", *["\nA hen.\n", "\nA fox.\n"] * 8, "\nA hen.\n"]
    assert found == [token for text in documents for token in (gpt2.END_OF_TEXT, *encode(text))]


def test_a_mark_inside_a_text_is_an_error_unless_asked_for(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\n" + TALE)
    with pytest.raises(DataError, match=r"a\.txt:3: expected text, found the mark"):
        tokenize(an_order(tmp_path, tmp_path / "a.txt"), 1)
    found = tokens_of(Order(inputs=[tmp_path / "a.txt"], out=tmp_path / "kept", val_tokens=8, keep_marks=True))
    assert found == [gpt2.END_OF_TEXT, *gpt2.load_encoding().encode_ordinary("one\n" + TALE)]


@pytest.mark.parametrize("name", ["docs.json", "docs.JSONL", "docs", "docs.txt", "docs.data"])
def test_lines_of_json_are_read_as_such_whatever_they_are_called(tmp_path: Path, name: str) -> None:
    lines = [json.dumps({"text": f"A fox {n}.", "url": "https://example.org/"}) for n in range(9)]
    (tmp_path / name).write_text("\n".join(lines))
    found = tokens_of(an_order(tmp_path, tmp_path / name))
    encode = gpt2.load_encoding().encode_ordinary
    assert found == [token for n in range(9) for token in (gpt2.END_OF_TEXT, *encode(f"A fox {n}."))]


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.json", b'[{"text": "A fox."}, {"text": "A hen."}]', "found a JSON array"),
        ("a.txt", b'[\n  {\n "text": "A fox."}]', "found a JSON array"),
        ("a.json", b'{\n "text": "A fox."\n}', "found other JSON"),
        ("a.json", b'{"content": "A fox."}\n', "found other JSON"),
        ("a.txt", gzip.compress(b"A fox.", mtime=0), "packed by gzip"),
        ("a.jsonl", b"\x28\xb5\x2f\xfd" + bytes(99), "packed by zstd"),
        ("a.parquet", b"PK\x03\x04" + bytes(99), "packed by zip"),
    ],
)
def test_what_is_no_lines_of_json_and_no_text_is_told(tmp_path: Path, name: str, content: bytes, expected: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=expected):
        tokenize(an_order(tmp_path, tmp_path / name), 1)


def test_lines_of_json_whose_first_is_broken_are_no_prose(tmp_path: Path) -> None:
    (tmp_path / "docs.txt").write_text('{"text": "half of\n' + '{"text": "A fox."}\n' * 9)
    with pytest.raises(DataError, match=r"docs\.txt:1: expected a JSON object"):
        tokenize(an_order(tmp_path, tmp_path / "docs.txt"), 1)


def test_prose_in_braces_is_prose(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text('{"quoted" he said} and more, and more, and more of it\n')
    assert tokens_of(an_order(tmp_path, tmp_path / "a.txt"))[0] == gpt2.END_OF_TEXT


def test_a_separator_that_has_no_effect_is_told(tmp_path: Path) -> None:
    (tmp_path / "crlf.txt").write_bytes(b"A fox.\r\n\r\nA hen.\r\n\r\n")
    (tmp_path / "lf.txt").write_bytes(b"A fox.\n\nA hen.\n\n")
    (tmp_path / "a.jsonl").write_text('{"text": "A fox."}\n')
    for names, expected in (
        (["crlf.txt"], r"never occurs: the file has CRLF line ends; give --separator '\\r\\n\\r\\n'"),
        (["lf.txt", "crlf.txt"], "CRLF"),
        (["a.jsonl"], "expected a text file beside --separator"),
    ):
        with pytest.raises(DataError, match=expected):
            tokenize(an_order(tmp_path, *(tmp_path / name for name in names), separator="\n\n"), 1)
    with pytest.raises(DataError, match="never occurs; leave it out"):
        tokenize(an_order(tmp_path, tmp_path / "lf.txt", separator="###"), 1)


@pytest.mark.parametrize("kind", ["dictionary", "string_view", "large_dictionary"])
def test_strings_of_parquet_are_strings_however_they_are_kept(tmp_path: Path, kind: str) -> None:
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    texts = [f"A fox {n % 3}." for n in range(300)]
    types = {"dictionary": pa.dictionary(pa.int32(), pa.string()), "string_view": pa.string_view(),
             "large_dictionary": pa.dictionary(pa.int32(), pa.large_string())}  # fmt: skip
    plain = pa.array(texts)
    column = plain.dictionary_encode() if kind == "dictionary" else plain.cast(types[kind])
    parquet.write_table(pa.table({"text": column}), tmp_path / "a.parquet")
    encode = gpt2.load_encoding().encode_ordinary
    found = tokens_of(an_order(tmp_path, tmp_path / "a.parquet"))
    assert found == [token for text in texts for token in (gpt2.END_OF_TEXT, *encode(text))]


SPACES = st.sampled_from([" ", "\n", "\t", "\r\n", "\u00a0", "\u3000", "\u2003", " \n", "\x1c", "\u200b"])


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(SPACES, st.integers(1, 9_000), st.sampled_from(["", "a", " a", "1", "!", "'s", "é", "\x1f"])),
             max_size=4)
)  # fmt: skip
def test_hostile_whitespace_has_the_tokens_of_tiktoken(parts: list[tuple[str, int, str]]) -> None:
    text = "".join(space * count + end for space, count, end in parts)
    expected = gpt2.load_encoding().encode_ordinary(text)
    assert gpt2.encode_texts([text]).tolist() == [gpt2.END_OF_TEXT, *expected]


@pytest.mark.parametrize("character", [" ", "\n", "\u00a0", "a", "1", "!"])
def test_a_million_equal_characters_are_tokens(character: str) -> None:
    """tiktoken's own expression overflows its stack on whitespace; the tokens of a run do not depend on its length."""
    encode = gpt2.load_encoding().encode_ordinary
    found = gpt2.encode_texts([character * 1_000_000 + "x"]).tolist()
    short = encode(character * 4_000 + "x")
    if character.isspace():
        repeated = encode(character * 999_999)
        assert found == [gpt2.END_OF_TEXT, *repeated, *encode(character + "x")]
        assert short == [*encode(character * 3_999), *encode(character + "x")]
    else:
        assert found == [gpt2.END_OF_TEXT, *encode(character * 1_000_000 + "x")]


def parquet_of(path: Path, texts: list[bytes | None]) -> None:
    """Rows of a column of strings, whatever their bytes are."""
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    parquet.write_table(pa.table({"text": pa.array(texts, pa.binary()).view(pa.string())}), path)


GOOD = [f"A fox {n} and a hen." for n in range(40)]
BAD = {  # by kind of input: what is no document, as (content with it at index 3 and 30 of the good ones, place of it)
    "a.jsonl": ([b'{"text": "half", ', b'{"text": 5}', b'{"text": "\\ud800"}', b"\xff", b"[1]", b'{"x": ""}'], ":4"),
    "a.parquet": ([None, b"caf\xe9", b"\xff\xfe"], ", row 4"),
    "a.txt": ([b"caf\xe9 \xe9\n\n", b"\xc0\x80\n\n", b"\xed\xa0\x80\n\n"], ":7"),
}  # fmt: skip


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("name", BAD)
def test_what_is_no_document_is_named_or_left_out_and_counted(tmp_path: Path, name: str, workers: int) -> None:
    bad, place = BAD[name]
    encode = gpt2.load_encoding().encode_ordinary
    end = "\n\n" if name == "a.txt" else ""
    expected = [token for text in GOOD for token in (gpt2.END_OF_TEXT, *encode(text + end))]
    for number, broken in enumerate(bad if workers == 1 else bad[:1]):
        rows: list[bytes | None] = [
            json.dumps({"text": text}).encode() if name == "a.jsonl" else (text + end).encode() for text in GOOD
        ]
        rows[30:30], rows[3:3] = [broken], [broken]
        path = tmp_path / f"{number}" / name
        path.parent.mkdir()
        if name == "a.parquet":
            parquet_of(path, rows)
        else:
            path.write_bytes((b"\n" if name == "a.jsonl" else b"").join(row for row in rows if row is not None))
        options: dict[str, Any] = {"separator": "\n\n"} if name == "a.txt" else {}
        with pytest.raises(DataError, match=f"{name}{place}: .*--skip-bad"):
            tokenize(an_order(path.parent, path, **options), workers)
        order = Order(inputs=[path], out=path.parent / "left", val_tokens=8, skip_bad=True, **options)
        made = tokenize(order, workers)
        assert [
            int(t) for file in (made.val_file, *made.train_files()) for t in read_shard(order.out / file)
        ] == expected
        assert (made.skipped_documents, made.skipped) == (2, {name: 2})
        assert read_manifest(order.out / "dataset.toml") == made
        with pytest.raises(DataError, match="found others"):
            tokenize(replace(order, skip_bad=False), 1)


def test_a_document_of_many_batches_is_left_out_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpt2, "PIECE_CHARACTERS", 50)
    monkeypatch.setattr(documents, "BATCH_BYTES", 64)
    long = b"a hen and an egg " * 20
    texts = [b"a fox " * 30, long + b"\xff" + long, b"an owl " * 30, b"\xe9" + long, long + b"\xe9", b"a cat " * 30]
    (tmp_path / "a.txt").write_bytes(b"##".join(texts))
    order = an_order(tmp_path, tmp_path / "a.txt", separator="##", skip_bad=True)
    encode = gpt2.load_encoding().encode_ordinary
    kept = [texts[0] + b"##", texts[2] + b"##", texts[5]]
    assert tokens_of(order) == [t for text in kept for t in (gpt2.END_OF_TEXT, *encode(text.decode()))]
    assert read_manifest(order.out / "dataset.toml").skipped == {"a.txt": 3}


def test_nothing_left_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'{"text": 1}\n' * 9)
    (tmp_path / "b.txt").write_bytes(b"\xff\xfea\x00b\x00")
    for name in ("a.jsonl", "b.txt"):
        with pytest.raises(DataError, match=r"found 0 in all \(\d documents were left out\)"):
            tokenize(replace(an_order(tmp_path, tmp_path / name, skip_bad=True), out=tmp_path / name[0]), 1)


def test_documents_left_out_are_counted_once_by_who_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [json.dumps({"text": f"A fox {n}."}) if n % 5 else "{" for n in range(400)]
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    monkeypatch.setattr(documents, "BATCH_BYTES", 512)
    order = Order(inputs=[tmp_path / "a.jsonl"], out=tmp_path / "out", val_tokens=50, shard_tokens=200, skip_bad=True)
    finish = cutting.ShardFile.finish
    made: list[int] = []

    def killed(shard: cutting.ShardFile) -> cutting.Shard:
        if len(made) == 5:
            raise KeyboardInterrupt
        made.append(1)
        return finish(shard)

    monkeypatch.setattr(cutting.ShardFile, "finish", killed)
    with pytest.raises(KeyboardInterrupt):
        tokenize(order, 1)
    monkeypatch.setattr(cutting.ShardFile, "finish", finish)
    assert tokenize(order, 1).skipped == {"a.jsonl": 80}


def test_the_command_says_what_it_left_out(tmp_path: Path, command: Command) -> None:
    (tmp_path / "a.jsonl").write_text("\n".join([*(json.dumps({"text": text}) for text in GOOD), "{"]))
    options = [tmp_path / "a.jsonl", "--val-tokens", "8", "--workers", "1"]
    refused = command("tokenize", *options, "--out", tmp_path / "x")
    assert "a.jsonl:41: expected a JSON object" in refused.stderr
    done = command("tokenize", *options, "--out", tmp_path / "y", "--skip-bad")
    assert "1 documents could not be read and were left out: 1 of a.jsonl" in done.stdout, done.stderr
    told = json.loads(command("tokenize", *options, "--out", tmp_path / "z", "--skip-bad", "--json").stdout)
    assert (told["skipped_documents"], told["skipped"]) == (1, {"a.jsonl": 1})


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.parquet", "a"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_pointer_of_git_lfs_is_no_text(tmp_path: Path, name: str, end: str) -> None:
    lines = ("version https://git-lfs.github.com/spec/v1", "oid sha256:4d7a2146", "size 12345", "")
    for mark in ("", "\ufeff"):
        (tmp_path / name).write_bytes((mark + end.join(lines)).encode())
        with pytest.raises(DataError, match="git lfs pull"):
            kind_of(tmp_path / name)
