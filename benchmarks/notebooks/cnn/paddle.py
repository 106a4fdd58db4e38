"""CNN in PaddlePaddle: layers in a row, new tensors per batch."""

import paddle
from paddle import nn

from common import EPOCHS, Clock, arrays, minibatches, parameters

params = parameters("cnn")
few, many = params.filters
drop1, drop2, drop3 = params.dropout
x_train, y_train = arrays("cnn")

model = nn.Sequential(
    nn.Conv2D(3, few, kernel_size=3, padding=1),
    nn.ReLU(),
    nn.Conv2D(few, few, kernel_size=3, padding=1),
    nn.MaxPool2D(2, 2),
    nn.ReLU(),
    nn.Dropout(drop1),
    nn.Conv2D(few, many, kernel_size=3, padding=1),
    nn.ReLU(),
    nn.Conv2D(many, many, kernel_size=3, padding=1),
    nn.MaxPool2D(2, 2),
    nn.ReLU(),
    nn.Dropout(drop2),
    nn.Flatten(),
    nn.Linear(many * 8 * 8, params.hidden),
    nn.ReLU(),
    nn.Dropout(drop3),
    nn.Linear(params.hidden, params.n_classes),
)
criterion = nn.CrossEntropyLoss()
optimizer = paddle.optimizer.Momentum(params.learning_rate, params.momentum, parameters=model.parameters())

model.train()
clock = Clock(paddle.__version__)
for _ in range(EPOCHS):
    for x, y in minibatches(x_train, y_train, params.batch_size):
        loss = criterion(model(paddle.to_tensor(x)), paddle.to_tensor(y))
        loss.backward()
        optimizer.step()
        optimizer.clear_grad()
    clock.lap()
