"""The models by name, built for an image shape and initialised from the run's own stream."""

from tui_datasize.training.models.build import build_model as build_model
