/* SPDX-License-Identifier: Apache-2.0 */
/* The guest's network: its loopback, and one interface with fixed addresses. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <net/route.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "tools/guest_init/guest_init.h"

enum {
	WORD_LEN = 64,
	TRIES = 100, /* at 20 ms each, until a driver has found its device */
	NAP_NS = 20 * 1000 * 1000,
	PREFIX_MAX = 32,
	DISCARD_PORT = 9, /* [RFC 863] */
};

struct network {
	struct in_addr address;
	struct in_addr mask;
	struct in_addr gateway;
	char name_server[WORD_LEN];
};

static struct sockaddr_in address_of(struct in_addr address)
{
	return (struct sockaddr_in){.sin_family = AF_INET, .sin_addr = address};
}

/* "ADDRESS/PREFIX,GATEWAY,NAME_SERVER" */
static bool read_word(char *word, struct network *network)
{
	char *prefix = strchr(word, '/');
	char *gateway = prefix != NULL ? strchr(prefix, ',') : NULL;
	char *server = gateway != NULL ? strchr(gateway + 1, ',') : NULL;
	struct in_addr ignored;

	if (server == NULL) {
		return false;
	}
	*prefix++ = *gateway++ = *server++ = '\0';
	unsigned long bits = strtoul(prefix, NULL, 10);

	snprintf(network->name_server, sizeof(network->name_server), "%s", server);
	network->mask.s_addr = bits > 0 ? htonl(~0U << (PREFIX_MAX - bits)) : 0;
	return bits <= PREFIX_MAX && inet_pton(AF_INET, word, &network->address) == 1 &&
	       inet_pton(AF_INET, gateway, &network->gateway) == 1 &&
	       inet_pton(AF_INET, server, &ignored) == 1;
}

static int raise(int fd, const char *name)
{
	struct ifreq request = {.ifr_flags = IFF_UP | IFF_RUNNING};

	memcpy(request.ifr_name, name, strlen(name) + 1);
	return ioctl(fd, SIOCSIFFLAGS, &request);
}

static int set_address(int fd, const struct network *network)
{
	const struct timespec nap = {.tv_nsec = NAP_NS};
	const struct sockaddr_in address = address_of(network->address);
	const struct sockaddr_in mask = address_of(network->mask);
	struct ifreq request = {.ifr_name = "eth0"};
	int done = -1;

	memcpy(&request.ifr_addr, &address, sizeof(address));
	for (unsigned i = 0; i < TRIES && done < 0; i++) {
		done = ioctl(fd, SIOCSIFADDR, &request);
		if (done < 0 && errno != ENODEV) {
			return -1;
		}
		if (done < 0) {
			nanosleep(&nap, NULL);
		}
	}
	memcpy(&request.ifr_netmask, &mask, sizeof(mask));
	return done < 0 ? -1 : ioctl(fd, SIOCSIFNETMASK, &request);
}

static int set_route(int fd, const struct network *network)
{
	const struct sockaddr_in gateway = address_of(network->gateway);
	const struct sockaddr_in any = {.sin_family = AF_INET};
	struct rtentry route = {.rt_flags = RTF_UP | RTF_GATEWAY};

	memcpy(&route.rt_gateway, &gateway, sizeof(gateway));
	memcpy(&route.rt_dst, &any, sizeof(any));
	memcpy(&route.rt_genmask, &any, sizeof(any));
	return ioctl(fd, SIOCADDRT, &route);
}

/*
 * passt sends to all until it has heard the guest's MAC address, and the guest's TCP takes nothing
 * that is sent to all: so the guest asks for its gateway before anybody calls.
 */
static void be_heard(int fd, const struct network *network)
{
	struct sockaddr_in discard = address_of(network->gateway);

	discard.sin_port = htons(DISCARD_PORT);
	(void)!sendto(fd, "", 0, MSG_DONTWAIT, (const struct sockaddr *)&discard, sizeof(discard));
}

/* In place of what the image has, which may be a link to what only its own init makes. */
static void write_name_server(const struct network *network)
{
	char text[WORD_LEN + sizeof("nameserver \n")];
	int len = snprintf(text, sizeof(text), "nameserver %s\n", network->name_server);

	unlink("/etc/resolv.conf");
	int fd = open("/etc/resolv.conf", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);

	if (fd >= 0) {
		(void)!write(fd, text, (size_t)len);
		close(fd);
	}
}

void guest_raise_network(void)
{
	char word[WORD_LEN];
	const char *given = guest_word("squib.net", NULL, word, sizeof(word));
	struct network network = {0};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	(void)!raise(fd, "lo");
	if (given != NULL && !read_word(word, &network)) {
		guest_die("Not as ADDRESS/PREFIX,GATEWAY,NAME_SERVER on the command line:",
			  "squib.net", 0);
	}
	if (given != NULL && (set_address(fd, &network) < 0 || raise(fd, "eth0") < 0 ||
			      set_route(fd, &network) < 0)) {
		guest_die("Cannot set up the network interface", "eth0", errno);
	}
	if (given != NULL) {
		write_name_server(&network);
		be_heard(fd, &network);
	}
	close(fd);
}
