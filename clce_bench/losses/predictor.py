"""The predictor of SimSiam and BYOL: from a view's embedding to what another view's may be."""

from torch import Tensor, nn

from clce_bench.losses.views import product


def predictor(embedding_size: int, predictor_size: int) -> nn.Sequential:
    """Makes a predictor: linear, batch normalisation, ReLU, linear, as in both papers.

    It is part of the loss, so that its parameters learn with the network and it sees the whole batch at once, whatever
    part of it the network sees.

    Args:
        embedding_size: width of its input and its output.
        predictor_size: width between them.
    """
    return nn.Sequential(
        _Linear(embedding_size, predictor_size, bias=False),
        nn.BatchNorm1d(predictor_size, track_running_stats=False),
        nn.ReLU(),
        _Linear(predictor_size, embedding_size),
    )


class _Linear(nn.Linear):
    """In its own precision in both passes, also where the caller is inside autocast."""

    def forward(self, rows: Tensor) -> Tensor:
        outputs = product(rows, self.weight.T)
        return outputs if self.bias is None else outputs + self.bias
