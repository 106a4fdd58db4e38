"""GRU in PyTorch: a zero state and new tensors per batch."""

import torch
from torch import nn, optim

from common import EPOCHS, Clock, arrays, minibatches, parameters

params = parameters("rnn")
x_train, y_train = arrays("rnn")


class GRU(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(params.vocabulary, params.embedding)
        self.gru = nn.GRU(params.embedding, params.hidden, num_layers=1, batch_first=True)
        self.fc = nn.Linear(params.hidden, params.n_classes)

    def forward(self, x):
        start = torch.zeros(1, len(x), params.hidden, device=x.device)
        x, _ = self.gru(self.embedding(x), start)
        return self.fc(x[:, -1, :])


on_card = torch.cuda.is_available()
model = GRU().cuda() if on_card else GRU()
criterion = nn.CrossEntropyLoss()
optimizer = optim.Adam(
    model.parameters(), lr=params.learning_rate, betas=(params.beta_1, params.beta_2), eps=params.epsilon
)

model.train()
clock = Clock(torch.__version__, wait=torch.cuda.synchronize if on_card else lambda: None)
for _ in range(EPOCHS):
    for x, y in minibatches(x_train, y_train, params.batch_size):
        x, y = torch.LongTensor(x.astype("int64")), torch.LongTensor(y.astype("int64"))
        x, y = (x.cuda(), y.cuda()) if on_card else (x, y)
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
    clock.lap()
