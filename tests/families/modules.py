"""Plain torch modules as people write them: no Transformers, no config."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from .family import SEQUENCE, VOCABULARY, Family, ids, noise


class Vgg(nn.Module):
    """Convolutions and a head of linears, all with activations in place."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(2),
        )  # fmt: skip
        self.classifier = nn.Sequential(
            nn.Linear(128, 64), nn.ReLU(inplace=True), nn.Dropout(), nn.Linear(64, 64), nn.ReLU(inplace=True),
            nn.Linear(64, 5),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x).flatten(1))


class Residual(nn.Module):
    """A residual mlp that adds in place and writes into a slice."""

    def __init__(self) -> None:
        super().__init__()
        self.inp, self.out = nn.Linear(24, 32), nn.Linear(32, 8)
        self.ups = nn.ModuleList(nn.Linear(32, 64) for _ in range(2))
        self.downs = nn.ModuleList(nn.Linear(64, 32) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        h = self.inp(x)
        for up, down in zip(self.ups, self.downs, strict=True):
            h += down(torch.relu_(up(h)))
        h[..., :4] = 0
        return self.out(h)


class TorchEncoder(nn.Module):
    """torch's own transformer encoder, with its fast path and its fused attention."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, 32)
        layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2)
        self.head = nn.Linear(32, 5)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        return self.head(self.encoder(self.embedding(input_ids), src_key_padding_mask=attention_mask == 0).mean(1))


class Tagger(nn.Module):
    """An LSTM between an embedding and a linear."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, 32)
        self.rnn = nn.LSTM(32, 32, batch_first=True, bidirectional=True)
        self.head = nn.Sequential(nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 7))

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        hidden, _ = self.rnn(self.embedding(input_ids) * attention_mask[..., None])
        return self.head(hidden)


class Experts(nn.Module):
    """A mixture of experts in a ModuleList: each row goes through one of them, and not every expert has a row."""

    def __init__(self) -> None:
        super().__init__()
        self.inp, self.router = nn.Linear(24, 32), nn.Linear(32, 4)
        self.experts = nn.ModuleList(nn.Sequential(nn.Linear(32, 64), nn.GELU(), nn.Linear(64, 32)) for _ in range(4))
        self.out = nn.Linear(32, 8)

    def forward(self, x: Tensor) -> Tensor:
        h = self.inp(x)
        chosen = self.router(h).argmax(-1)
        mixed = torch.zeros_like(h)
        for index, expert in enumerate(self.experts):
            rows = chosen == index
            if bool(rows.any()):
                mixed[rows] = expert(h[rows])
        return self.out(h + mixed)


class Answer(NamedTuple):
    """Two tensors by name."""

    scores: Tensor
    hidden: Tensor


class NestedOutputs(nn.Module):
    """Gives a dict with a tuple in it; calls one linear by keyword and one of them twice."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.down, self.again = nn.Linear(24, 64), nn.Linear(64, 24), nn.Linear(24, 24)

    def forward(self, x: Tensor) -> dict[str, object]:
        h = self.down(input=torch.relu(self.up(input=x)))
        h = self.again(torch.tanh(self.again(h)))
        return {"answer": Answer(h.sum(-1, keepdim=True), h), "more": (h, [h * 2])}


class FusedGate(nn.Module):
    """A gated mlp whose gate and up are one linear, split in the middle; the width is nowhere but in the weights."""

    def __init__(self) -> None:
        super().__init__()
        self.wi, self.wo, self.head = nn.Linear(24, 128), nn.Linear(64, 24), nn.Linear(24, 8)

    def forward(self, x: Tensor) -> Tensor:
        gate, up = self.wi(x).chunk(2, dim=-1)
        return self.head(x + self.wo(torch.nn.functional.silu(gate) * up))


class DepthWise(nn.Module):
    """An mlp over a picture with a depth-wise convolution between up and down."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.mix, self.down = nn.Linear(8, 32), nn.Conv2d(32, 32, 3, padding=1, groups=32), nn.Linear(32, 8)
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.mix(self.up(x).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return self.head((x + self.down(torch.relu(hidden))).mean((1, 2)))


MODULES: dict[str, Family] = {
    "torch-vgg": Family(Vgg, noise("x", 3, 16, 16), task="other"),
    "torch-residual-inplace": Family(Residual, noise("x", SEQUENCE, 24), task="other"),
    "torch-transformer-encoder": Family(TorchEncoder, ids, task="other"),
    "torch-lstm-tagger": Family(Tagger, ids, task="other"),
    "torch-experts": Family(Experts, noise("x", 24), task="other"),
    "torch-nested-outputs": Family(NestedOutputs, noise("x", 24), task="other"),
    "torch-fused-gate": Family(FusedGate, noise("x", SEQUENCE, 24), task="other"),
    "torch-depth-wise": Family(DepthWise, noise("x", 4, 4, 8), task="other"),
}
