"""Tests of autowu.runlog."""
