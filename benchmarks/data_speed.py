"""How fast data is tokenized, hashed and checked, against the tools one would use otherwise.

    python -m benchmarks.data_speed [--text FILE.jsonl] [--megabytes 200] [--repeats 3] [--only PART] [--json]

Tokenizing, on the same documents and the same cores:

    speedrun        data.tokenize.tokenizing.tokenize as `speedrun data tokenize` calls it: reads JSONL, hashes
                    every document, cuts and syncs shards, hashes them, writes the manifest; its processes start inside
                    the time
    tiktoken ...    tiktoken alone, documents already in memory, tokens thrown away: the limit. Four ways
    llm.c's way     a pool of processes, one array per document, copied into a shard buffer, written
    nanoGPT's way   a pool of processes, one list per document, written into one memory map

The pools get their documents from memory and are started before the clock. Verification is `datasets.verify` from
nothing remembered against `sha256sum`, on one core and on all; the start-up check is `datasets.verify` on 104 shards
whose digests are remembered. Rates are medians of the repeats, which go round so that noise meets every side.
"""

import argparse
import json
import multiprocessing
import os
import statistics
import subprocess
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path

import numpy as np

from data import datasets
from data.datasets import Dataset
from data.shards import make_header, write_shard
from data.tokenize import gpt2
from data.tokenize.order import Order
from data.tokenize.tokenizing import tokenize

CORES = len(os.sched_getaffinity(0))
SHARD_TOKENS = 20_000_000
DOCUMENT_CHARACTERS = 20_000
JOINED = 64
END = "<|endoftext|>"

Sides = dict[str, Callable[[], float]]


def documents(megabytes: int) -> Iterator[str]:
    """Source files of the installed packages, as often as it takes, each time under another first line."""
    folders = [sysconfig.get_path("purelib"), sysconfig.get_path("stdlib")]
    paths = sorted({path for folder in folders for path in Path(folder).rglob("*.py")})
    left = megabytes * 10**6
    for again in range(1000):
        for number, path in enumerate(paths):
            text = f"# {again}.{number}\n" + path.read_text(encoding="utf-8", errors="replace")[:DOCUMENT_CHARACTERS]
            left -= len(text)
            if left < 0:
                return
            yield text


def write_jsonl(path: Path, texts: Iterable[str]) -> None:
    with path.open("w", encoding="utf-8") as file:
        for text in texts:
            file.write(json.dumps({"text": text}, ensure_ascii=False) + "\n")


def read_jsonl(path: Path) -> list[str]:
    with path.open(encoding="utf-8") as file:
        return [json.loads(line)["text"] for line in file]


def timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


# tiktoken alone


def encode_one_by_one(texts: list[str]) -> int:
    encode = gpt2.load_encoding().encode_ordinary
    return sum(len(encode(text)) for text in texts)


def encode_joined(texts: list[str]) -> int:
    encoding, count = gpt2.load_encoding(), 0
    for start in range(0, len(texts), JOINED):
        joined = END + END.join(texts[start : start + JOINED])
        count += encoding.encode_to_numpy(joined, allowed_special={END}).size
    return count


def in_threads(texts: list[str]) -> float:
    """Every core a thread, 64 documents in one call."""
    parts = [texts[start : start + JOINED] for start in range(0, len(texts), JOINED)]
    with ThreadPoolExecutor(CORES) as pool:
        return timed(lambda: sum(pool.map(encode_joined, parts)))


def in_processes(texts: list[str], work: Callable[[list[str]], int]) -> float:
    """Every core a process that has its share in memory already; the time of the slowest."""
    with multiprocessing.get_context("fork").Pool(
        CORES, _remember, ([texts[n::CORES] for n in range(CORES)], work)
    ) as pool:
        pool.map(_warm, range(CORES), chunksize=1)
        return max(pool.map(_time_share, range(CORES), chunksize=1))


_share: list[list[str]] = []
_work: list[Callable[[list[str]], int]] = []


def _remember(shares: list[list[str]], work: Callable[[list[str]], int]) -> None:
    _share[:], _work[:] = shares, [work]


def _warm(number: int) -> int:
    return _work[0](_share[number][:50])


def _time_share(number: int) -> float:
    return timed(lambda: _work[0](_share[number]))


# The way of others


def _one_array(text: str) -> np.ndarray:
    tokens = np.array([gpt2.END_OF_TEXT, *gpt2.load_encoding().encode_ordinary(text)])
    assert (tokens < 2**16).all()
    return tokens.astype(np.uint16)


def _one_list(text: str) -> list[int]:
    return [*gpt2.load_encoding().encode_ordinary(text), gpt2.END_OF_TEXT]


def llmc_way(texts: list[str], folder: Path) -> float:
    """Documents to a pool one by one, arrays into a buffer of a shard, shards to disk."""
    with multiprocessing.get_context("fork").Pool(CORES) as pool:
        pool.map(_one_array, texts[:100])
        return timed(lambda: _fill_shards(pool.imap(_one_array, texts, chunksize=16), folder))


def _fill_shards(arrays: Iterator[np.ndarray], folder: Path) -> None:
    buffer, used, index = np.empty(SHARD_TOKENS, np.uint16), 0, 0
    for tokens in arrays:
        while tokens.size:
            part, tokens = tokens[: SHARD_TOKENS - used], tokens[SHARD_TOKENS - used :]
            buffer[used : used + part.size] = part
            used += part.size
            if used == SHARD_TOKENS:
                _write_plain(folder / f"{index}.bin", buffer)
                index, used = index + 1, 0
    _write_plain(folder / f"{index}.bin", buffer[:used])


def _write_plain(path: Path, tokens: np.ndarray) -> None:
    with path.open("wb") as file:
        file.write(make_header(tokens.size))
        file.write(tokens.tobytes())


def nanogpt_way(texts: list[str], folder: Path) -> float:
    """Documents to a pool, lists of tokens back, then all into one memory map."""
    with multiprocessing.get_context("fork").Pool(CORES) as pool:
        pool.map(_one_list, texts[:100])
        return timed(lambda: _fill_map(list(pool.imap(_one_list, texts, chunksize=16)), folder / "train.bin"))


def _fill_map(lists: list[list[int]], path: Path) -> None:
    total = sum(map(len, lists))
    memory = np.memmap(path, dtype=np.uint16, mode="w+", shape=(total,))
    memory[:] = np.fromiter(chain.from_iterable(lists), np.uint16, total)
    memory.flush()


def speedrun_way(source: Path, folder: Path) -> float:
    order = Order(inputs=[source], out=folder / "made", shard_tokens=SHARD_TOKENS, val_tokens=1_000_000)
    return timed(lambda: tokenize(order, CORES))


def tokenizing(source: Path, repeats: int) -> dict[str, float]:
    """Tokens per second of every side."""
    texts = read_jsonl(source)
    count = encode_joined(texts)
    sides: dict[str, Callable[[Path], float]] = {
        "speedrun data tokenize": lambda folder: speedrun_way(source, folder),
        "tiktoken: encode_ordinary_batch": lambda _: timed(
            lambda: gpt2.load_encoding().encode_ordinary_batch(texts, num_threads=CORES)
        ),
        "tiktoken: threads, 64 documents a call": lambda _: in_threads(texts),
        "tiktoken: processes, encode_ordinary": lambda _: in_processes(texts, encode_one_by_one),
        "tiktoken: processes, 64 documents a call": lambda _: in_processes(texts, encode_joined),
        "llm.c's way": lambda folder: llmc_way(texts, folder),
        "nanoGPT's way": lambda folder: nanogpt_way(texts, folder),
    }
    times: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(repeats):
        for name, side in sides.items():
            with tempfile.TemporaryDirectory(dir=source.parent) as folder:
                times[name].append(side(Path(folder)))
    return {name: count / statistics.median(seconds) for name, seconds in times.items()}


# Verifying


def make_shards(root: Path, train_shards: int, tokens: int) -> Dataset:
    dataset = Dataset(
        schema_version=1, name="bench", title="Random tokens", licence="none", kind="local", vocab_size=50257,
        train_file_pattern="bench_train_{index:06d}.bin", train_shards=train_shards, val_file="bench_val_000000.bin",
    )  # fmt: skip
    (root / "bench").mkdir()
    rng = np.random.default_rng(1)
    for path in (datasets.val_path(dataset, root), *datasets.train_paths(dataset, root)):
        write_shard(path, rng.integers(0, 50257, tokens, dtype=np.uint16))
    return dataset


def verifying(root: Path, repeats: int) -> dict[str, float]:
    """Bytes per second, pages in memory: this process against sha256sum, one core and all."""
    dataset = make_shards(root, CORES * 2 - 1, 100_000_000)
    paths = [str(datasets.val_path(dataset, root)), *map(str, datasets.train_paths(dataset, root))]
    size = sum(os.path.getsize(path) for path in paths)
    everything = os.sched_getaffinity(0)
    sides: Sides = {
        "sha256sum, one core": lambda: timed(lambda: _sha256sum([paths])),
        "speedrun data verify, one core": lambda: timed(lambda: datasets.verify(dataset, root, afresh=True)),
        "sha256sum, a process per core": lambda: timed(lambda: _sha256sum([paths[n::CORES] for n in range(CORES)])),
        "speedrun data verify, all cores": lambda: timed(lambda: datasets.verify(dataset, root, afresh=True)),
    }
    datasets.verify(dataset, root)
    times: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(repeats):
        for name, side in sides.items():
            os.sched_setaffinity(0, {min(everything)} if "one core" in name else everything)
            times[name].append(side())
    os.sched_setaffinity(0, everything)
    return {name: size / statistics.median(seconds) for name, seconds in times.items()}


def _sha256sum(groups: list[list[str]]) -> None:
    processes = [subprocess.Popen(["sha256sum", *group], stdout=subprocess.DEVNULL) for group in groups]
    assert [process.wait() for process in processes] == [0] * len(groups)


def starting(root: Path, repeats: int) -> dict[str, float]:
    """Seconds of the check before a run: 104 shards, nothing changed since they were verified."""
    dataset = make_shards(root, 103, 1000)
    first = timed(lambda: datasets.verify(dataset, root))
    again = [timed(lambda: datasets.verify(dataset, root)) for _ in range(max(repeats, 20))]
    return {"first, hashing": first, "median": statistics.median(again), "slowest": max(again)}


# The tables


def report(parts: dict[str, dict[str, float]]) -> None:
    if tokens := parts.get("tokenizing"):
        limit = max(rate for name, rate in tokens.items() if name.startswith("tiktoken"))
        ours = tokens["speedrun data tokenize"]
        print(f"tokenizing on {CORES} cores{'':<20}Mtokens/s   speedrun is")
        for name, rate in tokens.items():
            best = "  (the limit)" if rate == limit else ""
            print(f"  {name:<44}{rate / 1e6:>7.2f}   {ours / rate:>8.2f}x{best}")
    if rates := parts.get("verifying"):
        print(f"verifying, 200 MB shards{'':<28}GB/s   speedrun is")
        for name, rate in rates.items():
            other = "speedrun data verify, " + ("one core" if "one core" in name else "all cores")
            print(f"  {name:<44}{rate / 1e9:>7.2f}   {rates[other] / rate:>8.2f}x")
    if seconds := parts.get("starting"):
        print(f"start-up check of 104 shards{'':<26}ms")
        for name, value in seconds.items():
            print(f"  {name:<44}{value * 1e3:>7.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", type=Path, help="JSONL with a field `text`; sources of installed packages by default")
    parser.add_argument("--megabytes", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", choices=["tokenizing", "verifying", "starting"])
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    parts: dict[str, dict[str, float]] = {}
    for part, measure in (("tokenizing", tokenizing), ("verifying", verifying), ("starting", starting)):
        if options.only not in (None, part):
            continue
        with tempfile.TemporaryDirectory() as name:
            place = Path(name)
            if part == "tokenizing" and options.text is not None:
                place = options.text
            elif part == "tokenizing":
                place = place / "text.jsonl"
                write_jsonl(place, documents(options.megabytes))
            parts[part] = measure(place, options.repeats)
    if options.json:
        print(json.dumps({"cores": CORES, **parts}, indent=1))
    else:
        report(parts)


if __name__ == "__main__":
    main()
