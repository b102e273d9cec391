/* SPDX-License-Identifier: Apache-2.0 */
/* Small things: an interface's offloads and queues, and memory pressure. */
#include <errno.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/guests/tools/tools.h"

static int ethtool(int fd, const char *name, uint32_t cmd, uint32_t value)
{
	struct ethtool_value request = {.cmd = cmd, .data = value};
	struct ifreq ifr = {.ifr_data = (char *)&request};

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
	return ioctl(fd, SIOCETHTOOL, &ifr) < 0 ? -1 : (int)request.data;
}

/* Prints what is in force: a driver refuses what its device does not offer. */
int cmd_offload(int argc, char **argv)
{
	static const uint32_t sets[] = {ETHTOOL_STXCSUM, ETHTOOL_SSG,	  ETHTOOL_STSO,
					ETHTOOL_SGSO,	 ETHTOOL_SRXCSUM, ETHTOOL_SGRO};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	uint32_t on = strcmp(argv[2], "on") == 0;

	(void)argc;
	for (size_t i = 0; i < sizeof(sets) / sizeof(sets[0]); i++) {
		(void)ethtool(fd, argv[1], sets[i], on);
	}
	int tso = ethtool(fd, argv[1], ETHTOOL_GTSO, 0);

	if (tso != (int)on) {
		return complain("offload: %s: TSO is %d", argv[1], tso);
	}
	printf("offload: ok tso %d tx %d rx %d\n", tso, ethtool(fd, argv[1], ETHTOOL_GTXCSUM, 0),
	       ethtool(fd, argv[1], ETHTOOL_GRXCSUM, 0));
	return close(fd);
}

static bool ask(int fd, const char *name, void *request)
{
	struct ifreq ifr = {.ifr_data = request};

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
	return ioctl(fd, SIOCETHTOOL, &ifr) == 0;
}

int cmd_pairs(int argc, char **argv)
{
	struct ethtool_channels channels = {.cmd = ETHTOOL_SCHANNELS,
					    .combined_count = (uint32_t)number(argv[2])};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	(void)argc;
	if (!ask(fd, argv[1], &channels)) {
		return complain("pairs: %s: %s", argv[1], strerror(errno));
	}
	return close(fd);
}

/* Names of the statistics have changed with the driver's versions; younger ones have no packets. */
static void tell_queue(const char *name, uint64_t value)
{
	char direction[3];
	unsigned queue;
	int end = 0;

	if (sscanf(name, "%2[rtx]_queue_%u_kicks%n", direction, &queue, &end) < 2 || end == 0) {
		(void)sscanf(name, "%2[rtx]%u_kicks%n", direction, &queue, &end);
	}
	if (end > 0 && name[end] == '\0') {
		printf("%s %u %llu\n", direction, queue, (unsigned long long)value);
	}
}

int cmd_queues(int argc, char **argv)
{
	enum {
		STATS_MAX = 512
	};
	static struct {
		struct ethtool_gstrings head;
		char names[STATS_MAX][ETH_GSTRING_LEN];
	} strings = {.head = {.cmd = ETHTOOL_GSTRINGS, .string_set = ETH_SS_STATS}};
	static struct {
		struct ethtool_stats head;
		uint64_t values[STATS_MAX];
	} stats = {.head = {.cmd = ETHTOOL_GSTATS}};
	struct ethtool_drvinfo info = {.cmd = ETHTOOL_GDRVINFO};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	(void)argc;
	if (!ask(fd, argv[1], &info) || info.n_stats > STATS_MAX || !ask(fd, argv[1], &strings) ||
	    !ask(fd, argv[1], &stats)) {
		return complain("queues: %s: %s", argv[1], strerror(errno));
	}
	for (uint32_t i = 0; i < info.n_stats; i++) {
		tell_queue(strings.names[i], stats.values[i]);
	}
	return close(fd);
}

int cmd_eat(int argc, char **argv)
{
	size_t len = number(argv[1]) << 20;
	char *data = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	(void)argc;
	if (data == MAP_FAILED) {
		return complain("eat: %s", strerror(errno));
	}
	for (size_t at = 0; at < len; at += 4096) {
		data[at] = (char)(at >> 12 | 1);
	}
	sleep((unsigned)number(argv[2]));
	for (size_t at = 0; at < len; at += 4096) {
		if (data[at] != (char)(at >> 12 | 1)) {
			return complain("eat: page %zu changed", at >> 12);
		}
	}
	printf("eat: ok\n");
	return 0;
}
