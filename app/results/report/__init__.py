"""The report: one page that tells what came of a run, and which images to look at first."""

from .build import write_report as write_report
