"""GRU in Gluon: a hybridised block, an NDArray per batch."""

import mxnet as mx
from mxnet import autograd, gluon, nd
from mxnet.gluon import nn, rnn

from common import EPOCHS, Clock, arrays, minibatches, parameters

params = parameters("rnn")
x_train, y_train = arrays("rnn")


class GRU(gluon.HybridBlock):
    def __init__(self):
        super().__init__()
        with self.name_scope():
            self.embedding = nn.Embedding(params.vocabulary, params.embedding)
            self.gru = rnn.GRU(params.hidden, num_layers=1, layout="NTC")
            self.dense = nn.Dense(params.n_classes)

    def hybrid_forward(self, F, x):
        x = self.gru(self.embedding(x))
        return self.dense(F.slice_axis(x, axis=1, begin=params.length - 1, end=params.length))


net = GRU()
net.initialize(mx.init.Xavier(), ctx=mx.cpu())
net.hybridize()
criterion = gluon.loss.SoftmaxCrossEntropyLoss()
settings = {"learning_rate": params.learning_rate, "beta1": params.beta_1, "beta2": params.beta_2}
trainer = gluon.Trainer(net.collect_params(), "adam", dict(settings, epsilon=params.epsilon))

clock = Clock(mx.__version__, wait=nd.waitall)
for _ in range(EPOCHS):
    for x, y in minibatches(x_train, y_train, params.batch_size):
        x, y = nd.array(x).as_in_context(mx.cpu()), nd.array(y).as_in_context(mx.cpu())
        with autograd.record():
            loss = criterion(net(x), y)
        loss.backward()
        trainer.step(x.shape[0])
    clock.lap()
