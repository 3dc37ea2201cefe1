"""The contract test that all hosts share."""
