# SPDX-License-Identifier: Apache-2.0
# Benchmarks: reports, never verdicts. docs/bench/boot.md says what they measure.

$(B)/bench/boot: $(call objects,tests/bench/boot.c)
$(B)/bench/bare_kvm: $(call objects,tests/bench/bare_kvm.c tests/bench/bare.c tests/bench/$(ARCH)/bare_arch.c)
$(B)/bench/boot $(B)/bench/bare_kvm:
	@mkdir -p $(@D)
	@echo "  LD      $@"
	@$(CC) $(RELEASE_LDFLAGS) $(LDFLAGS) -o $@ $^

.PHONY: bench
bench: ## measure the start; writes build/bench/boot.txt and boot.svg
	@tools/dev/setup build guest bench
	@$(MAKE) --no-print-directory all guests $(B)/kvm_probe $(B)/bench/boot $(B)/bench/bare_kvm
	@tests/bench/run $(ARCH)

# --- the jailer ---

$(B)/bench/jailer: $(call objects,tests/bench/jailer.c)
	@mkdir -p $(@D)
	@echo "  LD      $@"
	@$(CC) $(RELEASE_LDFLAGS) $(LDFLAGS) -o $@ $^

.PHONY: bench-jailer
bench-jailer: all $(B)/bench/jailer ## measure what a jail costs beside a bare start, as root
	@mkdir -p build/bench
	@$(B)/bench/jailer $(B)/jailer $(B)/squib | tee build/bench/jailer.txt

# --- devices ---

$(B)/bench/devices: $(call objects,tests/bench/devices.c tests/bench/devices_cpu.c tests/bench/devices_peer.c)
$(B)/bench/bare_disk: $(call objects,tests/bench/bare_disk.c)
$(B)/bench/devices $(B)/bench/bare_disk:
	@mkdir -p $(@D)
	@echo "  LD      $@"
	@$(CC) $(RELEASE_LDFLAGS) $(LDFLAGS) -o $@ $^

# It is part of the guest's initrd, so what only debuggers read goes.
$(B)/bench/operations: $(call objects,$(wildcard tests/bench/guest/*.c))
	@mkdir -p $(@D)
	@echo "  LD      $@"
	@$(CC) $(RELEASE_LDFLAGS) $(LDFLAGS) -s -o $@ $^ -l:liburing.a

.PHONY: bench-devices
bench-devices: ## measure the devices; writes docs/bench/devices.md and docs/bench/devices.svg
	@tools/dev/setup build guest bench
	@$(MAKE) --no-print-directory all guests $(B)/kvm_probe $(addprefix $(B)/bench/,devices operations bare_disk)
	@tests/bench/devices_run $(ARCH)

.PHONY: bench-vhost
bench-vhost: ## measure a disk by vhost-user beside one on a file
	@tools/dev/setup build guest bench
	@$(MAKE) --no-print-directory all guests $(B)/kvm_probe $(B)/bench/devices
	@tests/bench/vhost_run $(ARCH)

$(B)/bench/echo_peer: $(call objects,tests/bench/echo_peer.c)
	@mkdir -p $(@D)
	@echo "  LD      $@"
	@$(CC) $(RELEASE_LDFLAGS) $(LDFLAGS) -o $@ $^

.PHONY: bench-net
bench-net: ## measure frames of a stream beside those of a TAP
	@tools/dev/setup build guest bench
	@$(MAKE) --no-print-directory all guests $(B)/kvm_probe $(B)/bench/devices $(B)/bench/echo_peer
	@tests/bench/net_run $(ARCH)

# --- the metadata service ---

$(B)/bench/http_peer: $(call objects,tests/bench/http_peer.c)
	@mkdir -p $(@D)
	@echo "  LD      $@"
	@$(CC) $(RELEASE_LDFLAGS) $(LDFLAGS) -o $@ $^

.PHONY: bench-mmds
bench-mmds: ## measure the metadata service beside a server on the host; writes build/bench/mmds.txt
	@tools/dev/setup build guest bench
	@$(MAKE) --no-print-directory all $(B)/kvm_probe $(addprefix $(B)/bench/,devices operations http_peer)
	@tests/bench/mmds_run $(ARCH)

# --- snapshots ---

.PHONY: bench-snapshot
bench-snapshot: ## measure saving and loading beside floors; writes build/bench/snapshot.txt
	@tools/dev/setup build guest bench
	@$(MAKE) --no-print-directory all guests $(B)/kvm_probe $(B)/gt $(B)/bench/bare_kvm
	@tests/bench/snapshot_run $(ARCH)

# --- devices that are plugged in ---

.PHONY: bench-plug
bench-plug: ## measure a disk that is plugged in beside floors; writes build/bench/plug.txt
	@tools/dev/setup build guest bench
	@$(MAKE) --no-print-directory all guests $(B)/kvm_probe
	@tests/bench/plug_run $(ARCH)

# --- memory that is plugged in ---

$(B)/bench/bare_memory: $(call objects,tests/bench/bare_memory.c tests/bench/bare.c tests/bench/$(ARCH)/bare_arch.c)
	@mkdir -p $(@D)
	@echo "  LD      $@"
	@$(CC) $(RELEASE_LDFLAGS) $(LDFLAGS) -o $@ $^

.PHONY: bench-memory
bench-memory: all guests $(B)/bench/bare_memory ## measure memory that is plugged in beside floors; writes build/bench/memory.txt
	@mkdir -p build/bench
	@tests/bench/memory $(B) | tee build/bench/memory.txt

# --- forks ---

.PHONY: bench-fork
bench-fork: ## measure forks of a running machine beside floors; writes build/bench/fork.txt and .svg
	@tools/dev/setup build guest bench
	@$(MAKE) --no-print-directory all guests $(B)/kvm_probe $(B)/bench/bare_kvm
	@mkdir -p build/bench
	@tests/bench/fork $(B) build/bench/fork.svg | tee build/bench/fork.txt

# --- pools ---

.PHONY: bench-pool
bench-pool: ## measure machines of a pool beside plain loads; writes build/bench/pool.txt
	@tools/dev/setup build guest bench
	@$(MAKE) --no-print-directory all guests
	@mkdir -p build/bench
	@tests/bench/pool $(B) | tee build/bench/pool.txt

# --- images that machines share: docs/bench/pmem.md ---

.PHONY: bench-pmem
bench-pmem: ## measure images that machines share, and reads by DAX; writes build/bench/pmem.txt and docs/bench/pmem.svg
	@tools/dev/setup build guest bench
	@$(MAKE) --no-print-directory all guests $(B)/kvm_probe $(addprefix $(B)/bench/,devices operations)
	@tests/bench/pmem_run $(ARCH)

# --- many machines on one host: docs/bench/scale.md ---

.PHONY: bench-scale
bench-scale: ## measure starts and idle machines, 1 to 500 of them; writes build/bench/scale.txt and docs/bench/scale.svg
	@tools/dev/setup build guest bench
	@$(MAKE) --no-print-directory all guests $(B)/kvm_probe
	@tests/bench/scale_run $(ARCH)

# --- what has moved: docs/bench/check.md ---

.PHONY: bench-check
bench-check: ## count the main rows and say which have moved by more than 2 %; UPDATE=1 keeps the new figures
	@tools/dev/setup build guest bench
	@$(MAKE) --no-print-directory all guests $(B)/kvm_probe $(addprefix $(B)/bench/,boot devices operations)
	@tests/bench/check $(ARCH) $(if $(UPDATE),--write)
