"""What is asked of attention: a folder for each analysis.

Each has what its rules tell their jobs (`jobs`), its measurement, and its part of the report. This list is the only
one; it has names alone, so that nothing is imported for it.
"""

# In the order of the page.
ANALYSES = (
    "questions",
    "specialization",
    "effects",
    "placebos",
    "declaration",
    "dose",
    "factors",
    "variants",
    "noise",
    "recursion",
    "stability",
    "calibration",
    "working_heads",
    "controls",
)
