/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A function with a window and capabilities, and a guest that reads and writes its configuration
 * space anywhere, by up to 8 bytes; a saved state with any base addresses probed.
 *
 * The module's assertions are on what the machine, and no guest, hands it. They are left out.
 */
#define NDEBUG

#include "tests/eva/eva.h"

#include "devices/pci/config.c"

static struct pci_config config;

static void make(void)
{
	struct pci_identity identity;
	uint8_t body[18];

	fill(&identity, sizeof(identity));
	fill(body, sizeof(body));
	pci_config_init(&config, &identity);
	pci_config_add_bar64(&config, 0, any_u64(), UINT64_C(0x80000), any_bool());
	for (unsigned i = 0; i < 6; i++) {
		uint8_t at = pci_config_add_capability(&config, (uint8_t)any_u32(), body, 18);

		pci_config_allow(&config, at, 18);
	}
}

void main(void)
{
	uint8_t data[8];

	make();
	while (any_bool()) {
		fill(data, sizeof(data));
		pci_config_write(&config, any_u64(), data, (uint32_t)any_between(0, 8));
		pci_config_read(&config, any_u64(), data, (uint32_t)any_between(0, 8));
		keep(data[0]);
		keep(pci_config_u16(&config, (unsigned)any_between(0, PCI_CONFIG_LEN - 2)));
		keep(pci_config_u32(&config, (unsigned)any_between(0, PCI_CONFIG_LEN - 4)));
		if (any_bool()) {
			pci_config_reset(&config);
		}
		if (any_bool()) {
			pci_config_load_probed(&config, (uint8_t)any_u32());
		}
	}
}
