"""headwise: a census of attention heads, as a workflow that anyone can rerun."""
