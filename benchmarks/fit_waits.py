r"""How long Keras' fit on TensorFlow waits after its last step, with tf.data's autotuning and without it.

    docker run --rm --cpuset-cpus 0 --volume "$PWD/benchmarks:/benchmarks:ro" \
        --entrypoint python rosetta/tensorflow:2.21.0-cpu /benchmarks/fit_waits.py [--steps 100] [--rounds 3]

Three dense layers on zeros, in turn:

- arrays: ``model.fit(x, y)``, as in Keras' own guides;
- dataset: the same batches as a ``tf.data.Dataset``;
- untuned: that data set with ``options.autotune.enabled = False``.

Seconds by the clock, seconds of processor time, and what the core was idle.
"""

import argparse
import os
import time

os.environ.update(KERAS_BACKEND="tensorflow", TF_CPP_MIN_LOG_LEVEL="2", OMP_NUM_THREADS="1")
import keras
import numpy as np
import tensorflow as tf
from keras import layers

BATCH, INPUTS = 64, 1500


def main() -> None:
    """Print a line for each fit."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    x, y = np.zeros((asked.steps * BATCH, INPUTS), np.float32), np.zeros((asked.steps * BATCH, 1), np.float32)
    dataset, untuned = tf.data.Dataset.from_tensor_slices((x, y)).batch(BATCH), tf.data.Options()
    untuned.autotune.enabled = False
    model = keras.Sequential([layers.Input((INPUTS,)), layers.Dense(3000), layers.Dense(3000), layers.Dense(1)])
    model.compile("sgd", "mse")
    model.fit(x[:BATCH], y[:BATCH], verbose=0)  # traced outside the clock
    kinds = {
        "arrays": {"x": x, "y": y, "batch_size": BATCH},
        "dataset": {"x": dataset},
        "untuned": {"x": dataset.with_options(untuned)},
    }
    print("kind      seconds  processor  idle")
    for _ in range(asked.rounds):
        for kind, data in kinds.items():
            clock, busy = time.perf_counter(), time.process_time()
            model.fit(**data, shuffle=False, verbose=0)
            seconds, busy = time.perf_counter() - clock, time.process_time() - busy
            print(f"{kind:8} {seconds:8.2f} {busy:10.2f} {1 - busy / seconds:5.0%}", flush=True)


if __name__ == "__main__":
    main()
