"""One dose of noise: where, in which layers, how much; and a model under it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor
from transformers import PreTrainedModel

from headwise.analyses.noise.draws import NoiseRow, standard_noise
from headwise.analyses.noise.rows import Heads
from headwise.analyses.noise.settings import Region, Scale, Site
from headwise.analyses.noise.sites import clean_rms, perturbing, region_layers


@dataclass(frozen=True)
class Dose:
    """Normal noise of standard deviation `sigma` at a site in a region; `scale` says in which unit sigma is."""

    site: Site
    scale: Scale
    region: Region
    sigma: float

    def __str__(self) -> str:
        return f"{self.scale} σ {self.sigma:g} at {self.site}, region {self.region}"

    def columns(self) -> dict[str, Any]:
        """Site, scale, region and sigma as cells of a row (`rows.AtDose`)."""
        return {"site": self.site, "scale": self.scale, "region": self.region, "sigma": self.sigma}


@dataclass
class Subject:
    """A model that is perturbed.

    name: of the model, for messages and rows. seed: of the noise. reference: token ids (texts, T) that relative doses
    take the RMS of clean activations from; it is computed once per site. heads: whether it is the model as made.
    """

    name: str
    model: PreTrainedModel
    seed: int
    reference: Tensor
    heads: Heads = Heads.AS_MADE
    _rms: dict[Site, dict[int, float]] = field(default_factory=dict)

    @contextmanager
    def under(self, dose: Dose, rows: tuple[NoiseRow, ...]) -> Iterator[None]:
        """Within the block the model computes under that dose; `rows` are those of every batch that it is given.

        Draws are made anew in each layer of each pass, the same for the same text, and not kept: those of all layers
        can take more memory than the model. The model must attend eagerly. Raises PerturbationError where
        the site cannot be reached or the region holds no layer.
        """
        layers = region_layers(self.model, dose.region)
        factor = dict.fromkeys(layers, 1.0) if dose.scale == Scale.ABSOLUTE else self.rms(dose.site)

        def noise(layer: int, shape: tuple[int, ...]) -> Tensor:
            return dose.sigma * factor[layer] * standard_noise(self.seed, rows, layer, shape)

        with perturbing(self.model, dose.site, layers, noise):
            yield

    def rms(self, site: Site) -> dict[int, float]:
        """RMS of the site's clean activations on the reference texts, by layer."""
        if site not in self._rms:
            self._rms[site] = clean_rms(self.model, site, self.reference)
        return self._rms[site]
