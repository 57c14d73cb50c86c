"""What an analysis adds to tables, figures and page: one Part each, which `parts.py` finds."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from headwise.report.columns import Tables
from headwise.report.finding import Finding
from headwise.report.rows import Answer
from headwise.report.view import View
from headwise.study.study import Study
from headwise.tables.row import Column, Row, columns_of


@dataclass(frozen=True)
class Chart:
    """A figure before it is drawn: name of its files, what draws it, title, caption (what is drawn, how to read it).

    `draw` takes the study and its tables and gives a chart of Altair, single or layered, or the list of its panels,
    which the page sets side by side as its width allows; None where there is nothing to draw.
    """

    name: str
    draw: Callable[[Study, Tables], Any]
    title: str
    caption: str


@dataclass(frozen=True)
class Passage:
    """A piece of a section, folded until it is opened: heading, paragraphs of plain text, and tables for people with
    their captions."""

    heading: str
    paragraphs: Sequence[str] = ()
    views: Sequence[tuple[View, str]] = ()


@dataclass(frozen=True)
class Section:
    """A declared question on the page.

    name       of the question
    title      the question
    answer     its answer
    said       the answer in words, with what would decide an undecided one
    figures    names of its figures, the one that shows the answer first
    sentences  how to read it, three at most
    numbers    what stands behind the answer: headings and cells
    part       part of the report that holds all rows
    """

    name: str
    title: str
    answer: Answer
    said: str
    figures: Sequence[str]
    sentences: Sequence[str]
    numbers: Sequence[tuple[str, str]]
    part: str


@dataclass(frozen=True)
class Light:
    """What a check says, in a few words: whether all is well."""

    passed: bool
    words: str


@dataclass(frozen=True)
class Part:
    """An analysis in the report. All functions take empty tables, where a study has no such analysis, and give nothing.

    name       id of its section on the page
    title      heading of that section
    tables     its tables: the analysis writes each to analyses/{table}.parquet
    derived    tables of its own that follow from finished ones, by name; with no such tables, none
    completed  tables that need those of all parts, which are there now, by name: new ones, or in place of others
    charts     its figures, in order
    findings   what it found, in sentences
    remark     what it has to say of the models that a finding of any part is about; None: nothing
    passages   what its section says, in order, below its figures
    light      what it checks of the study, for the first screen; None: nothing to say
    sections   declared questions, each a section of the page
    advice     what to do next, in sentences
    """

    name: str
    title: str
    tables: Sequence[type[Row]] = ()
    derived: Callable[[Study, Tables], Mapping[str, pd.DataFrame]] = field(default=lambda study, tables: {})
    completed: Callable[[Tables], Mapping[str, pd.DataFrame]] = field(default=lambda tables: {})
    charts: Callable[[Study], Sequence[Chart]] = field(default=lambda study: ())
    findings: Callable[[Study, Tables], Iterable[Finding]] = field(default=lambda study, tables: ())
    remark: Callable[[Tables, Finding], str | None] = field(default=lambda tables, finding: None)
    passages: Callable[[Study, Tables], Iterable[Passage]] = field(default=lambda study, tables: ())
    light: Callable[[Tables], Light | None] = field(default=lambda tables: None)
    sections: Callable[[Study, Tables], Iterable[Section]] = field(default=lambda study, tables: ())
    advice: Callable[[Study, Tables], Iterable[str]] = field(default=lambda study, tables: ())

    @property
    def columns_by_table(self) -> dict[str, tuple[Column, ...]]:
        """The columns of each of its tables."""
        return {row.table: columns_of(row) for row in self.tables}
