// SPDX-License-Identifier: Apache-2.0

// Package sdk drives squib with Firecracker's own Go SDK, unchanged but for the path of the binary.
//
// Environment: SQUIB and JAILER (the binaries), KERNEL and, for a Linux guest, INITRD.
package sdk

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"

	firecracker "github.com/firecracker-microvm/firecracker-go-sdk"
	"github.com/firecracker-microvm/firecracker-go-sdk/client/models"
	"github.com/sirupsen/logrus"
)

const (
	bootTime = 4 * time.Minute // of a guest in an emulated machine
	stopTime = 30 * time.Second
)

// console collects what the guest writes.
type console struct {
	mutex sync.Mutex
	text  bytes.Buffer
}

func (c *console) Write(text []byte) (int, error) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return c.text.Write(text)
}

func (c *console) String() string {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return c.text.String()
}

func (c *console) expect(t *testing.T, what string) {
	t.Helper()
	for end := time.Now().Add(bootTime); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if strings.Contains(c.String(), what) {
			return
		}
	}
	t.Fatalf("no %q in the output:\n%s", what, c)
}

// vm is a machine of the SDK's with all that the tests look at.
type vm struct {
	*firecracker.Machine
	client  *firecracker.Client
	config  firecracker.Config
	console *console
	typing  io.Writer
	ctx     context.Context
}

func isLinux() bool { return os.Getenv("INITRD") != "" }

// ready is what the guest writes when it waits for us.
func ready() string {
	if isLinux() {
		return "a busybox shell"
	}
	return "echo: ready"
}

func newVM(t *testing.T, change func(*firecracker.Config), more ...firecracker.Opt) *vm {
	t.Helper()
	for _, name := range []string{"SQUIB", "KERNEL"} {
		if os.Getenv(name) == "" {
			t.Fatalf("%s is not set", name)
		}
	}
	dir := t.TempDir()
	v := &vm{console: &console{}}
	v.config = firecracker.Config{
		SocketPath:      filepath.Join(dir, "api.sock"),
		LogPath:         filepath.Join(dir, "log"),
		LogLevel:        "Debug",
		MetricsPath:     filepath.Join(dir, "metrics"),
		KernelImagePath: os.Getenv("KERNEL"),
		InitrdPath:      os.Getenv("INITRD"),
		KernelArgs:      "console=ttyS0 quiet reboot=k panic=1",
		VMID:            "sdk-test",
		MachineCfg: models.MachineConfiguration{
			VcpuCount:  firecracker.Int64(1),
			MemSizeMib: firecracker.Int64(128),
		},
	}
	if change != nil {
		change(&v.config)
	}
	logger := logrus.New()
	logger.SetOutput(v.console)
	logger.SetLevel(logrus.DebugLevel)
	entry := logrus.NewEntry(logger)
	ctx, cancel := context.WithCancel(context.Background())
	command := firecracker.VMCommandBuilder{}.
		WithBin(os.Getenv("SQUIB")).
		WithSocketPath(v.config.SocketPath).
		AddArgs("--id", v.config.VMID).
		WithStdout(v.console).
		WithStderr(v.console).
		Build(ctx)
	stdin, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	v.ctx = ctx
	v.client = firecracker.NewClient(v.config.SocketPath, entry, false)
	v.typing = stdin
	opts := append([]firecracker.Opt{firecracker.WithProcessRunner(command),
		firecracker.WithClient(v.client), firecracker.WithLogger(entry)}, more...)
	v.Machine, err = firecracker.NewMachine(ctx, v.config, opts...)
	if err != nil {
		t.Fatalf("NewMachine: %v", err)
	}
	t.Cleanup(func() {
		if command.Process != nil {
			command.Process.Kill()
			waiting, done := context.WithTimeout(context.Background(), stopTime)
			v.Wait(waiting)
			done()
		}
		stdin.Close()
		cancel()
	})
	return v
}

func (v *vm) start(t *testing.T) {
	t.Helper()
	if err := v.Start(v.ctx); err != nil {
		t.Fatalf("Start: %v\n%s", err, v.console)
	}
	v.console.expect(t, ready())
}

func (v *vm) expectState(t *testing.T, state string) {
	t.Helper()
	info, err := v.DescribeInstanceInfo(v.ctx)
	if err != nil {
		t.Fatalf("DescribeInstanceInfo: %v", err)
	}
	if *info.State != state {
		t.Fatalf("the state is %q in place of %q", *info.State, state)
	}
	if *info.ID != v.config.VMID || *info.AppName != "Firecracker" || *info.VmmVersion == "" {
		t.Fatalf("GET / has id %q, app_name %q, vmm_version %q", *info.ID, *info.AppName, *info.VmmVersion)
	}
}

func (v *vm) expectEnd(t *testing.T, good bool) {
	t.Helper()
	waiting, done := context.WithTimeout(context.Background(), stopTime)
	defer done()
	err := v.Wait(waiting)
	if waiting.Err() != nil {
		t.Fatalf("the process goes on:\n%s", v.console)
	}
	if (err == nil) != good {
		t.Fatalf("Wait: %v", err)
	}
}

func (v *vm) flushMetrics(t *testing.T) {
	t.Helper()
	action := models.InstanceActionInfoActionTypeFlushMetrics
	if _, err := v.client.CreateSyncAction(v.ctx, &models.InstanceActionInfo{ActionType: &action}); err != nil {
		t.Fatalf("FlushMetrics: %v", err)
	}
}

// metrics are the complete lines of the metrics file, each of which must be an object.
func (v *vm) metrics(t *testing.T) []map[string]interface{} {
	t.Helper()
	file, err := os.Open(v.config.MetricsPath)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var all []map[string]interface{}
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var line map[string]interface{}
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			t.Fatalf("the metrics have a line that is no JSON: %v: %s", err, lines.Text())
		}
		all = append(all, line)
	}
	return all
}

func needKVM(t *testing.T) {
	t.Helper()
	file, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	if err != nil {
		t.Skip("no usable /dev/kvm here")
	}
	file.Close()
}

func TestTheVersionIsReadFromTheBinary(t *testing.T) {
	dir := t.TempDir()
	link := filepath.Join(dir, "firecracker")
	squib, err := filepath.Abs(os.Getenv("SQUIB"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(squib, link); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ path, first string }{{squib, "squib"}, {link, "Firecracker"}} {
		text, err := exec.Command(c.path, "--version").Output()
		if err != nil {
			t.Fatalf("%s --version: %v", c.path, err)
		}
		// As orchestrators read it: first line, second word, without its v.
		words := strings.Fields(strings.SplitN(string(text), "\n", 2)[0])
		if len(words) != 2 || words[0] != c.first || strings.Count(words[1], ".") != 2 || words[1][0] != 'v' {
			t.Errorf("%s --version says %q", c.path, text)
		}
	}
}

func TestALifeOfConfigureStartPauseResumeAndStop(t *testing.T) {
	needKVM(t)
	v := newVM(t, nil)
	v.start(t)
	v.expectState(t, models.InstanceInfoStateRunning)

	for round := 0; round < 2; round++ {
		if err := v.PauseVM(v.ctx); err != nil {
			t.Fatalf("PauseVM: %v", err)
		}
		v.expectState(t, models.InstanceInfoStatePaused)
		if err := v.ResumeVM(v.ctx); err != nil {
			t.Fatalf("ResumeVM: %v", err)
		}
		v.expectState(t, models.InstanceInfoStateRunning)
	}

	before := len(v.metrics(t))
	v.flushMetrics(t)
	after := v.metrics(t)
	if len(after) != before+1 {
		t.Errorf("FlushMetrics made %d lines of %d", len(after), before)
	} else if _, ok := after[before]["utc_timestamp_ms"]; !ok {
		t.Errorf("the metrics have no utc_timestamp_ms: %v", after[before])
	}

	version, err := v.GetFirecrackerVersion(v.ctx)
	if err != nil || version == "" {
		t.Errorf("GetFirecrackerVersion: %q, %v", version, err)
	}
	log, err := os.ReadFile(v.config.LogPath)
	if err != nil || !bytes.Contains(log, []byte("[sdk-test:")) {
		t.Errorf("the log has no line of this machine: %v\n%s", err, log)
	}

	if err := v.StopVMM(); err != nil {
		t.Fatalf("StopVMM: %v", err)
	}
	// The SDK ends it by SIGTERM, which a process that is not Firecracker's dies of just the same.
	v.expectEnd(t, false)
}

func TestTheMachineConfigurationIsEchoed(t *testing.T) {
	needKVM(t)
	v := newVM(t, func(config *firecracker.Config) {
		config.MachineCfg.VcpuCount = firecracker.Int64(2)
		config.MachineCfg.Smt = firecracker.Bool(false)
		config.MachineCfg.TrackDirtyPages = false
	})
	v.start(t)
	answer, err := v.client.GetMachineConfiguration()
	if err != nil {
		t.Fatalf("GetMachineConfiguration: %v", err)
	}
	got := answer.Payload
	if *got.VcpuCount != 2 || *got.MemSizeMib != 128 || got.Smt == nil || *got.Smt {
		t.Errorf("GET /machine-config: %d vCPUs, %d MiB, smt %v", *got.VcpuCount, *got.MemSizeMib, got.Smt)
	}
}

func TestLogsAndMetricsComeThroughFIFOs(t *testing.T) {
	needKVM(t)
	log := &console{}
	v := newVM(t, func(config *firecracker.Config) {
		config.LogPath, config.MetricsPath = "", ""
		dir := filepath.Dir(config.SocketPath)
		config.LogFifo = filepath.Join(dir, "log.fifo")
		config.MetricsFifo = filepath.Join(dir, "metrics.fifo")
		config.FifoLogWriter = log
	})
	v.start(t)
	log.expect(t, "[sdk-test:")
	v.flushMetrics(t)
	v.StopVMM()
	v.expectEnd(t, false)
}

func TestRefusalsReachTheCallerWithTheirMessage(t *testing.T) {
	needKVM(t)
	v := newVM(t, func(config *firecracker.Config) {
		config.MachineCfg.VcpuCount = firecracker.Int64(32)
		config.MachineCfg.MemSizeMib = firecracker.Int64(128)
		config.DisableValidation = true
		config.KernelImagePath = "/nonexistent/kernel"
	})
	err := v.Start(v.ctx)
	if err == nil || !strings.Contains(err.Error(), "The kernel file cannot be opened: No such file or directory (os error 2)") {
		t.Fatalf("Start with a kernel that is not there: %v", err)
	}
}

func TestADriveGoesOnWithAnotherFile(t *testing.T) {
	needKVM(t)
	disks := [2]string{}
	for i := range disks {
		disks[i] = filepath.Join(t.TempDir(), "disk")
		if err := os.WriteFile(disks[i], make([]byte, 1<<20), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	v := newVM(t, func(config *firecracker.Config) {
		config.Drives = firecracker.NewDrivesBuilder(disks[0]).Build()
	})
	v.start(t)
	if err := v.UpdateGuestDrive(v.ctx, "root_drive", disks[1]); err != nil {
		t.Fatalf("UpdateGuestDrive: %v", err)
	}
	err := v.UpdateGuestDrive(v.ctx, "root_drive", disks[1]+".none")
	if err == nil || !strings.Contains(err.Error(), "Error manipulating the backing file: No such file or directory (os error 2)") {
		t.Fatalf("UpdateGuestDrive with a file that is not there: %v", err)
	}
}

func TestAPausedMachineIsSilentAndGoesOnWhereItWas(t *testing.T) {
	needKVM(t)
	v := newVM(t, nil)
	v.start(t)
	if err := v.PauseVM(v.ctx); err != nil {
		t.Fatalf("PauseVM: %v", err)
	}
	// A second one is no error.
	if err := v.PauseVM(v.ctx); err != nil {
		t.Fatalf("PauseVM again: %v", err)
	}
	// Pausing a second time after resuming twice neither.
	for i := 0; i < 2; i++ {
		if err := v.ResumeVM(v.ctx); err != nil {
			t.Fatalf("ResumeVM: %v", err)
		}
	}
	v.expectState(t, models.InstanceInfoStateRunning)
}

func TestASnapshotIsLoadedByAnotherProcess(t *testing.T) {
	needKVM(t)
	dir := t.TempDir()
	memory, state := filepath.Join(dir, "memory"), filepath.Join(dir, "state")
	first := newVM(t, nil)
	first.start(t)
	// Of a machine that runs the refusal reaches the caller.
	err := first.CreateSnapshot(first.ctx, memory, state)
	if err == nil || !strings.Contains(err.Error(), "unavailable while running") {
		t.Fatalf("CreateSnapshot while running: %v", err)
	}
	if err := first.PauseVM(first.ctx); err != nil {
		t.Fatalf("PauseVM: %v", err)
	}
	if err := first.CreateSnapshot(first.ctx, memory, state); err != nil {
		t.Fatalf("CreateSnapshot: %v", err)
	}
	if err := first.StopVMM(); err != nil {
		t.Fatalf("StopVMM: %v", err)
	}
	second := newVM(t, nil, firecracker.WithSnapshot(memory, state, func(config *firecracker.SnapshotConfig) {
		config.EnableDiffSnapshots = true
	}))
	if err := second.Start(second.ctx); err != nil {
		t.Fatalf("Start: %v\n%s", err, second.console)
	}
	second.expectState(t, models.InstanceInfoStatePaused)
	if err := second.ResumeVM(second.ctx); err != nil {
		t.Fatalf("ResumeVM: %v", err)
	}
	second.expectState(t, models.InstanceInfoStateRunning)
	typed, answer := "what goes on", "what goes on"
	if isLinux() {
		typed, answer = "echo on $((6 * 7))\n", "on 42"
	}
	if _, err := io.WriteString(second.typing, typed); err != nil {
		t.Fatal(err)
	}
	second.console.expect(t, answer)
	if strings.Contains(second.console.String(), ready()) {
		t.Fatalf("the guest booted anew:\n%s", second.console)
	}
}

func TestALoadThatFailsReachesTheCallerWithItsMessage(t *testing.T) {
	needKVM(t)
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	v := newVM(t, nil, firecracker.WithSnapshot(empty, empty))
	err := v.Start(v.ctx)
	if err == nil || !strings.Contains(err.Error(), "Load snapshot error: Failed to restore from snapshot: ") {
		t.Fatalf("Start: %v", err)
	}
}

func TestCtrlAltDelEndsALinuxGuest(t *testing.T) {
	needKVM(t)
	if !isLinux() {
		t.Skip("only with a Linux guest")
	}
	v := newVM(t, nil)
	v.start(t)
	err := v.Shutdown(v.ctx)
	if runtime.GOARCH != "amd64" {
		if err == nil || !strings.Contains(err.Error(), "aarch64") {
			t.Fatalf("SendCtrlAltDel on %s: %v", runtime.GOARCH, err)
		}
		return
	}
	if err != nil {
		t.Fatalf("Shutdown: %v", err)
	}
	v.expectEnd(t, true)
	if _, err := os.Stat(v.config.SocketPath); err == nil {
		t.Errorf("the SDK left the socket behind")
	}
}

// copyTo copies a file below dir, so that the SDK can link it into a jail that is there too.
func copyTo(t *testing.T, dir, path string) string {
	t.Helper()
	if path == "" {
		return ""
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	to := filepath.Join(dir, filepath.Base(path))
	if err := os.WriteFile(to, text, 0o644); err != nil {
		t.Fatal(err)
	}
	return to
}

// needCgroup2 brings what the jailer looks for on machines whose init brings little.
func needCgroup2(t *testing.T) {
	t.Helper()
	mounts, err := os.ReadFile("/proc/mounts")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(mounts), " cgroup2 ") {
		return
	}
	if err := syscall.Mount("cgroup2", "/sys/fs/cgroup", "cgroup2", 0, ""); err != nil {
		t.Skipf("no cgroups of version 2: %v", err)
	}
}

func TestAMachineRunsInAJail(t *testing.T) {
	needKVM(t)
	if os.Getuid() != 0 {
		t.Skip("the jailer wants root")
	}
	needCgroup2(t)
	dir := t.TempDir()
	console := &console{}
	stdin, typist := io.Pipe()
	defer typist.Close()
	kernel := copyTo(t, dir, os.Getenv("KERNEL"))
	disk := filepath.Join(dir, "disk")
	if err := os.WriteFile(disk, make([]byte, 1<<16), 0o644); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	machine, err := firecracker.NewMachine(ctx, firecracker.Config{
		SocketPath:      "api.sock",
		KernelImagePath: kernel,
		InitrdPath:      copyTo(t, dir, os.Getenv("INITRD")),
		KernelArgs:      "console=ttyS0 quiet reboot=k panic=1",
		Seccomp:         firecracker.SeccompConfig{Enabled: true},
		// The SDK has no jail without a root drive.
		Drives: []models.Drive{{
			DriveID: firecracker.String("root"), PathOnHost: firecracker.String(disk),
			IsRootDevice: firecracker.Bool(true), IsReadOnly: firecracker.Bool(true),
		}},
		MachineCfg: models.MachineConfiguration{
			VcpuCount:  firecracker.Int64(1),
			MemSizeMib: firecracker.Int64(128),
		},
		JailerCfg: &firecracker.JailerConfig{
			ID: "sdk-jail", UID: firecracker.Int(12345), GID: firecracker.Int(12345),
			// A node that no machine has: no cgroup of its.
			NumaNode: firecracker.Int(4095), CgroupVersion: "2",
			ExecFile: os.Getenv("SQUIB"), JailerBinary: os.Getenv("JAILER"), ChrootBaseDir: dir,
			ChrootStrategy: firecracker.NewNaiveChrootStrategy(kernel),
			Stdin:          stdin, Stdout: console, Stderr: console,
		},
	})
	if err != nil {
		t.Fatalf("NewMachine: %v", err)
	}
	defer machine.StopVMM()
	if err := machine.Start(ctx); err != nil {
		t.Fatalf("Start: %v\n%s", err, console)
	}
	console.expect(t, ready())
	pid, err := machine.PID()
	if err != nil {
		t.Fatal(err)
	}
	status, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"Uid:\t12345\t12345\t12345\t12345", "CapEff:\t0000000000000000",
		"CapBnd:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"} {
		if !strings.Contains(string(status), line) {
			t.Errorf("no %q in its status:\n%s", line, status)
		}
	}
}

// makeTAP makes a TAP that outlasts its descriptor, and removes it at the end.
func makeTAP(t *testing.T, name string) {
	t.Helper()
	const tunSetIff, tunSetPersist = 0x400454ca, 0x400454cb
	const iffTap, iffNoPi, iffVnetHdr = 0x0002, 0x1000, 0x4000
	file, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("no TAPs here: %v", err)
	}
	defer file.Close()
	var request [40]byte
	copy(request[:15], name)
	binary.LittleEndian.PutUint16(request[16:], iffTap|iffNoPi|iffVnetHdr)
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, file.Fd(), tunSetIff, uintptr(unsafe.Pointer(&request))); errno != 0 {
		t.Skipf("no TAPs here: %v", errno)
	}
	syscall.Syscall(syscall.SYS_IOCTL, file.Fd(), tunSetPersist, 1)
	t.Cleanup(func() {
		if file, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0); err == nil {
			defer file.Close()
			syscall.Syscall(syscall.SYS_IOCTL, file.Fd(), tunSetIff, uintptr(unsafe.Pointer(&request)))
			syscall.Syscall(syscall.SYS_IOCTL, file.Fd(), tunSetPersist, 0)
		}
	})
}

func TestMetadataAreSetUpdatedAndReadByTheGuest(t *testing.T) {
	needKVM(t)
	makeTAP(t, "sdktap")
	v := newVM(t, func(config *firecracker.Config) {
		config.MmdsVersion = firecracker.MMDSv1
		config.NetworkInterfaces = firecracker.NetworkInterfaces{{
			AllowMMDS: true,
			StaticConfiguration: &firecracker.StaticNetworkConfiguration{
				MacAddress: "06:00:AC:10:00:02", HostDevName: "sdktap"},
		}}
	})
	v.start(t)
	if err := v.SetMetadata(v.ctx, map[string]string{"name": "first", "kept": "yes"}); err != nil {
		t.Fatalf("SetMetadata: %v", err)
	}
	if err := v.UpdateMetadata(v.ctx, map[string]string{"name": "second"}); err != nil {
		t.Fatalf("UpdateMetadata: %v", err)
	}
	var stored map[string]string
	if err := v.GetMetadata(v.ctx, &stored); err != nil {
		t.Fatalf("GetMetadata: %v", err)
	}
	if len(stored) != 2 || stored["name"] != "second" || stored["kept"] != "yes" {
		t.Fatalf("GetMetadata: %v", stored)
	}
	if !isLinux() {
		return
	}
	// Taken apart, lest the echo of what is typed is taken for the answer.
	typed := "ip link set eth0 up; ip addr add 10.9.9.2/24 dev eth0; ip route add 169.254.169.254 dev eth0; " +
		"printf 'GET /name HTTP/1.1\\r\\n\\r\\n' | nc -w 20 169.254.169.254 80 | sed 's/sec/is sec/'\n"
	if _, err := io.WriteString(v.typing, typed); err != nil {
		t.Fatal(err)
	}
	v.console.expect(t, "is second")
}
