"""Tests of the controller: verdict -> phase -> learning rate."""
