"""Nearest neighbours: are images of one class close to each other?"""

import torch
import torch.nn.functional as F
from torch import Tensor

NEIGHBOURS = 20
TEMPERATURE = 0.07
ROWS = 1024


def knn_top1(
    train: Tensor, train_labels: Tensor, test: Tensor, test_labels: Tensor, k: int = NEIGHBOURS
) -> float:
    """Percent of `test` (M, D) whose class the k most similar of `train` (N, D) vote for.

    Similarity is the cosine of the centred features; a neighbour's vote weighs
    exp(similarity / 0.07), as in Wu et al., 2018.
    """
    centre = train.mean(dim=0)
    train, test = F.normalize(train - centre, dim=1), F.normalize(test - centre, dim=1)
    classes = int(max(train_labels.max(), test_labels.max())) + 1
    correct = 0
    for queries, truth in zip(test.split(ROWS), test_labels.split(ROWS), strict=True):
        similarity, nearest = (queries @ train.T).topk(min(k, len(train)), dim=1)
        votes = torch.zeros(len(queries), classes, device=train.device)
        votes.scatter_add_(1, train_labels[nearest], (similarity / TEMPERATURE).exp())
        correct += int((votes.argmax(dim=1) == truth).sum())
    return 100.0 * correct / len(test)
