"""How well a model recommends: metrics, intervals, calibration, baselines, the report."""
