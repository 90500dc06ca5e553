"""A linear probe: can a single layer read the class off frozen features?"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mae.train.stopping import Stop

PENALTY = 1e-3
ROUNDS, STEPS_A_ROUND = 10, 20


def linear_top1(
    train: Tensor, train_labels: Tensor, test: Tensor, test_labels: Tensor, stop: Stop
) -> float:
    """Percent of `test` (M, D) that a layer fitted on `train` (N, D) puts into the right class.

    Features are standardised by the training set's statistics: what the paper's BatchNorm without
    scale and shift comes to when the encoder is frozen. The layer is fitted to its optimum with
    L-BFGS from zero, so that no learning rate and no chance enters.
    """
    deviation, mean = torch.std_mean(train, dim=0)
    train, test = ((x - mean) / (deviation + 1e-6) for x in (train, test))
    classes = int(max(train_labels.max(), test_labels.max())) + 1
    layer = nn.Linear(train.shape[1], classes, device=train.device)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    optimiser = torch.optim.LBFGS(
        layer.parameters(), max_iter=STEPS_A_ROUND, line_search_fn="strong_wolfe"
    )

    def loss() -> Tensor:
        optimiser.zero_grad()
        value = F.cross_entropy(layer(train), train_labels)
        value = value + PENALTY * layer.weight.square().sum()
        value.backward()
        return value

    for _ in range(ROUNDS):
        stop.check()
        optimiser.step(loss)
    with torch.inference_mode():
        correct = (layer(test).argmax(dim=1) == test_labels).sum().item()
    return 100.0 * correct / len(test)
