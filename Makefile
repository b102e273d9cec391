# SPDX-License-Identifier: Apache-2.0
# squib's build: `make help` lists the targets.

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

HOST_ARCH := $(shell uname -m)
ARCH ?= $(HOST_ARCH)
TRIPLE := $(ARCH)-linux-gnu
COMPILER ?= gcc
SAN ?=

ifeq ($(filter $(ARCH),x86_64 aarch64),)
$(error ARCH=$(ARCH): squib knows x86_64 and aarch64)
endif

ifeq ($(COMPILER),clang)
CC := clang --target=$(TRIPLE)
else ifeq ($(ARCH),$(HOST_ARCH))
CC := gcc
else
CC := $(TRIPLE)-gcc
endif

# One folder per variant, so that none rebuilds another.
empty :=
comma := ,
B := build/$(ARCH)$(if $(filter clang,$(COMPILER)),-clang)$(if $(SAN),-$(subst $(comma),-,$(SAN)))

WARNINGS := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla \
	-Wconversion -Wno-sign-conversion -Wswitch-enum -Wformat=2 -Wimplicit-fallthrough -Wundef \
	-Wpointer-arith -Wwrite-strings -Wold-style-definition
HARDENING := -fPIE -fstack-protector-strong -fstack-clash-protection -ftrivial-auto-var-init=zero
HARDENING += $(if $(filter x86_64,$(ARCH)),-fcf-protection=full,-mbranch-protection=standard)
ifeq ($(COMPILER),clang)
WARNINGS += -Wno-unused-command-line-argument -Wno-format-nonliteral
HARDENING += -enable-trivial-auto-var-init-zero-knowing-it-will-be-removed-from-clang
endif
ifeq ($(SAN),)
OPTIMISE := -O2 -D_FORTIFY_SOURCE=3
else
# SAN=coverage, with clang, counts what runs in place of looking for faults.
INSTRUMENT := $(if $(filter coverage,$(SAN)),-fprofile-instr-generate -fcoverage-mapping,-fsanitize=$(SAN))
OPTIMISE := -O1 -fno-omit-frame-pointer $(INSTRUMENT) \
	$(if $(findstring undefined,$(SAN)),-fno-sanitize-recover=undefined)
# Instrumentation hides from gcc that a truncated message was checked for.
OPTIMISE += $(if $(filter gcc,$(COMPILER)),-Wno-format-truncation)
endif

CPPFLAGS := -I. -Iarch/$(ARCH) -D_GNU_SOURCE -MMD -MP
CFLAGS := -std=gnu17 -g $(OPTIMISE) $(WARNINGS) $(HARDENING)
CFLAGS += -ffunction-sections -fdata-sections -ffile-prefix-map=$(CURDIR)=.
LDFLAGS := -Wl,-z,relro,-z,now,-z,noexecstack $(INSTRUMENT)
RELEASE_LDFLAGS := -Wl,--gc-sections $(if $(SAN),-pie,-static-pie)
LDLIBS := -ljansson -l:liburing.a -lsodium $(if $(filter aarch64,$(ARCH)),-lfdt)

# A module is a .c file in its folder: no lists to keep.
BASE_SRC := $(wildcard vmm/base/*.c)
VMM_SRC := $(filter-out vmm/main.c $(BASE_SRC),$(wildcard vmm/*.c vmm/*/*.c))
DEVICE_SRC := $(wildcard devices/*/*.c devices/*/*/*.c)
API_SRC := $(wildcard api/*.c)
ARCH_SRC := $(wildcard arch/$(ARCH)/*.c)
FILTER_SRC := $(addprefix seccomp/,filter.c essential.c bpf.c)
SQUIB_SRC := vmm/main.c $(BASE_SRC) $(VMM_SRC) $(DEVICE_SRC) $(API_SRC) $(ARCH_SRC) $(FILTER_SRC)

objects = $(patsubst %.c,$(B)/obj/%.o,$(1))

# seccomp/rules.mk makes them: the compiled filters, and the names of system calls.
FILTER_DATA := $(B)/seccomp/embed.o $(B)/seccomp/syscalls.o

.PHONY: all clean help
all: $(B)/squib ## build squib for ARCH (x86_64 or aarch64), with COMPILER (gcc or clang)

# What lies where in its file decides how much of it a running squib has in memory. (The linker of
# Debian 12 packs relocations for x86_64 alone.)
ifeq ($(SAN),)
LAYOUT := -Wl,-T,vmm/layout.ld
LAYOUT += $(if $(filter x86_64,$(ARCH)),-Wl$(comma)-z$(comma)pack-relative-relocs)
endif

$(B)/squib: $(call objects,$(SQUIB_SRC)) $(FILTER_DATA) vmm/layout.ld
	@echo "  LD      $@"
	@$(CC) $(RELEASE_LDFLAGS) $(LDFLAGS) $(LAYOUT) -o $@ $(filter %.o,$^) $(LDLIBS)

$(B)/obj/%.o: %.c Makefile
	@mkdir -p $(@D)
	@echo "  CC      $@"
	@$(CC) $(CPPFLAGS) $(CFLAGS) -c -o $@ $<

include seccomp/rules.mk
include tools/rules.mk
include tests/guests/payload/rules.mk
include tests/bench/rules.mk
include tests/rules.mk
include tests/bench/api.mk

clean: ## remove what was built (the cache of kernels stays)
	rm -rf build

help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

-include $(shell find $(B) -type f -name '*.d' 2>/dev/null)
