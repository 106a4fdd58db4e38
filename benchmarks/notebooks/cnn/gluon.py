"""CNN in Gluon: a hybridised block, an NDArray per batch."""

import mxnet as mx
from mxnet import autograd, gluon, nd
from mxnet.gluon import nn

from common import EPOCHS, Clock, arrays, minibatches, parameters

params = parameters("cnn")
few, many = params.filters
drop1, drop2, drop3 = params.dropout
x_train, y_train = arrays("cnn")

net = nn.HybridSequential()
with net.name_scope():
    net.add(
        nn.Conv2D(few, kernel_size=3, padding=(1, 1), activation="relu"),
        nn.Conv2D(few, kernel_size=3, padding=(1, 1)),
        nn.MaxPool2D(pool_size=2, strides=2),
        nn.Activation("relu"),
        nn.Dropout(drop1),
        nn.Conv2D(many, kernel_size=3, padding=(1, 1), activation="relu"),
        nn.Conv2D(many, kernel_size=3, padding=(1, 1)),
        nn.MaxPool2D(pool_size=2, strides=2),
        nn.Activation("relu"),
        nn.Dropout(drop2),
        nn.Flatten(),
        nn.Dense(params.hidden, activation="relu"),
        nn.Dropout(drop3),
        nn.Dense(params.n_classes),
    )
net.initialize(mx.init.Xavier(magnitude=2.24), ctx=mx.cpu())
net.hybridize()
criterion = gluon.loss.SoftmaxCrossEntropyLoss()
trainer = gluon.Trainer(
    net.collect_params(), "sgd", {"learning_rate": params.learning_rate, "momentum": params.momentum}
)

clock = Clock(mx.__version__, wait=nd.waitall)
for _ in range(EPOCHS):
    for x, y in minibatches(x_train, y_train, params.batch_size):
        x, y = nd.array(x).as_in_context(mx.cpu()), nd.array(y).as_in_context(mx.cpu())
        with autograd.record():
            loss = criterion(net(x), y)
        loss.backward()
        trainer.step(x.shape[0])
    clock.lap()
