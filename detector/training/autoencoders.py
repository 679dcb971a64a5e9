"""Small autoencoders whose outputs are the twins of real frames: same picture, but seen through a decoder.

Several decoders, since one alone teaches one fingerprint (upsampling by bilinear interpolation, transposed convolution,
pixel shuffle, nearest neighbour). HELD_OUT never makes training pairs: it is the unseen generator of the report.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

WIDTHS = (16, 32, 48, 64, 96)  # channels at 1/1, 1/2, 1/4, 1/8, 1/16 of the frame


@dataclass(frozen=True)
class TwinConfig:
    name: str
    upsampling: str  # bilinear | nearest | transposed | shuffle
    reduction: int  # 4, 8 or 16: side of the frame over side of the latent
    latent_channels: int
    adversarial: float = 0.0  # weight of the patch critic in the second half of training


TWINS = (
    TwinConfig("bilinear8", "bilinear", 8, 12, 0.02),
    TwinConfig("transposed8", "transposed", 8, 12, 0.02),
    TwinConfig("shuffle4", "shuffle", 4, 4, 0.0),
    TwinConfig("bilinear16", "bilinear", 16, 48, 0.02),
    TwinConfig("transposed16", "transposed", 16, 48, 0.0),
    TwinConfig("shuffle8", "shuffle", 8, 16, 0.02),
)
HELD_OUT = TwinConfig("nearest8", "nearest", 8, 16, 0.02)


def _activation(channels: int) -> nn.Sequential:
    return nn.Sequential(nn.BatchNorm2d(channels), nn.LeakyReLU(0.1))


def _conv(channels_in: int, channels_out: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(channels_in, channels_out, 3, stride, 1), _activation(channels_out))


def _upsampling(kind: str, channels_in: int, channels_out: int) -> nn.Module:
    if kind == "transposed":
        return nn.Sequential(nn.ConvTranspose2d(channels_in, channels_out, 4, 2, 1), _activation(channels_out))
    if kind == "shuffle":
        return nn.Sequential(
            nn.Conv2d(channels_in, 4 * channels_out, 3, 1, 1), nn.PixelShuffle(2), _activation(channels_out)
        )
    return nn.Sequential(nn.Upsample(scale_factor=2, mode=kind), _conv(channels_in, channels_out))


class TwinAutoencoder(nn.Module):
    """Frames [B, 3, H, W] in 0..1, H and W multiples of 16 -> their twins, same shape."""

    def __init__(self, config: TwinConfig) -> None:
        super().__init__()
        self.config = config
        depth = config.reduction.bit_length() - 1
        down: list[nn.Module] = [_conv(3, WIDTHS[0])]
        down += [_conv(WIDTHS[i], WIDTHS[i + 1], 2) for i in range(depth)]
        self.encoder = nn.Sequential(*down, nn.Conv2d(WIDTHS[depth], config.latent_channels, 1))
        up: list[nn.Module] = [_conv(config.latent_channels, WIDTHS[depth]), _conv(WIDTHS[depth], WIDTHS[depth])]
        for i in reversed(range(depth)):
            up += [_upsampling(config.upsampling, WIDTHS[i + 1], WIDTHS[i]), _conv(WIDTHS[i], WIDTHS[i])]
        self.decoder = nn.Sequential(*up, nn.Conv2d(WIDTHS[0], 3, 3, 1, 1))

    def forward(self, frames: Tensor) -> Tensor:
        latent = self.encoder(frames * 2 - 1)  # [B, latent, H/r, W/r]
        made: Tensor = (self.decoder(latent).float() + 1) / 2  # [B, 3, H, W]
        return made


class PatchCritic(nn.Module):
    """[B, 3, H, W] -> realness of patches [B, 1, H/8, W/8]; keeps twins from being told by blur alone."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(_conv(3, 24, 2), _conv(24, 48, 2), _conv(48, 64, 2), nn.Conv2d(64, 1, 3, 1, 1))

    def forward(self, frames: Tensor) -> Tensor:
        scores: Tensor = self.layers(frames * 2 - 1)
        return scores.float()


def save_twin(twin: TwinAutoencoder, path: Path) -> None:
    partial = path.with_suffix(".part")
    tensors = {name: tensor.contiguous() for name, tensor in twin.state_dict().items()}
    save_file(tensors, partial, metadata={"config": json.dumps(asdict(twin.config))})
    partial.replace(path)


def load_twin(path: Path) -> TwinAutoencoder:
    with safe_open(path, framework="pt") as file:
        twin = TwinAutoencoder(TwinConfig(**json.loads(file.metadata()["config"])))
        twin.load_state_dict({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
    return twin.eval()
