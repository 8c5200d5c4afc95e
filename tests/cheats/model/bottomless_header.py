"""A header that promises more than the world holds.

Reserves a tensor of 2^60 by 2^60 elements, by talking to the referee itself: a bomb for whoever allocates first and
reckons later.

group: model
catalogue: 45, 66
status: caught
ends: weights_too_big
"""

import time

EVAL_TOKENS, EVAL_BATCH = 128, 16


def train(run):
    bomb = {"name": "bomb", "dtype": "float64", "shape": [2**60, 2**60]}
    run._channel.send({"kind": "reserve", "weights": [bomb]})
    time.sleep(60)


def load(weights, device):
    return None
