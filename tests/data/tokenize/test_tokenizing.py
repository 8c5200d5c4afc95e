"""Tokenizing makes the bytes a plain loop would make, whatever the format, the workers and the kills."""

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data import datasets
from data.errors import DataError
from data.shards import read_shard
from data.tokenize import batches, documents, encoders, gpt2, tokenizing
from data.tokenize.batches import Position
from data.tokenize.order import Duplicates, Order
from data.tokenize.tokenizing import tokenize
from tests.data.conftest import ROOT, Command

pytestmark = pytest.mark.usefixtures("gpt2")

TEXT = st.text(st.sampled_from("ab cd.,!?'é中🎉\n\r\t\u00a0\u2028\x1c<|>0123"), max_size=60)
DOCUMENTS = st.lists(TEXT | st.just("<|endoftext|>") | st.just("don't  stop <|endoftext|> here"), max_size=8)


def reference(texts: Sequence[str]) -> np.ndarray:
    """The plain way: one document after the other."""
    encoding = gpt2.load_encoding()
    return np.array([t for text in texts for t in (gpt2.END_OF_TEXT, *encoding.encode_ordinary(text))], np.uint16)


def write_jsonl(path: Path, texts: Sequence[str]) -> Path:
    path.write_text("".join(json.dumps({"id": n, "text": text}) + "\n" for n, text in enumerate(texts)))
    return path


def shards_of(folder: Path) -> list[list[int]]:
    return [read_shard(path).tolist() for path in (*folder.glob("*_val_*.bin"), *sorted(folder.glob("*_train_*.bin")))]


def content_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (*folder.glob("*.bin"), folder / "dataset.toml")}


def prose(seed: int, count: int) -> list[str]:
    rng = random.Random(seed)
    words = [
        f"{rng.choice('bcdfglmnprst')}{rng.choice('aeiou')}{rng.choice(['', 'n', 'ring', 'tion'])}" for _ in range(400)
    ]
    return [" ".join(rng.choices(words, k=rng.randint(1, 400))) + f" {seed}.{n}." for n in range(count)]


@settings(max_examples=60)
@given(texts=DOCUMENTS, val_tokens=st.integers(1, 40), shard_tokens=st.integers(1, 40))
def test_shards_are_the_reference_cut_into_pieces(texts: list[str], val_tokens: int, shard_tokens: int) -> None:
    tokens = reference(texts).tolist()
    with tempfile.TemporaryDirectory() as name:
        source, out = write_jsonl(Path(name) / "in.jsonl", texts), Path(name) / "out"
        order = Order(
            inputs=[source], out=out, val_tokens=val_tokens, shard_tokens=shard_tokens, duplicates="keep"
        )  # fmt: skip
        if len(tokens) <= val_tokens:
            with pytest.raises(DataError, match="more tokens than the validation shard takes"):
                tokenize(order, 1)
            return
        made = tokenize(order, 1)
        rest = tokens[val_tokens:]
        cut = [rest[start : start + shard_tokens] for start in range(0, len(rest), shard_tokens)]
        assert shards_of(out) == [tokens[:val_tokens], *cut]
        assert (made.val_tokens, made.train_tokens, made.train_shards) == (val_tokens, len(rest), len(cut))
        assert (made.val_documents or 0) + (made.train_documents or 0) == len(texts)
        assert (made.val_bytes or 0) + (made.train_bytes or 0) == sum(len(text.encode()) for text in texts)
        assert datasets.verify(made, Path(name)) == made.sha256


@settings(max_examples=200)
@given(text=st.text(st.sampled_from("ab 'll\n\t\r\u00a0\u2028\x1c中🎉.9"), max_size=200))
def test_pieces_have_the_tokens_and_the_text_of_the_whole(text: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gpt2, "PIECE_CHARACTERS", 7)
        pieces = list(gpt2.split_pieces(text))
        assert "".join(pieces) == text
        encode = gpt2.load_encoding().encode_ordinary
        assert [token for piece in pieces for token in encode(piece)] == encode(text)


@settings(max_examples=200)
@given(
    texts=st.lists(st.text(st.sampled_from("ab \n中🎉."), max_size=60), min_size=1, max_size=6),
    block=st.integers(1, 40),
)
def test_streamed_text_is_the_same_documents_from_any_batch_on(texts: list[str], block: int) -> None:
    """Small blocks and pieces: every document spans several batches; each batch can be the first of a new process."""
    joined = "##".join(texts)
    expected = [part + "##" for part in joined.split("##")]
    expected = [*expected[:-1], expected[-1][:-2]] if expected[-1] != "##" else expected[:-1]
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        patch.setattr(gpt2, "PIECE_CHARACTERS", 7)
        patch.setattr(documents, "BATCH_BYTES", block)
        path = Path(name) / "in.txt"
        path.write_bytes(joined.encode())
        read = list(documents.read_batches([path], Position(), "##"))
        found: list[list[str]] = []
        for batch in read:
            for index, text in batch.texts().items():
                if index == 0 and batch.start.inside:
                    found[-1].append(text)
                else:
                    found.append([text])
        assert ["".join(parts) for parts in found] == expected
        assert [parts for parts in found] == [list(gpt2.split_pieces(text)) for text in expected]
        for number, batch in enumerate(read):
            again = list(documents.read_batches([path], batch.start, "##"))
            assert [b.payload for b in again] == [b.payload for b in read[number:]]


@given(text=st.text(max_size=300))
@settings(max_examples=100)
def test_encode_decode_round_trip(text: str) -> None:
    tokens = gpt2.encode_texts([text])
    assert tokens[0] == gpt2.END_OF_TEXT
    assert gpt2.decode(tokens[1:]) == text
    assert gpt2.count_bytes(tokens) == len(text.encode())


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_bytes_do_not_depend_on_workers_or_format(tmp_path: Path, workers: int) -> None:
    texts = prose(1, 1500)
    formats = {
        "jsonl": write_jsonl(tmp_path / "in.jsonl", texts),
        "txt": tmp_path / "in.txt",
        "parquet": write_parquet(tmp_path / "in.parquet", texts),
    }
    formats["txt"].write_text("".join(texts))
    expected = reference(texts).tolist()
    for suffix, source in formats.items():
        out = tmp_path / suffix / "made"
        separator = "." if suffix == "txt" else None
        order = Order(inputs=[source], out=out, shard_tokens=60_000, val_tokens=20_000, separator=separator)
        if suffix == "txt":  # every document ends with the separator that ends it, twice in its number
            plain = [part + "." for part in "".join(texts).split(".")[:-1]]
            assert [t for shard in made(order, workers) for t in shard] == reference(plain).tolist()
        else:
            assert [t for shard in made(order, workers) for t in shard] == expected


def made(order: Order, workers: int) -> list[list[int]]:
    tokenize(Order(**{field: getattr(order, field) for field in order.__slots__} | {"duplicates": "keep"}), workers)
    return shards_of(order.out)


def write_parquet(path: Path, texts: Sequence[str | None], column: str = "text", group: int = 300) -> Path:
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    table = pa.table({"id": [str(n) for n in range(len(texts))], column: pa.array(texts, pa.string())})
    parquet.write_table(table, path, row_group_size=group)
    return path


def test_parquet_can_be_taken_up_at_every_batch(tmp_path: Path) -> None:
    texts = prose(3, 700)
    path = write_parquet(tmp_path / "in.parquet", texts, group=90)
    read = list(documents.read_batches([path], Position(), None))
    assert [text for batch in read for text in batch.texts().values()] == texts
    for batch in read:
        again = documents.read_batches([path], batch.start, None)
        assert [text for b in again for text in b.texts().values()] == texts[batch.start.offset :]
    assert documents.locate([path], read[-1], 0) == f"{path}, row {read[-1].start.offset + 1}"


def test_the_digest_of_a_document_is_the_same_in_every_format(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpt2, "PIECE_CHARACTERS", 50)
    monkeypatch.setattr(documents, "BATCH_BYTES", 120)
    long = " ".join(prose(5, 1))
    train, val = tmp_path / "train.txt", write_jsonl(tmp_path / "val.jsonl", [long])
    train.write_text("something else\n##" + long)
    order = Order(inputs=[train], val_inputs=(val,), out=tmp_path / "out", separator="##")
    with pytest.raises(DataError, match=r"train\.txt:2: expected a training document that is not in validation"):
        tokenize(order, 1)


# Malformed input


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.jsonl", b'{"text": "x"}\n\n{"text": 1}\n', r"a\.jsonl:3: expected a JSON object whose text is a string"),
        ("a.jsonl", b'{"text": "x"}\n{"text": "y"\n', r"a\.jsonl:2: expected a JSON object, found 'Expecting"),
        ("a.jsonl", b'{"text": "x"}\n[1]\n', r"a\.jsonl:2: expected .* found list"),
        ("a.jsonl", b'{"text": "x"}\n{"body": "y"}\n', r"a\.jsonl:2: .* found text of type NoneType"),
        ("a.jsonl", b'{"text": "\\ud800"}\n', r"a\.jsonl:1: expected text that UTF-8 can hold"),
        ("a.jsonl", b'{"text": "x"}\n{"text": "\xff"}\n', r"a\.jsonl:2: expected UTF-8, found byte 0xff"),
        ("a.jsonl", b'{"text": "x"}\n' + b"[" * 100_000 + b"\n", r"a\.jsonl:2: expected a JSON object"),
        ("a.txt", "é\n".encode() * 9 + b"caf\xe9 au lait", r"a\.txt:10: expected UTF-8, found byte 0xe9"),
        ("a.txt", b"one\ntwo\xc3", r"a\.txt:2: expected UTF-8, found byte 0xc3"),
        ("a.parquet", b"PAR1 no", r"a\.parquet: expected a Parquet file"),
    ],
)
@pytest.mark.parametrize("workers", [1, 2])
def test_malformed_input_is_named_by_file_and_line(
    tmp_path: Path, name: str, content: bytes, expected: str, workers: int
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=expected):
        tokenize(Order(inputs=[tmp_path / name], out=tmp_path / "out", val_tokens=1), workers)


def test_lines_are_counted_over_many_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "BATCH_BYTES", 100)
    path = write_jsonl(tmp_path / "a.jsonl", [f"text {n}" for n in range(100)])
    path.write_text(path.read_text() + "broken\n")
    with pytest.raises(DataError, match=r"a\.jsonl:101: expected a JSON object"):
        tokenize(Order(inputs=[path], out=tmp_path / "out", val_tokens=1), 1)


def test_parquet_of_another_kind_is_told(tmp_path: Path) -> None:
    order = Order(inputs=[write_parquet(tmp_path / "a.parquet", ["x"], column="body")], out=tmp_path / "out")
    with pytest.raises(DataError, match="expected a column 'text' of strings as in FineWeb, found no such column"):
        tokenize(order, 1)
    order = Order(inputs=[write_parquet(tmp_path / "b.parquet", ["x", None])], out=tmp_path / "out2")
    with pytest.raises(DataError, match=r"b\.parquet, row 2: expected text, found null"):
        tokenize(order, 1)


def test_what_cannot_be_read_is_told(tmp_path: Path) -> None:
    for source in (tmp_path / "none.txt", tmp_path):
        with pytest.raises(DataError, match="expected a file to read"):
            tokenize(Order(inputs=[source], out=tmp_path / "out"), 1)


def test_a_line_without_an_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "BATCH_BYTES", 100)
    monkeypatch.setattr(documents, "MAX_LINE_BYTES", 1000)
    (tmp_path / "a.jsonl").write_bytes(b'{"text": "' + b"x" * 5000)
    with pytest.raises(DataError, match=r"a\.jsonl:1: expected a line of at most 1,000 bytes"):
        tokenize(Order(inputs=[tmp_path / "a.jsonl"], out=tmp_path / "out"), 1)
    (tmp_path / "a.txt").write_bytes(b"x" * 300_000)
    monkeypatch.setattr(gpt2, "PIECE_CHARACTERS", 100)
    with pytest.raises(DataError, match="expected a space or a line break within"):
        tokenize(Order(inputs=[tmp_path / "a.txt"], out=tmp_path / "out2"), 1)


def test_an_endless_word_is_searched_in_linear_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """400 blocks without a blank: every character is looked at a few times, not once for every block behind it."""
    looked, kept = [0], gpt2.piece_end

    def counted(text: str, start: int, end: int) -> int | None:
        looked[0] += end - start
        return kept(text, start, end)

    monkeypatch.setattr(gpt2, "piece_end", counted)
    monkeypatch.setattr(gpt2, "PIECE_CHARACTERS", 100)
    monkeypatch.setattr(documents, "BATCH_BYTES", 1000)
    (tmp_path / "a.txt").write_bytes(b"x" * 400_000)
    assert len(list(documents.read_batches([tmp_path / "a.txt"], Position(), None))) == 1
    assert looked[0] < 4 * 400_000


# Documents in validation and in training


@pytest.mark.parametrize("workers", [1, 2])
def test_validation_documents_in_training_are_refused_with_their_place(tmp_path: Path, workers: int) -> None:
    texts = prose(7, 300)
    texts[200] = texts[3]
    order = Order(
        inputs=[write_jsonl(tmp_path / "a.jsonl", texts)], out=tmp_path / "out", val_tokens=5_000, shard_tokens=5_000
    )
    with pytest.raises(DataError, match=r"a\.jsonl:201: expected a training document that is not in validation"):
        tokenize(order, workers)


@pytest.mark.parametrize("duplicates", ["drop", "keep"])
def test_repeated_documents_are_dropped_or_counted(tmp_path: Path, duplicates: Duplicates) -> None:
    texts = prose(7, 300)
    texts[200] = texts[3]
    texts[299] = texts[0]
    source = write_jsonl(tmp_path / "a.jsonl", texts)
    order = Order(inputs=[source], out=tmp_path / "out", val_tokens=5_000, duplicates=duplicates)
    dataset = tokenize(order, 1)
    kept = texts if duplicates == "keep" else [text for n, text in enumerate(texts) if n not in (200, 299)]
    assert [t for shard in shards_of(order.out) for t in shard] == reference(kept).tolist()
    assert dataset.repeated_documents == (2 if duplicates == "keep" else 0)
    assert (dataset.train_bytes or 0) + (dataset.val_bytes or 0) == sum(len(text.encode()) for text in kept)


def test_the_document_that_the_cut_divides_counts_as_validation(tmp_path: Path) -> None:
    texts = ["first document", "a second one that is divided", "a third", "a second one that is divided"]
    order = Order(inputs=[write_jsonl(tmp_path / "a.jsonl", texts)], out=tmp_path / "out", val_tokens=5)
    with pytest.raises(DataError, match=r"a\.jsonl:4: .*'a second one that is divided'"):
        tokenize(order, 1)


def test_validation_of_its_own_files(tmp_path: Path) -> None:
    val, train = prose(1, 20), prose(2, 50)
    paths = [write_jsonl(tmp_path / f"{name}.jsonl", texts) for name, texts in (("v", val), ("t", train))]
    dataset = tokenize(Order(inputs=[paths[1]], val_inputs=(paths[0],), out=tmp_path / "out"), 1)
    assert shards_of(tmp_path / "out") == [reference(val).tolist(), reference(train).tolist()]
    assert (dataset.val_documents, dataset.train_documents) == (20, 50)
    (tmp_path / "empty.jsonl").write_text("")
    with pytest.raises(DataError, match="expected documents for validation, found none"):
        tokenize(Order(inputs=[paths[1]], val_inputs=(tmp_path / "empty.jsonl",), out=tmp_path / "out2"), 1)


# Known answers


def test_llmc_tiny_shakespeare_token_for_token(tmp_path: Path, shakespeare: Path, command: Command) -> None:
    """llm.c marks the beginning and every blank line, and validates on the first 32,768 tokens."""
    done = command(
        "tokenize", shakespeare, "--out", tmp_path / "par", "--separator", r"\n\n", "--val-tokens", "32768",
        "--duplicates", "keep", "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    mark, text = "<|endoftext|>", shakespeare.read_text()
    tokens = gpt2.load_encoding().encode(mark + text.replace("\n\n", "\n\n" + mark), allowed_special={mark})
    assert shards_of(tmp_path / "par") == [tokens[:32768], tokens[32768:]]
    answer = json.loads(done.stdout)
    assert (answer["train_tokens"], answer["val_tokens"]) == (305_260, 32_768)
    assert answer["train_bytes"] + answer["val_bytes"] == shakespeare.stat().st_size


def test_nanogpt_shakespeare_token_for_token(tmp_path: Path, shakespeare: Path) -> None:
    """nanoGPT encodes the first nine tenths and the rest, each as one text."""
    text = shakespeare.read_text()
    parts = {"train": text[: int(len(text) * 0.9)], "val": text[int(len(text) * 0.9) :]}
    for name, part in parts.items():
        (tmp_path / f"{name}.txt").write_text(part)
    tokenize(Order(inputs=[tmp_path / "train.txt"], val_inputs=(tmp_path / "val.txt",), out=tmp_path / "out"), 2)
    val, train = shards_of(tmp_path / "out")
    assert (train[0], val[0], len(train), len(val)) == (gpt2.END_OF_TEXT, gpt2.END_OF_TEXT, 301_967, 36_060)
    encode = gpt2.load_encoding().encode_ordinary
    assert (train[1:], val[1:]) == (encode(parts["train"]), encode(parts["val"]))


# Going on


def test_a_finished_folder_is_left_alone_and_other_orders_are_refused(tmp_path: Path) -> None:
    source = write_jsonl(tmp_path / "a.jsonl", prose(1, 100))
    order = Order(inputs=[source], out=tmp_path / "out", val_tokens=1000, shard_tokens=3000)
    first = tokenize(order, 1)
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.bin")}
    assert tokenize(order, 1) == first
    assert {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.bin")} == before
    other = Order(inputs=[source], out=tmp_path / "out", val_tokens=1001, shard_tokens=3000)
    with pytest.raises(DataError, match="expected the inputs and options the work was begun with"):
        tokenize(other, 1)
    (tmp_path / "out" / ".tokenize.json").unlink()
    with pytest.raises(DataError, match="expected an empty folder, found shards"):
        tokenize(order, 1)


@pytest.mark.parametrize("duplicates", ["drop", "keep"])
def test_taking_up_after_every_shard_gives_the_same(
    tmp_path: Path, duplicates: Duplicates, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped after each batch in turn, in one process: every resumption is met, also inside long documents."""
    monkeypatch.setattr(gpt2, "PIECE_CHARACTERS", 300)
    monkeypatch.setattr(documents, "BATCH_BYTES", 1500)
    texts = prose(11, 40)
    texts[25] = texts[30] = "short"
    texts[2] = "short"
    source = tmp_path / "in.txt"
    source.write_text("##".join(texts))
    options = {"val_tokens": 700, "shard_tokens": 900, "separator": "##", "duplicates": duplicates}
    texts_with_separators = [text + "##" for text in texts[:-1]] + texts[-1:]
    whole = Order(inputs=[source], out=tmp_path / "whole" / "same", **options)  # type: ignore[arg-type]
    tokenize(whole, 1)
    kept = [t for n, t in enumerate(texts_with_separators) if duplicates == "keep" or n not in (25, 30)]
    assert [t for shard in shards_of(whole.out) for t in shard] == reference(kept).tolist()
    pieces = Order(inputs=[source], out=tmp_path / "pieces" / "same", **options)  # type: ignore[arg-type]
    stop_after(pieces, monkeypatch)
    assert content_of(pieces.out) == content_of(whole.out)


def stop_after(order: Order, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run again and again, each time stopped after another number of batches."""
    real = encoders.encode_batch
    for start in range(200):
        left = [1 + start % 40]

        def limited(batch: batches.Batch, left: list[int] = left) -> encoders.Encoded:
            left[0] -= 1
            if left[0] < 0:
                raise KeyboardInterrupt
            return real(batch)

        monkeypatch.setattr(encoders, "encode_batch", limited)
        try:
            tokenize(order, 1)
            return
        except KeyboardInterrupt:
            continue
    raise AssertionError("expected an end within 200 starts")


def kill_until_done(source: Path, out: Path, rng: random.Random) -> int:
    """The real command, killed at random points until one comes to its end; returns the kills that hit."""
    argv = [
        sys.executable, "-m", "harness", "data", "tokenize", str(source), "--out", str(out), "--workers", "2",
        "--shard-tokens", "40000", "--val-tokens", "20000",
    ]  # fmt: skip
    mark = f"SPEEDRUN_TEST_{os.getpid()}_{out.parent.name}".replace("-", "_")
    for attempt in range(60):
        process = subprocess.Popen(
            argv, cwd=ROOT, env=os.environ | {mark: "1"}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        known = len(list(out.glob("*.bin"))) if out.exists() else 0
        target, deadline = known + rng.randint(0, 4), time.monotonic() + rng.uniform(0.2, 6)
        while process.poll() is None and time.monotonic() < deadline and attempt < 59:
            if len(list(out.glob("*.bin"))) > target:
                time.sleep(rng.uniform(0, 0.05))
                break
            time.sleep(0.002)
        if process.poll() is None and attempt < 59:
            process.send_signal(signal.SIGKILL)
        _, stderr = process.communicate(timeout=600)
        if process.returncode == 0:
            assert left_after_a_minute(mark) == []
            return attempt
        assert process.returncode == -signal.SIGKILL, stderr
    raise AssertionError("expected an end within 60 starts")


def left_after_a_minute(mark: str) -> list[str]:
    """Workers end with the process that started them, killed or not."""

    def alive() -> list[str]:
        found = []
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and mark.encode() in (entry / "environ").read_bytes():
                    found.append(entry.name)
            except OSError:  # gone meanwhile
                continue
        return found

    deadline = time.monotonic() + 60
    while alive() and time.monotonic() < deadline:
        time.sleep(0.05)
    return alive()


def kill_many(tmp_path: Path, seed: int, kills: int) -> None:
    source = write_jsonl(tmp_path / "in.jsonl", prose(seed, 4000))
    whole = tmp_path / "whole" / "same"
    tokenize(Order(inputs=[source], out=whole, shard_tokens=40_000, val_tokens=20_000), 1)
    expected, rng, hits = content_of(whole), random.Random(seed), 0
    for round_ in range(10 * kills):
        out = tmp_path / f"round-{round_}" / "same"
        hits += kill_until_done(source, out, rng)
        assert content_of(out) == expected
        assert not list(out.glob(".*.tmp"))
        if hits >= kills:
            return
    raise AssertionError(f"expected {kills} kills that hit, found {hits}")


@pytest.mark.slow
def test_kills_at_random_points_end_in_the_same_bytes(tmp_path: Path) -> None:
    kill_many(tmp_path, seed=1, kills=4)


@pytest.mark.exhaustive
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_fifty_kills_at_random_points_end_in_the_same_bytes(tmp_path: Path) -> None:
    kill_many(tmp_path, seed=2, kills=50)


@pytest.mark.parametrize("separator", [None, "\n\n"])
def test_memory_does_not_grow_with_the_input(tmp_path: Path, separator: str | None) -> None:
    """One text of 4 MB and one of 32 MB, with and without documents in it."""
    block = "\n\n".join(prose(1, 400)) + "\n\n"
    program = (
        "import sys; from pathlib import Path\n"
        "from data.tokenize.order import Order; from data.tokenize.tokenizing import tokenize\n"
        "tokenize(Order(inputs=[Path(sys.argv[1])], out=Path(sys.argv[2]), val_tokens=1000, duplicates='keep',"
        f" separator={separator!r}), 1)\n"
        "print(Path('/proc/self/status').read_text().partition('VmHWM:')[2].split()[0])"
    )
    peaks = []
    for megabytes in (4, 32):
        source = tmp_path / f"{megabytes}.txt"
        source.write_text(block * (megabytes * 2**20 // len(block)))
        argv = [sys.executable, "-c", program, str(source), str(tmp_path / f"out{megabytes}")]
        done = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=600)
        peaks.append(int(done.stdout) * 1024)
    assert peaks[1] - peaks[0] < 12 * 2**20, f"{peaks[1] - peaks[0]:,} bytes more for 28 MB more"


def test_a_missing_vocabulary_is_one_sentence(tmp_path: Path, command: Command) -> None:
    (tmp_path / "a.txt").write_text("some text")
    done = command(
        "tokenize", tmp_path / "a.txt", "--out", tmp_path / "out",
        TIKTOKEN_CACHE_DIR=str(tmp_path), HTTPS_PROXY="http://127.0.0.1:1", https_proxy="http://127.0.0.1:1",
    )  # fmt: skip
    assert done.returncode == 2
    assert "expected GPT-2's vocabulary, found" in done.stderr and "TIKTOKEN_CACHE_DIR" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_name_of_a_known_dataset_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("some text")
    with pytest.raises(DataError, match="expected a name of your own"):
        tokenize(Order(inputs=[tmp_path / "a.txt"], out=tmp_path / "fineweb10B"), 1)


def test_workers_are_no_more_than_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.txt").write_text("some text")
    assert tokenizing.default_workers([tmp_path / "a.txt"]) == 1
    monkeypatch.setattr(tokenizing, "_BYTES_WORTH_A_WORKER", 1)
    assert tokenizing.default_workers([tmp_path / "a.txt"]) == len(os.sched_getaffinity(0))


def test_a_killed_worker_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "BATCH_BYTES", 2**16)  # dozens of batches, of which nine are under way
    source = write_jsonl(tmp_path / "in.jsonl", prose(1, 3000))
    place: Callable[[batches.Batch, int], str] = lambda batch, index: documents.locate([source], batch, index)  # noqa: E731
    stream = encoders.encode_all(documents.read_batches([source], Position(), None), 2, place)
    next(stream)
    import multiprocessing

    for child in multiprocessing.active_children():
        child.kill()
    with pytest.raises(DataError, match="one was killed"):
        list(stream)
