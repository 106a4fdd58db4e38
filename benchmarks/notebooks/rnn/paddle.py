"""GRU in PaddlePaddle: the last of all outputs, new tensors per batch."""

import paddle
from paddle import nn

from common import EPOCHS, Clock, arrays, minibatches, parameters

params = parameters("rnn")
x_train, y_train = arrays("rnn")


class GRU(nn.Layer):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(params.vocabulary, params.embedding)
        self.gru = nn.GRU(params.embedding, params.hidden, num_layers=1)
        self.fc = nn.Linear(params.hidden, params.n_classes)

    def forward(self, x):
        x, _ = self.gru(self.embedding(x))
        return self.fc(x[:, -1, :])


model = GRU()
criterion = nn.CrossEntropyLoss()
optimizer = paddle.optimizer.Adam(
    params.learning_rate, params.beta_1, params.beta_2, params.epsilon, parameters=model.parameters()
)

model.train()
clock = Clock(paddle.__version__)
for _ in range(EPOCHS):
    for x, y in minibatches(x_train, y_train, params.batch_size):
        loss = criterion(model(paddle.to_tensor(x)), paddle.to_tensor(y))
        loss.backward()
        optimizer.step()
        optimizer.clear_grad()
    clock.lap()
