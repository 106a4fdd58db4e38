"""Which of a library's calls a piece of a script makes, and where the library documents them.

A name is followed through the script's imports, and becomes an address by the rule of its documentation. A rule that
knows no such page gives no link: there are fewer links than calls.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

IMPORTS = (
    (re.compile(r"^\s*import (?P<name>[\w.]+) as (?P<alias>\w+)", re.M), "{name}"),
    (re.compile(r"^\s*import (?P<name>\w+)(?P<alias>)$", re.M), "{name}"),
    (re.compile(r"^\s*from (?P<name>[\w.]+) import (?P<alias>[\w, ]+)", re.M), "{name}.{alias}"),
    (re.compile(r'^(?P<alias>\w+) <- import\("(?P<name>[\w.]+)"', re.M), "{name}"),
    (re.compile(r"^using (?P<name>\w+): (?P<alias>[^\n]+)", re.M), "{name}.{alias}"),
)
"""How the three languages say where a name comes from; several names at once have the last form."""

NAME = re.compile(r"(?<![\w.$@\"'])[A-Za-z_]\w*(?:[.$][A-Za-z_]\w*)*")
COMMENT = re.compile(r"(^|\s)#.*")

KERAS = (
    (r"keras\.layers\.(?:Conv2D)", "{docs}layers/convolution_layers/convolution2d/"),
    (r"keras\.layers\.(?:MaxPooling2D)", "{docs}layers/pooling_layers/max_pooling2d/"),
    (r"keras\.layers\.(?:GlobalAveragePooling2D)", "{docs}layers/pooling_layers/global_average_pooling2d/"),
    (r"keras\.layers\.(Dense|Embedding|Activation|Input)", "{docs}layers/core_layers/{0}/"),
    (r"keras\.(Input)", "{docs}layers/core_layers/{0}/"),
    (r"keras\.layers\.(Dropout)", "{docs}layers/regularization_layers/{0}/"),
    (r"keras\.layers\.(Flatten)", "{docs}layers/reshaping_layers/{0}/"),
    (r"keras\.layers\.(?:ZeroPadding2D)", "{docs}layers/reshaping_layers/zero_padding2d/"),
    (r"keras\.layers\.(?:BatchNormalization)", "{docs}layers/normalization_layers/batch_normalization/"),
    (r"keras\.layers\.(GRU)", "{docs}layers/recurrent_layers/{0}/"),
    (r"keras\.layers\.(ReLU)", "{docs}layers/activation_layers/{0}/"),
    (r"keras\.layers\.([Aa]dd)", "{docs}layers/merging_layers/{0}/"),
    (r"keras\.optimizers\.(SGD|Adam)", "{docs}optimizers/{0}/"),
    (r"keras\.losses\.(?:SparseCategoricalCrossentropy)", "{docs}losses/probabilistic_losses/"),
    (r"keras\.(Model|Sequential)", "{docs}models/{0}/"),
)
MXNET = (
    (r"mxnet\.sym\.(\w+)", "{docs}symbol/symbol.html#mxnet.symbol.{Name}"),
    (r"mxnet\.nd\.(\w+)", "{docs}ndarray/ndarray.html#mxnet.ndarray.{Name}"),
    (r"mxnet\.gluon\.(nn|rnn|loss)\.\w+", "{docs}gluon/{0}/index.html#{name}"),
)
TENSORFLOW = "https://www.tensorflow.org/api_docs/python/"
CNTK = "https://www.cntk.ai/pythondocs/"
FLAX = "https://flax.readthedocs.io/en/stable/api_reference/flax.nnx/"
LASAGNE = "https://lasagne.readthedocs.io/en/latest/modules/"
MXNET_NOW = "https://mxnet.apache.org/versions/1.9.1/api/python/docs/api/"
MXNET_2018 = "https://mxnet.apache.org/versions/1.5.0/api/python/"
CHAINER = ((r"chainer\.(links|functions|optimizers)\.\w+", "{docs}reference/generated/{name}.html"),)


class Documentation(NamedTuple):
    """Where the pages begin that rules speak of, and the rules: which names, at which address.

    In an address, {0} and {1} are the pattern's groups in lower case, {Name} the last one as it is, {name} all of the
    name, {path} the same with slashes, {Path} the last group with slashes.
    """

    docs: str
    rules: Sequence[tuple[str, str]]


DOCUMENTATION: Mapping[str, Documentation] = {
    "chainer": Documentation("https://docs.chainer.org/en/v7.8.1/", CHAINER),
    "chainer-2018": Documentation("https://docs.chainer.org/en/v4.5.0/", CHAINER),
    "cntk": Documentation(
        CNTK,
        (
            (r"cntk\.layers\.(Recurrence)", "{docs}cntk.layers.sequence.html#cntk.layers.sequence.{Name}"),
            (r"cntk\.layers\.(GRU)", "{docs}cntk.layers.blocks.html#cntk.layers.blocks.{Name}"),
            (r"cntk\.layers\.(Sequential)", "{docs}cntk.layers.higher_order_layers.html"),
            (r"cntk\.layers\.(\w+)", "{docs}cntk.layers.layers.html#cntk.layers.layers.{Name}"),
            (r"cntk\.(adam|momentum_sgd)", "{docs}cntk.learners.html#cntk.learners.{Name}"),
        ),
    ),
    "gluon": Documentation(MXNET_NOW, MXNET),
    "gluon-2018": Documentation(MXNET_2018, ((r"mxnet\.gluon\.(nn|rnn|loss)\.\w+", "{docs}gluon/{0}.html#{name}"),)),
    "jax": Documentation(
        FLAX,
        (
            (r"flax\.nnx\.(?:Conv|Embed|Linear)", "{docs}nn/linear.html#{name}"),
            (r"flax\.nnx\.(?:BatchNorm)", "{docs}nn/normalization.html#{name}"),
            (r"flax\.nnx\.(?:Dropout)", "{docs}nn/stochastic.html#{name}"),
            (r"flax\.nnx\.(GRUCell|RNN)", "{docs}nn/recurrent.html#flax.nnx.nn.recurrent.{Name}"),
            (r"optax\.(?:sgd|adam)", "https://optax.readthedocs.io/en/latest/api/optimizers.html#{name}"),
            (
                r"jax\.(?:block_until_ready|device_get|devices)",
                "https://docs.jax.dev/en/latest/_autosummary/{name}.html",
            ),
        ),
    ),
    "keras-cntk": Documentation("https://keras.io/2/api/", KERAS),
    "keras-jax": Documentation("https://keras.io/api/", KERAS),
    "keras-r": Documentation("https://keras.io/api/", KERAS),
    "keras-tf": Documentation("https://keras.io/api/", KERAS),
    "keras-tf-2018": Documentation("https://keras.io/2/api/", KERAS),
    "keras-theano": Documentation("https://keras.io/2/api/", KERAS),
    "keras-torch": Documentation("https://keras.io/api/", KERAS),
    "lasagne": Documentation(
        LASAGNE,
        (
            (r"lasagne\.layers\.(?:Conv2DLayer)", "{docs}layers/conv.html#{name}"),
            (r"lasagne\.layers\.(?:DenseLayer)", "{docs}layers/dense.html#{name}"),
            (r"lasagne\.layers\.(?:DropoutLayer)", "{docs}layers/noise.html#{name}"),
            (r"lasagne\.layers\.(?:EmbeddingLayer)", "{docs}layers/embedding.html#{name}"),
            (r"lasagne\.layers\.(?:GRULayer)", "{docs}layers/recurrent.html#{name}"),
            (r"lasagne\.layers\.(?:MaxPool2DLayer|GlobalPoolLayer)", "{docs}layers/pool.html#{name}"),
            (r"lasagne\.(nonlinearities|objectives|updates)\.\w+", "{docs}{0}.html#{name}"),
        ),
    ),
    "mxnet": Documentation(MXNET_NOW, MXNET),
    "mxnet-2018": Documentation(MXNET_2018, ((r"mxnet\.sym\.(\w+)", "{docs}symbol/symbol.html#mxnet.symbol.{Name}"),)),
    "mxnet-r": Documentation(MXNET_NOW, MXNET),
    "paddle": Documentation(
        "https://www.paddlepaddle.org.cn/documentation/docs/en/api/",
        ((r"paddle\.(?:nn|optimizer)\.\w+|paddle\.to_tensor", "{docs}{path}_en.html"),),
    ),
    "pytorch": Documentation(
        "https://docs.pytorch.org/docs/2.13/",
        (
            (r"torch\.(?:nn|optim)\.[A-Z]\w+|torch\.from_numpy", "{docs}generated/{name}.html"),
            (r"torch\.amp\.\w+", "{docs}amp.html"),
        ),
    ),
    "pytorch-2018": Documentation(
        "https://docs.pytorch.org/docs/1.0.1/", ((r"torch\.(nn|optim)\.[A-Z]\w+", "{docs}{0}.html#{name}"),)
    ),
    "tensorflow": Documentation(
        TENSORFLOW,
        ((r"tensorflow\.((?:keras|nn)\.[\w.]+|GradientTape|reduce_mean|convert_to_tensor)", "{docs}tf/{Path}"),),
    ),
    "tensorflow-2018": Documentation(
        "https://github.com/tensorflow/docs/blob/r1.12/site/en/api_docs/python/",
        ((r"tensorflow\.((?:layers|losses|nn|train|estimator)\.[\w.]+)", "{docs}tf/{Path}.md"),),
    ),
}
"""By the rules of the documentations; not every address was opened. Caffe2 and Knet have no page for each call."""

NONE = Documentation("", ())


class Link(NamedTuple):
    """A call as the script writes it, and the address of its documentation."""

    name: str
    url: str


def origins(script: str) -> dict[str, str]:
    """What each imported name of a script stands for: ``{"nn": "torch.nn"}``."""
    found = {}
    for pattern, meaning in IMPORTS:
        for match in pattern.finditer(script):
            for alias in re.split(r",\s*", match["alias"] or match["name"]):
                found[alias.strip("@")] = meaning.format(name=match["name"], alias=alias)
    return found


def links(code: str, names: Mapping[str, str], library: str) -> Iterator[Link]:
    """The documented calls of a piece of a script, each once, in their order; ``names`` are its ``origins``."""
    seen: set[str] = set()
    for name in NAME.findall(COMMENT.sub("", code)):
        first, *rest = re.split(r"[.$]", name)
        whole = ".".join([names.get(first, ""), *rest])
        url = address(whole, library) if first in names and whole not in seen else None
        if url:
            seen.add(whole)
            yield Link(name.replace("$", "."), url)


def address(name: str, library: str) -> str | None:
    """The address of a whole name, ``torch.nn.Linear``, by the first of its library's rules that knows it."""
    documentation = DOCUMENTATION.get(library, NONE)
    for pattern, url in documentation.rules:
        if match := re.fullmatch(pattern, name):
            last = (match.groups() or (name,))[-1]
            parts = {"Name": last, "Path": last.replace(".", "/"), "name": name, "path": name.replace(".", "/")}
            return url.format(*map(str.lower, match.groups()), docs=documentation.docs, **parts)
    return None
