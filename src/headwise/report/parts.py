"""The parts of the report beside specialization, in the order of the page, and the tables of all of them."""

from headwise.analyses.calibration.report.part import PART as CALIBRATION
from headwise.analyses.controls.report.part import PART as CONTROLS
from headwise.analyses.declaration.report.part import PART as DECLARATION
from headwise.analyses.factors.report.part import PART as FACTORS
from headwise.analyses.noise.report.part import PART as NOISE
from headwise.analyses.recursion.report.part import PART as RECURSION
from headwise.analyses.stability.report.part import PART as STABILITY
from headwise.analyses.variants.report.part import PART as VARIANTS
from headwise.published.report.part import PART as PUBLISHED
from headwise.report.columns import COLUMNS
from headwise.report.part import Part
from headwise.tables.row import Column

PARTS: tuple[Part, ...] = (
    DECLARATION,
    FACTORS,
    VARIANTS,
    NOISE,
    RECURSION,
    STABILITY,
    PUBLISHED,
    CALIBRATION,
    CONTROLS,
)


TABLES: dict[str, tuple[Column, ...]] = COLUMNS | {
    table: columns for part in PARTS for table, columns in part.columns_by_table.items()
}
