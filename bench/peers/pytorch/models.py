"""PyTorch's side of Retort's model benchmark: one denoising by the network that EDM trains on CIFAR-10 (55.7 M parameters).

Layers, weights and batch as in steps.py, which see; the width is the network's own.

    python models.py batch=16 resolution=32 channels=64 threads=2 [channels_last]
"""
import sys

import torch

import steps

steps.MULTIPLIERS, steps.BLOCKS, CHANNELS = (2, 2, 2), 4, 128


def main():
    options = dict(a.split("=") for a in sys.argv[1:] if "=" in a)
    layout = torch.channels_last if "channels_last" in sys.argv else torch.contiguous_format
    torch.set_num_threads(int(options["threads"]))
    task = steps.Task({**options, "channels": CHANNELS}, layout, "cpu")
    net, parameters = task.net()

    def denoise(row, _):
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=row.endswith("bf16")):
            return steps.precondition(net, task.noised, task.sigma).square().mean().item()

    works = {f"edm_denoise_{precision}": denoise for precision in ("fp32", "bf16")}
    count = sum(p.numel() for p in parameters)
    steps.serve(works, {"engine": f"pytorch {torch.__version__}", "parameters": count})


if __name__ == "__main__":
    main()
