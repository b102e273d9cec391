// SPDX-License-Identifier: Apache-2.0

//! Drives squib with fctools, a Rust crate for Firecracker, unchanged: its process, machine and snapshots.
//!
//! usage: squib-fctools [PART OF A NAME]
//!
//! Environment: FIRECRACKER (squib, by that name), KERNEL and, for a Linux guest, INITRD.

use std::{env, fs, os::unix::process::ExitStatusExt, path::Path, path::PathBuf, process::ExitCode, thread, time::Duration};

use fctools::{
    process_spawner::DirectProcessSpawner,
    runtime::tokio::{TokioRuntime, TokioRuntimeChild},
    vm::{
        Vm, VmState,
        api::{VmApi, VmApiError},
        configuration::{InitMethod, VmConfiguration, VmConfigurationData},
        models::{
            BalloonDevice, BootSource, CreateSnapshot, Drive, LoggerSystem, MachineConfiguration, MetricsSystem,
            RateLimiter, SnapshotType, TokenBucket, UpdateBalloonDevice, UpdateDrive, VsockDevice,
        },
        shutdown::{VmShutdownAction, VmShutdownError, VmShutdownMethod},
        snapshot::{PrepareVmFromSnapshotOptions, VmSnapshot},
    },
    vmm::{
        arguments::{VmmApiSocket, VmmArguments},
        executor::{process_handle::ProcessHandlePipes, unrestricted::UnrestrictedVmmExecutor},
        installation::VmmInstallation,
        ownership::VmmOwnershipModel,
        process::{VmmProcessError, VmmProcessState},
        resource::{CreatedResourceType, MovedResourceType, Resource, ResourceType, system::ResourceSystem},
    },
};
use futures_util::{AsyncReadExt, AsyncWriteExt};

/// Of a guest in an emulated machine.
const BOOT_TIME: Duration = Duration::from_secs(240);
const SOCKET_TIME: Duration = Duration::from_secs(60);

type Machine = Vm<UnrestrictedVmmExecutor, DirectProcessSpawner, TokioRuntime>;
type Resources = ResourceSystem<DirectProcessSpawner, TokioRuntime>;

fn path_of(name: &str) -> PathBuf {
    env::var_os(name).unwrap_or_else(|| panic!("{name} is not set")).into()
}

fn is_linux() -> bool {
    env::var_os("INITRD").is_some_and(|path| !path.is_empty())
}

/// A directory of a test's own, gone with it.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = env::temp_dir().join(format!("squib-fctools.{}.{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn disk(&self, name: &str, size: usize) -> PathBuf {
        fs::write(self.path(name), vec![0; size]).unwrap();
        self.path(name)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The guest's console, which fctools hands over once.
struct Console {
    pipes: ProcessHandlePipes<TokioRuntimeChild>,
    text: String,
}

impl Console {
    fn of(machine: &mut Machine) -> Self {
        Self { pipes: machine.take_pipes().unwrap(), text: String::new() }
    }

    async fn expect(&mut self, what: &str) {
        let found = tokio::time::timeout(BOOT_TIME, async {
            while !self.text.contains(what) {
                let mut bytes = [0; 4096];
                let count = self.pipes.stdout.read(&mut bytes).await.unwrap();
                assert!(count > 0, "the output ends without {what:?}:\n{}", self.text);
                self.text.push_str(&String::from_utf8_lossy(&bytes[..count]));
            }
        });
        if found.await.is_err() {
            panic!("no {what:?} in the output:\n{}", self.text);
        }
    }

    async fn is_ready(&mut self) {
        self.expect(if is_linux() { "a busybox shell" } else { "echo: ready" }).await;
    }

    /// Has the guest answer; a number makes answers different.
    async fn says(&mut self, number: u32) {
        let (typed, answer) = match is_linux() {
            true => (format!("echo on $(({number} * 7))\n"), format!("on {}", number * 7)),
            false => (format!("on <{number}>"), format!("on <{number}>")),
        };
        self.write(&typed).await;
        self.expect(&answer).await;
    }

    async fn write(&mut self, text: &str) {
        self.pipes.stdin.write_all(text.as_bytes()).await.unwrap();
        self.pipes.stdin.flush().await.unwrap();
    }
}

fn arguments(directory: &Directory, socket: &str) -> UnrestrictedVmmExecutor {
    let arguments = VmmArguments::new(VmmApiSocket::Enabled(directory.path(socket)));
    UnrestrictedVmmExecutor::new(arguments).id("fctools-test".to_owned().try_into().unwrap())
}

fn moved(resources: &mut Resources, path: PathBuf) -> Resource {
    resources.create_resource(path, ResourceType::Moved(MovedResourceType::HardLinkedOrCopied)).unwrap()
}

fn created(resources: &mut Resources, path: PathBuf) -> Resource {
    resources.create_resource(path, ResourceType::Created(CreatedResourceType::File)).unwrap()
}

fn produced(resources: &mut Resources, path: PathBuf) -> Resource {
    resources.create_resource(path, ResourceType::Produced).unwrap()
}

fn drive(id: &str, block: Resource) -> Drive {
    Drive {
        drive_id: id.to_owned(),
        is_root_device: false,
        cache_type: None,
        partuuid: None,
        is_read_only: Some(false),
        block: Some(block),
        rate_limiter: None,
        io_engine: None,
        socket: None,
    }
}

/// A machine with a drive, a balloon, vsock, a log and metrics, as fctools prepares it.
async fn machine(directory: &Directory, init_method: InitMethod) -> Machine {
    let mut resources = Resources::new(DirectProcessSpawner, TokioRuntime, VmmOwnershipModel::Shared);
    let initrd = is_linux().then(|| moved(&mut resources, path_of("INITRD")));
    let data = VmConfigurationData {
        boot_source: BootSource {
            kernel_image: moved(&mut resources, path_of("KERNEL")),
            boot_args: Some("console=ttyS0 reboot=k panic=1".to_owned()),
            initrd,
        },
        drives: vec![drive("data", moved(&mut resources, directory.disk("disk", 1 << 20)))],
        pmem_devices: vec![],
        machine_configuration: MachineConfiguration {
            vcpu_count: 1,
            mem_size_mib: 128,
            smt: Some(false),
            track_dirty_pages: Some(true),
            huge_pages: None,
        },
        cpu_template: None,
        network_interfaces: vec![],
        balloon_device: Some(BalloonDevice {
            amount_mib: 0,
            deflate_on_oom: true,
            stats_polling_interval_s: None,
            free_page_reporting: None,
            free_page_hinting: Some(true),
        }),
        vsock_device: Some(VsockDevice { guest_cid: 3, uds: produced(&mut resources, directory.path("vsock")) }),
        logger_system: Some(LoggerSystem {
            logs: Some(created(&mut resources, directory.path("log"))),
            ..LoggerSystem::default()
        }),
        metrics_system: Some(MetricsSystem { metrics: created(&mut resources, directory.path("metrics")) }),
        memory_hotplug_configuration: None,
        mmds_configuration: None,
        entropy_device: None,
    };
    let configuration = VmConfiguration::New { init_method, data };
    Machine::prepare(arguments(directory, "api.sock"), resources, installation(), configuration).await.unwrap()
}

fn installation() -> VmmInstallation {
    let firecracker = path_of("FIRECRACKER");
    VmmInstallation::new(firecracker.clone(), firecracker.clone(), firecracker)
}

/// The guest ends by itself, so the process does well; what fctools made is gone.
async fn end(mut machine: Machine, mut console: Console, directory: &Directory, socket: &str) {
    console.write(if is_linux() { "reboot -f\n" } else { "q" }).await;
    for _ in 0..600 {
        if machine.get_state() != VmState::Running {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(machine.get_state(), VmState::Exited);
    machine.cleanup().await.unwrap();
    assert!(!directory.path(socket).exists(), "the API's socket is still there");
}

/// Waits: what changes a resource does so in a task of fctools' own.
async fn initialized(machine: &mut Machine, resource: &Resource) {
    resource.start_initialization_with_same_path().unwrap();
    machine.get_resource_system_mut().synchronize().await.unwrap();
}

fn refused(answer: Result<(), VmApiError>, why: &str) {
    match answer {
        Err(VmApiError::ReceivedErrorResponse { status_code, fault_message }) => {
            assert_eq!(status_code.as_u16(), 400, "{fault_message}");
            assert!(fault_message.contains(why), "{why:?} is not in {fault_message:?}");
        }
        other => panic!("{why:?} is not said: {other:?}"),
    }
}

async fn a_machine_pauses_and_goes_on_changed() {
    let directory = Directory::new("life");
    let mut machine = machine(&directory, InitMethod::ViaApiCalls).await;
    assert_eq!(machine.get_state(), VmState::NotStarted);
    machine.start(SOCKET_TIME).await.unwrap();
    let mut console = Console::of(&mut machine);
    console.is_ready().await;

    for number in 1..3 {
        machine.pause().await.unwrap();
        assert!(machine.get_info().await.unwrap().is_paused);
        machine.resume().await.unwrap();
        assert!(!machine.get_info().await.unwrap().is_paused);
        console.says(number).await;
    }
    let info = machine.get_info().await.unwrap();
    assert_eq!((info.id.as_str(), info.app_name.as_str()), ("fctools-test", "Firecracker"));
    assert_eq!(machine.get_firecracker_version().await.unwrap(), info.vmm_version);
    let configured = machine.get_machine_configuration().await.unwrap();
    assert_eq!((configured.vcpu_count, configured.mem_size_mib), (1, 128));
    assert_eq!(configured.track_dirty_pages, Some(true));

    let other = moved(machine.get_resource_system_mut(), directory.disk("other", 2 << 20));
    initialized(&mut machine, &other).await;
    let limit = TokenBucket { size: 1 << 20, one_time_burst: Some(1 << 20), refill_time: 100 };
    let update = UpdateDrive {
        drive_id: "data".to_owned(),
        block: Some(other),
        rate_limiter: Some(RateLimiter { bandwidth: limit.clone(), ops: limit }),
    };
    machine.update_drive(update.clone()).await.unwrap();
    let inflated = machine.update_balloon_device(UpdateBalloonDevice { amount_mib: 16 }).await;
    let balloon = machine.get_balloon_device().await.unwrap();
    assert_eq!((balloon.deflate_on_oom, balloon.free_page_hinting), (true, Some(true)));
    if is_linux() {
        inflated.unwrap();
        assert_eq!(balloon.amount_mib, 16);
    } else {
        refused(inflated, "Device not activated yet");
    }

    let before = fs::read_to_string(directory.path("metrics")).unwrap().lines().count();
    machine.flush_metrics().await.unwrap();
    let metrics = fs::read_to_string(directory.path("metrics")).unwrap();
    assert_eq!(metrics.lines().count(), before + 1);
    let log = fs::read_to_string(directory.path("log")).unwrap();
    assert!(log.contains("[fctools-test:"), "the log has no line of this machine:\n{log}");

    // What is refused reaches the caller with its message.
    let refusal = machine.update_drive(UpdateDrive { drive_id: "none".to_owned(), ..update }).await;
    refused(refusal, "Device not found");
    console.says(3).await;
    end(machine, console, &directory, "api.sock").await;
    assert!(!directory.path("vsock").exists(), "the vsock device's socket is still there");
}

async fn a_machine_is_described_by_a_file() {
    let directory = Directory::new("file");
    let init_method = InitMethod::ViaJsonConfiguration(directory.path("vm.json"));
    let mut machine = machine(&directory, init_method).await;
    machine.start(SOCKET_TIME).await.unwrap();
    let mut console = Console::of(&mut machine);
    console.is_ready().await;
    assert_eq!(machine.get_machine_configuration().await.unwrap().mem_size_mib, 128);
    end(machine, console, &directory, "api.sock").await;
}

async fn save(machine: &mut Machine, kind: SnapshotType, state: PathBuf, memory: PathBuf) -> VmSnapshot {
    machine.pause().await.unwrap();
    let resources = machine.get_resource_system_mut();
    let (snapshot, mem_file) = (produced(resources, state), produced(resources, memory));
    let request = CreateSnapshot { snapshot_type: Some(kind), snapshot, mem_file };
    let saved = machine.create_snapshot(request).await.unwrap();
    machine.resume().await.unwrap();
    saved
}

/// A full snapshot, then what changed, into a copy of its memory, which fctools loads into another machine.
async fn a_snapshot_goes_on_in_another_process() {
    let directory = Directory::new("snapshot");
    let mut first = machine(&directory, InitMethod::ViaApiCalls).await;
    first.start(SOCKET_TIME).await.unwrap();
    let mut console = Console::of(&mut first);
    console.is_ready().await;
    console.says(1).await;

    save(&mut first, SnapshotType::Full, directory.path("state"), directory.path("memory")).await;
    console.says(2).await;
    fs::copy(directory.path("memory"), directory.path("memory.new")).unwrap();
    let (state, memory) = (directory.path("state.new"), directory.path("memory.new"));
    let mut saved = save(&mut first, SnapshotType::Diff, state, memory).await;
    console.says(3).await;
    saved.copy(&TokioRuntime, directory.path("state.copy"), directory.path("memory.copy")).await.unwrap();

    let options = PrepareVmFromSnapshotOptions {
        executor: arguments(&directory, "second.sock"),
        process_spawner: DirectProcessSpawner,
        runtime: TokioRuntime,
        moved_resource_type: MovedResourceType::HardLinkedOrCopied,
        ownership_model: VmmOwnershipModel::Shared,
        track_dirty_pages: Some(true),
        resume_vm: Some(true),
        network_overrides: vec![],
    };
    let mut second = saved.prepare_vm(&mut first, options).await.unwrap();
    end(first, console, &directory, "api.sock").await;

    second.start(SOCKET_TIME).await.unwrap();
    let mut console = Console::of(&mut second);
    assert!(!second.get_info().await.unwrap().is_paused);
    assert_eq!(second.get_machine_configuration().await.unwrap().track_dirty_pages, Some(true));
    console.says(4).await;
    assert!(!console.text.contains("ready") && !console.text.contains("shell"), "booted anew:\n{}", console.text);
    end(second, console, &directory, "second.sock").await;
}

async fn a_machine_is_shut_down() {
    let directory = Directory::new("shutdown");
    let mut machine = machine(&directory, InitMethod::ViaApiCalls).await;
    machine.start(SOCKET_TIME).await.unwrap();
    // A payload guest has no ears for Ctrl-Alt-Del, and is killed.
    if is_linux() {
        Console::of(&mut machine).is_ready().await;
    }
    let wait = Duration::from_secs(if is_linux() { 60 } else { 1 });
    let actions = [VmShutdownMethod::CtrlAltDel, VmShutdownMethod::PauseThenKill];
    let actions = actions.map(|method| VmShutdownAction { method, timeout: Some(wait), graceful: true });
    match machine.shutdown(actions).await {
        Ok(outcome) => {
            assert_eq!(outcome.index, usize::from(!is_linux()), "{outcome:?}");
            assert_eq!(outcome.is_fully_graceful(), is_linux(), "{outcome:?}");
        }
        // fctools calls it an error where the process is gone before it begins to wait.
        Err(VmShutdownError::WaitForExitError(VmmProcessError::IncorrectState(VmmProcessState::Crashed(status))))
            if !is_linux() && status.signal() == Some(9) => {}
        Err(error) => panic!("{error}"),
    }
    machine.cleanup().await.unwrap();
    assert!(!directory.path("api.sock").exists(), "the API's socket is still there");
}

type Test = (&'static str, fn(&tokio::runtime::Runtime));

const TESTS: [Test; 4] = [
    ("a machine pauses, and goes on changed", |on| on.block_on(a_machine_pauses_and_goes_on_changed())),
    ("a machine is described by a file", |on| on.block_on(a_machine_is_described_by_a_file())),
    ("a snapshot goes on in another process", |on| on.block_on(a_snapshot_goes_on_in_another_process())),
    ("a machine is shut down", |on| on.block_on(a_machine_is_shut_down())),
];

fn main() -> ExitCode {
    let part = env::args().nth(1).unwrap_or_default();
    let (mut passed, mut failed) = (0, 0);
    assert!(Path::new(&path_of("FIRECRACKER")).exists(), "FIRECRACKER is not there");
    for (name, test) in TESTS.iter().filter(|(name, _)| name.contains(&part)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        // What panics ends its thread; fctools' children end with the pipes of theirs.
        match thread::spawn(move || test(&runtime)).join() {
            Ok(()) => {
                passed += 1;
                println!("ok    fctools: {name}");
            }
            Err(_) => {
                failed += 1;
                println!("FAIL  fctools: {name}");
            }
        }
    }
    println!("{passed} passed, {failed} failed, 0 skipped");
    ExitCode::from(u8::from(failed > 0))
}
