"""Parts that are wrong in what they compute, each in one way, and right ones beside them: what a
kit of checks has to tell apart. Written from the contracts' words alone.

Names that begin with ``right`` are right.
"""

SCHEDULERS = '''
import torch
from dataclasses import replace
from itertools import pairwise
from ldm_core.contracts import of_order, stochastic
from ldm_core.numerics.moves import move

@of_order(1)
def right_euler(x, grid, denoise, noise):
    """Euler."""
    for here, there in pairwise(grid):
        x = move(x, denoise(x, here), here, there)
    return x

@stochastic
def right_ancestral(x, grid, denoise, noise):
    """To the end of each step without noise, and noise anew."""
    for here, there in pairwise(grid):
        x = there.alpha * denoise(x, here)
        if there.sigma > 0:
            x = x + there.sigma * noise()
    return x

@of_order(2)
def order(x, grid, denoise, noise):
    """Says two, is one."""
    return right_euler(x, grid, denoise, noise)

def own_noise(x, grid, denoise, noise):
    """Draws from torch itself."""
    for here, there in pairwise(grid):
        x = there.alpha * denoise(x, here) + there.sigma * torch.randn_like(x)
    return x

def coupled(x, grid, denoise, noise):
    """Each image sees the others."""
    for here, there in pairwise(grid):
        x0 = denoise(x, here)
        x = move(x, x0 + 0.01 * (x0.mean(0, keepdim=True) - x0), here, there)
    return x

def in_place(x, grid, denoise, noise):
    """Writes into the x that it is given."""
    for here, there in pairwise(grid):
        x.copy_(move(x, denoise(x, here), here, there))
    return x

def into_answer(x, grid, denoise, noise):
    """Writes into what the denoiser gave."""
    for here, there in pairwise(grid):
        x0 = denoise(x, here)
        end = move(x, x0, here, there)
        x0.zero_()
        x = end
    return x

def single(x, grid, denoise, noise):
    """Takes float64 away."""
    for here, there in pairwise(grid):
        x = move(x.float(), denoise(x, here).float(), here, there)
    return x

_last = [None]
def remembers(x, grid, denoise, noise):
    """What it makes depends on the run before."""
    before = _last[0]
    for here, there in pairwise(grid):
        x0 = denoise(x, here)
        if before is not None and before.shape == x0.shape:
            x0 = x0 + 0.01 * before.to(x0.dtype)
        x = move(x, x0, here, there)
    _last[0] = x
    return x

def no_signal(x, grid, denoise, noise):
    """Divides by alpha, which is zero where flow starts."""
    for here, there in pairwise(grid):
        scaled = x / here.alpha
        x0 = denoise(x, here)
        fall = (there.sigma / there.alpha) / (here.sigma / here.alpha)
        x = there.alpha * (x0 + (scaled - x0) * fall)
    return x

def two_at_least(x, grid, denoise, noise):
    """Fails with a single step."""
    for here, there in pairwise(grid):
        gap = grid[1].t - grid[2].t
        x = move(x, denoise(x, here), here, there) + 0 * gap
    return x

def stops_early(x, grid, denoise, noise):
    """Leaves the last step out."""
    for here, there in list(pairwise(grid))[:-1]:
        x = move(x, denoise(x, here), here, there)
    return x

@stochastic
def too_much(x, grid, denoise, noise):
    """Twice the variance that belongs there."""
    for here, there in pairwise(grid):
        x = there.alpha * denoise(x, here) + 1.4142 * there.sigma * noise()
    return x

def from_too_much(x, grid, denoise, noise):
    """Begins with half as much again."""
    return right_euler(1.5 * x, grid, denoise, noise)

def silent_noise(x, grid, denoise, noise):
    """Draws, and does not say so."""
    for here, there in pairwise(grid):
        x = there.alpha * denoise(x, here) + there.sigma * noise()
    return x

def pictures_alone(x, grid, denoise, noise):
    """Knows four dimensions only."""
    batch, channels, height, width = x.shape
    return right_euler(x, grid, denoise, noise)

def forgets_noise(x, grid, denoise, noise):
    """Gives an estimate of x0 in the middle of a way."""
    for here, there in pairwise(grid):
        x = denoise(x, here)
    return x
'''

SPACINGS = '''
import random

def right_even(schedule, steps):
    """Evenly in the timestep."""
    last, first = schedule.last, schedule.first
    times = [last - i * (last - first) / steps for i in range(steps)]
    from ldm_core.numerics.point import CLEAN
    return [*map(schedule.at, times), CLEAN]

def at_random(schedule, steps):
    """Another one each time."""
    points = right_even(schedule, steps)
    last, first = schedule.last, schedule.first
    times = sorted((random.uniform(first, last) for _ in range(steps)), reverse=True)
    return [*map(schedule.at, times), points[-1]]

def rises(schedule, steps):
    """The wrong way round."""
    points = right_even(schedule, steps)
    return [*points[:-1][::-1], points[-1]]

def long(schedule, steps):
    """One more than was asked for."""
    return right_even(schedule, steps + 1)

def few(schedule, steps):
    """Twenty at most."""
    return right_even(schedule, min(steps, 20))

def thousand(schedule, steps):
    """Whole timesteps of a thousand, whatever the schedule; doubled where there are many."""
    from ldm_core.numerics.point import CLEAN
    times = [round(schedule.last * (1 - i / steps) / 4) * 4 for i in range(steps)]
    return [*(schedule.at(max(float(t), schedule.first)) for t in times), CLEAN]
'''

KERNELS = '''
import math
import torch
from torch.nn.functional import scaled_dot_product_attention

def right_plain(q, k, v, mask, scale):
    """torch's own."""
    return scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale)

def no_mask(q, k, v, mask, scale):
    """Passes over the mask."""
    return scaled_dot_product_attention(q, k, v, scale=scale)

def no_scale(q, k, v, mask, scale):
    """Scales as usual, whatever is asked for."""
    return scaled_dot_product_attention(q, k, v, attn_mask=mask)

def wide(q, k, v, mask, scale):
    """Answers in float32."""
    return right_plain(q, k, v, mask, scale).float()

def views(q, k, v, mask, scale):
    """Needs what lies in one piece."""
    q = q.view(-1).view(q.shape)
    return right_plain(q, k, v, mask, scale)

def first_keys(q, k, v, mask, scale):
    """Sees a thousand keys or two, and no more."""
    mask = mask if mask is None else mask[..., :2000]
    k, v = k[..., :2000, :], v[..., :2000, :]
    return scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale)

def into_queries(q, k, v, mask, scale):
    """Writes into its queries."""
    out = right_plain(q, k, v, mask, scale)
    q.mul_(scale)
    return out

def of_powers(q, k, v, mask, scale):
    """Right for head sizes that are powers of two."""
    out = right_plain(q, k, v, mask, scale)
    size = q.shape[-1]
    return out if size & (size - 1) == 0 else out * 1.01

def square(q, k, v, mask, scale):
    """Right where there are as many keys as queries."""
    out = right_plain(q, k, v, mask, scale)
    return out if q.shape[-2] == k.shape[-2] else out.flip(-2)

def added(q, k, v, mask, scale):
    """Takes each mask for one of truths."""
    if mask is not None:
        mask = mask.bool()
    return right_plain(q, k, v, mask, scale)
'''

WRAPPERS = '''
import torch

def right_clip(denoise, *, limit: float = 1e9):
    """Clip x0.

    Args:
        limit: of its size.
    """
    return lambda x, point: denoise(x, point).clamp(-limit, limit)

_seen = []
def remembers(denoise):
    """What it gives depends on the run before."""
    def wrapped(x, point):
        x0 = denoise(x, point)
        x0 = x0 + 0.001 * len(_seen)
        _seen.append(1)
        return x0
    return wrapped

def coupled(denoise):
    """Each image sees the others."""
    def wrapped(x, point):
        x0 = denoise(x, point)
        return x0 - 0.01 * x0.mean(0, keepdim=True)
    return wrapped

def in_place(denoise):
    """Writes into x."""
    def wrapped(x, point):
        x0 = denoise(x, point)
        x.mul_(0.999)
        return x0
    return wrapped

def own_noise(denoise):
    """Adds noise of torch's own."""
    return lambda x, point: denoise(x, point) + 0.01 * torch.randn_like(x)

def half(denoise):
    """Answers in half precision."""
    return lambda x, point: denoise(x, point).half()

def grid_alone(denoise):
    """Counts its calls, and takes each for a step of the grid."""
    calls = 0
    def wrapped(x, point):
        nonlocal calls
        calls += 1
        return denoise(x, point) * (1 + 0.001 * calls)
    return wrapped
'''

GUIDANCES = '''
import torch
from ldm_core import contracts

class _Two(contracts.Guidance):
    def __init__(self, scale):
        self.scale = scale
    def bind(self, run):
        return contracts.Bound(lambda point: ("negative", "positive"), self.combine)
    def combine(self, outputs, at):
        n, p = outputs["negative"], outputs["positive"]
        return n + self.scale * (p - n)

def right_two(*, scale: float = 3.0):
    """Classifier-free guidance.

    Args:
        scale: 1 for none.
    """
    return _Two(scale)

class _Coupled(_Two):
    def combine(self, outputs, at):
        out = super().combine(outputs, at)
        return out - 0.01 * out.mean(0, keepdim=True)
def coupled(*, scale: float = 3.0):
    """Each image sees the others."""
    return _Coupled(scale)

class _InPlace(_Two):
    def combine(self, outputs, at):
        n, p = outputs["negative"], outputs["positive"]
        return n.add_(self.scale * (p - n))
def in_place(*, scale: float = 3.0):
    """Writes into an answer."""
    return _InPlace(scale)

class _Noisy(_Two):
    def combine(self, outputs, at):
        out = super().combine(outputs, at)
        return out + 0.01 * torch.randn_like(out)
def noisy(*, scale: float = 3.0):
    """Draws noise of torch's own."""
    return _Noisy(scale)

class _Unknown(_Two):
    def bind(self, run):
        return contracts.Bound(lambda point: ("negatve", "positive"),
                               lambda outputs, at: outputs["positive"] + 0 * outputs["negatve"])
def unknown(*, scale: float = 3.0):
    """Asks for a branch that there is not."""
    return _Unknown(scale)

class _Narrow(_Two):
    def combine(self, outputs, at):
        return super().combine(outputs, at)[:, :1]
def narrow(*, scale: float = 3.0):
    """Gives another shape."""
    return _Narrow(scale)
'''

CONVERTERS = '''
from dataclasses import replace
from ldm_core import contracts
import torch

class _Base(contracts.Converter):
    phase, lossless = contracts.Phase.LAYOUT, True

class _Right(_Base):
    """Does nothing."""
def right_none():
    """Nothing."""
    return _Right()

class _Writes(_Base):
    def part(self, part):
        with torch.no_grad():
            for weight in part.module.parameters():
                weight.mul_(1.01)
        return part
def writes():
    """Writes into the weights that it was given."""
    return _Writes()

class _Lossy(_Base):
    def part(self, part):
        import copy
        module = copy.deepcopy(part.module)
        with torch.no_grad():
            for weight in module.parameters():
                weight.copy_(weight.half().mul_(1.05).float())
        return replace(part, module=module)
def says_lossless():
    """Says that it loses nothing."""
    return _Lossy()

class _Hooks(_Base):
    def part(self, part):
        part.module.register_forward_hook(lambda module, args, out: out)
        return part
def hooks():
    """Leaves hooks on the modules that it was given."""
    return _Hooks()
'''

OBSERVERS = '''
from contextlib import contextmanager

@contextmanager
def right_counts(grid):
    """Counts."""
    calls = []
    yield calls.append

@contextmanager
def writes(grid):
    """Writes into what it sees."""
    def tell(step):
        step.x0.mul_(0.99)
    yield tell

class _Swallows:
    def __enter__(self):
        return lambda step: None
    def __exit__(self, *error):
        return True
def swallows(grid):
    """Hides what a run raises."""
    return _Swallows()

import torch
@contextmanager
def draws(grid):
    """Changes torch's own seed."""
    yield lambda step: torch.manual_seed(0)
'''

WRITERS = '''
from ldm_core.contracts import writes

@writes("image", ".right", lossless=True)
def right_png(shown, manifest, path):
    """PNG."""
    shown.data.save(path, format="PNG")

@writes("image", ".lossy", lossless=True)
def says_lossless(shown, manifest, path):
    """JPEG, said to be lossless."""
    shown.data.convert("RGB").save(path, format="JPEG", quality=30)

@writes("image", ".beside", lossless=True)
def beside(shown, manifest, path):
    """Writes another file too."""
    shown.data.save(path, format="PNG")
    path.with_suffix(".txt").write_text("more")

@writes("image", ".alters", lossless=True)
def alters(shown, manifest, path):
    """Writes into the manifest."""
    manifest["more"] = 1
    shown.data.save(path, format="PNG")

@writes("image", ".appends", lossless=True)
def appends(shown, manifest, path):
    """Writes behind what stood there."""
    with path.open("ab") as file:
        shown.data.save(file, format="PNG")

@writes("image", ".holds", holds_manifest=True, lossless=True)
def holds_none(shown, manifest, path):
    """Says that the manifest is inside."""
    shown.data.save(path, format="PNG")
'''

PARTS = {
    "scheduler": SCHEDULERS,
    "spacing": SPACINGS,
    "attention": KERNELS,
    "denoiser": WRAPPERS,
    "guidance": GUIDANCES,
    "converter": CONVERTERS,
    "observer": OBSERVERS,
    "writer": WRITERS,
}
"""A module of parts for each kind."""

PACKAGES = {
    "imports-torch": "import torch\n",
    "prints": "print('hello')\n",
    "double": "import torch\ntorch.set_default_dtype(torch.float64)\n",
    "seeds": "import random\nrandom.seed(0)\n",
    "environment": "import os\nos.environ['OMP_NUM_THREADS'] = '7'\n",
    "sleeps": "import time\nend = time.process_time() + 2\nwhile time.process_time() < end: pass\n",
    "patches": "import json\njson.dumps = lambda *a, **k: '{}'\n",
    "moves": "import os\nos.chdir('/')\n",
    "warns": "import warnings\nwarnings.simplefilter('ignore')\n",
    "logs": "import logging\nlogging.basicConfig(level=0)\n",
    "signals": "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n",
    "path": "import sys\nsys.path.insert(0, '/tmp')\n",
}
"""What a package does that it should not when it is imported."""
