#!/usr/bin/env bash
# Everything about train_gpt.py that needs a GPU, on one Hopper GPU, in ten minutes at most; see benchmarks/hopper.py.
#
#     benchmarks/hopper.sh [--modded PATH/TO/modded-nanogpt --modded-python PATH/TO/python] [--out table.md]
#
# PYTHON names our interpreter: torch >= 2.11 and numpy are enough to measure the script. modded-nanogpt compiles for
# some seven minutes when it has never run here: where these ten are too short, run again with `--only script --only
# modded`, and it takes its kernels from its caches.
set -eu
cd "$(dirname "$0")/.."
exec timeout --signal=INT --kill-after=20 630 "${PYTHON:-python3}" -m benchmarks.hopper "$@"
