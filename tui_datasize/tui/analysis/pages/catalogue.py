"""The pages of the Analysis tab behind the learning curve, in the order in which `p` walks through them."""

from __future__ import annotations

from tui_datasize.answers.catalogue import QUESTIONS
from tui_datasize.tui.analysis.pages.page import Page, answered

LEARNING_CURVE = "Learning curve, fit and overlap"

PAGES: tuple[Page, ...] = (
    answered(QUESTIONS["plan"]),
    answered(QUESTIONS["audit"]),
    answered(QUESTIONS["variants"]),
    answered(QUESTIONS["spread"]),
    answered(QUESTIONS["variance"]),
    answered(QUESTIONS["courses"]),
    answered(QUESTIONS["surface"]),
    answered(QUESTIONS["gap"]),
    answered(QUESTIONS["best"]),
    answered(QUESTIONS["classes"]),
    answered(QUESTIONS["confusions"]),
    answered(QUESTIONS["calibration"]),
    answered(QUESTIONS["margins"]),
    answered(QUESTIONS["agreement"]),
    answered(QUESTIONS["conditions"]),
    answered(QUESTIONS["options"]),
    answered(QUESTIONS["cost"]),
    answered(QUESTIONS["ensembles"]),
)
