"""Tests of the framework-free core, one file to a module."""
