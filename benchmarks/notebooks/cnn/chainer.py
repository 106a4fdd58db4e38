"""CNN in Chainer: a Variable per batch, gradients cleared by hand."""

import chainer
import chainer.functions as F
import chainer.links as L
from chainer import Chain, Variable, optimizers

from common import EPOCHS, Clock, arrays, minibatches, parameters

params = parameters("cnn")
few, many = params.filters
drop1, drop2, drop3 = params.dropout
x_train, y_train = arrays("cnn")


class CNN(Chain):
    def __init__(self):
        super().__init__()
        with self.init_scope():
            self.conv1 = L.Convolution2D(3, few, ksize=3, pad=1)
            self.conv2 = L.Convolution2D(few, few, ksize=3, pad=1)
            self.conv3 = L.Convolution2D(few, many, ksize=3, pad=1)
            self.conv4 = L.Convolution2D(many, many, ksize=3, pad=1)
            self.fc1 = L.Linear(many * 8 * 8, params.hidden)
            self.fc2 = L.Linear(params.hidden, params.n_classes)

    def __call__(self, x):
        h = F.relu(self.conv1(x))
        h = F.relu(F.max_pooling_2d(self.conv2(h), ksize=2, stride=2))
        h = F.dropout(h, drop1)
        h = F.relu(self.conv3(h))
        h = F.relu(F.max_pooling_2d(self.conv4(h), ksize=2, stride=2))
        h = F.dropout(h, drop2)
        h = F.dropout(F.relu(self.fc1(h)), drop3)
        return self.fc2(h)


model = CNN()
optimizer = optimizers.MomentumSGD(lr=params.learning_rate, momentum=params.momentum)
optimizer.setup(model)

clock = Clock(chainer.__version__)
for _ in range(EPOCHS):
    for x, y in minibatches(x_train, y_train, params.batch_size):
        x, y = Variable(x), Variable(y)
        loss = F.softmax_cross_entropy(model(x), y)
        model.cleargrads()
        loss.backward()
        optimizer.update()
    clock.lap()
