"""Analysis of results: their noise, how two of them compare, why they may differ, and the figures of 2018."""
