/* SPDX-License-Identifier: Apache-2.0 */
/* The list of all resources. Row `x` is the constant x_resource of a file of this folder. */
#ifndef VMM_RESOURCES_ROWS_H
#define VMM_RESOURCES_ROWS_H

/*
 * First those that GET /vm/config shows, in its order [compat]. Devices among them are attached in
 * the same order, which is guest ABI.
 */
#define RESOURCE_ROWS(ROW)                                                                         \
	ROW(balloon)                                                                               \
	ROW(drive)                                                                                 \
	ROW(boot_source)                                                                           \
	ROW(cpu_config)                                                                            \
	ROW(cpu_config_aarch64)                                                                    \
	ROW(logger)                                                                                \
	ROW(machine_config)                                                                        \
	ROW(metrics)                                                                               \
	ROW(mmds_config)                                                                           \
	ROW(net)                                                                                   \
	ROW(vsock)                                                                                 \
	ROW(entropy)                                                                               \
	ROW(pmem)                                                                                  \
	ROW(memory)                                                                                \
	ROW(filesystem)                                                                            \
	/* The others. */                                                                          \
	ROW(actions)                                                                               \
	ROW(balloon_statistics)                                                                    \
	ROW(devices)                                                                               \
	ROW(fork)                                                                                  \
	ROW(fork_image)                                                                            \
	ROW(hinting_start)                                                                         \
	ROW(hinting_status)                                                                        \
	ROW(hinting_stop)                                                                          \
	ROW(instance)                                                                              \
	ROW(memory_dirty)                                                                          \
	ROW(memory_info)                                                                           \
	ROW(memory_mappings)                                                                       \
	ROW(mmds)                                                                                  \
	ROW(serial)                                                                                \
	ROW(snapshot_live)                                                                         \
	ROW(snapshot_create)                                                                       \
	ROW(snapshot_load)                                                                         \
	ROW(version)                                                                               \
	ROW(vm)                                                                                    \
	ROW(vm_config)                                                                             \
	ROW(working_set)

#endif
