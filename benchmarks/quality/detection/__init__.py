"""How often the detector is wrong, and which way: rates over simulated training runs and recorded curves.

    python -m benchmarks.quality.detection run [--only VARIANT …] [--end SEED]
    python -m benchmarks.quality.detection tables

`dynamics` and `simulated` make the training runs, `recorded` replays real ones, `variants` names the
configurations, `rates` counts mistakes, `tables` writes docs/quality-detection.md.
"""
