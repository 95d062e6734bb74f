"""Each loss as a loop over pairs in plain Python floats, written from the papers' formulas."""

import inspect
import math

import torch

from clce_bench.components.hyperparameters import hyperparameters_of
from clce_bench.components.registry import loss_path
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


def sincere(tau):
    def value(positives, negatives):
        repelled = sum(math.exp(s / tau) for s in negatives)
        return -sum(math.log(math.exp(s / tau) / (math.exp(s / tau) + repelled)) for s in positives) / len(positives)

    return value


def dcl(tau):
    def value(positives, negatives):
        repelled = math.log(sum(math.exp(s / tau) for s in negatives)) if negatives else 0.0
        return repelled - sum(s / tau for s in positives) / len(positives)

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
    "sincere": (lambda tau, a, b: {"temperature": tau}, lambda tau, a, b: sincere(tau)),
    "dcl": (lambda tau, a, b: {"temperature": tau}, lambda tau, a, b: dcl(tau)),
    "hcl": (
        lambda tau, a, b: {"temperature": tau, "beta": a, "tau_plus": b / 4},
        lambda tau, a, b: hcl(tau, a, b / 4),
    ),
    "schane": (lambda tau, a, b: {"temperature": tau, "beta": a}, lambda tau, a, b: schane(tau, a)),
    "clce": (lambda tau, a, b: {"temperature": tau, "beta": a}, lambda tau, a, b: clce(tau, a)),
    "tcl": (lambda tau, a, b: {"temperature": tau, "k1": 100 * a, "k2": b}, lambda tau, a, b: tcl(tau, 100 * a, b)),
}


def standardised(view):
    """Each dimension of a list of rows with mean 0 and variance 1, batch normalisation's 1e-5 added to the variance."""
    columns = []
    for column in zip(*view, strict=True):
        mean = sum(column) / len(column)
        variance = sum((value - mean) ** 2 for value in column) / len(column)
        columns.append([(value - mean) / math.sqrt(variance + 1e-5) for value in column])
    return columns


def barlow_twins(redundancy):
    def value(one, other):
        first, second = standardised(one), standardised(other)
        total = 0.0
        for k, left in enumerate(first):
            for m, right in enumerate(second):
                correlation = sum(a * b for a, b in zip(left, right, strict=True)) / len(one)
                total += (1 - correlation) ** 2 if k == m else redundancy * correlation**2
        return total

    return value


def vicreg(invariance, variance, covariance):
    def spread_and_redundancy(view):
        columns = list(zip(*view, strict=True))
        centred = [[value - sum(column) / len(column) for value in column] for column in columns]
        spread = redundancy = 0.0
        for k, left in enumerate(centred):
            for m, right in enumerate(centred):
                shared = sum(a * b for a, b in zip(left, right, strict=True)) / (len(view) - 1)
                if k == m:
                    spread += max(0.0, 1 - math.sqrt(shared + 1e-4))
                else:
                    redundancy += shared**2
        return spread / len(columns), redundancy / len(columns)

    def value(one, other):
        rows = zip(one, other, strict=True)
        distances = [(a - b) ** 2 for left, right in rows for a, b in zip(left, right, strict=True)]
        spreads, redundancies = zip(*(spread_and_redundancy(view) for view in (one, other)), strict=True)
        distance = sum(distances) / len(distances)
        return invariance * distance + variance * sum(spreads) / 2 + covariance * sum(redundancies)

    return value


# The same of losses that compare whole views: hyper-parameters, and the loss of two lists of rows.
VIEW_CASES = {
    "barlow-twins": (lambda a, b, c: {"redundancy": a}, lambda a, b, c: barlow_twins(a)),
    "vicreg": (lambda a, b, c: {"invariance": a, "variance": b, "covariance": c}, vicreg),
}


def views_loop(embeddings, images, pair_loss):
    """Mean of ``pair_loss`` over all pairs of views, of rows scaled to length √dimensions."""
    seen = {}
    for image, row in zip(images, embeddings.double().tolist(), strict=True):
        length = math.sqrt(sum(value**2 for value in row) / len(row))
        seen.setdefault(image, []).append([value / length for value in row])
    views = list(zip(*seen.values(), strict=True))
    values = [pair_loss(views[k], views[m]) for k in range(len(views)) for m in range(k + 1, len(views))]
    return sum(values) / len(values)


def predicted(view, predictor):
    """What a predictor makes of a list of rows: linear, batch normalisation, ReLU, linear."""
    weights, (scales, shifts), (ends, biases) = (
        predictor[0].weight.tolist(),
        (predictor[1].weight.tolist(), predictor[1].bias.tolist()),
        (predictor[3].weight.tolist(), predictor[3].bias.tolist()),
    )
    hidden = [[sum(w * x for w, x in zip(line, row, strict=True)) for line in weights] for row in view]
    columns = [
        [max(0.0, scale * value + shift) for value in column]
        for column, scale, shift in zip(standardised(hidden), scales, shifts, strict=True)
    ]
    return [
        [bias + sum(w * x for w, x in zip(line, row, strict=True)) for line, bias in zip(ends, biases, strict=True)]
        for row in zip(*columns, strict=True)
    ]


def cosine(one, other):
    dot = sum(a * b for a, b in zip(one, other, strict=True))
    return dot / math.sqrt(sum(a * a for a in one) * sum(b * b for b in other))


def predicts(start, factor):
    """``start`` minus ``factor`` times the cosine of what is predicted and what is to be predicted."""

    def of(loss):
        def value(one, target):
            pairs = zip(predicted(one, loss.predictor), target, strict=True)
            return sum(start - factor * cosine(ahead, there) for ahead, there in pairs) / len(one)

        return value

    return of


def moco(loss):
    queue, tau = loss.queue.tolist(), loss.temperature

    def value(one, target):
        total = 0.0
        for query, key in zip(one, target, strict=True):
            own = math.exp(cosine(query, key) / tau)
            length = math.sqrt(sum(value**2 for value in query))
            dots = [sum(a * b for a, b in zip(query, old, strict=True)) for old in queue]
            total -= math.log(own / (own + sum(math.exp(dot / length / tau) for dot in dots)))
        return total / len(one)

    return value


# The same of losses of a view and its target, another view: hyper-parameters, and by the loss, which has a predictor or
# a queue, what a view costs beside its target.
TARGET_CASES = {
    "simsiam": ({"predictor_size": 6}, predicts(0, 1)),
    "byol": ({"predictor_size": 6}, predicts(2, 2)),
    "moco": ({"queue_size": 14, "temperature": 0.3}, moco),
}


def targets_loop(embeddings, momentum_embeddings, images, pair_loss):
    """Mean of ``pair_loss`` over all ordered pairs of views, of rows scaled to length √dimensions."""
    seen = {}
    for rows in (embeddings, momentum_embeddings):
        for image, row in zip(images, rows.double().tolist(), strict=True):
            length = math.sqrt(sum(value**2 for value in row) / len(row))
            seen.setdefault(image, []).append([value / length for value in row])
    both = list(zip(*seen.values(), strict=True))
    views, targets = both[: len(both) // 2], both[len(both) // 2 :]
    pairs = [(k, m) for k in range(len(views)) for m in range(len(views)) if k != m]
    return sum(pair_loss(views[k], targets[m]) for k, m in pairs) / len(pairs)


def create(name, dimensions=5, **hyperparameters):
    """A loss by name, in float64, for embeddings of a width."""
    if "embedding_size" in hyperparameters_of(loss_path(name)):
        hyperparameters = {"embedding_size": dimensions, **hyperparameters}
    return create_loss(name, **hyperparameters).double()


def called(loss, embeddings, labels):
    """Its value, with the embeddings themselves for those of a momentum encoder."""
    momentum = "momentum_embeddings" in inspect.signature(loss.forward).parameters
    return loss(embeddings, labels, *((embeddings.detach(),) if momentum else ()))


def make(case, **hyperparameters):
    """The loss of a case, ``supcon inside`` being an option of ``supcon``."""
    name, *inside = case.split()
    return create_loss(name, **({"positives": "inside"} if inside else {}), **hyperparameters)


def random_embeddings(rows, seed, dimensions=5):
    return torch.randn(rows, dimensions, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def random_labels(rows, classes, seed=0):
    return torch.randint(classes, (rows,), generator=torch.Generator().manual_seed(seed))
