"""GRU on IMDB in PyTorch 1.0, of 2018."""

import torch
from torch import nn

from harness import Cell, Weights

cell = Cell(torch.__version__, torch.version.cuda, torch.backends.cudnn.version())
params = cell.params
torch.manual_seed(cell.seed)
device = torch.device("cuda" if cell.gpus else "cpu")

# --- Data -----------------------------------------------------------------------------------------------------------
data = cell.data()


# --- Model ----------------------------------------------------------------------------------------------------------
class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(params.vocabulary, params.embedding)  # N(0, 1), PyTorch's own
        self.gru = nn.GRU(params.embedding, params.hidden, batch_first=True)  # reset gate after the product, two biases
        self.dense = nn.Linear(params.hidden, params.n_classes)

    def forward(self, x):
        _, last = self.gru(self.embedding(x))  # the state after the padding: no mask, as published
        return self.dense(last[0])


model = Network().to(device)
cell.gru = "cudnn" if torch.backends.cudnn.is_acceptable(model.dense.weight) else "scan"  # as nn.GRU asks

# --- Loss and optimiser ---------------------------------------------------------------------------------------------
loss_function = nn.CrossEntropyLoss()  # takes logits
optimizer = torch.optim.Adam(
    model.parameters(), lr=params.learning_rate, betas=(params.beta_1, params.beta_2), eps=params.epsilon
)


# --- Training step --------------------------------------------------------------------------------------------------
def train_step(x, y):
    model.train()
    x, y = torch.from_numpy(x).long().to(device), torch.from_numpy(y).long().to(device)  # tokens, too: no int32 here
    optimizer.zero_grad()
    loss = loss_function(model(x), y)
    loss.backward()
    optimizer.step()
    return loss.detach()


# --- Prediction -----------------------------------------------------------------------------------------------------
@torch.no_grad()
def predict(x):
    model.eval()
    return model(torch.from_numpy(x).long().to(device)).cpu().numpy()


# --- Weights --------------------------------------------------------------------------------------------------------
def set_weights(arrays):
    with torch.no_grad():
        for parameter, array in zip(model.parameters(), arrays):
            parameter.copy_(torch.from_numpy(array))


def get_weights():
    return [parameter.detach().cpu().numpy() for parameter in model.parameters()]


weights = Weights(get_weights, set_weights, epsilon="uncorrected")  # the layouts by which all others are described
cell.run(data, predict, train_step, synchronize=torch.cuda.synchronize if cell.gpus else None, weights=weights)
