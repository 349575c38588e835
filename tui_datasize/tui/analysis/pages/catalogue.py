"""The pages of the Analysis tab behind the learning curve, in the order in which `p` walks through them."""

from __future__ import annotations

from tui_datasize.answers.catalogue import QUESTIONS
from tui_datasize.tui.analysis.pages.calibration import calibration
from tui_datasize.tui.analysis.pages.classes import confusions, per_class
from tui_datasize.tui.analysis.pages.groups_of_runs import cost, ensembles
from tui_datasize.tui.analysis.pages.options import options
from tui_datasize.tui.analysis.pages.page import Page, answered
from tui_datasize.tui.analysis.pages.surfaces import surface
from tui_datasize.tui.analysis.pages.training import courses, margins
from tui_datasize.tui.analysis.pages.transfer import conditions

LEARNING_CURVE = "Learning curve, fit and overlap"

PAGES: tuple[Page, ...] = (
    answered(QUESTIONS["plan"]),
    answered(QUESTIONS["audit"]),
    answered(QUESTIONS["variants"]),
    answered(QUESTIONS["spread"]),
    answered(QUESTIONS["variance"]),
    Page("courses", "Courses of training, all sizes", courses),
    Page("surface", "Metrics over size and training", surface),
    answered(QUESTIONS["gap"]),
    answered(QUESTIONS["best"]),
    Page("classes", "Learning curve of each class", per_class),
    Page("confusions", "What is taken for what", confusions),
    Page("calibration", "Confidence against accuracy", calibration),
    Page("margins", "Margins of right and wrong answers", margins),
    answered(QUESTIONS["agreement"]),
    Page("conditions", "Transfer conditions", conditions),
    Page("options", "Metric against a swept option", options),
    Page("cost", "Metric against training time", cost),
    Page("ensembles", "Ensembles of runs", ensembles),
)
