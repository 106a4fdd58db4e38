"""GRU in CNTK: a Trainer that is fed a dictionary per batch, with one-hot labels.

The notebook of 2018 had one-hot words and cuDNN's GRU, which CNTK can't train with Adam, or does not have, on a CPU.
"""

import cntk as C
from cntk.layers import GRU, Dense, Recurrence

from common import EPOCHS, Clock, arrays, minibatches, parameters

params = parameters("rnn")
x_train, y_train = arrays("rnn", one_hot=True)
x_train = x_train.astype("float32")


def create_symbol(x):
    table = C.parameter((params.vocabulary, params.embedding), init=C.glorot_uniform())
    x = Recurrence(GRU(params.hidden))(C.gather(table, x))
    return Dense(params.n_classes)(C.sequence.last(x))


features = C.sequence.input_variable(())
labels = C.input_variable(params.n_classes)
model = create_symbol(features)
loss = C.cross_entropy_with_softmax(model, labels)
learner = C.adam(
    model.parameters,
    lr=params.learning_rate,
    momentum=params.beta_1,
    variance_momentum=params.beta_2,
    epsilon=params.epsilon,
    minibatch_size=C.learners.IGNORE,
)
trainer = C.Trainer(model, loss, [learner])

clock = Clock(C.__version__)
for _ in range(EPOCHS):
    for x, y in minibatches(x_train, y_train, params.batch_size):
        trainer.train_minibatch({features: x, labels: y})
    clock.lap()
