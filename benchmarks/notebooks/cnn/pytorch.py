"""CNN in PyTorch: functions for what has no parameters, a new tensor per batch."""

import torch
import torch.nn.functional as F
from torch import nn, optim

from common import EPOCHS, Clock, arrays, minibatches, parameters

params = parameters("cnn")
few, many = params.filters
drop1, drop2, drop3 = params.dropout
x_train, y_train = arrays("cnn")


class CNN(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, few, kernel_size=3, padding=1)
        self.conv2 = nn.Conv2d(few, few, kernel_size=3, padding=1)
        self.conv3 = nn.Conv2d(few, many, kernel_size=3, padding=1)
        self.conv4 = nn.Conv2d(many, many, kernel_size=3, padding=1)
        self.fc1 = nn.Linear(many * 8 * 8, params.hidden)
        self.fc2 = nn.Linear(params.hidden, params.n_classes)

    def forward(self, x):
        x = F.relu(self.conv1(x))
        x = F.relu(F.max_pool2d(self.conv2(x), 2))
        x = F.dropout(x, drop1, self.training)
        x = F.relu(self.conv3(x))
        x = F.relu(F.max_pool2d(self.conv4(x), 2))
        x = F.dropout(x, drop2, self.training)
        x = F.relu(self.fc1(x.view(-1, many * 8 * 8)))
        return self.fc2(F.dropout(x, drop3, self.training))


on_card = torch.cuda.is_available()
model = CNN().cuda() if on_card else CNN()
criterion = nn.CrossEntropyLoss()
optimizer = optim.SGD(model.parameters(), lr=params.learning_rate, momentum=params.momentum)

model.train()
clock = Clock(torch.__version__, wait=torch.cuda.synchronize if on_card else lambda: None)
for _ in range(EPOCHS):
    for x, y in minibatches(x_train, y_train, params.batch_size):
        x, y = torch.FloatTensor(x), torch.LongTensor(y.astype("int64"))
        x, y = (x.cuda(), y.cuda()) if on_card else (x, y)
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
    clock.lap()
