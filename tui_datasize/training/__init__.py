"""How: data sets, models and the engine. The only room that imports torch."""
