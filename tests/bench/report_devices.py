#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes the report of the devices: report_devices.py DIR SVG DOCUMENT.

Reads DIR/devices-PIECE.tsv and DIR/turns.tsv (tests/bench/devices_count) and DIR/native.tsv (tests/bench/devices_run),
any of which may be missing. Prints the tables, leaves them in DIR/devices.txt, puts them in place
of the first code block after DOCUMENT's heading "Current figures", and draws SVG.
"""
import os
import re
import sys

import report

PIECES = ("sync", "sync-pci", "qemu-sync", "qemu-sync-pci", "async", "async-pci", "qemu-async", "qemu-async-pci", "overlay",
          "further")
# A guest's rows under each pair of commands: heading, colour, squib's, the peer's, pattern of rows.
PARTS = [
    ("block, Sync engine", "a", "squib Sync", "QEMU threads", r"read|write"),
    ("block, Async engine", "b", "squib Async", "QEMU io_uring", r"read|write"),
    ("block, overlay beside a raw file, Sync engine", "a", "overlay Sync", "squib Sync", r"read|write"),
    ("block, overlay beside a raw file, Async engine", "b", "overlay Async", "squib Async", r"read|write"),
    ("network", "c", "squib Sync", "QEMU threads", r"net "),
    ("vsock", "d", "squib Sync", "QEMU threads", r"vsock "),
    ("one request beside a flood of another device", "a", "squib Sync", "QEMU threads", r"beside "),
]
# With PCI: heading, squib with virtio-mmio, squib with PCI, QEMU with PCI, pattern of rows.
PCI_PARTS = [
    ("block, Sync engine", "squib Sync", "squib PCI Sync", "QEMU PCI threads", r"read|write"),
    ("block, Async engine", "squib Async", "squib PCI Async", "QEMU PCI io_uring", r"read|write"),
    ("network", "squib Sync", "squib PCI Sync", "QEMU PCI threads", r"net "),
    ("vsock", "squib Sync", "squib PCI Sync", "QEMU PCI threads", r"vsock "),
    ("one request beside a flood of another device", "squib Sync", "squib PCI Sync", "QEMU PCI threads", r"beside "),
]


def load(path):
    """{name: {row: [(total, vcpu, others, exits, interrupts) per operation, ...]}}, the former in instructions."""
    found = {}
    if os.path.exists(path):
        with open(path, encoding="utf-8") as lines:
            for line in lines:
                name, row, count, *times = line.rstrip("\n").split("\t")
                values = tuple(int(t) / int(count) for t in times)
                found.setdefault(name, {}).setdefault(row, []).append(values)
    return found


def load_pieces(where):
    """The same of all that was counted."""
    found = {}
    for piece in PIECES:
        found.update(load(os.path.join(where, f"devices-{piece}.tsv")))
    return found


def thousands(value):
    return f"{value / 1000:.1f}"


def table_counted(data):
    """Lines of the table, and [(class, label, per cent of the peer)] for the picture."""
    lines = ["Thousands of instructions per operation, of the whole machine and of the monitor's own threads",
             "(less is better; the ratio is squib to QEMU; of an overlay, that to a raw file, which has QEMU's column)", "",
             f"{'':32}{'whole machine':>24}{'':>4}{'monitor':>22}",
             f"{'operation':32}{'squib':>8}{'QEMU':>8}{'ratio':>8}{'':>4}{'squib':>8}{'QEMU':>8}{'ratio':>8}"]
    bars = []
    for heading, cls, ours, theirs, pattern in PARTS:
        rows = {row: runs for row, runs in data.get(ours, {}).items() if re.match(pattern, row)}
        lines += ["", heading] * bool(rows)
        for row, runs in rows.items():
            total, _, others, *_ = min(runs)
            text = f"  {row:30}{thousands(total):>8}"
            if row not in data.get(theirs, {}):
                lines.append(f"{text}{'-':>8}{'-':>8}{'':>4}{thousands(others):>8}{'-':>8}{'-':>8}")
                continue
            peer, _, peer_others, *_ = min(data[theirs][row])
            lines.append(f"{text}{thousands(peer):>8}{total / peer:>8.2f}{'':>4}"
                         f"{thousands(others):>8}{thousands(peer_others):>8}{others / peer_others:>8.2f}")
            engine = heading.partition(", ")[2].partition(" ")[0]
            if theirs.startswith("QEMU"):
                bars.append((cls, heading, f"{row}, {engine}" if engine else row, 100 * total / peer))
    spread = max((max(runs)[0] / min(runs)[0] - 1 for rows in data.values() for runs in rows.values()), default=0)
    lines += ["", f"Largest difference between rounds: {100 * spread:.1f} %"]
    return lines, bars


def table_pci(data):
    """Lines of the table, and [(operation, [cost of squib, squib with PCI, QEMU with PCI])] for the picture."""
    groups = ("whole machine", "monitor", "exits", "interrupts")
    lines = ["squib with virtio-mmio, squib with PCI and QEMU's microvm with PCI, per operation (less is better):",
             "thousands of instructions of the whole machine and of the monitor's own threads, exits of the guest but those",
             "for ports (the console's), and interrupts that it took, timers included", "",
             f"{'':25}" + "".join(f"{group:>22}" for group in groups),
             f"{'operation':25}" + f"{'MMIO':>8}{'PCI':>7}{'QEMU':>7}" * len(groups)]
    rows = []
    for heading, *names, pattern in PCI_PARTS:
        if any(name not in data for name in names):
            continue
        lines += ["", heading]
        engine = heading.partition(", ")[2].partition(" ")[0]
        for row in (r for r in data[names[0]] if re.match(pattern, r)):
            best = [min(data[name][row]) if row in data[name] else None for name in names]
            line = f"  {row:23}"
            for index, scale, digits in ((0, 1000, 1), (2, 1000, 1), (3, 1, 2), (4, 1, 2)):
                cells = ["-" if run is None else f"{run[index] / scale:.{digits}f}" for run in best]
                line += f"{cells[0]:>8}{cells[1]:>7}{cells[2]:>7}"
            lines.append(line)
            rows.append((f"{row}, {engine}" if engine else row, best))
    return lines, rows


def table_turns(path):
    """Lines about how long the VMM thread works between two waits."""
    if not os.path.exists(path):
        return []
    with open(path, encoding="utf-8") as lines:
        turns = sorted(int(line) for line in lines)
    if not turns:
        return []
    marks = [(f"{percent:g} %", turns[min(len(turns) - 1, int(len(turns) * percent / 100))]) for percent in (50, 90, 99, 99.9)]
    return [f"Turns of squib's VMM thread, from one wait for events to the next, in all rows with the Sync engine: {len(turns)}",
            "thousands of instructions of the whole machine: "
            + ", ".join(f"{name} {value}" for name, value in [*marks, ("longest", turns[-1])])]


def table_further(data):
    """Lines of the table of the user's own monitors (BENCH_MONITORS), beside squib with the Sync engine."""
    known = {name for _, _, *names, _ in PARTS for name in names} | {name for _, *names, _ in PCI_PARTS for name in names}
    names = [name for name in data if name not in known]
    if not names:
        return []
    lines = ["Further monitors, thousands of instructions of the whole machine per operation (ratio of squib to it)", "",
             f"{'operation':26}{'squib Sync':>12}" + "".join(f"{name:>24}" for name in names)]
    for row, runs in data["squib Sync"].items():
        ours = min(runs)[0]
        line = f"{row:26}{thousands(ours):>12}"
        for name in names:
            theirs = min(data[name][row])[0] if row in data[name] else None
            line += f"{'-' if theirs is None else f'{thousands(theirs)} ({ours / theirs:.2f})':>24}"
        lines.append(line)
    return lines


def table_native(data):
    columns = ("squib Sync", "overlay Sync", "QEMU threads", "squib Async", "overlay Async", "QEMU io_uring", "bare")
    lines = ["Microseconds of processor time per operation that the monitor's own threads take, on this host's /dev/kvm",
             "(the lowest of the rounds; bare: the same system calls in a loop)", "",
             f"{'operation':24}" + "".join(f"{name:>15}" for name in columns)]
    for row in data["bare"]:
        line = f"{row:24}"
        for name in columns:
            runs = data.get(name, {}).get(row)
            line += f"{min(others for _, _, others, *_ in runs) / 1000:>15.2f}" if runs else f"{'-':>15}"
        lines.append(line)
    return lines


def pci_charts(rows):
    """What squib takes with PCI, in per cent of what others take."""
    charts = []
    for cls, index, other, title in (
            ("c", 0, 0, "Instructions per operation with PCI, per cent of squib's with virtio-mmio (100)"),
            ("b", 0, 2, "Instructions per operation with PCI, per cent of QEMU's with PCI (100)"),
            ("d", 3, 0, "Exits per operation with PCI, per cent of squib's with virtio-mmio (100)")):
        bars = [(label, [(cls, "squib with PCI", 100 * best[1][index] / best[other][index])])
                for label, best in rows if best[other] is not None and best[other][index] > 0]
        charts.append((title, "per cent; less is better", bars))
    return charts


def draw(path, bars, pci_rows):
    report.LEFT, report.BAR, report.GAP = 260, 18, 6
    report.draw(path, [("Instructions per operation, per cent of QEMU's microvm (100)", "per cent; less is better",
                        [(label, [(cls, heading, value)]) for cls, heading, label, value in bars])]
                + pci_charts(pci_rows))


def put_into(document, lines):
    with open(document, encoding="utf-8") as file:
        text = file.read()
    head, mark, rest = text.partition("## Current figures")
    before, _, rest = rest.partition("```\n")
    _, _, after = rest.partition("```\n")
    with open(document, "w", encoding="utf-8") as file:
        file.write(head + mark + before + "```\n" + "\n".join(lines) + "\n```\n" + after)


def main():
    where, svg, document = sys.argv[1:4]
    data = load_pieces(where)
    lines, bars = table_counted(data) if data else ([], [])
    pci_lines, pci_rows = table_pci(data) if data else ([], [])
    lines += [""] * 2 + pci_lines if pci_rows else []
    turns = table_turns(os.path.join(where, "turns.tsv"))
    lines += [""] * 2 + turns if turns else []
    further = table_further(data)
    lines += [""] * 2 + further if further else []
    native = load(os.path.join(where, "native.tsv"))
    if native:
        lines += ["", ""] * bool(lines) + table_native(native)
    with open(os.path.join(where, "devices.txt"), "w", encoding="utf-8") as out:
        out.write("\n".join(lines) + "\n")
    print("\n".join(lines))
    put_into(document, lines)
    if bars:
        draw(svg, bars, pci_rows)


if __name__ == "__main__":
    main()
