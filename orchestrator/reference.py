"""What was published in 2018: the rows of the tables. Read-only, never mixed with new results."""

LIBRARIES = {
    "caffe2": "Caffe2",
    "chainer": "Chainer",
    "cntk": "CNTK",
    "gluon": "MXNet (Gluon)",
    "keras-cntk": "Keras (CNTK)",
    "keras-tf": "Keras (TF)",
    "keras-theano": "Keras (Theano)",
    "knet": "Julia (Knet)",
    "lasagne": "Lasagne (Theano)",
    "mxnet": "MXNet",
    "mxnet-r": "R (MXNet)",
    "pytorch": "PyTorch",
    "tensorflow": "TensorFlow",
}
"""The thirteen libraries of the published single-GPU tables, by the name they have in matrix.yaml."""
