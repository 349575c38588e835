"""Numbers of learning curves: pure functions of frames and arrays.

Where nothing else is said of an argument, `runs` has schema `RUNS` and `metrics` schema `RUN_METRICS`,
`metric` is a key of `METRICS_OFFERED` (a ConfigError is raised for another), `score` one of `SCORES`, and
`split` "train" or "test". `values` are rows of `curve.points`, of one experiment and variant.
"""
