"""Parameter groups and the learning rate at every step."""

import math

from torch import nn
from torch.optim import AdamW

from rsna.config.training import OptimSettings


def parameter_groups(network: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Two groups: weights of convolutions and linear layers with decay; biases, norms and scalars without."""
    trained = [p for p in network.parameters() if p.requires_grad]
    return [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]


def make_optimizer(network: nn.Module, settings: OptimSettings, global_batch_size: int, fused: bool) -> AdamW:
    """AdamW over :func:`parameter_groups`; ``fused`` is one kernel for all parameters."""
    groups = parameter_groups(network, settings.weight_decay)
    lr = settings.peak_lr(global_batch_size)
    return AdamW(groups, lr=lr, betas=(settings.beta1, settings.beta2), fused=fused)


def lr_factor(step: int, total_steps: int, warmup_steps: int, settings: OptimSettings) -> float:
    """Learning rate at an optimiser step, as a fraction of :meth:`OptimSettings.peak_lr`.

    Linear from ``warmup_start`` at step 0 to 1 at ``warmup_steps``, then a half cosine to ``final`` at the last step.
    """
    if step < warmup_steps:
        return settings.warmup_start + (1 - settings.warmup_start) * step / warmup_steps
    progress = (step - warmup_steps) / max(total_steps - 1 - warmup_steps, 1)
    return settings.final + (1 - settings.final) * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))
