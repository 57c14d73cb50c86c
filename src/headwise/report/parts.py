"""The parts of the report beside specialization, in the order of the page, and the tables of all of them."""

from headwise.report.calibration.part import PART as CALIBRATION
from headwise.report.columns import COLUMNS, Column
from headwise.report.controls.part import PART as CONTROLS
from headwise.report.declaration.part import PART as DECLARATION
from headwise.report.factors.part import PART as FACTORS
from headwise.report.part import Part
from headwise.report.robustness.part import PART as ROBUSTNESS
from headwise.report.stability.part import PART as STABILITY
from headwise.report.variants.part import PART as VARIANTS

PARTS: tuple[Part, ...] = (DECLARATION, FACTORS, VARIANTS, ROBUSTNESS, STABILITY, CALIBRATION, CONTROLS)


TABLES: dict[str, tuple[Column, ...]] = COLUMNS | {
    table: columns for part in PARTS for table, columns in part.columns.items()
}
