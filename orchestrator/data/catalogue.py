"""The known data sets and weights: their publishers, their terms, and the checksums of their files."""

from dataclasses import dataclass

from orchestrator.data import chestxray, conversion
from orchestrator.data.conversion import Convert
from orchestrator.data.files import Content, File


@dataclass(frozen=True)
class DataSet:
    """A data set: its ``files`` as the workloads read them below ``/data``, and the ``archive`` if they come in one.

    If it is not published as plain arrays, ``convert`` makes the files from the ``originals``. ``terms`` are the
    licence and what to cite. ``beside`` is the folder of another set within the cache, for weights that its cells look
    for. ``extras`` are members of the archive that no workload reads; any other member is
    refused. A ``large`` one is fetched only by name.
    """

    name: str
    terms: str
    files: tuple[File, ...]
    archive: File | None = None
    extras: tuple[str, ...] = ()
    large: bool = False
    originals: tuple[File, ...] = ()
    convert: Convert | None = None
    beside: str = ""

    @property
    def published(self) -> tuple[File, ...]:
        """The files as published."""
        return self.originals or self.files


def arrays(*made: tuple[str, str, int]) -> tuple[File, ...]:
    """Return files that conversion.py makes, from the name, sha256 and size of each."""
    return tuple(File(f"{name}.npy", (Content(sha256, size),)) for name, sha256, size in made)


CIFAR_10 = DataSet(
    name="cifar-10",
    terms="no licence stated; cite A. Krizhevsky: Learning Multiple Layers of Features from Tiny Images, 2009",
    archive=File(
        "cifar-10-python.tar.gz",
        (Content("6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce", 170_498_071),),
        "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
    ),
    originals=tuple(
        File(f"cifar-10-batches-py/{name}", (Content(sha256, size),))
        for name, sha256, size in (
            ("data_batch_1", "54636561a3ce25bd3e19253c6b0d8538147b0ae398331ac4a2d86c6d987368cd", 31_035_704),
            ("data_batch_2", "766b2cef9fbc745cf056b3152224f7cf77163b330ea9a15f9392beb8b89bc5a8", 31_035_320),
            ("data_batch_3", "0f00d98ebfb30b3ec0ad19f9756dc2630b89003e10525f5e148445e82aa6a1f9", 31_035_999),
            ("data_batch_4", "3f7bb240661948b8f4d53e36ec720d8306f5668bd0071dcb4e6c947f78e9682b", 31_035_696),
            ("data_batch_5", "d91802434d8376bbaeeadf58a737e3a1b12ac839077e931237e0dcd43adcb154", 31_035_623),
            ("test_batch", "f53d8d457504f7cff4ea9e021afcf0e0ad8e24a91f3fc42091b8adef61157831", 31_035_526),
            ("batches.meta", "f962466ef690d46b226450fb9aadc74ba4bc64a76aa526b5827fe4bc5c7125cb", 158),
        )
    ),
    extras=("cifar-10-batches-py/readme.html",),
    files=arrays(
        ("train.images", "cca17af9c1cff570c8c91fdb9f8bfc450d62dc4ff73ba6fb849b2b49e0c668f2", 153_600_128),
        ("train.labels", "fad921ba16b0efeebb54393d1351545d1fe1a357f6f81324c821e3e11b956c70", 50_128),
        ("test.images", "efbfa3b24c4f91c6febe8a57d87b6448f2c1226d8b2aa24d14db1eea85ad46c6", 30_720_128),
        ("test.labels", "19004b019bd095265b4ce6637c9ff979c66abcbc8e658a665f791b487cdea5eb", 10_128),
    ),
    convert=conversion.cifar_10,
)
"""60,000 colour images of 32x32 pixels in 10 classes."""

IMDB = DataSet(
    name="imdb",
    terms="no licence stated; cite A. L. Maas et al.: Learning Word Vectors for Sentiment Analysis, ACL 2011",
    originals=(
        File(
            "imdb.npz",
            (
                Content("69664113be75683a8fe16e3ed0ab59fda8886cb3cd7ada244f7d9544e4676b9f", 17_464_789),
                # The same reviews in the same order, repacked: other bytes, equal content.
                Content("6814c0beea01878740d178d45caaf84fa878f5f452bd5f6bb6b5e3add8655f32", 17_311_495),
            ),
            "https://storage.googleapis.com/tensorflow/tf-keras-datasets/imdb.npz",
        ),
    ),
    files=arrays(
        ("train.words", "6559d6c0e3e1a952226b3709e3fb436921e4a7ec29b7dd24a8f6858fdba34638", 23_771_492),
        ("train.lengths", "1f6de675ddb9063028923c34d129f52b6f026c499cd0a8c31248efd94451fe78", 100_128),
        ("train.labels", "bab6ea3fb125b4f3f704c6ddd4a0bc37f2362218823e834c35f9d8cb2deae537", 25_128),
        ("test.words", "9be0ed41e72496f41cb6e46aff8c2d7e96c16df329060999926bc7be78345f66", 22_980_548),
        ("test.lengths", "474454aa493147ec3d9e67863542b9145c738455096843c7a1dd54b2a29afe2b", 100_128),
        ("test.labels", "bab6ea3fb125b4f3f704c6ddd4a0bc37f2362218823e834c35f9d8cb2deae537", 25_128),
    ),
    convert=conversion.imdb,
)
"""50,000 film reviews, half of them positive, as word ranks."""

CHESTXRAY14 = DataSet(chestxray.NAME, chestxray.TERMS, (), large=True)
"""112,120 X-rays of 30,805 patients with 14 findings: converted while fetched, see chestxray.py."""

DATA_SETS = {dataset.name: dataset for dataset in (CIFAR_10, IMDB, CHESTXRAY14)}
"""The data sets by name, as ``dataset`` in workloads/params.json names them. Synthetic data is made in the cell."""

BESIDE_XRAYS = f"{chestxray.NAME}/{chestxray.PRETRAINED}"
"""Where cells on X-rays look for ImageNet weights."""


def weights(name: str, code: str, file: File, archive: File | None = None, beside: str = "") -> DataSet:
    """Return a network's weights from a library's hub, trained on ImageNet; ``code`` is the licence of its code."""
    terms = f"its code is {code}; the weights were trained on ImageNet, whose terms are for research"
    return DataSet(name, terms, (file,), archive, beside=beside)


def of_torchvision(network: str, sha256: str, size: int) -> File:
    """Return a file of PyTorch's hub, whose name has the first digits of its checksum.

    PyTorch compares those; the rest and the size are those that several of its users have published.
    """
    name = f"{network}-{sha256[:8]}.pth"
    return File(name, (Content(sha256, size),), f"https://download.pytorch.org/models/{name}")


OF_HUBS = (
    weights(
        "resnet50-torchvision",
        "BSD-3-Clause",
        of_torchvision("resnet50", "0676ba61b6795bbe1773cffd859882e5e297624d384b6993f7c9e683e722fb8a", 102_530_333),
    ),
    weights(
        "resnet50-paddle",
        "Apache-2.0",
        File(
            "resnet50.pdparams",
            # The hub's own code has the MD5 checksum but no size: it is 102 MB of numbers and their names.
            (Content("ca6f485ee1ab0492d38f323885b0ad80", 110_000_000),),
            "https://paddle-hapi.bj.bcebos.com/models/resnet50.pdparams",
        ),
    ),
    weights(  # for Chainer and JAX too, which have no hub
        "densenet121-torchvision",
        "BSD-3-Clause",
        of_torchvision("densenet121", "a639ec97d7c33b07ae66f0b5fb7d0192f95a3b11b7576c66c0126c2a727c4395", 32_342_954),
        beside=BESIDE_XRAYS,
    ),
    weights(  # for TensorFlow too; it lacks the classifier, which no cell takes
        "densenet121-keras",
        "Apache-2.0",
        File(
            "densenet121_weights_tf_dim_ordering_tf_kernels_notop.h5",
            # The MD5 checksum stands in Keras' own code, the size in its users' logs.
            (Content("30ee3e1110167f948a6b9946edeeb738", 29_084_464),),
            "https://storage.googleapis.com/tensorflow/keras-applications/densenet/"
            "densenet121_weights_tf_dim_ordering_tf_kernels_notop.h5",
        ),
        beside=BESIDE_XRAYS,
    ),
    weights(
        "densenet121-gluon",
        "Apache-2.0",
        # Gluon's own code has the SHA-1 checksum of the file in the archive, none of the archive, and no size.
        File("densenet121-f27dbf2d.params", (Content("f27dbf2dbd5ce9a80b102d89c7483342cd33cb31", 40_000_000),)),
        File(
            "densenet121-f27dbf2d.zip",
            (Content("", 40_000_000),),
            "https://apache-mxnet.s3-accelerate.dualstack.amazonaws.com/gluon/models/densenet121-f27dbf2d.zip",
        ),
        beside=BESIDE_XRAYS,
    ),
)

WEIGHTS = {dataset.name: dataset for dataset in OF_HUBS}
"""Weights from the libraries' hubs: fetched where asked for.

Those of ResNet-50 are named in workloads/params.json, as ``pretrained``; those of DenseNet-121 lie beside its X-rays.
"""
