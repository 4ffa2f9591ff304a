"""The report: one HTML file with pictures about a run, from plain data (`ReportContents`)."""

from daflow.report.contents import (
    EndSummary,
    FieldMaps,
    MemberFailure,
    Moments,
    PhaseTiming,
    ReportContents,
    StepPredictions,
    StepSpread,
)
from daflow.report.cycles import CycleScores
from daflow.report.page import write_report
from daflow.report.steps import Diagnostics, StepFigures, StepScores, StepUpdate

__all__ = [
    "CycleScores",
    "Diagnostics",
    "EndSummary",
    "FieldMaps",
    "MemberFailure",
    "Moments",
    "PhaseTiming",
    "ReportContents",
    "StepFigures",
    "StepPredictions",
    "StepScores",
    "StepSpread",
    "StepUpdate",
    "write_report",
]
