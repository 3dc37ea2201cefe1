"""Tests of autowu.report."""
