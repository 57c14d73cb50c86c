"""Published numbers of the noise, duplication and probe experiments, each with where it stands."""

from dataclasses import dataclass

RELEASE = "D'Elia 2026, release, paper4/results/"
SLOPES = "D'Elia 2026, noise experiment, seeds 42, 123, 456"
SAME_FAMILY = RELEASE + "E06/E06d_Same_Family_20260116_130059.json"
DUPLICATION = RELEASE + "E21_E22/E22_Indra_Cure_v2_20260116_231418.json"
LLAMA_2 = RELEASE + "E11/E11T_indra_llama2_v3_20260113_131246.json"
GEMMA_2 = RELEASE + "E11/E11_indra_gemma_20260113_202833.json"

SLOPE, RATIO_OF_MEANS, MEDIAN_OF_RATIOS = "perplexity slope", "ratio of mean slopes", "median ratio of slopes"
CHANGE_BY_DUPLICATION = "perplexity at σ = 0 over that before duplication"
RESPONSE = "response of the index, per cent"


@dataclass(frozen=True)
class PublishedValue:
    """One published number: experiment, quantity, which model, at which seed (None: over seeds), and its source."""

    experiment: str
    quantity: str
    subject: str
    seed: int | None
    value: float
    source: str


PUBLISHED = (
    PublishedValue("noise", SLOPE, "Llama-2-7b (multi-head)", 42, 16.73, SLOPES),
    PublishedValue("noise", SLOPE, "Llama-2-7b (multi-head)", 123, 156.96, SLOPES),
    PublishedValue("noise", SLOPE, "Llama-2-7b (multi-head)", 456, 46.35, SLOPES),
    PublishedValue("noise", SLOPE, "Mistral-7B (grouped-query)", 42, 451342.0, SLOPES),
    PublishedValue("noise", SLOPE, "Mistral-7B (grouped-query)", 123, 391573.0, SLOPES),
    PublishedValue("noise", SLOPE, "Mistral-7B (grouped-query)", 456, 440977.0, SLOPES),
    PublishedValue("noise", RATIO_OF_MEANS, "Mistral-7B / Llama-2-7b", None, 5834.0, SLOPES),
    PublishedValue("noise", MEDIAN_OF_RATIOS, "Mistral-7B / Llama-2-7b", None, 9515.0, SLOPES),
    PublishedValue("noise", SLOPE, "Llama-3-8B (grouped-query)", 456, 5612488.770763397, SAME_FAMILY),
    PublishedValue("noise", "ratio of slopes", "Llama-3-8B / Llama-2-7b", 456, 121096.77996893263, SAME_FAMILY),
    PublishedValue(
        "duplication", CHANGE_BY_DUPLICATION, "Llama-3-8B, 8 to 16 heads", 42, 120.41841201782226 / 2.4207610845565797,
        DUPLICATION,
    ),
    PublishedValue(
        "duplication", CHANGE_BY_DUPLICATION, "Llama-3-8B, 8 to 32 heads", 42, 52560.344960021976 / 2.4207610845565797,
        DUPLICATION,
    ),
    PublishedValue("probe", RESPONSE, "Llama-2-7b, all layers, best of 24 cells", None, 114.05269658271617, LLAMA_2),
    PublishedValue("probe", RESPONSE, "Llama-2-7b-chat, middle, best of 24 cells", None, -24.024344988069355, LLAMA_2),
    PublishedValue("probe", RESPONSE, "Llama-3.1-8B-Instruct, best of 24 cells", None, 28.6, LLAMA_2),
    PublishedValue("probe", RESPONSE, "Llama-3.1-8B, best of 24 cells", None, -30.5, LLAMA_2),
    PublishedValue("probe", RESPONSE, "Gemma-2-9b-it, late, best of 24 cells", None, 5.147889811201192, GEMMA_2),
)  # fmt: skip


def published_slopes(subject: str) -> dict[int, float]:
    """Slopes of the models whose name begins like `subject`, by seed."""
    return {
        each.seed: each.value
        for each in PUBLISHED
        if each.quantity == SLOPE and each.subject.startswith(subject) and each.seed is not None
    }
