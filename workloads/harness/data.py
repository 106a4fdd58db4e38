"""The data sets as the workloads take them: CIFAR-10, IMDB, learnable stand-ins of the same shape, fake images."""

import os
from collections import namedtuple

import numpy as np

Data = namedtuple("Data", "x_train y_train x_test y_test")
Data.__doc__ = """Arrays of one data set.

Images: float32 in [0, 1], (N, 3, 32, 32) or (N, 32, 32, 3). Reviews: int32 tokens, (N, 150). Labels: int32, (N,).
X-rays: uint8 (N, size, size), labels float32 (N, findings).
"""

CIFAR_SAMPLES, IMDB_SAMPLES, FAKE_IMAGES, SYNTHETIC_TEST_SAMPLES = 50000, 25000, 1280, 1280
IMDB_SHUFFLE_SEED = 113  # the order in which Keras' load_data hands out the reviews since 2015
START, UNKNOWN, SHIFT = 1, 2, 3


def load(dataset, source, params, samples=None):
    """Load a data set, images channels first: ``source`` is "real" or "synthetic".

    ``samples`` keeps that many training samples, the first ones, and no more than as many for the test.
    """
    loaders = {
        ("cifar-10", "real"): cifar10,
        ("cifar-10", "synthetic"): synthetic_images,
        ("imdb", "real"): imdb,
        ("imdb", "synthetic"): synthetic_reviews,
        ("chestxray14", "real"): noise_with_findings,
        ("chestxray14", "synthetic"): noise_with_findings,
        (None, "real"): fake_images,
        (None, "synthetic"): fake_images,
    }
    data = loaders[dataset, source](params, samples)
    return Data(*(array[:samples] for array in data))


def to_layout(data, layout):
    """Images as "NCHW" (the published layout) or "NHWC": a true transposition, contiguous in memory."""
    if layout != "NHWC" or data.x_test.ndim != 4:
        return data
    x_train, x_test = (np.ascontiguousarray(x.transpose(0, 2, 3, 1)) for x in (data.x_train, data.x_test))
    return data._replace(x_train=x_train, x_test=x_test)


def folder():
    """Where the real data set is mounted."""
    return os.environ.get("ROSETTA_DATA", "/data")


def data_file(*parts):
    """Path of a file of a real data set, or an error that says how to get it."""
    path = os.path.join(folder(), *parts)
    if not os.path.exists(path):
        raise SystemExit(
            "%s is missing: the real data set is not mounted here.\n"
            "Fetch it with 'rosetta data fetch' and mount it at /data, or run with --data synthetic." % path
        )
    return path


def array(name):
    """An array of a real data set: numbers and nothing else, since a pickle in its place would be a program."""
    return np.load(data_file(name), allow_pickle=False)


def cifar10(params, samples):
    """CIFAR-10 from its arrays of bytes: divided by 255, nothing else."""
    scale = np.float32(255)
    x_train, x_test = (array(part + ".images.npy") / scale for part in ("train", "test"))
    y_train, y_test = (array(part + ".labels.npy").astype(np.int32) for part in ("train", "test"))
    return Data(x_train, y_train, x_test, y_test)


def imdb(params, samples):
    """IMDB from the word ranks of its reviews, in Keras' order and encoding, but padded with zeros at the end.

    A review starts with token 1, word ranks are shifted by 3, ranks beyond the vocabulary become 2; the last
    ``length`` tokens are kept.
    """
    order = np.random.RandomState(IMDB_SHUFFLE_SEED)
    arrays = []
    for part in ("train", "test"):
        words, lengths = array(part + ".words.npy"), array(part + ".lengths.npy")
        reviews = np.split(words, np.cumsum(lengths)[:-1])
        index = np.arange(len(reviews))
        order.shuffle(index)
        labels = array(part + ".labels.npy").astype(np.int32)
        arrays += [encode([reviews[place] for place in index], params), labels[index]]
    return Data(*arrays)


def encode(reviews, params):
    """Arrays of word ranks to an array of tokens, (N, length)."""
    length, vocabulary = params["length"], params["vocabulary"]
    tokens = np.zeros((len(reviews), length), np.int32)
    for row, review in zip(tokens, reviews):
        words = np.append(np.int32(START - SHIFT), review)[-length:] + SHIFT
        row[: len(words)] = np.where(words < vocabulary, words, UNKNOWN)
    return tokens


def synthetic_images(params, samples):
    """Noise over one strong, coarse pattern per class, the same for every seed: 40 steps tell the classes apart."""
    random = np.random.RandomState(0)
    n_classes = params["n_classes"]
    patterns = random.uniform(-3, 3, (n_classes, 3, 4, 4)).repeat(8, axis=2).repeat(8, axis=3).astype(np.float32)

    def draw(count):
        labels = (np.arange(count) % n_classes).astype(np.int32)
        noise = random.normal(0, 0.3, (count, 3, 32, 32)).astype(np.float32)
        return patterns[labels] + noise, labels

    return Data(*(draw(samples or CIFAR_SAMPLES) + draw(SYNTHETIC_TEST_SAMPLES)))


def synthetic_reviews(params, samples):
    """Tokens of which four in five come from ten words of the review's class, the rest from all; zeros pad the end."""
    random = np.random.RandomState(0)
    length, vocabulary = params["length"], params["vocabulary"]

    def draw(count):
        labels = (np.arange(count) % params["n_classes"]).astype(np.int32)
        any_word = random.randint(SHIFT + 1, vocabulary, (count, length))
        telling = SHIFT + 1 + 10 * labels[:, None] + random.randint(0, 10, (count, length))
        tokens = np.where(random.uniform(size=(count, length)) < 0.8, telling, any_word)
        tokens[np.arange(length) >= random.randint(length * 9 // 10, length + 1, (count, 1))] = 0
        return tokens.astype(np.int32), labels

    return Data(*(draw(samples or IMDB_SAMPLES) + draw(SYNTHETIC_TEST_SAMPLES)))


def fake_images(params, samples):
    """The published input of ResNet-50: noise in [0, 1), 1,280 images or ``samples``, to be predicted only."""
    random = np.random.RandomState(0)
    size, count = params["image_size"], samples or FAKE_IMAGES
    images = np.empty((count, 3, size, size), np.float32)
    for image in images:  # one by one: in double precision, all of them would take 1.5 GB
        image[...] = random.uniform(size=(size, size, 3)).transpose(2, 0, 1)
    labels = np.zeros(count, np.int32)
    return Data(images[:0], labels[:0], images, labels)


def noise_with_findings(params, samples):
    """Bytes and findings drawn at random, for parity: X-rays to train on come from ``batches``."""
    random = np.random.RandomState(0)
    x = random.randint(0, 256, (samples, params["image_size"], params["image_size"])).astype(np.uint8)
    y = random.randint(0, 2, (samples, len(params["findings"]))).astype(np.float32)
    return Data(x, y, x[:0], y[:0])


def normalised(data, params):
    """X-rays as networks take them: of each byte three channels, float64 (N, 3, size, size). Other data as it is."""
    if data.x_train.dtype != np.uint8:
        return data
    mean, sd = (np.array(values)[:, None, None] for values in (params.mean, params.sd))
    x_train, x_test = ((x[:, None] / 255 - mean) / sd for x in (data.x_train, data.x_test))
    return data._replace(x_train=x_train, x_test=x_test)
