"""The tables about the stability of heads across refits."""

from headwise.tables.row import Column

_GROUP = Column("group", str, "Group of refits, or the two groups of a contrast")
_VERSION = Column("version", str, "published: as Bali et al. (2026) compute it; corrected: ours")

COLUMNS: dict[str, tuple[Column, ...]] = {
    "stability": (
        _GROUP,
        Column("analysis", str, "What is measured; see docs/stability.md"),
        _VERSION,
        Column("weights", str, "trained; random: models with random weights, the control"),
        Column("measure", str, "What is compared, or how"),
        Column("part", str, "Site of the residual stream, matrix, or text; null: attention", True),
        Column("words", int, "Prompts cut to their first words; null: whole prompts", True),
        Column("refit", int, "Position of the refit in its group; null: all of them", True),
        Column("layer", int, "Layer; null: the model, as the mean over layers", True),
        Column("head", int, "Head; null: the layer, as the mean over heads", True),
        Column("value", float, "Null where undefined", True),
        Column("ci_low", float, "Lower end of the interval over refits", True),
        Column("ci_high", float, "Upper end of the interval over refits", True),
        Column("chance", float, "The same number where there is nothing to find", True),
        Column("chance_corrected", float, "(value − chance) / (1 − chance); of a contrast, its change", True),
        Column("corrected_low", float, "Lower end of the interval of chance_corrected", True),
        Column("corrected_high", float, "Upper end of the interval of chance_corrected", True),
        Column("p", float, "Two-sided p of a permutation test, before adjustment", True),
        Column("p_attainable", float, "The smallest p that this design can give", True),
        Column("p_adjusted", float, "p adjusted over layers or matrices (Benjamini–Hochberg)", True),
        Column("n", int, "Units that vary", True),
        Column("method", str, "How interval or test was made", True),
        Column("reason", str, "Why a number is missing, or what is special about it", True),
    ),
    "stability_origins": (
        _GROUP,
        Column("weights", str, "trained; random: models with random weights, the control"),
        _VERSION,
        Column("layer", int, "Layer of the heads"),
        Column("origin_layer", int, "Layer of the other refit that their best matches lie in"),
        Column("share", float, "Share of the layer's matches", True),
        Column("matches", int, "Number of matches, over heads and pairs of refits"),
    ),
    "stability_head_map": (
        _GROUP,
        Column("refit", int, "Position of the refit in its group"),
        Column("layer", int, "Layer"),
        Column("head", int, "Head"),
        Column("x", float, "First coordinate of t-SNE, without a unit", True),
        Column("y", float, "Second coordinate of t-SNE, without a unit", True),
    ),
}
