"""A worker that trains some steps whenever it is told to, all ranks at once: what sandbox_cost.py measures.

    torchrun --nproc_per_node=2 turns.py SHARD VOCABULARY      with steady.py beside it; SPEEDRUN_SOCKET: who tells it

Each rank connects, is sent a number of steps as one byte, trains them, and answers with one byte.
"""

import os
import socket
import sys
from types import SimpleNamespace

import torch
import torch.distributed as dist
from steady import WIDTH, steps


def connect():
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    folder, name = os.path.split(os.environ["SPEEDRUN_SOCKET"])
    directory = os.open(folder, os.O_PATH)  # the address of a socket holds 107 bytes, a path more
    sock.connect(f"/proc/self/fd/{directory}/{name}")
    return sock


def main():
    dist.init_process_group("gloo")
    torch.manual_seed(0)
    run = SimpleNamespace(rank=dist.get_rank(), world_size=dist.get_world_size())
    vocab_size = int(sys.argv[2])
    weights = {
        "embed": torch.randn(vocab_size, WIDTH),
        "hidden": torch.randn(WIDTH, WIDTH) / WIDTH**0.5,
        "head": torch.zeros(WIDTH, vocab_size),
    }
    sock = connect()
    while told := sock.recv(1):
        steps(run, weights, sys.argv[1], told[0])
        sock.send(told)


if __name__ == "__main__":
    main()
