"""What the records of both suites say of AutoWU against each other method, and how surely.

    records ─▶ pairs (same workload, same seed) ─▶ bootstrap ─▶ table
                                              └─▶ profiles ─▶ figure

Contents:
    pairs       a workload of either suite: scores by method and seed, and their differences in points
    bootstrap   two-level intervals and p-values of a mean difference; Holm's correction
    profiles    shares of workloads: within so many points of the best, within so many times the fastest
    table       the pages' tables
    figure      the performance profile
"""
