"""How fast logs are read that mean to be slow: python -m benchmarks.hostile_logs [--mb 40] [KIND ...]

Each kind is one line, with a counter where it says so, repeated up to the size; processor time of this process.
"""

import argparse
import time
from collections.abc import Iterator

from harness.selftimed.logs import CHUNK_BYTES, read_log

KINDS = {  # `%d` is the number of the line
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
}


def chunks(line: bytes, size: int) -> Iterator[bytes]:
    """A log of about `size` bytes in the pieces that a file is read in."""
    done = number = 0
    while done < size:
        count = max(1, CHUNK_BYTES // len(line))
        if b"%d" in line:
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
