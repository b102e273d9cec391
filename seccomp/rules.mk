# SPDX-License-Identifier: Apache-2.0
# The seccomp filters: policies are compiled on this host for ARCH, and become part of the binary.

SECCOMPILER_SRC := tools/seccompiler/main.c seccomp/policy.c seccomp/compile.c $(FILTER_SRC)
SECCOMPILER := build/$(HOST_ARCH)/seccompiler

# It uses nothing of filter.c that needs filters; --gc-sections drops the rest.
$(B)/seccompiler: $(call objects,$(SECCOMPILER_SRC) $(BASE_SRC))
	@echo "  LD      $@"
	@$(CC) $(RELEASE_LDFLAGS) $(LDFLAGS) -o $@ $^ -lseccomp $(LDLIBS)

ifeq ($(B),build/$(HOST_ARCH))
all: $(SECCOMPILER)
else
# The tool is this host's, whatever is built.
$(SECCOMPILER): $(wildcard $(SECCOMPILER_SRC) seccomp/*.h)
	@$(MAKE) --no-print-directory ARCH=$(HOST_ARCH) COMPILER=gcc SAN= $@
endif

$(B)/seccomp/filters.bin: seccomp/$(ARCH).json $(SECCOMPILER)
	@mkdir -p $(@D)
	@echo "  BPF     $@"
	@$(SECCOMPILER) -i $< -t $(ARCH) -o $@

$(B)/seccomp/embed.o: seccomp/embed.S $(B)/seccomp/filters.bin
	@echo "  AS      $@"
	@$(CC) -DSECCOMP_FILTERS='"$(B)/seccomp/filters.bin"' -c -o $@ $<

AUDIT_ARCH_x86_64 := AUDIT_ARCH_X86_64
AUDIT_ARCH_aarch64 := AUDIT_ARCH_AARCH64

# The names of system calls by number, one string after the other: no pointers to relocate.
$(B)/seccomp/syscalls.c:
	@mkdir -p $(@D)
	@echo "  GEN     $@"
	@{ \
		echo '#include <linux/audit.h>'; \
		echo '#include "seccomp/filter.h"'; \
		echo 'const uint32_t seccomp_audit_arch = $(AUDIT_ARCH_$(ARCH));'; \
		echo 'extern const char seccomp_syscall_names[];'; \
		echo 'extern const uint32_t seccomp_syscall_names_len;'; \
		echo 'const char seccomp_syscall_names[] ='; \
		{ \
			echo '#include <asm/unistd.h>'; \
			echo '#include <asm/unistd.h>' | $(CC) -E -dM - | \
				sed -n 's/^#define __NR_\([a-z][a-z0-9_]*\) .*/@ \1 __NR_\1/p' | \
				grep -vE ' (syscalls|arch_specific_syscall) '; \
		} | $(CC) -E -P - | sed -n 's/^@ //p' | sort -n -k2 | \
			awk '{ for (; next_number < $$2; next_number++) print "\"\\0\""; \
				print "\"" $$1 "\\0\""; next_number++ }'; \
		echo ';'; \
		echo 'const uint32_t seccomp_syscall_names_len = sizeof(seccomp_syscall_names);'; \
	} >$@

$(B)/seccomp/syscalls.o: $(B)/seccomp/syscalls.c
	@$(CC) $(CPPFLAGS) $(CFLAGS) -c -o $@ $<
