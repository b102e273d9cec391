# SPDX-License-Identifier: Apache-2.0
# The programs of tools/.

.PHONY: kvm_probe
kvm_probe: $(B)/kvm_probe ## build the program that tells what /dev/kvm can run

$(B)/kvm_probe: $(call objects,tools/kvm_probe.c tools/kvm_probe_$(ARCH).c $(BASE_SRC) $(ARCH_SRC))
	@echo "  LD      $@"
	@$(CC) $(RELEASE_LDFLAGS) $(LDFLAGS) -o $@ $^ $(LDLIBS)

.PHONY: demo shell
demo: ## install what is missing, boot a microVM of ARCH and draw the timeline of its boot
	@tools/demo $(ARCH)

shell: ## the same with an interactive guest
	@tools/demo $(ARCH) shell

# --- squibctl ---

CTL_SRC := $(wildcard tools/ctl_*.c)

all: $(B)/squibctl
$(B)/squibctl: $(call objects,tools/squibctl.c $(CTL_SRC) $(BASE_SRC))
	@echo "  LD      $@"
	@$(CC) $(RELEASE_LDFLAGS) $(LDFLAGS) -o $@ $^ $(LDLIBS)

# --- jailer ---

JAILER_SRC := $(filter-out tools/jailer/main.c,$(wildcard tools/jailer/*.c))
JAILER_BASE_SRC := vmm/base/error.c vmm/base/fd.c vmm/base/flags.c

all: $(B)/jailer
$(B)/jailer: $(call objects,tools/jailer/main.c $(JAILER_SRC) $(JAILER_BASE_SRC))
	@echo "  LD      $@"
	@$(CC) $(RELEASE_LDFLAGS) $(LDFLAGS) -o $@ $^ -lcap

# --- installation ---

PREFIX ?= /usr/local
SHARE := $(DESTDIR)$(PREFIX)/share

.PHONY: install
install: all ## install squib, squibctl, jailer, seccompiler, manual pages and completions (DESTDIR, PREFIX)
	install -d $(DESTDIR)$(PREFIX)/bin $(SHARE)/man/man1 $(SHARE)/bash-completion/completions
	install -m 755 $(B)/squib $(B)/squibctl $(B)/jailer build/$(HOST_ARCH)/seccompiler $(DESTDIR)$(PREFIX)/bin
	install -m 644 $(addprefix docs/,squib.1 squibctl.1 jailer.1 seccompiler.1) $(SHARE)/man/man1
	install -m 644 tools/completion/squib.bash $(SHARE)/bash-completion/completions/squib
	install -m 644 tools/completion/squibctl.bash $(SHARE)/bash-completion/completions/squibctl
