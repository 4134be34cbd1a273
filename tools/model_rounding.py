"""What Spate stores in fewer bits, in torch: weights in q8, q4 and fp8, rows of a cache or of a
product in e4m3 and int8. Values are those after rounding, in float32. The layouts and the reasons
are in include/spate/kernels/cpu/quantize.h, cuda/gemm_convert.cuh and cuda/kv_quantize.cuh.
"""

from typing import Any, Callable

import torch
from transformers import DynamicCache

GROUP = 32  # weights along k with one scale
LARGEST_E4M3 = 448.0
Rounding = Callable[[torch.Tensor], torch.Tensor]


def inverse(x: torch.Tensor) -> torch.Tensor:
    return torch.where(x == 0, torch.zeros_like(x), 1.0 / x)


def f16(x: torch.Tensor) -> torch.Tensor:
    return x.half().float()


def groups_of(w: torch.Tensor) -> torch.Tensor:
    return w.float().reshape(w.shape[0], -1, GROUP)


def q8(w: torch.Tensor) -> torch.Tensor:
    groups = groups_of(w)
    scale = f16(groups.abs().amax(-1, keepdim=True) * torch.tensor(1.0 / 127.0))
    return ((groups * inverse(scale)).clamp(-127, 127).round() * scale).reshape(w.shape)


def q4(w: torch.Tensor) -> torch.Tensor:
    """The best of five grids around the value of largest magnitude, fitted by least squares."""
    groups = groups_of(w)
    peak = groups.gather(-1, groups.abs().argmax(-1, keepdim=True))
    best_gain, best_scale = torch.full_like(peak, -1.0), torch.zeros_like(peak)
    for grid in (-8.0, -9.0, -8.5, -7.5, -7.0):
        q = (groups * (inverse(peak) * grid)).clamp(-8, 7).round()
        xq, qq = (groups * q).sum(-1, keepdim=True), (q * q).sum(-1, keepdim=True)
        scale = xq * inverse(qq)
        best_scale = torch.where(xq * scale > best_gain, scale, best_scale)
        best_gain = torch.maximum(xq * scale, best_gain)
    scale = f16(best_scale)
    return ((groups * inverse(scale)).clamp(-8, 7).round() * scale).reshape(w.shape)


def e4m3(x: torch.Tensor) -> torch.Tensor:
    return x.float().clamp(-LARGEST_E4M3, LARGEST_E4M3).to(torch.float8_e4m3fn).float()


def e4m3_rows(x: torch.Tensor) -> torch.Tensor:
    """With a scale for each row, which makes its largest magnitude the format's."""
    peak = x.float().abs().amax(-1, keepdim=True)
    scale = torch.where(peak > 0, peak / LARGEST_E4M3, 1.0)
    return e4m3(x.float() / scale) * scale


def int8_rows(x: torch.Tensor) -> torch.Tensor:
    """With a scale in f16 for each row, rounded up."""
    wanted = (x.float().abs().amax(-1, keepdim=True) / 127.0).clamp_min(2.0**-14)
    near = wanted.half()
    above = (near.view(torch.int16) + 1).view(torch.float16)
    scale = torch.where(near.float() < wanted, above, near).float()
    return (x.float() / scale).clamp(-127, 127).round() * scale


class RoundingCache(DynamicCache):
    """Keys and values as they come back from a cache that rounds each row of a head."""

    def __init__(self, rounding: Rounding):
        super().__init__()
        self.rounding = rounding

    def update(self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any,
               **kwargs: Any) -> tuple[torch.Tensor, torch.Tensor]:
        keys, values = (self.rounding(x).to(x.dtype) for x in (key_states, value_states))
        return super().update(keys, values, *args, **kwargs)


def round_weights(model: torch.nn.Module, rounding: Rounding, head: Rounding) -> None:
    with torch.no_grad():
        for name, module in model.named_modules():
            if isinstance(module, torch.nn.Linear):
                chosen = head if name == "lm_head" else rounding
                module.weight.copy_(chosen(module.weight))


def round_rows(model: torch.nn.Module, rounding: Rounding) -> None:
    """What every linear map multiplies."""
    for module in model.modules():
        if isinstance(module, torch.nn.Linear):
            module.register_forward_pre_hook(lambda _, x: (rounding(x[0]).to(x[0].dtype),))


def rounded_logits(model: torch.nn.Module, what: str, ids: list[int]) -> torch.Tensor:
    """Logits when `what` is rounded; the model is not to be used again."""
    cache = None
    if what in ("q8", "q4"):
        round_weights(model, {"q8": q8, "q4": q4}[what], head=q8)
    elif what in ("fp8", "fp8-rows"):
        round_weights(model, e4m3_rows, head=e4m3_rows)
        if what == "fp8-rows":
            round_rows(model, e4m3_rows)
    else:
        cache = RoundingCache({"kv-fp8": e4m3, "kv-int8": int8_rows}[what])
    with torch.no_grad():
        return model(torch.tensor([ids]), past_key_values=cache, use_cache=cache is not None).logits[0]


ROUNDINGS = ("q8", "q4", "fp8", "fp8-rows", "kv-fp8", "kv-int8")
