"""Whether what a recipe counts fits into the updates that its runs make."""

from __future__ import annotations

from tui_datasize.errors import ConfigError
from tui_datasize.experiments.budget import total_updates
from tui_datasize.experiments.recipe import Recipe
from tui_datasize.experiments.spec import RunSpec
from tui_datasize.text import plural


def check_lengths(spec: RunSpec, recipe: Recipe, where: str) -> None:
    """Refuse what would quietly become something else in a run as short as this one.

    With a budget in epochs the small sizes of a sweep make few updates: those may be evaluated less
    often than the large ones, after each of their updates.

    Args:
        spec: A run of the recipe.
        recipe: As the file has it.
        where: File and key path of the experiment.

    Raises:
        ConfigError: One update is more than the budget, more evaluations are asked for than there are
            updates, or stairs of the learning rate are shorter than one.
    """
    if spec.budget.unit == "samples" and spec.batch_size > spec.budget.amount:
        raise ConfigError(
            f"one update of {spec.batch_size:,} images is more than the budget of {spec.budget.amount:,g}",
            where=f"{where}.batch_size",
            fix="give a smaller batch, or a larger budget",
        )
    updates = total_updates(spec)
    runs = f"runs of {plural(spec.train_size, 'image')} make {plural(updates, 'update')}"
    if spec.budget.unit != "epochs" and (recipe.evaluations or 0) > updates:
        raise ConfigError(
            f"{recipe.evaluations} evaluations, but {runs}",
            where=f"{where}.evaluate.times",
            fix=f"ask for at most {updates}, or give a longer budget",
        )
    schedule = recipe.schedule
    if schedule.name == "step" and schedule.unit == "fraction" and schedule.step * updates < 1:
        raise ConfigError(
            f"a step of {schedule.step:g} of the budget is less than one update: {runs}",
            where=f"{where}.schedule.step",
            fix=f"give at least 1/{updates}, or a longer budget",
        )
