"""The report: one HTML file with pictures about a run, from plain data (`ReportContents`)."""

from daflow.report.contents import (
    FieldMaps,
    MemberFailure,
    Moments,
    PhaseTiming,
    ReportContents,
    StepPredictions,
    StepSpread,
)
from daflow.report.page import write_report

__all__ = [
    "FieldMaps",
    "MemberFailure",
    "Moments",
    "PhaseTiming",
    "ReportContents",
    "StepPredictions",
    "StepSpread",
    "write_report",
]
