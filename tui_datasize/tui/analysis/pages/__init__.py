"""Further pages of the Analysis tab: each asks one question of an experiment's runs."""
