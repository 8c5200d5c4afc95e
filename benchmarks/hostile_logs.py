"""How fast logs are read that mean to be slow: python -m benchmarks.hostile_logs [--mb 40] [KIND ...]

Each kind is one line, with a counter where it says so or made from it, repeated up to the size; processor time of this
process.
"""

import argparse
import time
from collections.abc import Callable, Iterator

from harness.selftimed.logs import CHUNK_BYTES, read_log

LONG = 32_000  # bytes, about, of a long line
OF_ALL_TRAINERS = [
    b"step:%d/9 val_loss:3.2 train_time:17ms step_avg:1.0ms\n", b"step:%d/9 val_loss:2.1 val_bpb:1.2 train_time:7ms\n",
    b"s:%d tel:3.2\n", b"s:%d trl:3.2\n", b"step %d: train loss 1.0, val loss 2.5\n",
    b"iter %d: loss 3.9, time 5.21ms\n",
    b"%d/20000 val_loss: 8.3 val_bpb: 3.6\n", b"iter_dt 5.2ms; iter %d: train loss 3.1\n", b"val loss 3.%d\n",
    b"step %d/2 | loss 3.0 (+nanz)| norm 2.1 (+nanz)| 24.31 ms |\n", b"Step %05d | Validation bpb: 1.2\n",
    b"Step %05d | Val BPB: 1.2 | Val Loss: 4.1\n", b"step %05d/00009 (1.00%%) | loss: 5.0 | dt: 9.00ms\n",
    b"[step %d] val loss: 1.6\n", b"final_%d val_loss:2.0 val_bpb:1.2\n",
]  # fmt: skip


def widths(number: int) -> bytes:
    """Every number of another width: hardly two lines differ in digits only."""
    step, loss, ms = 10 ** (number % 12), 10 ** (number // 12 % 17), 10 ** (number // 204 % 17)
    front = b" " * (number // 3468 % 40)
    return front + b"step:%d/%d val_loss:3.%d train_time:%dms step_avg:1.%dms\n" % (step, step, loss, ms, loss)


KINDS: dict[
    str, bytes | Callable[[int], bytes]
] = {  # `%d` is the number of the line, `%x` letters and digits that hardly come twice
    "chatter": b"loading shard %d of the data set, nothing to see\n",
    "progress bar": b"\rTraining:  14%%|#4        | %d/100000 [20:48<125:52, 5.27s/it, lr=1.00e-07]",
    "rules of =": b"=" * 60 + b"\n",
    "lines of 60 KB": b"val_loss:" * 6800 + b"\n",
    "validations": b"step:%d/99999999 val_loss:3.2790 train_time:10000ms step_avg:100.00ms\n",
    "validations, equal": b"step:5/10 val_loss:3.2790 train_time:10000ms step_avg:100.00ms\n",
    "short validations": b"s:%d tel:3.2\n",
    "training lines": b"step %d/2 | loss 3.032358 (+nanz)| norm 22.1414 (+nanz)| 2498.25 ms | 40.2%% bf16\n",
    "nanoGPT": b"iter %d: loss 3.9883, time 543.21ms, mfu 13.70%%\n",
    "behind a rank and a time": b"[default0]:2026-03-22 09:30:39 step:%d/9 val_loss:3.2790 train_time:10000ms\n",
    "only begin like results": b"step:%d val_loss:?\n",
    "short, begin like results": b"s:%d tel:\n",
    "anchors": b"step: step: step: step: step: loss %d\n",
    "anchors without a keyword": b"step:%d\nloss\n",
    "later results": b"final_%d val_loss:2.0727 val_bpb:1.2244\n",
    "short later results": b"val_loss %d\n",
    "terminal escapes": b"\x1b[32mstep:%d/9 val_loss:\x1b[1m3.2\x1b[0m\n",
    "keyword": b"loss\n",
    "keyword and colon": b"loss:\n",
    "keyword and a number": b"loss%d\n",
    "keyword of a validation": b"val_loss\n",
    "peak memory": b"peak memory %d\n",
    "UTF-16": "step:5/10 val_loss:3.2790 train_time:10000ms\n".encode("utf-16-le"),
    "UTF-16, broken": b"\xff\xfe" + b"\x00\xd8" * 40 + "s:5 tel:3\n".encode("utf-16-le"),
    "UTF-32, broken": b"\xff\xfe\0\0" + b"\xff\xff\xff\xff" * 20 + "s:5 tel:3\n".encode("utf-32-le"),
    "UTF-8 that is none": b"s:%d tel:3.2 \xc3\xa9\xe2\x82\xac\xff\xc3(\n",
    "UTF-8 of four bytes": "\U0001f600".encode() * 20 + b"loss\n",
    "carriage returns": b"s:%d tel:3.2\r",
    "both line ends": b"s:%d tel:3.2\r\n",
    "empty lines": b"\n" * 80 + b"s:%d loss\n",
    "NUL bytes": b"\0" * 40 + b"s:%d loss\n",
    "digits": b"0123456789/1" * 8 + b" loss\n",
    "no layout twice": b"step:5/9 val_loss:3.2 %x\n",
    "no layout twice, short": b"s:5 tel:3 %x\n",
    "no layout twice, later": b"val_loss 3 %x\n",
    "no front twice": b"%x step:5/9 val_loss:3.2\n",
    "no front twice, longer": b"%x 1%%|1%%|" + b"1" * 200 + b" s:5 tel:3.2\n",
    "fronts of brackets": b"%x " + b"[0]: " * 40 + b"s:5 tel:3.2\n",
    "anchors, no layout twice": b"step: step: step: step: step: loss %x\n",
    "thousands of anchors": b"s:1 step:5/9 " * (LONG // 13) + b"loss %x\n",
    "thousands of keywords": b"s:5 " + b"val_loss: train_time:1 loss val_bpb " * (LONG // 36) + b"%x\n",
    "long tails": b"step:5/9 val_loss:3.2 " + b"train_time:0x " * (LONG // 14) + b"%x\n",
    "tails of 2 KB": b"step:5/9 val_loss:3.2 " + b"train_time:0x " * 140 + b"%x\n",
    "tails of 2 KB, only words": b"step:5/9 val_loss:3.2 " + b"visible time " * 150 + b"%x\n",
    "later results, nearly": b"%x " + b"val_loss for aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa " * 38 + b"\n",
    "spaces": b"%x " + (b"val_loss" + b" " * 40) * 40 + b"\n",
    "escapes": b"\x1b[m" * 20 + b"loss %x\n",
    "escapes in escapes": b"\x1b[1\x1b]0;\x1b[31m" * 100 + b"loss %x\n",
    "escapes without an end": b"\x1b]" * 30 + b"\x1b[" * 30 + b"s:5 loss %x\n",
    "quoted": b'"step:%d/9 val_loss:3.2"\n',
    "widths differ": widths,
    "all trainers mixed": lambda number: OF_ALL_TRAINERS[number * 7 % 15] % number,
    "huge numbers": b"step:999999999999/%d val_loss:" + b"9" * 18 + b"." + b"9" * 18 + b"e999 train_time:1e999ms\n",
    "digits without an end": b"step:5/9 val_loss:" + b"9" * 200 + b"%x\n",
    "every line a run": lambda number: b"step:%d/9 val_loss:3.2\n" % (10**9 - number),
    "names differ": b"step:5/9 a_%x:1 val_loss:3.2\n",
    "names differ, behind": b"step:5/9 val_loss:3.2 a_%x:1 train_time:17ms\n",
    "bars before the line": b"%x" + b" 12%%|#2 | 1/9 [00:01<00:09, 9.1it/s]" * 6 + b" step:5/9 val_loss:3.2\n",
    "months": b"%x Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec step:5/9 val_loss:3.2\n",
    "ranks": b"[rank%d]: step:5/9 val_loss:3.2\n",
    "stops early": b"stopping_early: %x\n",
    "cut marks": b"[the log was cut here loss s:%x\n",
    "source that is none": lambda number: b"=" * 60 + b"\n" if number == 180_000 else b"s:%d tel:?\n" % (number % 1000),
    "two encodings": b"s:%d tel:3.2\n" + "step:5/9 val_loss:3.2\n".encode("utf-16-le"),
    "lines of 1 MB": b"step:5/9 val_loss:3.2 " + b"val_loss:3.2 step:5/9 " * (2**20 // 22) + b"\n",
    "numbers that are none": b"step:1/9 val_loss:nan(ind) %x 1.#QNAN\n",
}


def chunks(line: bytes | Callable[[int], bytes], size: int) -> Iterator[bytes]:
    """A log of about `size` bytes in the pieces that a file is read in."""
    done = number = 0
    while done < size:
        count = max(1, CHUNK_BYTES // len(line if isinstance(line, bytes) else line(1)))
        if not isinstance(line, bytes):
            piece = b"".join(map(line, range(number, number + count)))
        elif b"%x" in line:
            piece = b"".join(line % (n * 2654435761 % 2**32) for n in range(number, number + count))
        elif b"%d" in line:
            piece = b"".join(line % n for n in range(number, number + count))
        else:
            piece = line * count if b"%%" not in line else (line % ()) * count
        number += count
        done += len(piece)
        yield piece


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=", ".join(KINDS))
    parser.add_argument("--mb", type=int, default=40)
    args = parser.parse_args()
    for name in args.kinds or KINDS:
        pieces = list(chunks(KINDS[name], args.mb * 10**6))
        size = sum(map(len, pieces))
        begun_s = time.process_time()
        log = read_log(pieces)
        seconds = time.process_time() - begun_s
        runs = sum(len(run.validations) + len(run.training) for run in log.runs)
        rate = f"{size / 1e6 / seconds * 60:8,.0f} MB a minute"
        print(f"{name:<28}{size / 1e6:6.0f} MB {seconds:7.2f} s {rate}, {runs:,} results", flush=True)


if __name__ == "__main__":
    main()
