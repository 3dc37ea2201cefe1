"""Tests of the detector: losses -> verdict."""
