"""What the filters of a convolution answer to clips, and to which part of its input."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from earful.data.features.extractor import FeatureExtractor
from earful.models.layers.normalise import NormalisedNetwork

_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.GroupNorm, nn.InstanceNorm1d, nn.InstanceNorm2d)
# Quantiles of the gradient that bound a field.
_FIELD = (0.05, 0.95)


@dataclass(frozen=True)
class Field:
    """Ranges of frames and bins (first, last) of a feature image; no bins where they mean none."""

    frames: tuple[int, int]
    bins: tuple[int, int] | None


@dataclass(frozen=True)
class _Pass:
    """One pass over clips: the image that the first convolution reads, the filters' outputs."""

    image: Tensor
    output: Tensor
    spectrogram: Tensor


class FilterOutputs:
    """Runs a network over clips and measures one of its convolutions.

    A filter is measured after the normalisation of its output, if there is one.
    """

    def __init__(self, network: NormalisedNetwork, extractor: FeatureExtractor) -> None:
        self._network, self._extractor = network, extractor
        modules = network.network.named_modules()
        self.convolutions = [name for name, module in modules if _has_filters(module)]

    def peaks(self, waveforms: NDArray[np.float32], name: str) -> NDArray[np.float32]:
        """The highest output of each filter (clips, filters) over clips (clips, clip_samples)."""
        output = self._run(waveforms, name, gradient=False).output
        return np.asarray(output.flatten(2).amax(2).numpy())

    def field(self, waveform: NDArray[np.float32], name: str, number: int) -> tuple[Field, Tensor]:
        """What excites a filter most in one clip (clip_samples,), and the clip's spectrogram."""
        found = self._run(waveform[None], name, gradient=True)
        [gradient] = torch.autograd.grad(found.output[0, number].max(), found.image)
        return self._middle(gradient[0].abs(), found.spectrogram.shape[2]), found.spectrogram

    def _run(self, waveforms: NDArray[np.float32], name: str, *, gradient: bool) -> _Pass:
        seen: dict[str, Tensor] = {}

        def keep_input(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            seen["image"] = inputs[0]

        def keep_output(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
            seen["convolved"], seen["output"] = output, output.clone()  # some work in place

        def keep_normalised(_module: nn.Module, inputs: Any, output: Tensor) -> None:
            if inputs[0] is seen.get("convolved"):
                seen["output"] = output.clone()

        modules = dict(self._network.network.named_modules())
        hooks = [
            modules[self.convolutions[0]].register_forward_pre_hook(keep_input),
            modules[name].register_forward_hook(keep_output),
        ]
        norms = [module for module in modules.values() if isinstance(module, _NORMS)]
        hooks += [norm.register_forward_hook(keep_normalised) for norm in norms]
        try:
            with torch.set_grad_enabled(gradient):
                spectrogram = self._extractor.spectrogram(torch.from_numpy(waveforms))
                features = self._network.normalise(self._extractor.finish(spectrogram))
                self._network.network(features.requires_grad_(gradient))
        finally:
            for hook in hooks:
                hook.remove()
        return _Pass(seen["image"], seen["output"], spectrogram)

    def _middle(self, strength: Tensor, frames: int) -> Field:
        """The ranges that hold 90 % of a gradient (channels, ...)."""
        if strength.dim() == 2:  # bins are channels
            return Field(_middle_range(strength.sum(dim=0)), None)
        # The speech encoder has its frames before its bins.
        time_axis = 1 if strength.shape[1] == frames and self._extractor.kind == "encoder" else 2
        other = 3 - time_axis
        bins = _middle_range(strength.sum(dim=(0, time_axis)))
        has_bins = self._extractor.kind != "mfcc"
        return Field(_middle_range(strength.sum(dim=(0, other))), bins if has_bins else None)


def _has_filters(module: nn.Module) -> bool:
    """Whether a module is a convolution over several positions, with several filters."""
    if not isinstance(module, nn.Conv1d | nn.Conv2d):
        return False
    return max(module.kernel_size) > 1 and module.out_channels > 1


def _middle_range(strength: Tensor) -> tuple[int, int]:
    """First and last position between the quantiles of ``_FIELD`` of (positions,)."""
    shares = (strength.double().cumsum(0) / strength.double().sum().clamp_min(1e-30)).numpy()
    first, last = (int(np.searchsorted(shares, quantile)) for quantile in _FIELD)
    return first, min(max(first, last), len(shares) - 1)
