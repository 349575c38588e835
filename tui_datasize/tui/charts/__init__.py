"""Charts as text: pure functions from plain sequences; the only place that knows plotext."""
