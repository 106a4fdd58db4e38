"""What one core prepares of X-rays for training, against loading files as scripts usually do it.

    python benchmarks/pipeline.py FOLDER [--rounds 5] [--images 2000]

FOLDER is the data set as 'rosetta data fetch chestxray14' leaves it. All three take the same images, converted to
264 × 264 once, crop them to 224 × 224 at random, flip half of them and normalise three channels:

- rosetta: what a loader of workloads/harness does, from the memory-mapped array, and then, as a device does it, NumPy;
- Pillow: a loop that opens an RGB PNG, crops and flips it, and lets NumPy do the rest;
- torchvision's way: the same files, then ToTensor and Normalize as operations of PyTorch, collated into a batch.
  Its transforms are written out here; left out where there is no PyTorch.

Images/s of one core, the rounds in turn; one thread each.
"""

import argparse
import json
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "workloads"))
PARAMS = json.loads((ROOT / "workloads" / "params.json").read_text())["densenet121"]
MEAN, SD = np.array(PARAMS["mean"], np.float32), np.array(PARAMS["sd"], np.float32)
SIZE, MOST = PARAMS["image_size"], PARAMS["stored_size"] - PARAMS["image_size"]

SEEN = 5 * 87306
"""Images of a published run."""

NEEDED = {"1 × V100 in 2018": SEEN / (26 * 60 + 50), "4 × V100 in 2018": SEEN / (9 * 60 + 43)}
"""Images/s that PyTorch's notebook of 2018 took, validation included: 26m50 and 9m43 on real data."""

Batches = Iterator[np.ndarray]


def rosetta(batch: int) -> Batches:
    """What a loader makes, normalised: (batch, 3, 224, 224)."""
    from harness.crops import windows
    from harness.loader import crop

    pixels = np.load(os.path.join(os.environ["ROSETTA_DATA"], "train.npy"), mmap_mode="r")
    drawn, x = np.random.RandomState(0), np.empty((batch, SIZE, SIZE), np.uint8)
    while True:
        rows = drawn.permutation(len(pixels))[:batch, None]
        seen, flips = windows(drawn, batch, PARAMS), drawn.randint(0, 2, rows.shape)
        grey = crop(x, pixels, np.concatenate([rows, seen, flips], axis=1))[:, None].astype(np.float32) / 255
        yield (grey - MEAN[:, None, None]) / SD[:, None, None]


def changed(path: Path) -> Image.Image:
    """An image from its file, cropped and perhaps flipped."""
    top, left = random.randint(0, MOST), random.randint(0, MOST)
    image = Image.open(path).convert("RGB").crop((left, top, left + SIZE, top + SIZE))
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if random.random() < 0.5 else image


def pillow(paths: list[Path], batch: int) -> Batches:
    """A plain loop over files."""
    while True:
        chosen = random.sample(paths, batch)
        images = [(np.asarray(changed(path), np.float32) / 255 - MEAN) / SD for path in chosen]
        yield np.ascontiguousarray(np.stack(images).transpose(0, 3, 1, 2))


def torchvision(paths: list[Path], batch: int) -> Batches:
    """The same, an image at a time in PyTorch, collated at the end."""
    import torch

    torch.set_num_threads(1)
    mean, sd = (torch.from_numpy(value)[:, None, None] for value in (MEAN, SD))

    def tensor(path: Path) -> torch.Tensor:
        whole = torch.from_numpy(np.array(changed(path))).permute(2, 0, 1).contiguous()
        return whole.to(torch.float32).div(255).sub_(mean).div_(sd)

    while True:
        yield torch.stack([tensor(path) for path in random.sample(paths, batch)]).numpy()


def files(folder: Path) -> list[Path]:
    """The training images as the RGB PNGs that the published scripts read."""
    paths = []
    for number, pixels in enumerate(np.load(os.path.join(os.environ["ROSETTA_DATA"], "train.npy"), mmap_mode="r")):
        paths.append(folder / f"{number}.png")
        Image.fromarray(np.repeat(pixels[:, :, None], 3, axis=2)).save(paths[-1])
    return paths


def rate(batches: Batches, images: int, batch: int) -> float:
    """Images/s of processor time, which other programs on the machine do not lengthen."""
    next(batches)
    started = time.process_time()
    for _ in islice(batches, images // batch):
        pass
    return images // batch * batch / (time.process_time() - started)


def main() -> None:
    """Measure in turn, print the medians and the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, default=2000)
    asked = parser.parse_args()
    os.environ["ROSETTA_DATA"] = str(asked.folder)
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory() as folder:
        paths = files(Path(folder))
        batch = min(PARAMS["batch_size"], len(paths))
        ways: dict[str, Callable[[], Batches]] = {
            "rosetta": lambda: rosetta(batch),
            "Pillow": lambda: pillow(paths, batch),
            "torchvision's way": lambda: torchvision(paths, batch),
        }
        try:
            import torch  # noqa: F401
        except ImportError:
            del ways["torchvision's way"]
            print("no PyTorch here: without torchvision's way")
        rates: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(asked.rounds):
            for name, way in ways.items():
                rates[name].append(rate(way(), asked.images, batch))
    medians = {name: statistics.median(found) for name, found in rates.items()}
    print(f"{len(paths)} images, batches of {batch}, one core, {asked.rounds} rounds in turn")
    for name, found in rates.items():
        ratio = medians["rosetta"] / medians[name]
        print(f"{name:18} {medians[name]:8,.0f} images/s ({min(found):,.0f} to {max(found):,.0f})  {ratio:5.1f}")
    for name, needed in NEEDED.items():
        print(f"{name}: {needed:,.0f} images/s, {needed / medians['rosetta']:.2f} cores")


main()
