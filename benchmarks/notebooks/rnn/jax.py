"""GRU in JAX with Flax NNX, as its tutorials have it."""

import jax
import optax
from flax import nnx

from common import EPOCHS, Clock, arrays, minibatches, parameters

params = parameters("rnn")
x_train, y_train = arrays("rnn")


class GRU(nnx.Module):
    def __init__(self, rngs):
        self.embedding = nnx.Embed(params.vocabulary, params.embedding, rngs=rngs)
        cell = nnx.GRUCell(params.embedding, params.hidden, rngs=rngs)
        cell.dense_h = nnx.Linear(params.hidden, 3 * params.hidden, rngs=rngs)  # the second bias, for the same network
        self.rnn = nnx.RNN(cell)
        self.linear = nnx.Linear(params.hidden, params.n_classes, rngs=rngs)

    def __call__(self, x):
        return self.linear(self.rnn(self.embedding(x))[:, -1, :])


model = GRU(nnx.Rngs(0))
optimizer = nnx.Optimizer(
    model, optax.adam(params.learning_rate, params.beta_1, params.beta_2, params.epsilon), wrt=nnx.Param
)


def loss_fn(model, x, y):
    return optax.softmax_cross_entropy_with_integer_labels(logits=model(x), labels=y).mean()


@nnx.jit
def train_step(model, optimizer, x, y):
    loss, grads = nnx.value_and_grad(loss_fn)(model, x, y)
    optimizer.update(model, grads)
    return loss


clock = Clock(jax.__version__, wait=lambda: jax.block_until_ready(nnx.state(model)))
for _ in range(EPOCHS):
    for x, y in minibatches(x_train, y_train, params.batch_size):
        train_step(model, optimizer, x, y)
    clock.lap()
