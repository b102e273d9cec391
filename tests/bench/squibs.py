# SPDX-License-Identifier: Apache-2.0
"""What benchmarks of whole squibs have in common: a process, its API, rows of a table."""
import http.client
import json
import os
import socket
import statistics
import subprocess
import sys
import time

MIB = 1 << 20


def bare_kvm(build, *memory):
    """Nothing but the KVM calls that any guest needs: the seconds from exec to the end of the
    process, and from its first line to the guest's first exit."""
    begin = time.monotonic()
    said = subprocess.run([f"{build}/bench/bare_kvm", str(int(begin * 1e6)), *memory], check=True,
                          stdout=subprocess.PIPE, text=True).stdout
    whole = time.monotonic() - begin
    marks = dict(mark.split() for mark in said.split(": ")[1].split(", "))
    return whole, (int(marks["init"]) - int(marks["main"])) / 1e6


class Api(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=120)
        self.path = path
        self.answer = None

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.path)

    def ask(self, method, path, body):
        """The seconds that the answer took; its body is in self.answer. A body None is none."""
        begin = time.monotonic()
        self.request(method, path, None if body is None else json.dumps(body))
        answer = self.getresponse()
        text = answer.read()
        if answer.status not in (200, 204):
            sys.exit(f"{method} {path}: {answer.status} {text.decode()}")
        self.answer = json.loads(text) if text else None
        return time.monotonic() - begin


class Squib:
    """A process, from its exec until its API listens."""

    def __init__(self, build, level="Warn", socket="api.sock", more=(), stdin=subprocess.DEVNULL):
        self.socket = socket
        self.begin = time.monotonic()
        self.process = subprocess.Popen(
            [f"{build}/squib", "--api-sock", socket, "--level", level, "--log-path", "log", *more],
            stdin=stdin, stdout=subprocess.PIPE)
        while True:
            try:
                self.api = Api(socket)
                self.api.connect()
                break
            except OSError:
                time.sleep(0.0001)

    def until_says(self):
        """The seconds from exec to the first byte of the guest's console."""
        os.read(self.process.stdout.fileno(), 1)
        return time.monotonic() - self.begin

    def faults(self):
        with open(f"/proc/{self.process.pid}/stat", encoding="ascii") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return int(fields[7]) + int(fields[9])

    def end(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        if self.process.stdin is not None:
            self.process.stdin.close()
        os.unlink(self.socket)


def row(name, seconds):
    ms = sorted(1000 * s for s in seconds)
    print(f"  {name:52}{statistics.median(ms):10.2f}{ms[0]:10.2f}")
