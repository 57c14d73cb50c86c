"""The parts of the report, in the order of the page, found through the list of analyses; and the tables of all."""

from importlib import import_module

from headwise.report.models_part import PART as MODELS
from headwise.report.part import Part
from headwise.study.sections import analysis_modules
from headwise.tables.row import Column


def _parts() -> tuple[Part, ...]:
    parts = [module.PART for module in analysis_modules("report.part")]
    published = import_module("headwise.published.report.part")
    place = [part.name for part in parts].index(published.BEFORE)
    return (*parts[:place], published.PART, *parts[place:], MODELS)


PARTS = _parts()
TABLES: dict[str, tuple[Column, ...]] = {
    table: columns for part in PARTS for table, columns in part.columns_by_table.items()
}
