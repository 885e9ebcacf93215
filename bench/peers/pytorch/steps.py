"""PyTorch's side of Retort's step benchmark: the small EDM U-Net, forward and training step.

The driver (StepBench) starts this with a Python that has torch and numpy, and talks to it in lines:
`forward` or `train` in, `done <seconds> <value>` out. Same layers, same weights, same batch as SongUNet in Retort.

    python steps.py batch=32 resolution=32 channels=64 threads=2 [channels_last] [device=cuda [tf32]]
"""
import math
import sys
import time

import numpy as np
import torch
import torch.nn.functional as F

MULTIPLIERS, BLOCKS, ATTENTION, IMAGE_CHANNELS = (1, 2, 2), 2, 16, 3
SIGMA_DATA, LEARNING_RATE = 0.5, 1e-4
CLEAN, NOISE, SIGMA = 1 << 20, (1 << 20) + 1, (1 << 20) + 2


def uniform(stream, count):
    """Numbers 0 to count of a stream, uniform in [-1, 1): SplitMix64's finaliser."""
    with np.errstate(over="ignore"):
        z = (np.uint64(stream) << np.uint64(32)) + np.arange(count, dtype=np.uint64)
        z += np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((z ^ (z >> np.uint64(31))) >> np.uint64(40)).astype(np.float64) * 2.0**-23 - 1


class Weights:
    """Parameters in EDM's order, and the layers made of them."""

    def __init__(self, memory_format, device):
        self.format, self.device, self.all = memory_format, device, []

    def add(self, *shape, norm=False, order=None):
        count = math.prod(shape)
        scale = math.sqrt(3 * shape[0] / count) if len(shape) > 1 else 0.1
        values = (norm + scale * uniform(len(self.all), count)).astype(np.float32).reshape(shape)
        tensor = torch.from_numpy(values if order is None else values[order].copy()).to(self.device)
        if len(shape) == 4:
            tensor = tensor.contiguous(memory_format=self.format)
        self.all.append(tensor.requires_grad_())
        return self.all[-1]

    def dense(self, cin, cout):
        w, b = self.add(cout, cin), self.add(cout)
        return lambda x: F.linear(x, w, b)

    def conv(self, cin, cout, kernel, order=None):
        w, b = self.add(cout, cin, kernel, kernel, order=order), self.add(cout, order=order)
        return lambda x: F.conv2d(x, w, b, padding=kernel // 2)

    def norm(self, channels):
        w, b = self.add(channels, norm=True), self.add(channels)
        return lambda x: F.group_norm(x, min(32, channels // 4), w, b, 1e-6)


def attention(weights, channels):
    # EDM has q, k and v of a channel together; here they are three blocks.
    order = np.arange(3 * channels).reshape(channels, 3).T.ravel()
    norm = weights.norm(channels)
    qkv = weights.conv(channels, 3 * channels, 1, order)
    proj = weights.conv(channels, channels, 1)

    def apply(x):
        n, c, h, w = x.shape
        q, k, v = qkv(norm(x)).reshape(n, 3, 1, c, h * w).transpose(-1, -2).unbind(1)
        mixed = F.scaled_dot_product_attention(q, k, v)
        return (proj(mixed.transpose(-1, -2).reshape(n, c, h, w)) + x) * math.sqrt(0.5)

    return apply


def block(weights, embedding, cin, cout, sampling=None, attends=False):
    norm0, conv0 = weights.norm(cin), weights.conv(cin, cout, 3)
    affine = weights.dense(embedding, cout)
    norm1, conv1 = weights.norm(cout), weights.conv(cout, cout, 3)
    skip = weights.conv(cin, cout, 1) if cin != cout or sampling else lambda x: x
    attend = attention(weights, cout) if attends else lambda x: x
    resample = {
        None: lambda x: x,
        "down": lambda x: F.avg_pool2d(x, 2),
        "up": lambda x: F.interpolate(x, scale_factor=2, mode="nearest"),
    }[sampling]

    def apply(x, emb):
        h = conv0(resample(F.silu(norm0(x)))) + affine(emb)[:, :, None, None]
        h = conv1(F.silu(norm1(h)))
        return attend((h + skip(resample(x))) * math.sqrt(0.5))

    return apply, cin


def network(weights, resolution, channels):
    embedding = 4 * channels
    exponents = [-i / (channels // 2 - 1) for i in range(channels // 2)]
    frequencies = torch.tensor([1e4**e for e in exponents], device=weights.device)
    map0, map1 = weights.dense(channels, embedding), weights.dense(embedding, embedding)
    stem = weights.conv(IMAGE_CHANNELS, channels, 3)
    encoder, decoder, skips, width = [], [], [channels], channels
    make = lambda cin, cout, **kw: block(weights, embedding, cin, cout, **kw)
    for level, multiplier in enumerate(MULTIPLIERS):
        if level:
            encoder.append(make(width, width, sampling="down"))
            skips.append(width)
        for _ in range(BLOCKS):
            encoder.append(make(width, channels * multiplier, attends=resolution >> level == ATTENTION))
            width = channels * multiplier
            skips.append(width)
    decoder += [make(width, width, attends=True), make(width, width)]
    for level, multiplier in reversed(list(enumerate(MULTIPLIERS))):
        if level < len(MULTIPLIERS) - 1:
            decoder.append(make(width, width, sampling="up"))
        for i in range(BLOCKS + 1):
            attends = i == BLOCKS and resolution >> level == ATTENTION
            decoder.append(make(width + skips.pop(), channels * multiplier, attends=attends))
            width = channels * multiplier
    norm, head = weights.norm(width), weights.conv(width, IMAGE_CHANNELS, 3)

    def apply(x, noise):
        angles = noise[:, None] * frequencies
        emb = F.silu(map1(F.silu(map0(torch.cat([angles.sin(), angles.cos()], 1)))))
        h = stem(x)
        kept = [h]
        for layer, _ in encoder:
            h = layer(h, emb)
            kept.append(h)
        for layer, cin in decoder:
            h = layer(torch.cat([h, kept.pop()], 1) if h.shape[1] != cin else h, emb)
        return head(F.silu(norm(h)))

    return apply


def main():
    options = dict(a.split("=") for a in sys.argv[1:] if "=" in a)
    batch, resolution, channels, threads = (int(options[k]) for k in ("batch", "resolution", "channels", "threads"))
    last = "channels_last" in sys.argv
    layout = torch.channels_last if last else torch.contiguous_format
    device = options.get("device", "cpu")
    torch.set_num_threads(threads)
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = "tf32" in sys.argv
    weights = Weights(layout, device)
    net = network(weights, resolution, channels)
    adam = torch.optim.Adam(weights.all, lr=LEARNING_RATE, fused=True)

    shape = (batch, resolution, resolution, IMAGE_CHANNELS)
    images = lambda stream: uniform(stream, math.prod(shape)).reshape(shape)
    level = np.exp(-1.2 + 1.2 * math.sqrt(3) * uniform(SIGMA, batch))
    place = lambda a: torch.from_numpy(a.astype(np.float32)).permute(0, 3, 1, 2).to(device).contiguous(memory_format=layout)
    clean = place(images(CLEAN))
    noised = place(images(CLEAN) + level[:, None, None, None] * math.sqrt(3) * images(NOISE))
    sigma = torch.from_numpy(level.astype(np.float32)).to(device)

    def denoise():
        s = sigma[:, None, None, None]
        total = s * s + SIGMA_DATA**2
        raw = net(noised * total.rsqrt(), sigma.log() / 4)
        return noised * (SIGMA_DATA**2 / total) + raw * (s * SIGMA_DATA * total.rsqrt())

    def forward():
        with torch.no_grad():
            return denoise().square().mean().item()

    def train():
        weight = (sigma**2 + SIGMA_DATA**2) / (sigma * SIGMA_DATA) ** 2
        loss = (weight[:, None, None, None] * (denoise() - clean) ** 2).mean()
        adam.zero_grad(set_to_none=True)
        loss.backward()
        adam.step()
        return loss.item()

    print("fact engine pytorch", torch.__version__, flush=True)
    print("fact parameters", sum(p.numel() for p in weights.all), flush=True)
    print("ready", flush=True)
    steps = {"forward": forward, "train": train}
    for line in sys.stdin:
        started = time.perf_counter()
        value = steps[line.strip()]()
        print("done", time.perf_counter() - started, value, flush=True)


if __name__ == "__main__":
    main()
