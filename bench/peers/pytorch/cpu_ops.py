"""PyTorch's side of `retort bench ops --peer`: single ops on the processor, in the conversation of steps.py.

    python cpu_ops.py batch=32 resolution=32 channels=64 threads=2 [channels_last]

The values are the mean squares of what the op writes, from the same hashed inputs as Retort's. Where PyTorch has two ways
(fused attention and the explicit form), a check finds the faster one, which is then timed.
"""
import math
import sys
import time

import numpy as np
import torch
import torch.nn.functional as F

from steps import serve, uniform

ADAM_ELEMENTS, TENSORS = 9_961_472, 64


class Ops:
    def __init__(self, layout):
        self.layout, self.made = layout, {}

    def hashed(self, stream, *shape, scale=1.0, shift=0.0, dtype=torch.float32):
        values = (shift + scale * uniform(stream, math.prod(shape))).astype(np.float32)
        return torch.from_numpy(values.reshape(shape)).to(dtype)

    def images(self, stream, dtype, *shape):
        """(N, H, W, C) numbers as PyTorch's NCHW in the wanted layout."""
        return self.hashed(stream, *shape, dtype=dtype).permute(0, 3, 1, 2).contiguous(memory_format=self.layout)

    def gemm(self, words, dtype):
        side = int(words[1])
        a, b = self.hashed(0, side, side, dtype=dtype), self.hashed(1, side, side, dtype=dtype)
        return [lambda: a @ b]

    def conv(self, words, dtype):
        channels, side, which = int(words[1]), int(words[2]), words[3]
        x, g = (self.images(i, dtype, 32, side, side, channels) for i in (0, 2))
        w = self.hashed(1, channels, channels, 3, 3, dtype=dtype).contiguous(memory_format=self.layout)
        geometry = [1, 1], [1, 1], [1, 1], False, [0, 0], 1
        back = lambda mask: torch.ops.aten.convolution_backward(g, x, w, None, *geometry, mask)
        return [{"forward": lambda: torch.ops.aten.convolution(x, w, None, *geometry),
                 "data": lambda: back([True, False, False])[0],
                 "weight": lambda: back([False, True, False])[1]}[which]]

    def attention(self, words, dtype):
        heads, tokens, size = (int(w[1:]) for w in words[1:4])
        split = lambda x: x.reshape(32, tokens, heads, size).transpose(1, 2).contiguous()
        q, k, v, g = (split(self.hashed(i, 32, tokens, heads * size, dtype=dtype)) for i in range(4))
        leaves = [each.requires_grad_() for each in (q, k, v)]
        explicit = lambda q, k, v: (q @ k.transpose(-1, -2) / math.sqrt(size)).float().softmax(-1).to(dtype) @ v
        both = lambda form: lambda: torch.autograd.grad(form(*leaves), leaves, g)[1]
        return [both(F.scaled_dot_product_attention), both(explicit)]

    def mmd5(self, words, dtype):
        n, d = int(words[1][1:]), int(words[2][1:])
        u, v = self.hashed(0, n, d).requires_grad_(), self.hashed(1, n, d)

        def loss():
            z = torch.cat([u, v])
            squares = z.square().sum(1)
            distance = squares[:, None] + squares[None, :] - 2 * (z @ z.T)
            width = distance.detach().sum() / (len(z) * (len(z) - 1))
            k = sum(torch.exp(-distance / (width * f)) for f in (0.25, 0.5, 1, 2, 4))
            value = k[:n, :n].mean() + k[n:, n:].mean() - 2 * k[:n, n:].mean()
            torch.autograd.grad(value, u)
            return value

        return [loss]

    def noise(self, words, dtype):
        x = self.images(0, torch.float32, int(words[1]), 32, 32, 3)
        sigma = self.hashed(1, len(x), scale=0.5, shift=1.0)
        return [lambda: x + sigma[:, None, None, None] * torch.randn_like(x)]

    def dmd(self, words, dtype):
        x, real, fake = (self.images(i, torch.float32, int(words[2]), 32, 32, 3) for i in range(3))
        x.requires_grad_()

        def gradient():
            with torch.no_grad():
                step = torch.nan_to_num((fake - real) / (x - real).abs().mean((1, 2, 3), keepdim=True))
            return torch.autograd.grad(0.5 * F.mse_loss(x, (x - step).detach()), x)[0]

        return [gradient]

    def group(self, words, dtype):
        x, g = (self.images(i, dtype, 32, 32, 32, 128) for i in (0, 1))
        w, b = self.hashed(2, 128, scale=0.5, shift=1.0, dtype=dtype), self.hashed(3, 128, dtype=dtype)
        leaves = [each.requires_grad_() for each in (x, w, b)]
        return [lambda: torch.autograd.grad(F.silu(F.group_norm(x, 32, w, b, 1e-5)), leaves, g)[0]]

    def adam(self, words, dtype):
        whole, gradients = self.hashed(0, ADAM_ELEMENTS), self.hashed(1, ADAM_ELEMENTS)
        weights = [w.clone().requires_grad_() for w in whole.chunk(TENSORS)]
        for w, g in zip(weights, gradients.chunk(TENSORS)):
            w.grad = g.clone()
        average = [w.detach().clone() for w in weights]
        adam = torch.optim.Adam(weights, lr=1e-2, fused=True)

        def step():
            adam.step()
            with torch.no_grad():
                torch._foreach_lerp_(average, [w.detach() for w in weights], 0.001)
            return torch.stack([w.detach().square().mean() for w in weights]) if self.checking else weights[0]

        return [step]

    def run(self, row, check):
        self.checking = check
        if row not in self.made:
            words = row.split("_")
            forms = getattr(self, words[0])(words, torch.bfloat16 if words[-1] == "bf16" else torch.float32)
            self.made[row] = min(forms, key=seconds) if len(forms) > 1 else forms[0]
        result = self.made[row]()
        if not check:
            return 0
        return (result if row.startswith("adam") else result.detach().float().square()).mean().item()


def seconds(form):
    best = math.inf
    for _ in range(4):
        started = time.perf_counter()
        form()
        best = min(best, time.perf_counter() - started)
    return best


ROWS = """gemm_2048_fp32 gemm_2048_bf16
conv_64_32_forward_fp32 conv_64_32_data_fp32 conv_64_32_weight_fp32
conv_128_16_forward_fp32 conv_128_16_data_fp32 conv_128_16_weight_fp32
conv_64_32_forward_bf16 conv_64_32_data_bf16 conv_64_32_weight_bf16
attention_h4_n256_d64_fp32 attention_h1_n256_d256_fp32 attention_h1_n256_d256_bf16
mmd5_n1024_d2048_fp32 noise_256_fp32 dmd_gradient_256_fp32 group_norm_silu_fp32 group_norm_silu_bf16 adam_ema_fp32""".split()


def main():
    options = dict(a.split("=") for a in sys.argv[1:] if "=" in a)
    torch.set_num_threads(int(options["threads"]))
    ops = Ops(torch.channels_last if "channels_last" in sys.argv else torch.contiguous_format)
    serve(dict.fromkeys(ROWS, ops.run), {"engine": f"pytorch {torch.__version__}", "parameters": 0})


if __name__ == "__main__":
    main()
