"""The network that looks at one face crop: a small timm ResNet over colour and fixed high-pass residuals.

Two outputs are trained together: one logit for the crop, and a coarse map of which parts were made, since partial fakes
teach where to look. Residual filters as in the rich models of Fridrich and Kodovsky, IEEE TIFS 2012.
"""

from dataclasses import dataclass
from typing import NamedTuple

import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class FrameModelConfig:
    """All that is needed to rebuild the network; saved beside the weights."""

    backbone: str = "resnet10t"
    channels: tuple[int, ...] = (32, 64, 128, 192)
    stem_width: int = 16
    crop_px: int = 160
    dropout: float = 0.3


class FrameOutput(NamedTuple):
    logit: Tensor  # [B] above 0: rather synthetic; not calibrated
    map_logits: Tensor  # [B, 10, 10] at 160 px
    features: Tensor  # [B, D] pooled, for the distance to what training saw


class HighPass(nn.Module):
    """Three fixed residuals of the luma, squashed: RGB [B, 3, H, W] in 0..1 -> [B, 3, H, W] in -1..1."""

    kernels: Tensor

    def __init__(self) -> None:
        super().__init__()
        square = torch.tensor(
            [[-1, 2, -2, 2, -1], [2, -6, 8, -6, 2], [-2, 8, -12, 8, -2], [2, -6, 8, -6, 2], [-1, 2, -2, 2, -1]]
        )
        across = torch.zeros(5, 5)
        across[2, 1:4] = torch.tensor([1.0, -2.0, 1.0])
        bank = torch.stack([square / 12.0, across / 2.0, across.T / 2.0])[:, None]
        self.register_buffer("kernels", bank, persistent=False)

    def forward(self, rgb: Tensor) -> Tensor:
        luma = (rgb * rgb.new_tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1, keepdim=True)
        residual = F.conv2d(F.pad(luma, (2, 2, 2, 2), mode="reflect"), self.kernels)
        return torch.tanh(residual * 20)


class FrameModel(nn.Module):
    """uint8 crops [B, 3, S, S] RGB -> FrameOutput."""

    def __init__(self, config: FrameModelConfig) -> None:
        super().__init__()
        self.config = config
        self.high_pass = HighPass()
        self.backbone = timm.create_model(
            config.backbone,
            pretrained=False,
            features_only=True,
            out_indices=(3, 4),
            in_chans=6,
            channels=config.channels,
            stem_width=config.stem_width,
        )
        self.feature_count = sum(config.channels[2:])
        self.map_head = nn.Conv2d(self.feature_count, 1, 1)
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(self.feature_count, 1)

    def forward(self, crops: Tensor) -> FrameOutput:
        rgb = crops.float() / 255  # [B, 3, S, S]
        planes = torch.cat([rgb * 4 - 2, self.high_pass(rgb)], 1)  # [B, 6, S, S]
        fine, coarse = self.backbone(planes.contiguous(memory_format=torch.channels_last))
        coarse = F.interpolate(coarse, size=fine.shape[-2:], mode="nearest")  # [B, 192, S/16, S/16]
        both = torch.cat([fine, coarse], 1)  # [B, D, S/16, S/16]
        features = both.mean((2, 3)).float()  # [B, D]
        map_logits = self.map_head(both).float()[:, 0]  # [B, S/16, S/16]
        logit = self.head(self.dropout(features))[:, 0]  # [B]
        return FrameOutput(logit, map_logits, features)
