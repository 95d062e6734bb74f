"""Large encoders: gradient caching and compilation. Needs torch and timm."""

import copy
from typing import Any

import timm
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from benchmarks.gpu.verdict import Setting, Verdict, difference, peak_of, seconds_of
from clce_bench.losses import create_loss
from clce_bench.training.gradient_cache import cached_backward


class Encoder(nn.Module):
    """Bytes to embeddings: scales images, runs a network and a linear head, in bfloat16 beside a GPU."""

    def __init__(self, network: Any, device: torch.device) -> None:
        super().__init__()
        self.network, self.head = network, nn.Linear(network.num_features, 128)
        self.to(device)

    def forward(self, images: Tensor) -> Tensor:
        """Embeds images, uint8 (rows, 3, height, width)."""
        with torch.autocast(images.device.type, torch.bfloat16, enabled=images.device.type == "cuda"):
            embeddings: Tensor = self.head(self.network(images.float() / 127.5 - 1))
        return embeddings.float()


def make(setting: Setting) -> tuple[Encoder, int]:
    """Makes a ViT-B of 224 pixels, or a very small one; returns its image size too."""
    torch.manual_seed(0)
    small = {"img_size": 16, "patch_size": 8, "embed_dim": 16, "depth": 1, "num_heads": 2}
    network = VisionTransformer(num_classes=0, **setting.either({}, small))
    return Encoder(network, setting.device).train(), setting.either(224, 16)


def gradients(encoder: nn.Module) -> Tensor:
    """Joins the gradients of all parameters, and forgets them."""
    found = torch.cat([value.grad.flatten() for value in encoder.parameters() if value.grad is not None])
    encoder.zero_grad()
    return found


def caching(setting: Setting) -> Verdict:
    """Takes gradients of a small and a large contrastive batch in micro-batches of the small one's size."""
    encoder, size = make(setting)
    loss, (small, large) = create_loss("clce"), setting.either((64, 4096), (8, 32))
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (large, 3, size, size), dtype=torch.uint8, generator=generator).to(setting.device)
    labels = torch.arange(large, device=setting.device) % (small // 2)

    def step(rows: int, micro_batch: int) -> None:
        cached_backward(encoder, images[:rows], lambda rows_: loss(rows_, labels[:rows]), micro_batch)

    step(small, small)
    whole = gradients(encoder)
    step(small, small // 4)
    apart = difference(gradients(encoder), whole)
    rows = []
    for batch in (small, large):
        peak = peak_of(lambda batch=batch: step(batch, small), setting.device)  # type: ignore[misc]
        taken = seconds_of(lambda batch=batch: step(batch, small), setting.device, 0.0, 1)  # type: ignore[misc]
        rows.append({"batch": batch, "micro-batch": small, "MiB": peak, "images/s": batch / taken})
    most = setting.either(3e-2, 1e-4)
    ratio = rows[1]["MiB"] / rows[0]["MiB"] if rows[0]["MiB"] else 1.0
    said = f"{ratio:.2f} × the memory for {large // small} × the batch; gradients of micro-batches within {apart:.1e}"
    return Verdict(apart <= most and ratio <= 1.5, said, rows)


def compiled(setting: Setting) -> Verdict:
    """Compiles forward and backward of a step, and compares gradients and time with the plain one."""
    torch.manual_seed(0)
    name, size, batch = setting.either(("resnet18", 224, 64), ("test_vit", 32, 4))
    plain = Encoder(
        timm.create_model(name, num_classes=0, **setting.either({}, {"img_size": size})), setting.device
    ).eval()
    other = copy.deepcopy(plain)
    fast: Any = torch.compile(other, backend=setting.either("inductor", "eager"))
    loss = create_loss("supcon")
    images = torch.randint(256, (batch, 3, size, size), dtype=torch.uint8, device=setting.device)
    labels = torch.arange(batch, device=setting.device) % 2
    loss(plain(images), labels).backward()
    loss(fast(images), labels).backward()
    apart = difference(gradients(other), gradients(plain))
    times = {
        kind: seconds_of(lambda run=run: loss(run(images), labels).backward(), setting.device, setting.either(1.0, 0.0))  # type: ignore[misc]
        for kind, run in (("plain", plain), ("compiled", fast))
    }
    said = f"{times['plain'] / times['compiled']:.2f} × as fast; gradients within {apart:.1e} of the plain step's"
    return Verdict(
        apart <= setting.either(5e-2, 1e-4), said, [{"step": kind, "s": taken} for kind, taken in times.items()]
    )
