# SPDX-License-Identifier: Apache-2.0
# Tests, fuzzers and static checks. `make test` runs them all, see docs/testing.md.

# --- units ---

# Units run against a scripted KVM: tests/fake/kvm_fake.c in place of vmm/base/kvm_sys.c.
FAKE_KVM := $(wildcard tests/fake/kvm_fake.c)
# Of tests/lib these drive the real binary; the others are for units and fuzzers.
TEST_LIB_SRC := $(addprefix tests/lib/,testbed.c api_client.c squib.c runner.c huge_pool.c)
UNIT_LIB_SRC := $(filter-out $(TEST_LIB_SRC),$(wildcard tests/lib/*.c))
UNIT_SRC := $(wildcard tests/unit/*.c) $(wildcard tests/fake/*.c) $(wildcard seccomp/*.c) \
	$(UNIT_LIB_SRC) $(addprefix tools/cpu_template_helper/,helper_args.c fingerprint_names.c) $(CTL_SRC) $(addprefix tools/guest_init/,user.c serve.c pass_fd.c) $(EDITOR_SRC) $(JAILER_SRC) $(VMM_SRC) $(DEVICE_SRC) $(API_SRC) \
	$(filter-out vmm/base/kvm_sys.c,$(BASE_SRC))
# cpu-template-helper speaks of an architecture's registers.
HELPER_UNIT_SRC := $(HELPER_SRC) vmm/resources/cpu_template_json.c vmm/persist/durable.c $(TOOLS_LIB_SRC)
UNIT_ARCH_SRC := $(wildcard tests/unit/$(ARCH)/*.c) $(FAKE_KVM) $(ARCH_SRC) $(EDITOR_ARCH_SRC) \
	$(filter-out vmm/base/kvm_sys.c,$(BASE_SRC)) $(HELPER_UNIT_SRC)

# criterion does not bear ThreadSanitizer; a stand-in of its interface does.
ifeq ($(SAN),thread)
UNIT_LIBS := -lm
UNIT_SRC += tests/tsan/run.c
UNIT_ARCH_SRC += tests/tsan/run.c
CPPFLAGS += -isystem tests/tsan
else
UNIT_LIBS := -lcriterion
endif
UNIT_LIBS += -lseccomp

# Without --gc-sections: criterion finds its tests by a section that nothing refers to.
UNIT_LDFLAGS := -pie $(LDFLAGS)

# The units see the fake architecture's layout.h; their objects live apart from the real ones.
$(B)/fake/%.o: %.c
	@mkdir -p $(@D)
	@echo "  CC      $@"
	@$(CC) $(filter-out -Iarch/%,$(CPPFLAGS)) -Itests/fake $(CFLAGS) -c -o $@ $<

# What tests/fake/alloc_guard.c counts.
ALLOCATORS := malloc calloc realloc reallocarray aligned_alloc posix_memalign strdup strndup
ALLOC_GUARD := $(ALLOCATORS:%=-Wl,--wrap=%)

$(B)/unit: $(patsubst %.c,$(B)/fake/%.o,$(UNIT_SRC)) $(FILTER_DATA) $(GUEST_INIT)
	@echo "  LD      $@"
	@$(CC) $(UNIT_LDFLAGS) $(ALLOC_GUARD) -o $@ $^ $(UNIT_LIBS) $(LDLIBS) -lcap -lzstd

# Kernel headers of KVM's types for code of one machine that is compiled for another; all other
# headers are the host's.
UAPI_aarch64 := $(patsubst %,build/aarch64/uapi/asm/%.h,kvm ptrace hwcap sve_context)
UAPI_x86_64 := build/x86_64/uapi/asm/kvm.h
define uapi_rule
$$(UAPI_$(1)):
	@mkdir -p $$(@D)
	@ln -sf $$(firstword $$(wildcard $$(addsuffix /asm/$$(@F),/usr/include/$(1)-linux-gnu /usr/$(1)-linux-gnu/include))) $$@
endef
$(foreach isa,x86_64 aarch64,$(eval $(call uapi_rule,$(isa))))

# The units run on this host. Where ARCH is another one, its code is compiled for the host as well:
# it is C, and all that it wants of the other machine is KVM's types, which are in the kernel
# headers of its Debian architecture. libfdt's -dev package exists for one machine at a time, so
# here it is linked by the name of its run-time library.
ifeq ($(ARCH),$(HOST_ARCH))
$(B)/unit-arch: $(call objects,$(UNIT_ARCH_SRC))
	@echo "  LD      $@"
	@$(CC) $(UNIT_LDFLAGS) -o $@ $^ $(UNIT_LIBS) $(LDLIBS)

unit: $(B)/unit
else
HOST_CC := $(firstword $(CC:$(TRIPLE)-%=%))
HOST_CFLAGS := $(filter-out -mbranch-protection=% -fcf-protection=%,$(CFLAGS))
$(B)/host/%.o: %.c $(UAPI_$(ARCH))
	@mkdir -p $(@D)
	@echo "  HOSTCC  $@"
	@$(HOST_CC) -isystem build/$(ARCH)/uapi $(CPPFLAGS) $(HOST_CFLAGS) -c -o $@ $<

$(B)/unit-arch: $(patsubst %.c,$(B)/host/%.o,$(UNIT_ARCH_SRC))
	@echo "  HOSTLD  $@"
	@$(HOST_CC) $(UNIT_LDFLAGS) -o $@ $^ $(UNIT_LIBS) $(LDLIBS:-lfdt=-l:libfdt.so.1)
endif

# criterion's own lists live until the process ends.
unit: export LSAN_OPTIONS := suppressions=tests/lsan.supp:print_suppressions=0
unit: export TSAN_OPTIONS := suppressions=tests/tsan.supp:print_suppressions=0
# Most units wait most of the time, for threads, timers and processes: more run at once than there are processors.
unit: UNIT_JOBS := $(if $(filter thread,$(SAN)),,-j8)
unit: $(B)/unit-arch ## build and run the unit tests of ARCH
	$(if $(filter $(ARCH),$(HOST_ARCH)),$(B)/unit $(UNIT_JOBS))
	$(B)/unit-arch $(UNIT_JOBS)

# --- the API's description: against the tables that the code has ---

$(B)/api_dump: $(call objects,tests/api/dump.c $(filter-out vmm/main.c,$(SQUIB_SRC))) $(FILTER_DATA)
	@echo "  LD      $@"
	@$(CC) $(LDFLAGS) -pie -o $@ $^ $(LDLIBS)

.PHONY: api-description
api-description: $(B)/api_dump ## compare api/squib.yaml with the source
	@$(B)/api_dump >$(B)/api_dump.json
	@tests/api/check_description $(B)/api_dump.json <api/squib.yaml

# --- end-to-end: one static runner for the host and for nested machines ---

$(B)/e2e: $(call objects,$(wildcard tests/e2e/*.c) $(TEST_LIB_SRC))
	@echo "  LD      $@"
	@$(CC) $(RELEASE_LDFLAGS) $(LDFLAGS) -o $@ $^

# --- devices under Linux and under payloads: the guest's tools, the runner ---

# As little as a program can be that runs in the guest and in the nested machine.
$(B)/gt: $(call objects,$(wildcard tests/guests/tools/*.c))
	@echo "  LD      $@"
	@$(CC) $(RELEASE_LDFLAGS) $(LDFLAGS) -s -o $@ $^

$(B)/devices_test: $(call objects,$(wildcard tests/devices/*.c) $(TEST_LIB_SRC))
	@echo "  LD      $@"
	@$(CC) $(RELEASE_LDFLAGS) $(LDFLAGS) -o $@ $^

.PHONY: devices
devices: all $(B)/gt $(B)/devices_test guests $(B)/kvm_probe ## test the devices of ARCH under Linux (T=part of a name)
	@tests/devices/run_all $(ARCH) $(T)

# --- seccomp: the filters from outside, and that what they allow is needed (tests/seccomp/guests) ---

$(B)/seccomp_tracer: $(call objects,tests/seccomp/tracer.c)
	@echo "  LD      $@"
	@$(CC) $(RELEASE_LDFLAGS) $(LDFLAGS) -o $@ $^

$(B)/seccomp_outside: $(call objects,tests/seccomp/outside.c $(TEST_LIB_SRC))
	@echo "  LD      $@"
	@$(CC) $(RELEASE_LDFLAGS) $(LDFLAGS) -o $@ $^

$(B)/seccomp_provoke: $(call objects,tests/seccomp/provoke.c $(TEST_LIB_SRC))
	@echo "  LD      $@"
	@$(CC) $(RELEASE_LDFLAGS) $(LDFLAGS) -o $@ $^

# It judges samples of either architecture on this host.
ifeq ($(ARCH),$(HOST_ARCH))
$(B)/seccomp_needs: $(call objects,tests/seccomp/needs.c seccomp/policy.c seccomp/compile.c $(FILTER_SRC) $(BASE_SRC)) $(FILTER_DATA)
	@echo "  LD      $@"
	@$(CC) $(RELEASE_LDFLAGS) $(LDFLAGS) -o $@ $^ -lseccomp $(LDLIBS)
endif

# --- the API from outside: vectors of requests and answers, and clients that mean no good ---

$(B)/api_vectors: $(call objects,$(addprefix tests/api/,run.c script.c text.c config.c metrics.c) $(TEST_LIB_SRC))
	@echo "  LD      $@"
	@$(CC) $(RELEASE_LDFLAGS) $(LDFLAGS) -o $@ $^ -ljansson

$(B)/api_hostile: $(call objects,tests/api/hostile.c $(TEST_LIB_SRC))
	@echo "  LD      $@"
	@$(CC) $(RELEASE_LDFLAGS) $(LDFLAGS) -o $@ $^

# --- the metadata service's network under this kernel's TCP: a program of its own ---

$(B)/mmds_peer: $(call objects,$(wildcard tests/mmds/*.c) $(wildcard devices/mmds/*.c) $(BASE_SRC))
	@echo "  LD      $@"
	@$(CC) $(RELEASE_LDFLAGS) $(LDFLAGS) -o $@ $^ $(LDLIBS)

# --- the jailer: a static program to jail ---

$(B)/jailer_probe: $(call objects,tests/jailer/probe.c)
	@echo "  LD      $@"
	@$(CC) $(RELEASE_LDFLAGS) $(LDFLAGS) -o $@ $^

.PHONY: test test-long unit e2e api guest-files fuzz eva lint lint-style lint-arch analyze format
guest-files: ## prepare guest kernel, root file system, load generators, clients, gdb and stock kernel of ARCH
	@tools/dev/guest_kernel $(ARCH)
	@tools/dev/guest_image $(ARCH)
	@tools/dev/guest_load $(ARCH)
	@tools/dev/guest_clients $(ARCH)
	@tools/dev/guest_gdb $(ARCH)
	@tools/dev/guest_stock $(ARCH)

test: ## install what is missing, then check and test everything, both architectures
	@tools/dev/setup build guest test lint
	@tests/run

test-long: ## what is slow and seldom fails: clang's builds, the same bytes twice, long fuzzing, devices on both transports
	@tools/dev/setup build guest test lint
	@tests/run --long

e2e: all $(B)/e2e guests $(B)/kvm_probe ## run the guests' tests of ARCH (T=part of a name)
	@tests/e2e/run_all $(ARCH) $(T)

api: all $(B)/api_vectors $(B)/api_hostile guests $(B)/kvm_probe ## play the API's vectors on ARCH (T=part of a file name)
	@tests/api/run_all $(if $(filter $(ARCH),$(HOST_ARCH)),-d) $(ARCH) $(T)

# --- fuzzers: in process, on the host, with the real loaders of either architecture ---

FUZZ_SECONDS ?= 60
# FUZZ_COVERAGE=1 counts what runs in place of looking for faults, in a folder of its own.
FUZZ_B := build/fuzz$(if $(FUZZ_COVERAGE),-coverage)
FUZZ_FLAGS := -std=gnu17 -g -O1 $(if $(FUZZ_COVERAGE),-fprofile-instr-generate -fcoverage-mapping, \
	-fsanitize=address,undefined -fno-sanitize-recover=undefined)
FUZZERS := $(patsubst tests/fuzz/fuzz_%.c,%,$(filter-out %/fuzz_state.c,$(wildcard tests/fuzz/fuzz_*.c))) \
	state_x86_64 state_aarch64

# A fuzzer's name may end in an architecture: then it is linked with that one's code, which needs
# nothing of the machine. The others see the fake architecture.
fuzz_arch = $(or $(filter x86_64,$(findstring x86_64,$(1))),$(filter aarch64,$(findstring aarch64,$(1))))
FUZZ_ARCH_SRC_x86_64 := $(wildcard arch/x86_64/*.c)
FUZZ_ARCH_SRC_aarch64 := $(wildcard arch/aarch64/*.c)
FUZZ_BASE_SRC := $(wildcard vmm/base/*.c)
FUZZ_SECCOMP_SRC := seccomp/policy.c $(FILTER_SRC)

fuzz_isa = $(or $(call fuzz_arch,$(1)),fake)
FUZZ_INCLUDE_fake := tests/fake
FUZZ_INCLUDE_x86_64 := arch/x86_64
FUZZ_INCLUDE_aarch64 := arch/aarch64 -Ibuild/aarch64/uapi
# What fuzzers share: played devices and disks.
FUZZ_LIB_SRC := $(filter-out tests/fuzz/fuzz_% tests/fuzz/http_reader.c,$(wildcard tests/fuzz/*.c))
FUZZ_BED_SRC := $(filter tests/fuzz/bed%,$(FUZZ_LIB_SRC))
FUZZ_DEVICES_SRC := $(filter-out $(FUZZ_BED_SRC),$(FUZZ_LIB_SRC)) $(DEVICE_SRC) $(API_SRC) $(VMM_SRC) $(FILTER_SRC) tests/fake/arch_fake.c $(UNIT_LIB_SRC)
# A scripted KVM where state is loaded into one.
fuzz_base_src = $(if $(filter state_%,$(1)),$(FAKE_KVM) $(filter-out vmm/base/kvm_sys.c,$(FUZZ_BASE_SRC)),$(FUZZ_BASE_SRC))
fuzz_main = tests/fuzz/fuzz_$(if $(filter state_%,$(1)),state,$(1)).c
fuzz_src = $(call fuzz_main,$(1)) $(if $(filter devices virtio_state,$(1)),$(FUZZ_BED_SRC)) $(if $(filter http,$(1)),tests/fuzz/http_reader.c) \
	$(if $(filter template_%,$(1)),$(HELPER_UNIT_SRC)) $(call fuzz_base_src,$(1)) $(or $(FUZZ_ARCH_SRC_$(call fuzz_arch,$(1))), \
	$(if $(filter policy filter_file,$(1)),$(FUZZ_SECCOMP_SRC), \
	$(if $(filter guest_%,$(1)),$(addprefix tools/guest_init/,frames.c run_request.c user.c tar.c tar_unpack.c),$(FUZZ_DEVICES_SRC))))
fuzz_objects = $(patsubst %.c,$(FUZZ_B)/obj/$(call fuzz_isa,$(1))/%.o,$(call fuzz_src,$(1)))

# Each source is compiled once for each architecture that fuzzers see, and shared by them.
define fuzz_rules
$(FUZZ_B)/obj/$(1)/%.o: %.c | $$(if $$(filter aarch64,$(1)),$$(UAPI_aarch64))
	@mkdir -p $$(@D)
	@echo "  FUZZCC  $$@"
	@clang $$(FUZZ_FLAGS) -fsanitize=fuzzer-no-link -MMD -MP -I. -I$$(FUZZ_INCLUDE_$(1)) -D_GNU_SOURCE -c -o $$@ $$<
endef
$(foreach isa,fake x86_64 aarch64,$(eval $(call fuzz_rules,$(isa))))

define fuzz_link
$(FUZZ_B)/$(1): $(call fuzz_objects,$(1)) $(if $(call fuzz_arch,$(1)),,$(FILTER_DATA))
	@echo "  FUZZLD  $$@"
	@clang $$(FUZZ_FLAGS) -fsanitize=fuzzer -o $$@ $$^ -ljansson -l:liburing.a -lsodium $(if $(filter http,$(1)),-l:libhttp_parser.so.2.9) $(if $(filter aarch64,$(call fuzz_arch,$(1))),-l:libfdt.so.1)
endef
$(foreach fuzzer,$(FUZZERS),$(eval $(call fuzz_link,$(fuzzer))))
-include $(shell find $(FUZZ_B)/obj -name '*.d' 2>/dev/null)

fuzz: $(FUZZERS:%=$(FUZZ_B)/%) ## run each fuzzer for FUZZ_SECONDS (60) from its corpus
	@printf '%s\n' $(FUZZERS) | xargs -P $$(nproc) -I NAME tests/fuzz/run NAME $(FUZZ_SECONDS)

.PHONY: fuzz-merge fuzz-hours
fuzz-hours: $(FUZZERS:%=$(FUZZ_B)/%) ## fuzz at the least priority until it is interrupted, and sum up the hours (tests/fuzz/hours -t: the table)
	@tests/fuzz/hours $(FUZZERS)

fuzz-merge: $(FUZZERS:%=$(FUZZ_B)/%) ## pack the fewest inputs that reach what fuzzers have reached here, into tests/fuzz/found/
	@printf '%s\n' $(FUZZERS) | xargs -P $$(nproc) -n 1 tests/fuzz/merge

# --- what fuzzers and units reach, and the table of what is done for each file ---

.PHONY: coverage safety
coverage: ## count what units and fuzzers (of FUZZ_SECONDS each) reach; LINES_OF=FILE shows what not
	@$(MAKE) --no-print-directory COMPILER=clang SAN=coverage WARNINGS= build/$(ARCH)-clang-coverage/unit build/$(ARCH)-clang-coverage/unit-arch
	@$(MAKE) --no-print-directory ARCH=aarch64 COMPILER=clang SAN=coverage WARNINGS= build/aarch64-clang-coverage/unit-arch
	@$(MAKE) --no-print-directory FUZZ_COVERAGE=1 $(FUZZERS:%=build/fuzz-coverage/%)
	@tests/coverage $(FUZZ_SECONDS) $(if $(LINES_OF),-l $(LINES_OF)) $(FUZZERS)

.PHONY: fuzz-coverage
fuzz-coverage: ## count what each fuzzer reaches, and list the branches that none does (FUZZ_SECONDS=0: by the corpora alone)
	@$(MAKE) --no-print-directory FUZZ_COVERAGE=1 $(FUZZERS:%=build/fuzz-coverage/%)
	@tests/fuzz/coverage $(FUZZ_SECONDS) $(if $(T),$(filter $(T),$(FUZZERS)),$(FUZZERS))

safety: coverage ## write the table of docs/memory-safety.md: for each file what is proven, fuzzed, tested
	@tools/check/safety --write

# --- proofs: Frama-C's EVA over what guests and clients feed ---

# Those that take more than 20 s say so in their head.
EVA_LONG := $(shell grep -l '^ \* Long\.' tests/eva/eva_*.c)
EVA := $(patsubst tests/eva/eva_%.c,%,$(filter-out $(if $(LONG),,$(EVA_LONG)),$(wildcard tests/eva/eva_*.c)))

eva: $(UAPI_aarch64) ## show by Frama-C that the pure modules have no run-time errors (LONG=1: those that take long, too)
	@tests/eva/run $(EVA)

# --- proofs by contracts: Frama-C's WP, where numbers relate ---

WP := $(patsubst tests/wp/wp_%.c,%,$(wildcard tests/wp/wp_*.c))

.PHONY: wp
wp: ## prove by Frama-C's WP that copies and lists end where their buffers do (LONG=1: smoke tests of contracts)
	@tests/wp/run $(if $(LONG),--long) $(WP)

# --- models: spin over the protocols between threads ---

MODELS := $(patsubst tests/models/%.pml,%,$(wildcard tests/models/*.pml))

.PHONY: models
models: ## check models of the protocols between threads, and that each can fail (LONG=1: larger ones)
	@printf '%s\n' $(MODELS) | xargs -P $$(nproc) -n 1 tests/models/run $(if $(LONG),--long)

# --- mutants: faults in the sources that no unit notices ---

.PHONY: mutants
mutants: ## make faults in FILES, and report those that no unit test notices (COUNT=N of each, RECORD=1 for the safety table)
	@tools/check/mutants $(if $(COUNT),--count $(COUNT)) $(if $(RECORD),--record) $(FILES)

# --- static checks ---

LINT_SRC = $(shell git ls-files -co --exclude-standard 'vmm/*.c' 'devices/*.c' 'api/*.c' 'seccomp/*.c' 'tools/squibctl/*.c' 'tools/doctor/*.c' \
	'tools/lib/*.c' 'tools/cpu_template_helper/*.c' 'tools/snapshot_editor/*.c' ':!tools/snapshot_editor/regs_*' \
	tools/seccompiler/main.c 'tools/jailer/*.c' 'tools/guest_init/*.c')
LINT_ARCH_SRC = $(shell git ls-files -co --exclude-standard 'arch/$(ARCH)/*.c' tools/snapshot_editor/regs_$(ARCH).c)
SHELL_SRC = $(shell git grep -lI --untracked '^\#!.*sh' -- tools tests .ci)

lint: lint-style analyze ## format, layers, headers, sizes, clang-tidy, cppcheck, gcc's analyzer, shellcheck

lint-style:
	@tools/check/layers.sh
	@tools/check/limits.sh
	@tools/check/policies.sh
	@tools/check/links
	@tools/check/safety
	@clang-format --dry-run -Werror $$(git ls-files -co --exclude-standard '*.c' '*.h')
	@echo "format: ok"
	@shellcheck -x -P SCRIPTDIR $(SHELL_SRC)
	@echo "shellcheck: ok"

# What reads C as ARCH has it; lint-arch looks at the sources that only ARCH has.
ANALYZE_SRC = $(LINT_SRC) $(LINT_ARCH_SRC)
ANALYZE_FLAGS = $(filter-out -M%,$(CPPFLAGS))
lint-arch: ANALYZE_SRC = $(LINT_ARCH_SRC)
lint-arch: analyze
analyze:
	@tools/check/headers $(ARCH) $(TRIPLE) $(CC)
	@printf '%s\n' $(ANALYZE_SRC) | xargs -P $$(nproc) -I FILE tools/check/once FILE clang-tidy,cppcheck,$(CC) \
		"$(CC) $(ANALYZE_FLAGS)" tools/check/analyze FILE $(TRIPLE) $(CC) "$(ANALYZE_FLAGS)"
	@echo "clang-tidy, cppcheck, gcc's analyzer: ok"

analyze: COMPILER := gcc

format: ## format the sources in place
	@clang-format -i $$(git ls-files -co --exclude-standard '*.c' '*.h')
