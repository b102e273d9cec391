# SPDX-License-Identifier: Apache-2.0
"""Drives squib with firecracker-python, unchanged: its process manager, machine manager and API.

Its MicroVM is not used: making one asks addresses on the internet for this host's own and wants a
Docker daemon; its create() sets up nftables for the whole host. What it asks of the API is asked here
through the same classes. They are pointed at other directories by their own configuration.

Environment: FIRECRACKER (squib, in a file of that name), KERNEL and, for a Linux guest, INITRD.
A guest's console is a file without input, so a payload guest is one that ends by Ctrl-Alt-Del.
"""
import os
import sys
import tempfile
import threading
import time
import traceback

from firecracker.api import Api
from firecracker.exceptions import APIError, VMMError
from firecracker.process import ProcessManager
from firecracker.vmm import VMMManager

LINUX = bool(os.environ.get("INITRD"))
READY = "a busybox shell" if LINUX else "keys: ready"
BOOT_TIME = 240  # of a guest in an emulated machine


class Machine:
    """One machine, in the directory that the library has for its id."""

    def __init__(self, directory, name):
        self.name = name
        self.processes = ProcessManager()
        self.manager = VMMManager()
        for owner in self.processes, self.manager, self.manager._process:
            owner._config.data_path = directory
            owner._config.binary_path = os.environ["FIRECRACKER"]
        self.directory = f"{directory}/{name}"
        socket = self.manager.socket_file(name)
        self.manager.create_vmm_dir(f"{self.directory}/logs")
        self.manager.create_log_file(name, f"{name}.log")
        self.log = f"{self.directory}/logs/{name}.log"
        self.pid = self.processes.start(name, ["--api-sock", socket, "--id", name, "--log-path", self.log])
        assert self.processes.is_running(name)
        assert self.processes.get_pid(name)[0] == self.pid
        self.api: Api = self.manager.get_api(name)

    def boot(self, disk):
        self.api.boot.put(kernel_image_path=os.environ["KERNEL"], initrd_path=os.environ.get("INITRD") or None,
                          boot_args="console=ttyS0 reboot=k panic=1")
        self.api.drive.put(drive_id="data", path_on_host=disk, is_root_device=False, is_read_only=False)
        self.api.machine_config.put(vcpu_count=1, mem_size_mib=128)
        self.api.vsock.put(guest_cid=3, uds_path=f"{self.directory}/v.sock")
        self.api.actions.put(action_type="InstanceStart")
        self.expect(READY)

    def console(self):
        with open(f"{self.directory}/firecracker.log", encoding="utf-8", errors="replace") as file:
            return file.read()

    def expect(self, what):
        end = time.monotonic() + BOOT_TIME
        while what not in self.console():
            assert time.monotonic() < end, f"no {what!r} in the output:\n{self.console()}"
            time.sleep(0.02)

    def expect_state(self, state):
        actual = self.manager.get_vmm_state(self.name)
        assert actual == state, f"the state is {actual}, not {state}"

    def end(self):
        """The guest ends by Ctrl-Alt-Del, and the process does well."""
        self.api.actions.put(action_type="SendCtrlAltDel")
        status = os.waitpid(self.pid, 0)[1]
        assert status == 0, f"the process ended with {status:#x}"
        self.api.close()
        self.stop()

    def stop(self):
        """As the library stops it; it leaves the corpse of a child to others."""
        threading.Thread(target=reap, args=(self.pid,), daemon=True).start()
        assert self.processes.stop(self.name)
        assert not os.path.exists(f"{self.directory}/firecracker.socket")
        self.manager.delete_vmm_dir(self.name)


def reap(pid):
    try:
        os.waitpid(pid, 0)
    except ChildProcessError:
        pass


def new_disk(directory, name, size):
    path = f"{directory}/{name}"
    with open(path, "wb") as file:
        file.truncate(size)
    return path


def expect_refusal(call, error, why):
    try:
        call()
    except error as refusal:
        assert why in str(refusal), f"{why!r} is not in {str(refusal)!r}"
        return
    raise AssertionError(f"no refusal with {why!r}")


def test_a_machine_pauses_and_goes_on_changed(directory):
    machine = Machine(directory, "life0000")
    machine.expect_state("Not started")
    machine.boot(new_disk(directory, "disk", 1 << 20))
    machine.expect_state("Running")
    for _ in range(2):
        machine.manager.update_vmm_state(machine.name, "Paused")
        machine.expect_state("Paused")
        machine.manager.update_vmm_state(machine.name, "Resumed")
        machine.expect_state("Running")
    described = machine.api.describe.get().json()
    assert (described["id"], described["app_name"]) == (machine.name, "Firecracker"), described
    assert machine.api.version.get().json()["firecracker_version"] == described["vmm_version"]

    other = new_disk(directory, "other", 2 << 20)
    bucket = {"size": 1 << 20, "refill_time": 100}
    machine.api.drive.patch(drive_id="data", path_on_host=other, rate_limiter={"bandwidth": bucket})
    config = machine.manager.get_vmm_config(machine.name)
    assert config["drives"][0]["path_on_host"] == other, config
    assert config["drives"][0]["rate_limiter"]["bandwidth"]["size"] == 1 << 20, config
    assert config["vsock"]["guest_cid"] == 3, config

    expect_refusal(lambda: machine.api.drive.patch(drive_id="none", path_on_host=other), APIError, "Device not found")
    expect_refusal(lambda: machine.manager.update_vmm_state(machine.name, "Asleep"), VMMError, "unknown variant")
    with open(machine.log, encoding="utf-8") as log:
        assert f"[{machine.name}:" in log.read()
    machine.end()


def test_a_snapshot_goes_on_in_another_process(directory):
    memory, state = f"{directory}/memory", f"{directory}/state"
    first = Machine(directory, "first000")
    first.boot(new_disk(directory, "disk", 1 << 20))
    first.manager.update_vmm_state(first.name, "Paused")
    first.api.create_snapshot.put(mem_file_path=memory, snapshot_path=state)
    first.manager.update_vmm_state(first.name, "Resumed")
    first.stop()

    # As its MicroVM loads one.
    second = Machine(directory, "second00")
    os.makedirs(first.directory)  # the vsock device's socket is where it was
    second.api.load_snapshot.put(
        enable_diff_snapshots=True, mem_backend={"backend_type": "File", "backend_path": memory},
        snapshot_path=state, resume_vm=True, network_overrides=[])
    second.expect_state("Running")
    assert READY not in second.console(), f"the guest booted anew:\n{second.console()}"
    second.end()


def test_a_data_store_is_kept(directory):
    machine = Machine(directory, "mmds0000")
    machine.api.mmds.put(latest={"meta-data": {"id": 1, "kept": "text"}})
    machine.api.mmds.patch(latest={"meta-data": {"id": 2, "more": [3]}})
    stored = machine.api.mmds.get().json()
    assert stored == {"latest": {"meta-data": {"id": 2, "kept": "text", "more": [3]}}}, stored
    machine.api.close()
    machine.stop()


def main():
    passed = failed = 0
    part = sys.argv[1] if len(sys.argv) > 1 else ""
    for function, test in sorted(globals().items()):
        if not function.startswith("test_") or part not in function:
            continue
        name = function[len("test_"):].replace("_", " ")
        with tempfile.TemporaryDirectory() as directory:
            try:
                test(directory)
                passed += 1
                print(f"ok    firecracker-python: {name}", flush=True)
            except Exception:
                failed += 1
                traceback.print_exc()
                print(f"FAIL  firecracker-python: {name}", flush=True)
    print(f"{passed} passed, {failed} failed, 0 skipped")
    return failed > 0


sys.exit(main())
