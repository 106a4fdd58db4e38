"""What one core takes for an X-ray's window: cut as in the reference, resized as in the variant, resized by Pillow.

    python benchmarks/crops.py [--rounds 5] [--images 1000]

All take windows of the same 264 × 264 images, drawn as for training, and give 224 × 224 bytes, half of them flipped.
Processor time, the rounds in turn, one thread.
"""

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")  # as a loader has it

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "workloads"))
REFERENCE = json.loads((ROOT / "workloads" / "params.json").read_text())["densenet121"]
VARIANT = {**REFERENCE, **REFERENCE["variants"]["resized-crop"]}
SIDE, SIZE, KEPT = REFERENCE["stored_size"], REFERENCE["image_size"], 64


def job(params: dict[str, object], images: int) -> np.ndarray:
    """Row, window and flip of each image, int (images, 6)."""
    from harness.crops import windows

    random = np.random.RandomState(0)
    row, flip = random.randint(0, KEPT, images), random.randint(0, 2, images)
    return np.column_stack([row, windows(random, images, params), flip])


def pillow(out: np.ndarray, pixels: np.ndarray, changes: np.ndarray) -> np.ndarray:
    """The same as the harness's ``crop``, by Pillow."""
    for image, (row, top, left, height, width, flip) in zip(out, changes, strict=True):
        window = Image.fromarray(pixels[row]).crop((left, top, left + width, top + height))
        resized = np.asarray(window.resize((SIZE, SIZE), Image.Resampling.BILINEAR))
        image[...] = resized[:, ::-1] if flip else resized
    return out


def microseconds(way: Callable[[], object], images: int) -> float:
    """Processor time of an image."""
    started = time.process_time()
    way()
    return (time.process_time() - started) / images * 1e6


def main() -> None:
    """Measure in turn, print medians and ratios, and how far the pixels are from Pillow's."""
    from harness.loader import crop

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, default=1000)
    asked = parser.parse_args()
    pixels = np.random.RandomState(0).randint(0, 256, (KEPT, SIDE, SIDE)).astype(np.uint8)
    plain, resized = job(REFERENCE, asked.images), job(VARIANT, asked.images)
    outs = [np.zeros((asked.images, SIZE, SIZE), np.uint8) for _ in range(3)]
    ways: dict[str, Callable[[], object]] = {
        "cut": lambda: crop(outs[0], pixels, plain),
        "resized": lambda: crop(outs[1], pixels, resized),
        "Pillow": lambda: pillow(outs[2], pixels, resized),
    }
    found: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(asked.rounds + 1):
        for name, way in ways.items():
            taken = microseconds(way, asked.images)
            found[name] += [taken] if number else []  # the first makes the weights of each length
    medians = {name: statistics.median(each) for name, each in found.items()}
    print(f"{asked.images:,} images, {asked.rounds} rounds in turn, one core")
    for name, each in found.items():
        shown = f"{medians[name]:7.0f} µs ({min(each):.0f} to {max(each):.0f})"
        print(f"{name:8} {shown:26} {medians[name] / medians['resized']:6.2f}")
    apart = np.abs(outs[1].astype(int) - outs[2])
    print(f"pixels that differ from Pillow's: {np.mean(apart > 0):.1%}, by {apart.max()} grey level at most")


main()
