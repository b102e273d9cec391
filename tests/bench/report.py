#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes the boot report from what tests/bench/boot noted: report.py DIR SQUIB_BINARY.

Prints tables and writes DIR/boot.svg. Every part is left out for which DIR has no data.
"""
import os
import statistics
import subprocess
import sys

# The steps of a start, by the mark that ends each (vmm/machine/timeline.c).
STEPS = [
    ("main", "process: exec, loader"),
    ("configured", "arguments, configuration"),
    ("vm", "VM, memory, irqchip"),
    ("vcpus", "vCPU"),
    ("kernel", "kernel loaded"),
    ("devices", "devices, tables"),
    ("run", "vCPU thread"),
    ("init", "to first exit"),
]


def load(path):
    """{(name, mark): [value, ...]} of one file; empty where it doesn't exist."""
    found = {}
    if os.path.exists(path):
        with open(path, encoding="utf-8") as lines:
            for line in lines:
                name, _, mark, value = line.rstrip("\n").split("\t")
                found.setdefault((name, mark), []).append(int(value))
    return found


def steps_of(data, name):
    """[(mark, median, minimum)] of each step, in ns; a mark that is missing takes no time."""
    runs = len(data[(name, "exit")])
    before = [0] * runs
    result = []
    for mark, _ in STEPS:
        at = data.get((name, mark), before)
        took = [b - a for a, b in zip(before, at)]
        result.append((mark, statistics.median(took), min(took)))
        before = at
    return result


def table(rows, widths):
    """Prints rows of cells: the first column to the left, others to the right."""
    for row in rows:
        print("  ".join(c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths))))


def report_start(data):
    runs = len(data[("squib", "exit")])
    print(f"Start to the guest's first instruction, in microseconds ({runs} runs each, alternating)\n")
    squib, bare = steps_of(data, "squib"), steps_of(data, "bare")
    rows = [("step", "squib med", "min", "bare KVM med", "min")]
    for (mark, text), ours, theirs in zip(STEPS, squib, bare):
        rows.append((text, *(f"{v / 1000:.0f}" for v in (*ours[1:], *theirs[1:]))))
    totals = [data[(name, "init")] for name in ("squib", "bare")]
    rows.append(("exec to first exit", *(f"{f(t) / 1000:.0f}" for t in totals for f in (statistics.median, min))))
    ends = [[e - i for e, i in zip(data[(n, "exit")], data[(n, "init")])] for n in ("squib", "bare")]
    rows.append(("from there to process gone", *(f"{f(t) / 1000:.0f}" for t in ends for f in (statistics.median, min))))
    table(rows, (28, 10, 8, 13, 8))
    over = statistics.median(totals[0]) - statistics.median(totals[1])
    print(f"\nsquib over the bare KVM calls: {over / 1000:.0f} us (median), "
          f"{(min(totals[0]) - min(totals[1])) / 1000:.0f} us (min); the target is below 2000 us\n")


def mega(value):
    return f"{value / 1e6:.1f}"


def report_linux(data, timeline, names):
    print("Linux guest, in millions of instructions of the whole machine (1 vCPU, 128 MiB, quiet)\n")
    rows = [("monitor and kernel", "exec to init", "exec to exit")]
    for name in names:
        rows.append((name, mega(min(data[(name, "seen")])), mega(min(data[(name, "exit")]))))
    table(rows, (34, 14, 14))
    for name in (n for n in names if (n, "run") in timeline):
        at = 0
        parts = []
        for mark, text in STEPS[:-1]:
            now = timeline[(name, mark)][0]
            parts.append(f"{text} {mega(now - at)}")
            at = now
        print(f"\n{name}, before the guest runs: {mega(at)}\n  " + "; ".join(parts))
    print()


def report_memory(data):
    print("Memory of the monitor's process with a running guest, without the guest's RAM, in KiB\n")
    rows = [("monitor and kernel", "Rss", "Pss", "private")]
    for name in dict.fromkeys(n for n, _ in data):
        rows.append((name, *(str(data[(name, m)][0]) for m in ("rss_kib", "pss_kib", "private_kib"))))
    table(rows, (34, 10, 10, 10))
    print()


def report_size(binary):
    sizes = subprocess.run(["size", binary], capture_output=True, text=True, check=True).stdout.split()
    print(f"Binary: {os.path.getsize(binary) / 1024:.0f} KiB with symbols; "
          f"text {int(sizes[6]) / 1024:.0f} KiB, data {int(sizes[7]) / 1024:.0f} KiB, bss {int(sizes[8]) / 1024:.0f} KiB; static")


# --- the picture ---

WIDTH, LEFT, RIGHT, BAR, GAP = 860, 200, 80, 30, 14
STYLE = """
  svg { font: 14px system-ui, "DejaVu Sans", sans-serif; }
  .title { font-size: 17px; font-weight: 600; } .note { font-size: 12px; }
  text { fill: #24292f; } .note, .tick { fill: #57606a; } .grid { stroke: #d0d7de; } .page { fill: #ffffff; }
  .in { fill: #ffffff; font-size: 12px; font-weight: 600; }
  .a { fill: #1b5e9b; } .b { fill: #2f7fb8; } .c { fill: #4a8f3c; } .d { fill: #b5651d; } .e { fill: #7a7f87; } .f { fill: #7b4fa3; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3; } .note, .tick { fill: #9198a1; } .grid { stroke: #3d444d; } .page { fill: #0d1117; }
    .in { fill: #ffffff; }
  }
"""


def nice_step(top):
    """A round distance of grid lines, so that there are at most eight."""
    return next(step for power in range(-3, 9) for step in (10**power, 2 * 10**power, 5 * 10**power)
                if top / step <= 8)


def chart(title, unit, bars, y):
    """SVG lines and the next y of one chart: bars is [(label, [(class, text, value)])]."""
    top = max(sum(v for _, _, v in parts) for _, parts in bars)
    scale = (WIDTH - LEFT - RIGHT) / top
    svg = [f'<text class="title" x="20" y="{y + 18}">{title}</text>']
    legend = {}
    for _, parts in bars:
        for cls, text, _ in parts:
            legend.setdefault((cls, text), None)
    x = 20
    for cls, text in legend:
        svg.append(f'<rect class="{cls}" x="{x}" y="{y + 33}" width="12" height="12" rx="2"/>'
                   f'<text class="note" x="{x + 17}" y="{y + 43}">{text}</text>')
        x += 17 + 6.4 * len(text) + 18
    y += 62
    height = len(bars) * (BAR + GAP)
    step = nice_step(top)
    for i in range(int(top / step) + 1):
        tick = i * step
        x = LEFT + tick * scale
        svg.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{y}" y2="{y + height}"/>'
                   f'<text class="tick note" x="{x:.1f}" y="{y + height + 16}" text-anchor="middle">{tick:g}</text>')
    svg.append(f'<text class="note" x="{LEFT + top * scale / 2:.1f}" y="{y + height + 34}" text-anchor="middle">{unit}</text>')
    for label, parts in bars:
        x = LEFT
        svg.append(f'<text x="{LEFT - 10}" y="{y + GAP / 2 + BAR / 2 + 5}" text-anchor="end">{label}</text>')
        for cls, text, value in parts:
            width = value * scale
            svg.append(f'<rect class="{cls}" x="{x:.1f}" y="{y + GAP / 2}" width="{max(width, 0.5):.1f}" height="{BAR}">'
                       f'<title>{text}: {value:.3g} {unit.split(",")[0]}</title></rect>')
            if width > 34:
                svg.append(f'<text class="in" x="{x + width / 2:.1f}" y="{y + GAP / 2 + BAR / 2 + 4}" text-anchor="middle">{value:.3g}</text>')
            x += width
        total = sum(v for _, _, v in parts)
        svg.append(f'<text x="{x + 8:.1f}" y="{y + GAP / 2 + BAR / 2 + 5}">{total:.3g}</text>')
        y += BAR + GAP
    return svg, y + 64


def start_bars(data):
    groups = [("a", "process and configuration", ("main", "configured")), ("c", "VM and irqchip", ("vm",)),
              ("d", "vCPU", ("vcpus",)), ("f", "kernel, devices, thread", ("kernel", "devices", "run")),
              ("e", "first entry", ("init",))]
    bars = []
    for name, label in (("squib", "squib"), ("bare", "bare KVM calls")):
        fastest = min(range(len(data[(name, "init")])), key=data[(name, "init")].__getitem__)
        took, before = {}, 0
        for mark, _ in STEPS:
            at = data[(name, mark)][fastest] if (name, mark) in data else before
            took[mark], before = (at - before) / 1e6, at
        bars.append((label, [(cls, text, sum(took[m] for m in marks)) for cls, text, marks in groups]))
    return bars


def linux_bars(data, timeline, names):
    bars = []
    for name in names:
        seen, end = (min(data[(name, mark)]) / 1e6 for mark in ("seen", "exit"))
        run = timeline[(name, "run")][0] / 1e6 if (name, "run") in timeline else 0
        parts = [("a", "squib, before the guest runs", run), ("c", "the guest's kernel and init", seen - run)] if run \
            else [("b", "QEMU and the guest", seen)]
        bars.append((name, parts + [("e", "init to exit", end - seen)]))
    return bars


def draw(path, charts, title="Boot benchmarks of squib"):
    y, body = 16, []
    for heading, unit, bars in charts:
        lines, y = chart(heading, unit, bars, y)
        body += lines
    with open(path, "w", encoding="utf-8") as out:
        out.write(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y - 14}" width="{WIDTH}" height="{y - 14}" '
                  f'role="img"><title>{title}</title><style>{STYLE}</style>\n'
                  f'<rect class="page" width="100%" height="100%" rx="6"/>\n' + "\n".join(body) + "\n</svg>\n")


def main():
    where, binary = sys.argv[1:3]
    start, linux, timeline, memory, small = (
        load(os.path.join(where, name + ".tsv"))
        for name in ("start", "linux", "timeline", "memory", "start-memory"))
    charts = []
    if start:
        report_start(start)
        charts.append(("From exec to the guest's first instruction", "milliseconds, the fastest run of each; less is better", start_bars(start)))
    if linux:
        names = list(dict.fromkeys(name for name, _ in linux))
        report_linux(linux, timeline, names)
        charts.append(("A Linux guest from exec to the monitor's exit", "millions of instructions; less is better",
                       linux_bars(linux, timeline, names)))
    if memory or small:
        report_memory({**{("payload in " + k[0], k[1]): v for k, v in small.items()}, **memory})
    report_size(binary)
    if charts:
        draw(os.path.join(where, "boot.svg"), charts)


if __name__ == "__main__":
    main()
