"""Each loss as a loop over pairs in plain Python floats, written from the papers' formulas."""

import math

import torch

from clce_bench.losses import create_loss


def loop(embeddings, labels, anchor_loss):
    """Mean of ``anchor_loss(positives, negatives)``, lists of cosine similarities, over anchors with a positive."""
    unit = [[x / math.sqrt(sum(v * v for v in row)) for x in row] for row in embeddings.double().tolist()]
    values = []
    for i, row in enumerate(unit):
        similar = [sum(a * b for a, b in zip(row, other, strict=True)) for other in unit]
        positives = [s for j, s in enumerate(similar) if j != i and labels[j] == labels[i]]
        negatives = [s for j, s in enumerate(similar) if labels[j] != labels[i]]
        if positives:
            values.append(anchor_loss(positives, negatives))
    return sum(values) / len(values) if values else 0.0


def hard_negatives(negatives, tau, beta):
    if not negatives:
        return 0.0
    weights = [math.exp(s / tau) ** beta for s in negatives]
    mean = sum(weights) / len(weights)
    return sum(w / mean * math.exp(s / tau) for w, s in zip(weights, negatives, strict=True))


def supcon(tau):
    def value(positives, negatives):
        total = sum(math.exp(s / tau) for s in positives + negatives)
        return -sum(math.log(math.exp(s / tau) / total) for s in positives) / len(positives)

    return value


def schane(tau, beta):
    def value(positives, negatives):
        mean = sum(math.exp(s / tau) for s in positives) / len(positives)
        return -math.log(mean / (mean + hard_negatives(negatives, tau, beta)))

    return value


def clce(tau, beta):
    def value(positives, negatives):
        total = sum(math.exp(s / tau) for s in positives)
        return -math.log(total / len(positives) / (total + hard_negatives(negatives, tau, beta)))

    return value


def supcon_inside(tau):
    def value(positives, negatives):
        mean = sum(math.exp(s / tau) for s in positives) / len(positives)
        return -math.log(mean / sum(math.exp(s / tau) for s in positives + negatives))

    return value


def hcl(tau, beta, tau_plus):
    def value(positives, negatives):
        mean = sum(math.exp(s / tau) for s in positives) / len(positives)
        count = len(negatives)
        reduced = (hard_negatives(negatives, tau, beta) - tau_plus * count * mean) / (1 - tau_plus)
        return -math.log(mean / (mean + max(reduced, count * math.exp(-1 / tau))))

    return value


def tcl(tau, k1, k2):
    def value(positives, negatives):
        denominator = sum(math.exp(s / tau) for s in positives)
        denominator += k1 * sum(math.exp(-s) for s in positives) + k2 * sum(math.exp(s / tau) for s in negatives)
        return -sum(math.log(math.exp(s / tau) / denominator) for s in positives) / len(positives)

    return value


# Hyper-parameters of each loss, and its loop with the same, from a temperature and two numbers of at least 0. Options
# that change the formula are cases of their own, called by the loss's name and a word.
CASES = {
    "supcon": (lambda tau, a, b: {"temperature": tau}, lambda tau, a, b: supcon(tau)),
    "supcon inside": (
        lambda tau, a, b: {"temperature": tau, "positives": "inside"},
        lambda tau, a, b: supcon_inside(tau),
    ),
    "ntxent": (lambda tau, a, b: {"temperature": tau}, lambda tau, a, b: supcon(tau)),
    "hcl": (
        lambda tau, a, b: {"temperature": tau, "beta": a, "tau_plus": b / 4},
        lambda tau, a, b: hcl(tau, a, b / 4),
    ),
    "schane": (lambda tau, a, b: {"temperature": tau, "beta": a}, lambda tau, a, b: schane(tau, a)),
    "clce": (lambda tau, a, b: {"temperature": tau, "beta": a}, lambda tau, a, b: clce(tau, a)),
    "tcl": (lambda tau, a, b: {"temperature": tau, "k1": 100 * a, "k2": b}, lambda tau, a, b: tcl(tau, 100 * a, b)),
}


def make(case, **hyperparameters):
    """The loss of a case, ``supcon inside`` being an option of ``supcon``."""
    name, *inside = case.split()
    return create_loss(name, **({"positives": "inside"} if inside else {}), **hyperparameters)


def random_embeddings(rows, seed, dimensions=5):
    return torch.randn(rows, dimensions, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def random_labels(rows, classes, seed=0):
    return torch.randint(classes, (rows,), generator=torch.Generator().manual_seed(seed))
