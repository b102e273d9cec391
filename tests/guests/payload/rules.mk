# SPDX-License-Identifier: Apache-2.0
# The payload guests: $(B)/guest/<name>.elf on x86_64 (PVH), .img on aarch64 (flat Image).
# Each .c in tests/guests/payload/ or tests/guests/payload/$(ARCH)/ is a payload but for the runtime; first.S stands
# alone.

GUEST_RUNTIME := tests/guests/payload/runtime.c tests/guests/payload/virtio.c tests/guests/payload/$(ARCH)/platform.c tests/guests/payload/$(ARCH)/start.S
GUEST_PAYLOADS := $(filter-out $(GUEST_RUNTIME),$(wildcard tests/guests/payload/*.c tests/guests/payload/$(ARCH)/*.c))
GUEST_OBJECTS := $(addprefix $(B)/,$(addsuffix .o,$(basename $(GUEST_RUNTIME))))
GUEST_NAMES := $(basename $(notdir $(GUEST_PAYLOADS))) first
GUEST_LINK := tests/guests/payload/$(ARCH)/link.ld
OBJCOPY ?= $(TRIPLE)-objcopy

# Integer code only, and nothing that needs a C library or an operating system.
GUEST_CFLAGS := -std=gnu17 -Os -g -ffreestanding -fno-builtin -fno-stack-protector \
	-fno-asynchronous-unwind-tables -fno-pie -mgeneral-regs-only $(WARNINGS)
GUEST_LDFLAGS := -nostdlib -static -Wl,--build-id=none,-z,noexecstack,-T,$(GUEST_LINK)
ifeq ($(ARCH),x86_64)
GUEST_CFLAGS += -mno-red-zone -fcf-protection=none
GUESTS := $(GUEST_NAMES:%=$(B)/guest/%.elf)
else
GUEST_CFLAGS += -mstrict-align
GUESTS := $(GUEST_NAMES:%=$(B)/guest/%.img)
endif

.PHONY: guests
.PRECIOUS: $(B)/tests/guests/payload/%.o $(B)/guest/%.elf
guests: $(GUESTS) ## build the payload guests of tests/guests/payload/

$(B)/tests/guests/payload/%.o: tests/guests/payload/%.c
	@mkdir -p $(@D)
	@echo "  CC      $@"
	@$(CC) -I. -MMD -MP $(GUEST_CFLAGS) -c -o $@ $<

$(B)/tests/guests/payload/%.o: tests/guests/payload/%.S
	@mkdir -p $(@D)
	@echo "  AS      $@"
	@$(CC) -I. -MMD -MP -c -o $@ $<

define link_guest
	@mkdir -p $(@D)
	@echo "  LD      $@"
	@$(CC) $(GUEST_LDFLAGS) -o $@ $(filter %.o,$^)
endef

$(B)/guest/first.elf: $(B)/tests/guests/payload/$(ARCH)/first.o $(GUEST_LINK)
	$(link_guest)

$(B)/guest/%.elf: $(B)/tests/guests/payload/%.o $(GUEST_OBJECTS) $(GUEST_LINK)
	$(link_guest)

$(B)/guest/%.elf: $(B)/tests/guests/payload/$(ARCH)/%.o $(GUEST_OBJECTS) $(GUEST_LINK)
	$(link_guest)

$(B)/guest/%.img: $(B)/guest/%.elf
	@$(OBJCOPY) -O binary $< $@
