# SPDX-License-Identifier: Apache-2.0
# The programs of tools/.

.PHONY: kvm_probe
kvm_probe: $(B)/kvm_probe ## build the program that tells what /dev/kvm can run

PROBE_SRC := tools/kvm_probe/probe.c tools/kvm_probe/kvm_probe_$(ARCH).c
$(B)/kvm_probe: $(call objects,tools/kvm_probe/main.c $(PROBE_SRC) $(BASE_SRC) $(ARCH_SRC))
	@echo "  LD      $@"
	@$(CC) $(RELEASE_LDFLAGS) $(LDFLAGS) -o $@ $^ $(LDLIBS)

.PHONY: demo shell
demo: ## install what is missing, boot a microVM of ARCH and draw the timeline of its boot
	@tools/dev/demo $(ARCH)

shell: ## the same with an interactive guest
	@tools/dev/demo $(ARCH) shell

# --- squibctl, and the first process of its guests, which is a part of it ---

# Small and static, also where all else is built with a sanitizer.
GUEST_INIT_FLAGS := -std=gnu17 -Os $(WARNINGS) -static -s -ffunction-sections -fdata-sections -Wl,--gc-sections \
	-Wl,-z,noexecstack
$(B)/guest-init: $(wildcard tools/guest_init/*.c tools/guest_init/*.h)
	@mkdir -p $(@D)
	@echo "  LD      $@"
	@$(CC) $(filter-out -M%,$(CPPFLAGS)) $(GUEST_INIT_FLAGS) -o $@ $(filter %.c,$^)

GUEST_INIT := $(B)/guest_init.o
$(GUEST_INIT): tools/guest_init/embed.S $(B)/guest-init
	@echo "  AS      $@"
	@$(CC) -DGUEST_INIT='"$(B)/guest-init"' -c -o $@ $<

TOOLS_LIB_SRC := $(wildcard tools/lib/*.c)
CTL_SRC := $(filter-out tools/squibctl/main.c,$(wildcard tools/squibctl/*.c)) $(TOOLS_LIB_SRC) \
	$(addprefix tools/guest_init/,frames.c run_request.c tar.c tar_pack.c tar_unpack.c)

# What squibctl doctor looks at, of the architecture and of squib's own code.
DOCTOR_SRC := $(wildcard tools/doctor/*.c) $(PROBE_SRC) $(ARCH_SRC) vmm/confine/landlock.c

all: $(B)/squibctl
$(B)/squibctl: $(call objects,tools/squibctl/main.c $(CTL_SRC) $(DOCTOR_SRC) $(BASE_SRC) devices/virtio/blk/blk_overlay_file.c \
		vmm/persist/durable.c) $(GUEST_INIT)
	@echo "  LD      $@"
	@$(CC) $(RELEASE_LDFLAGS) $(LDFLAGS) -o $@ $^ $(LDLIBS)

# --- jailer ---

JAILER_SRC := $(filter-out tools/jailer/main.c,$(wildcard tools/jailer/*.c))
JAILER_BASE_SRC := vmm/base/clock.c vmm/base/error.c vmm/base/fd.c vmm/base/flags.c

all: $(B)/jailer
$(B)/jailer: $(call objects,tools/jailer/main.c $(JAILER_SRC) $(JAILER_BASE_SRC))
	@echo "  LD      $@"
	@$(CC) $(RELEASE_LDFLAGS) $(LDFLAGS) -o $@ $^ -lcap

# --- snapshot-editor ---

# It reads state with the functions that squib has for it, which name the fields of every device: so
# all of squib is there, and the linker drops what is not called.
EDITOR_SRC := $(filter-out tools/snapshot_editor/main.c tools/snapshot_editor/regs_%,$(wildcard tools/snapshot_editor/*.c))
EDITOR_ARCH_SRC := tools/snapshot_editor/regs_$(ARCH).c

all: $(B)/snapshot-editor $(B)/rebase-snap
$(B)/snapshot-editor: $(call objects,tools/snapshot_editor/main.c $(EDITOR_SRC) $(EDITOR_ARCH_SRC) $(TOOLS_LIB_SRC) \
		$(filter-out vmm/main.c,$(SQUIB_SRC))) $(FILTER_DATA)
	@echo "  LD      $@"
	@$(CC) $(RELEASE_LDFLAGS) $(LDFLAGS) -o $@ $^ $(LDLIBS) -lzstd

$(B)/rebase-snap: $(B)/snapshot-editor
	@ln -sf snapshot-editor $@

# --- cpu-template-helper ---

# It makes vCPUs with squib's own code, and all of squib is there for that.
HELPER_SRC := $(filter-out tools/cpu_template_helper/main.c tools/cpu_template_helper/guest.c, \
	$(wildcard tools/cpu_template_helper/*.c))

all: $(B)/cpu-template-helper
$(B)/cpu-template-helper: $(call objects,$(addprefix tools/cpu_template_helper/,main.c guest.c) $(HELPER_SRC) \
		$(TOOLS_LIB_SRC) $(filter-out vmm/main.c,$(SQUIB_SRC))) $(FILTER_DATA)
	@echo "  LD      $@"
	@$(CC) $(RELEASE_LDFLAGS) $(LDFLAGS) -o $@ $^ $(LDLIBS)

# --- installation ---

PREFIX ?= /usr/local
SHARE := $(DESTDIR)$(PREFIX)/share
ZSH_DIR ?= $(SHARE)/zsh/site-functions
FISH_DIR := $(SHARE)/fish/vendor_completions.d
COMPLETED := squib squibctl jailer snapshot-editor cpu-template-helper

.PHONY: install
install: all $(B)/seccompiler ## install squib, its tools, manual pages and completions (DESTDIR, PREFIX)
	install -d $(DESTDIR)$(PREFIX)/bin $(SHARE)/man/man1 $(SHARE)/bash-completion/completions $(ZSH_DIR) $(FISH_DIR)
	install -m 755 $(B)/squib $(B)/squibctl $(B)/jailer $(B)/snapshot-editor $(B)/cpu-template-helper $(B)/seccompiler $(DESTDIR)$(PREFIX)/bin
	ln -sf snapshot-editor $(DESTDIR)$(PREFIX)/bin/rebase-snap
	install -m 644 $(addprefix docs/man/,squib.1 squibctl.1 jailer.1 seccompiler.1 snapshot-editor.1 rebase-snap.1 cpu-template-helper.1) $(SHARE)/man/man1
	install -m 644 tools/completion/squib.bash $(SHARE)/bash-completion/completions/squib
	install -m 644 tools/completion/squibctl.bash $(SHARE)/bash-completion/completions/squibctl
	install -m 644 tools/completion/commands.bash $(SHARE)/bash-completion/completions/snapshot-editor
	ln -sf squib $(SHARE)/bash-completion/completions/jailer
	ln -sf snapshot-editor $(SHARE)/bash-completion/completions/cpu-template-helper
	install -m 644 tools/completion/squib.zsh $(ZSH_DIR)/_squib
	install -m 644 tools/completion/squib.fish $(FISH_DIR)/squib.fish
	$(foreach program,$(filter-out squib,$(COMPLETED)),ln -sf squib.fish $(FISH_DIR)/$(program).fish &&) true

# --- Debian's package ---

.PHONY: deb
deb: all $(B)/seccompiler ## make Debian's package of ARCH, build/ARCH/squib_*.deb
	@tools/dev/deb $(ARCH)
