"""PyTorch's side of `retort bench ops`: the same workloads, shapes and passes, timed in the same way.

    python ops.py --workloads list.json --csv torch.csv [--against ops.csv] [--samples 40] [--seconds 1] [--budget 120]

`list.json` is what `retort bench ops --list` wrote, `ops.csv` what it measured on the same device. Activations are
channels-last; bfloat16 rows keep their weights in bfloat16, which spares this side a cast; float32 rows are computed
without TF32, and once more with it where there is a product.
"""
import argparse
import csv
import json
import statistics
import sys
import time

import torch
import torch.nn.functional as F

FLUSH_BYTES = 512 << 20
WARM_UP = 5
TYPES = {"F32": torch.float32, "BF16": torch.bfloat16}
PRODUCTS = ("conv2d", "linear", "mat_mul", "self_attention", "mmd")


def number(parameters, name):
    """`groups` of `GroupNorm[groups=32, eps=1.0E-6, silu=true]`."""
    return float(parameters.split(name + "=")[1].split(",")[0].rstrip("]"))


def tensors(workload, device):
    made = []
    for index, each in enumerate(workload["inputs"]):
        x = torch.randn(each["shape"], device=device).to(TYPES[each["dtype"]])
        made.append(x.abs() + 0.01 if each["shape"] == each["shape"][:1] and index == len(workload["inputs"]) - 1 else x)
    return made


def images(x):
    """(N, H, W, C) as PyTorch's NCHW, channels-last in memory."""
    return x.permute(0, 3, 1, 2)


def gradient(call, inputs, output_like=None):
    leaves = [x.detach().requires_grad_() for x in inputs]
    out = call(*leaves)
    cotangent = torch.randn_like(out)
    return lambda: torch.autograd.grad(out, leaves, cotangent, retain_graph=True)


def self_attention(workload, x):
    (qkv,) = x
    heads = int(number(workload["parameters"], "heads"))
    n, h, w, c = qkv.shape

    def call(qkv):
        q, k, v = qkv.reshape(n, h * w, 3, heads, c // 3 // heads).permute(2, 0, 3, 1, 4).unbind(0)
        return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, h, w, c // 3)

    yield "forward", lambda: call(qkv)
    yield "backward", gradient(call, [qkv])


def conv2d(workload, x):
    padding = int(number(workload["parameters"], "padding"))
    image, weight, bias = images(x[0]), x[1].to(x[0].dtype), x[2].to(x[0].dtype)
    weight = weight.contiguous(memory_format=torch.channels_last)
    out = F.conv2d(image, weight, bias, padding=padding)
    g = torch.randn_like(out)

    def backward(mask):
        return lambda: torch.ops.aten.convolution_backward(
            g, image, weight, None, [1, 1], [padding, padding], [1, 1], False, [0, 0], 1, mask)

    yield "forward", lambda: F.conv2d(image, weight, bias, padding=padding)
    yield "data gradient", backward([True, False, False])
    yield "weight gradient", backward([False, True, False])


def group_norm(workload, x):
    groups = int(number(workload["parameters"], "groups"))
    image, weight, bias = images(x[0]), x[1].to(x[0].dtype), x[2].to(x[0].dtype)
    call = lambda image, weight, bias: F.silu(F.group_norm(image, groups, weight, bias, 1e-6))
    yield "forward", lambda: call(image, weight, bias)
    yield "backward", gradient(call, [image, weight, bias])


def mmd(workload, x):
    linear = "Linear" in workload["parameters"]
    u, v = x
    n = len(u)

    def value(u):
        if linear:
            return (u.mean(0) - v.mean(0)).square().sum()
        z = torch.cat([u, v])
        squares = z.square().sum(1)
        distance = squares[:, None] + squares[None, :] - 2 * (z @ z.T)
        width = distance.detach().float().sum() / (len(z) * (len(z) - 1))
        k = sum(torch.exp(-distance / (width * f)) for f in (0.25, 0.5, 1, 2, 4))
        return k[:n, :n].mean() + k[n:, n:].mean() - 2 * k[:n, n:].mean()

    def call():
        leaf = u.detach().requires_grad_()
        return torch.autograd.grad(value(leaf), leaf)

    yield "forward", call


def score_difference(workload, x):
    images_, real, fake = x

    def call():
        leaf = images_.detach().requires_grad_()
        with torch.no_grad():
            distance = (leaf - real).abs().mean(dim=(1, 2, 3), keepdim=True).clamp_min(1e-3)
            target = leaf - (fake - real) / distance
        return torch.autograd.grad(0.5 * F.mse_loss(leaf, target), leaf)

    yield "forward", call


def add_noise(workload, x):
    yield "forward", lambda: x[0] + x[1][:, None, None, None] * torch.randn_like(x[0])


def edm_output(workload, x):
    def call():
        s = x[2][:, None, None, None]
        total = s * s + 0.25
        return x[0] * (0.25 / total) + x[1] * (s * 0.5 * total.rsqrt())

    yield "forward", call


def adam(workload, device):
    p = torch.randn(workload["count"], device=device).mul_(0.1).requires_grad_()
    p.grad = torch.randn_like(p) * 1e-3
    average = p.detach().clone()
    optimizer = torch.optim.AdamW([p], lr=1e-3, betas=(0.9, 0.99), weight_decay=0.01, fused=True)

    def call():
        torch.nn.utils.clip_grad_norm_([p], 1.0)
        optimizer.step()
        average.lerp_(p.detach(), 0.001)

    yield "step", call


def linear(workload, x):
    image, weight, bias = x[0], x[1].to(x[0].dtype), x[2].to(x[0].dtype)
    g = torch.randn_like(F.linear(image, weight, bias))
    yield "forward", lambda: F.linear(image, weight, bias)
    yield "data gradient", lambda: g @ weight
    yield "weight gradient", lambda: g.T @ image


def mat_mul(workload, x):
    yield "forward", lambda: x[0] @ x[1]


def activation(workload, x):
    yield "forward", lambda: F.silu(x[0])
    yield "backward", gradient(F.silu, [x[0]])


class Clock:
    """Device times of a call, with the caches flushed before each."""

    def __init__(self, device, samples, seconds):
        self.cuda, self.samples, self.seconds = device == "cuda", samples, seconds
        self.flushed = torch.empty(FLUSH_BYTES if self.cuda else 1 << 16, dtype=torch.uint8, device=device)

    def times(self, call):
        for _ in range(WARM_UP if self.cuda else 1):
            call()
        if not self.cuda:
            return [self.once(call) for _ in range(2)]
        torch.cuda.synchronize()
        pairs, deadline = [], time.perf_counter() + self.seconds
        while len(pairs) < self.samples and (len(pairs) < 3 or time.perf_counter() < deadline):
            start, stop = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            self.flushed.zero_()
            start.record()
            call()
            stop.record()
            pairs.append((start, stop))
        torch.cuda.synchronize()
        return [1e3 * start.elapsed_time(stop) for start, stop in pairs]

    @staticmethod
    def once(call):
        started = time.perf_counter()
        call()
        return 1e6 * (time.perf_counter() - started)


def quantile(values, q):
    values = sorted(values)
    place = q * (len(values) - 1)
    below = int(place)
    return values[below] + (place - below) * (values[min(below + 1, len(values) - 1)] - values[below])


def passes(workload, device):
    if workload["op"] == "adam":
        return adam(workload, device)
    return globals()[workload["op"]](workload, tensors(workload, device))


def measure(workload, device, clock, tf32):
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32
    precision = workload["precision"].lower()
    engine = f"pytorch {torch.__version__}" + (" tf32" if tf32 and precision == "f32" else "")
    for name, call in passes(workload, device):
        times = clock.times(call)
        yield {
            "engine": engine, "workload": workload["name"], "goal": workload["goal"], "pass": name, "precision": precision,
            "median_us": f"{statistics.median(times):.4g}", "p20_us": f"{quantile(times, 0.2):.4g}",
            "p80_us": f"{quantile(times, 0.8):.4g}", "samples": len(times),
            "note": "" if clock.cuda else "on the processor, not a timing"}


def show(rows, against):
    own = {}
    if against:
        with open(against, newline="") as file:
            own = {(r["workload"], r["pass"], r["precision"]): r for r in csv.DictReader(file)}
    print(f"{'workload':<36}{'pass':<16}{'type':<5}{'retort us':>11}{'peer us':>11}{'/ retort':>9}  peer")
    for row in rows:
        mine = own.get((row["workload"], row["pass"], row["precision"]))
        us = float(row["median_us"])
        ratio = f"{us / float(mine['median_us']):9.2f}" if mine and not mine["note"].startswith("emulated") else f"{'-':>9}"
        retort = f"{float(mine['median_us']):11.1f}" if mine else f"{'-':>11}"
        print(f"{row['workload']:<36}{row['pass']:<16}{row['precision']:<5}{retort}{us:11.1f}{ratio}  {row['engine']} {row['note']}".rstrip())


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--workloads", required=True)
    parser.add_argument("--csv", required=True)
    parser.add_argument("--against")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--samples", type=int, default=40)
    parser.add_argument("--seconds", type=float, default=1)
    parser.add_argument("--budget", type=float, default=120, help="no new workload after this many seconds")
    options = parser.parse_args()
    torch.backends.cudnn.benchmark = True
    with open(options.workloads) as file:
        workloads = json.load(file)
    clock = Clock(options.device, options.samples, options.seconds)
    deadline = time.perf_counter() + options.budget
    rows, skipped = [], 0
    for workload in workloads:
        for tf32 in (False, True):
            if tf32 and (workload["precision"] != "F32" or workload["op"] not in PRODUCTS):
                continue
            if time.perf_counter() > deadline:
                skipped += 1
                continue
            try:
                rows += measure(workload, options.device, clock, tf32)
            except RuntimeError as failure:
                print(f"{workload['name']}: {str(failure).splitlines()[0]}", file=sys.stderr)
    show(rows, options.against)
    if skipped:
        print(f"{skipped} workloads skipped: the budget of {options.budget:g} s is spent")
    if rows:
        with open(options.csv, "w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    main()
