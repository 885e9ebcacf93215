"""PyTorch's side of Retort's step benchmark: the small EDM U-Net, forward, training, distillation and sampling.

The driver (StepBench) starts this with a Python that has torch and numpy, and talks to it in lines: `<row> <times>` or
`<row> check` in, `done <seconds> <value>` out. Same layers, same weights, same batch as SongUNet in Retort; in a check, the
same numbers in place of random ones. bf16 rows are autocast.

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
CLEAN, NOISE, SIGMA, NOISES = ((1 << 20) + i for i in range(4))
TEACHER, EMBEDDING = 1 << 16, 1 << 17
DISTILLATION_RATE, AVERAGED, SIGMA_MAX, FEATURES, DEPTH = 2e-6, 0.999, 80.0, 128, 3
SAMPLING_STEPS, SIGMA_MIN, RHO = 18, 0.002, 7


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

    def __init__(self, memory_format, device, first=0):
        self.format, self.device, self.first, self.all = memory_format, device, first, []

    def add(self, *shape, norm=False, order=None):
        count = math.prod(shape)
        scale = math.sqrt(3 * shape[0] / count) if len(shape) > 1 else 0.1
        values = (norm + scale * uniform(self.first + len(self.all), count)).astype(np.float32).reshape(shape)
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


def precondition(net, x, sigma):
    s = sigma[:, None, None, None]
    total = s * s + SIGMA_DATA**2
    raw = net(x * total.rsqrt(), sigma.log() / 4)
    return x * (SIGMA_DATA**2 / total) + raw * (s * SIGMA_DATA * total.rsqrt())


def edm_loss(denoised, clean, sigma):
    weight = (sigma**2 + SIGMA_DATA**2) / (sigma * SIGMA_DATA) ** 2
    return (weight[:, None, None, None] * (denoised - clean) ** 2).mean()


class Task:
    """What all rows share: the batch, and how tensors are placed."""

    def __init__(self, options, layout, device):
        self.batch, self.resolution, self.channels = (int(options[k]) for k in ("batch", "resolution", "channels"))
        self.layout, self.device = layout, device
        level = np.exp(-1.2 + 1.2 * math.sqrt(3) * uniform(SIGMA, self.batch))
        self.clean = self.place(self.images(CLEAN))
        self.noised = self.place(self.images(CLEAN) + level[:, None, None, None] * math.sqrt(3) * self.images(NOISE))
        self.sigma = torch.from_numpy(level.astype(np.float32)).to(device)

    def images(self, stream):
        shape = (self.batch, self.resolution, self.resolution, IMAGE_CHANNELS)
        return uniform(stream, math.prod(shape)).reshape(shape)

    def place(self, array):
        tensor = torch.from_numpy(array.astype(np.float32)).permute(0, 3, 1, 2)
        return tensor.to(self.device).contiguous(memory_format=self.layout)

    def noise(self, stream, check):
        return self.place(math.sqrt(3) * self.images(NOISES + stream)) if check else torch.randn_like(self.clean)

    def levels(self, check):
        return self.sigma if check else (-1.2 + 1.2 * torch.randn_like(self.sigma)).exp()

    def net(self, first=0):
        weights = Weights(self.layout, self.device, first)
        return network(weights, self.resolution, self.channels), weights.all


class Trained:
    def __init__(self, task):
        self.task = task
        self.net, self.parameters = task.net()
        self.adam = torch.optim.Adam(self.parameters, lr=LEARNING_RATE, fused=True)

    def forward(self, _):
        with torch.no_grad():
            return precondition(self.net, self.task.noised, self.task.sigma).square().mean().item()

    def train(self, _):
        task = self.task
        loss = edm_loss(precondition(self.net, task.noised, task.sigma), task.clean, task.sigma)
        self.adam.zero_grad(set_to_none=True)
        loss.backward()
        self.adam.step()
        return loss.item()

    def sample(self, _):
        """EDM's deterministic sampler, algorithm 1, its states in float64."""
        task, last = self.task, SAMPLING_STEPS - 1
        ends = SIGMA_MAX ** (1 / RHO), SIGMA_MIN ** (1 / RHO)
        sigmas = [(ends[0] + i / last * (ends[1] - ends[0])) ** RHO for i in range(SAMPLING_STEPS)] + [0.0]
        evaluate = lambda x, s: precondition(self.net, x.float(), torch.full_like(task.sigma, s)).double()
        with torch.no_grad():
            x = task.noise(0, True).double() * sigmas[0]
            for now, then in zip(sigmas, sigmas[1:]):
                slope = (x - evaluate(x, now)) / now
                moved = x + (then - now) * slope
                if then > 0:
                    moved = x + (then - now) * (slope + (moved - evaluate(moved, then)) / then) / 2
                x = moved
            return x.square().mean().item()


class Distillation:
    def __init__(self, task):
        self.task = task
        self.teacher, frozen = task.net(TEACHER)
        for parameter in frozen:
            parameter.requires_grad_(False)
        self.student, self.weights = task.net()
        self.critic, critic = task.net()
        self.average = [w.detach().clone() for w in self.weights]
        self.student_adam = torch.optim.Adam(self.weights, lr=DISTILLATION_RATE, fused=True)
        self.critic_adam = torch.optim.Adam(critic, lr=DISTILLATION_RATE, fused=True)

    def embedding(self, check):
        """[conv3x3, instance norm, ReLU, 2x2 mean pool] x depth, fresh, over the root of its dimension."""
        task, layers = self.task, []
        weights = Weights(task.layout, task.device, EMBEDDING)
        for stage in range(DEPTH):
            cin = FEATURES if stage else IMAGE_CHANNELS
            if check:
                shapes = (FEATURES, cin, 3, 3), (FEATURES,)
                made = [weights.add(*shape) for shape in shapes] + [weights.add(FEATURES, norm=True), weights.add(FEATURES)]
            else:
                conv = torch.nn.Conv2d(cin, FEATURES, 3, padding=1).to(memory_format=task.layout)
                made = [conv.weight, conv.bias, torch.ones(FEATURES), torch.zeros(FEATURES)]
            layers.append([each.detach().to(task.device) for each in made])

        def apply(x):
            for w, b, gamma, beta in layers:
                x = F.conv2d(x, w, b, padding=1)
                x = F.avg_pool2d(F.relu(F.group_norm(x, FEATURES, gamma, beta, 1e-5)), 2)
            return x.flatten(1) / math.sqrt(x[0].numel())

        return apply

    def step(self, check):
        task = self.task
        x = precondition(self.student, task.noise(0, check) * SIGMA_MAX, torch.full_like(task.sigma, SIGMA_MAX))
        sigma = task.levels(check)
        with torch.no_grad():
            noised = x + sigma[:, None, None, None] * task.noise(1, check)
            real, fake = (precondition(net, noised, sigma) for net in (self.teacher, self.critic))
            gradient = (fake - real) / (x - real).abs().mean((1, 2, 3), keepdim=True).clamp_min(1e-6)
        features = self.embedding(check)
        with torch.no_grad():
            target = features(task.clean).float().mean(0)
        loss = 0.5 * F.mse_loss(x, (x - gradient).detach())
        loss = loss + (features(x).float().mean(0) - target).square().sum()
        self.student_adam.zero_grad(set_to_none=True)
        loss.backward()
        self.student_adam.step()
        with torch.no_grad():
            torch._foreach_lerp_(self.average, [w.detach() for w in self.weights], 1 - AVERAGED)

        images, sigma = x.detach(), task.levels(check)
        noised = images + sigma[:, None, None, None] * task.noise(2, check)
        denoising = edm_loss(precondition(self.critic, noised, sigma), images, sigma)
        self.critic_adam.zero_grad(set_to_none=True)
        denoising.backward()
        self.critic_adam.step()
        return loss.item() + denoising.item()


def rows(task):
    """Work by name; what a row needs is made when it is first asked for, each precision with weights of its own."""
    made = {}

    def on(kind, method):
        def work(row, check):
            key = kind, row.endswith("bf16")
            if key not in made:
                made[key] = kind(task)
            with torch.autocast(task.device, torch.bfloat16, enabled=key[1]):
                return getattr(made[key], method)(check)

        return work

    works = {"unet_forward": on(Trained, "forward"), "unet_train": on(Trained, "train"),
             "distill": on(Distillation, "step"), "sample": on(Trained, "sample")}
    return {f"{name}_{precision}": work for name, work in works.items() for precision in ("fp32", "bf16")}


def serve(works, facts):
    """Answers the driver until it hangs up."""
    for name, value in {**facts, "rows": " ".join(works)}.items():
        print("fact", name, value)
    print("ready", flush=True)
    for line in sys.stdin:
        row, times = line.split()
        check = times == "check"
        count = 1 if check else int(times)
        started = time.perf_counter()
        for _ in range(count):
            value = works[row](row, check)
        print("done", (time.perf_counter() - started) / count, value, flush=True)


def main():
    options = dict(a.split("=") for a in sys.argv[1:] if "=" in a)
    layout = torch.channels_last if "channels_last" in sys.argv else torch.contiguous_format
    device = options.get("device", "cpu")
    torch.set_num_threads(int(options["threads"]))
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = "tf32" in sys.argv
    task = Task(options, layout, device)
    parameters = sum(p.numel() for p in task.net()[1])
    serve(rows(task), {"engine": f"pytorch {torch.__version__}", "parameters": parameters})


if __name__ == "__main__":
    main()
