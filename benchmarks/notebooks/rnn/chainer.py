"""GRU in Chainer: a Variable per batch, gradients cleared by hand."""

import chainer
import chainer.functions as F
import chainer.links as L
from chainer import Chain, Variable, optimizers

from common import EPOCHS, Clock, arrays, minibatches, parameters

params = parameters("rnn")
x_train, y_train = arrays("rnn")


class GRU(Chain):
    def __init__(self):
        super().__init__()
        with self.init_scope():
            self.embed = L.EmbedID(params.vocabulary, params.embedding)
            self.gru = L.NStepGRU(n_layers=1, in_size=params.embedding, out_size=params.hidden, dropout=0)
            self.fc = L.Linear(params.hidden, params.n_classes)

    def __call__(self, x):
        words = self.embed(F.flatten(x))  # of all reviews at once, then a list with an entry per review
        last, _ = self.gru(None, F.split_axis(words, len(x), axis=0))
        return self.fc(last[0])


model = GRU()
optimizer = optimizers.Adam(alpha=params.learning_rate, beta1=params.beta_1, beta2=params.beta_2, eps=params.epsilon)
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
