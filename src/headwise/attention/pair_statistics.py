"""What extraction can compute of pairs of heads, by name; `layer_statistics` says how."""

PAIR_STATISTICS = ("hellinger", "js_divergence", "pattern_correlation", "output_cka")
