#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes the report of many machines: report_scale.py DIR SVG.

Reads what tests/bench/scale noted: DIR/payload.tsv, and DIR/{squib,jailed,qemu}.tsv of Linux guests, any of which may be
missing. Prints the tables and draws SVG.
"""
import os
import sys

import report


def load(path, first):
    """The lines that begin with this word, of a file that need not exist: [(name, value, ...)]."""
    if not os.path.exists(path):
        return []
    with open(path, encoding="utf-8") as lines:
        words = (line.rstrip("\n").split("\t") for line in lines)
        return [(name, *map(float, values)) for word, name, *values in words if word == first]


def print_starts(rows):
    print("Start of a machine with a payload, from exec to its guest's word; ms per machine\n")
    print(f"{'':20}{'one by one':>14}{'8 at once':>14}")
    for name, *ms in rows:
        print(f"{name:20}" + "".join(f"{value:14.2f}" for value in ms))
    print()


def print_idle(rows, title, unit):
    print(f"{title}\n")
    print(f"{'':20}{'machines':>10}{unit:>12}{'wake-ups/s':>12}{'CPU us/s':>12}{'Pss KiB':>12}{'descriptors':>13}{'threads':>10}")
    for name, count, start, wakes, us, pss, descriptors, threads in rows:
        print(f"{name:20}{count:10.0f}{start:12.1f}{wakes:12.3f}{us:12.2f}{pss:12.0f}{descriptors:13.1f}{threads:10.1f}")
    print()


def bars(rows, unit_kib):
    return [(f"{name}, {count:.0f}", [("e" if name.startswith("QEMU") else "a", "Pss", pss / unit_kib)])
            for name, count, _, _, _, pss, *_ in rows]


def main():
    where, svg = sys.argv[1:]
    starts, payload = (load(f"{where}/payload.tsv", word) for word in ("start", "idle"))
    linux = [row for part in ("squib", "jailed", "qemu") for row in load(f"{where}/{part}.tsv", "idle")]
    charts = []
    if payload:
        print_starts(starts)
        print_idle(payload, "Machines with payloads of 16 MiB that stand idle for 10 s, each", "start ms")
        charts.append(("Memory of an idle machine with a payload of 16 MiB, by how many there are",
                       "KiB of Pss per machine; less is better", bars(payload, 1)))
    if linux:
        print_idle(linux, "Machines with Linux guests of 128 MiB that stand idle for 10 s, each; a start in millions of "
                   "instructions", "start")
        charts.append(("Memory of an idle machine with Linux, by how many there are",
                       "MiB of Pss per machine, guest included; less is better", bars(linux, 1024)))
    report.draw(svg, charts, "Many machines on one host")
    print(f"written: {svg}")


main()
