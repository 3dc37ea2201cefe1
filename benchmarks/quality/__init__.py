"""How good the decisions are, and what they are worth; the rest of `benchmarks` measures how fast."""
