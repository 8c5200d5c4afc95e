#!/usr/bin/env bash
# Everything about train_gpt.py that needs a GPU, on one Hopper GPU, in ten minutes at most; see benchmarks/hopper.py.
#
#     benchmarks/hopper.sh [--modded PATH/TO/modded-nanogpt] [--out table.md]
#
# PYTHON names the interpreter: torch >= 2.11 and numpy are enough to measure the script.
set -eu
cd "$(dirname "$0")/.."
exec timeout --signal=INT 600 "${PYTHON:-python3}" -m benchmarks.hopper "$@"
