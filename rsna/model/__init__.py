"""Networks: a timm backbone, a pooling, one linear layer. torch and timm, nothing else."""
