"""CNN in JAX with Flax NNX, as its tutorials have it."""

from functools import partial

import jax
import optax
from flax import nnx

from common import EPOCHS, Clock, arrays, minibatches, parameters

params = parameters("cnn")
few, many = params.filters
x_train, y_train = arrays("cnn", channels_first=False)


class CNN(nnx.Module):
    def __init__(self, rngs):
        self.conv1 = nnx.Conv(3, few, kernel_size=(3, 3), rngs=rngs)
        self.conv2 = nnx.Conv(few, few, kernel_size=(3, 3), rngs=rngs)
        self.conv3 = nnx.Conv(few, many, kernel_size=(3, 3), rngs=rngs)
        self.conv4 = nnx.Conv(many, many, kernel_size=(3, 3), rngs=rngs)
        self.max_pool = partial(nnx.max_pool, window_shape=(2, 2), strides=(2, 2))
        self.drop1, self.drop2, self.drop3 = (nnx.Dropout(rate=rate, rngs=rngs) for rate in params.dropout)
        self.linear1 = nnx.Linear(many * 8 * 8, params.hidden, rngs=rngs)
        self.linear2 = nnx.Linear(params.hidden, params.n_classes, rngs=rngs)

    def __call__(self, x):
        x = self.conv2(nnx.relu(self.conv1(x)))
        x = self.drop1(nnx.relu(self.max_pool(x)))
        x = self.conv4(nnx.relu(self.conv3(x)))
        x = self.drop2(nnx.relu(self.max_pool(x)))
        x = self.drop3(nnx.relu(self.linear1(x.reshape(x.shape[0], -1))))
        return self.linear2(x)


model = CNN(nnx.Rngs(0))
optimizer = nnx.Optimizer(model, optax.sgd(params.learning_rate, params.momentum), wrt=nnx.Param)


def loss_fn(model, x, y):
    return optax.softmax_cross_entropy_with_integer_labels(logits=model(x), labels=y).mean()


@nnx.jit
def train_step(model, optimizer, x, y):
    loss, grads = nnx.value_and_grad(loss_fn)(model, x, y)
    optimizer.update(model, grads)
    return loss


model.train()
clock = Clock(jax.__version__, wait=lambda: jax.block_until_ready(nnx.state(model)))
for _ in range(EPOCHS):
    for x, y in minibatches(x_train, y_train, params.batch_size):
        train_step(model, optimizer, x, y)
    clock.lap()
