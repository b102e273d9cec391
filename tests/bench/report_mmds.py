#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Prints what tests/bench/mmds_count has left in DIR: report_mmds.py DIR."""
import sys

directory = sys.argv[1]
rows = {}
with open(f"{directory}/mmds.tsv", encoding="utf-8") as lines:
    for line in lines:
        name, row, count, *times = line.rstrip("\n").split("\t")
        total, _, others, *_ = (int(time) / int(count) / 1000 for time in times)
        rows.setdefault(row, {})[name] = (total, others)

print("Thousands of instructions per request: of the whole machine, and of the monitor's own threads\n")
print(f"{'':28}{'whole machine':>30}{'monitor':>20}")
print(f"{'request':28}{'service':>10}{'host':>10}{'ratio':>10}{'service':>10}{'host':>10}")
for row, names in rows.items():
    ours, theirs = names["service"], names["host"]
    print(f"{row:28}{ours[0]:10.1f}{theirs[0]:10.1f}{ours[0] / theirs[0]:10.2f}{ours[1]:10.1f}{theirs[1]:10.1f}")

with open(f"{directory}/mmds_memory.tsv", encoding="utf-8") as lines:
    memory = {name: int(kib) for name, kib in (line.split() for line in lines)}
print("\nMemory of the monitor's own, without guest RAM, KiB\n")
print(f"{'without the service':28}{memory['none']:10}")
print(f"{'with it, not asked':28}{memory['idle']:10}{memory['idle'] - memory['none']:+10}")
print(f"{'with 30 requests under way':28}{memory['busy']:10}{memory['busy'] - memory['none']:+10}")
